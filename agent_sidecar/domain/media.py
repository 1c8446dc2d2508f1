"""The media stream as the domain sees it: one `StreamStart`, then frames of two tracks."""

from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStop:
    stream_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamError:
    stream_id: str
    code: int
    title: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamNotice:
    """A frame that changes nothing here: connected, mark, dtmf, or an event of a later protocol."""

    event: str
    known: bool
