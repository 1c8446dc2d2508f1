"""Legs as the simulated telephone network knows them."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import uuid4

from agent_sidecar.domain.types import LegId, Track

# +1 xxx 555 01xx is reserved for fiction
OUR_NUMBER = "+12025550100"
AGENT_NUMBER = "+12025550111"
WITHHELD = "anonymous"
CONNECTION_ID = "2468013579"


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionOrder:
    """What `transcription_start` asked for, as far as it changes what is heard."""

    tracks: tuple[Track, ...]
    # only Telnyx's own engine says which track a line is from
    names_track: bool
    # second of the conversation at which it was started
    since_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingOrder:
    """What `record_start` asked for."""

    channels: Literal["single", "dual"]
    format: Literal["wav", "mp3"]
    since_at: datetime


@dataclass(slots=True, kw_only=True)
class SimulatedLeg:
    """One leg and what has been done to it."""

    leg_id: LegId
    call_leg_id: str
    call_session_id: str
    from_: str
    to: str
    direction: Literal["incoming", "outgoing"]
    started_at: datetime
    connection_id: str = CONNECTION_ID
    client_state: str | None = None
    state: Literal["ringing", "answered", "ended"] = "ringing"
    ended_at: datetime | None = None
    transcription: TranscriptionOrder | None = None
    bridged_to: LegId | None = None
    parks_after_unbridge: bool = False
    # how it is recorded, as `record_start` said, and since when
    recording: RecordingOrder | None = None
    # what was spoken into it, and what its AI assistant was told: role and words
    heard: list[str] = field(default_factory=list)
    assistant_told: list[tuple[str, str]] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        return self.state != "ended"


def new_leg_id() -> LegId:
    """Return an id no other play has; shaped like Telnyx's, colon included."""
    return LegId(f"v3:sim-{uuid4().hex}")


def prospect_leg(phone: str | None, *, started_at: datetime) -> SimulatedLeg:
    """Return the leg we called; a prospect without a number called us and withheld it."""
    return SimulatedLeg(
        leg_id=new_leg_id(),
        call_leg_id=str(uuid4()),
        call_session_id=str(uuid4()),
        from_=OUR_NUMBER if phone else WITHHELD,
        to=phone or OUR_NUMBER,
        direction="outgoing" if phone else "incoming",
        started_at=started_at,
    )


def agent_leg(prospect: SimulatedLeg) -> SimulatedLeg:
    """Return the leg of a human agent: another one of the same session."""
    return SimulatedLeg(
        leg_id=new_leg_id(),
        call_leg_id=str(uuid4()),
        call_session_id=prospect.call_session_id,
        from_=OUR_NUMBER,
        to=AGENT_NUMBER,
        direction="outgoing",
        started_at=prospect.started_at,
    )
