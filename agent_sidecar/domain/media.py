"""The media stream as the domain sees it: one `StreamStart`, then frames of two tracks."""

from dataclasses import dataclass, field
from datetime import datetime

from agent_sidecar.domain.types import LegId, Track


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFormat:
    """What the start frame says that the payloads are; never what was asked for."""

    encoding: str
    sample_rate_hz: int
    channels: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStart:
    """A media stream begins; `leg_id` is the leg it was started on."""

    stream_id: str
    leg_id: LegId
    format: MediaFormat
    call_session_id: str | None = None
    from_: str | None = None
    to: str | None = None
    client_state: str | None = None
    custom_parameters: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class MediaFrame:
    """About 20 ms of one track; `chunk` orders the frames of a track."""

    track: Track
    chunk: int
    payload: bytes
    # empty where the frame does not say it
    stream_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStop:
    stream_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamError:
    """The other side finds fault with a frame; the stream goes on."""

    stream_id: str
    code: int
    # one of few fixed words
    name: str
    title: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamDigit:
    """Somebody pressed a key; may come late, so `at` orders digits, not their coming."""

    stream_id: str
    digit: str
    # None: the frame does not say
    at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamNotice:
    """A frame that changes nothing here: connected, mark, or an event of a later protocol."""

    event: str
    known: bool
