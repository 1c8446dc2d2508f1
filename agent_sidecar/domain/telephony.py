"""What the telephone tells of a leg, in our words; the provider's are translated at the edge."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from agent_sidecar.domain.types import LegId, Track

TelephonyKind = Literal[
    "initiated",
    "answered",
    "hangup",
    "bridged",
    "line",
    "gather_ended",
    "speak_ended",
    "machine_detected",
    "stream_started",
    "stream_stopped",
    "stream_failed",
    "recording_saved",
    "other",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TelephonyEvent:
    """One webhook in our words; what it does not say is None."""

    event_id: str
    # the provider's own name, for logs
    event_type: str
    kind: TelephonyKind
    at: datetime
    leg_id: LegId | None = None
    call_leg_id: str | None = None
    call_session_id: str | None = None
    # decoded from base64; empty when there is none
    client_state: str = ""
    direction: Literal["incoming", "outgoing"] | None = None
    from_: str | None = None
    to: str | None = None
    # of `line`
    text: str = ""
    is_final: bool = True
    confidence: float | None = None
    track: Track | None = None
    # of `hangup`; a failed stream gives its reason in `cause`
    cause: str | None = None
    source: str | None = None
    # of `gather_ended`; the result of `machine_detected` is its status
    status: str | None = None
    digits: str = ""
    # of `bridged`, where the provider says it
    peer_leg_id: LegId | None = None
    recording_url: str | None = None
    recording_id: str | None = None
