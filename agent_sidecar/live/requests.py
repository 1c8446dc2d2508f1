"""What the front door asks of the calls, and what it is answered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from agent_sidecar.domain.types import (
    AgentKind,
    CallId,
    Lead,
    LegId,
    ObjectionType,
    Party,
    Source,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachRequest:
    """A call that somebody announces."""

    lead: Lead
    # None: as the settings say
    agent: AgentKind | None
    source: Source = "live"
    # the id in the file of a replayed call
    external_id: str | None = None
    # we only listen: no telephony command is ever sent for this call
    passive: bool = False
    # None: now
    started_at: datetime | None = None
    # who is on the attached leg; None: the prospect, unless the leg is known as another's
    role: Party | None = None
    # the call of a leg that is not its prospect's: call_id, or call_control_id of any of its legs
    call: str | None = None
    # the call's other legs, where they are known already
    legs: Mapping[Party, LegId] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A call that we listen to, as far as Telnyx let us."""

    call_id: CallId
    leg_id: LegId
    token: str
    stream_url: str
    streaming: bool
    transcribing: bool
    recording: bool
    # what did not work, each with its reason
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamGrant:
    """Lets in one media stream of a call that somebody else dials."""

    token: str
    stream_url: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SuggestRequest:
    """An agent that pulls asks what to try after these words."""

    text: str
    phase: int | None
    objection: ObjectionType | None
    lead: Mapping[str, object]
    top_k: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """Ranked hints as plain values; none is an answer too."""

    hints: tuple[Mapping[str, object], ...]
    degraded: tuple[str, ...]
    latency_ms: float
