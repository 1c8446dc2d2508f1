"""The words everything else is said in: ids, parties, leads, legs, and the scales they use."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NewType

import numpy as np
from numpy.typing import NDArray

CallId = NewType("CallId", str)
# Telnyx's `call_control_id`: names one leg; contains ':'
LegId = NewType("LegId", str)
HintId = NewType("HintId", str)
TransferId = NewType("TransferId", str)
CommandId = NewType("CommandId", str)
StrategyName = NewType("StrategyName", str)
ObjectionType = NewType("ObjectionType", str)

Party = Literal["prospect", "agent", "closer"]
# where the agent's lines come from and what happens at the bridge (design.md, settings)
AgentKind = Literal["assistant", "human", "external"]
Source = Literal["live", "import", "replay", "demo"]
# only calls of these teach anything, and count in metrics
EVIDENCE_SOURCES: frozenset[Source] = frozenset({"live", "import"})
Track = Literal["inbound", "outbound"]
StoreName = Literal["conversations", "postgres", "neo4j", "chroma"]
STORES: tuple[StoreName, ...] = ("conversations", "postgres", "neo4j", "chroma")
# commands that a call decides on beside those of its transfers, in Telnyx's words
CallCommand = Literal[
    "streaming_start",
    "transcription_stop",
    "transcription_start",
    "ai_assistant_add_messages",
    "speak",
    "record_start",
    "bridge",
]
# `parked`: the store refused it; `dropped`: a person gave it up
DeliveryState = Literal["pending", "delivered", "parked", "dropped"]
DELIVERY_STATES: tuple[DeliveryState, ...] = ("pending", "delivered", "parked", "dropped")

# float32, shape (dimension,), unit length
Vector = NDArray[np.float32]
# float32 in -1..1, one channel
Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """Who is called. Every field may be unknown: a stranger's call is never refused."""

    # ours (UUID as text), or the user's own id as given; empty until the store has found or made it
    lead_id: str = ""
    external_id: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    # E.164
    phone: str | None = None
    email: str | None = None
    source: str | None = None
    initial_interest: str | None = None
    # IANA name
    timezone: str | None = None
    country: str | None = None
    state: str | None = None
    city: str | None = None
    status: str = "new"
    current_income_range: str | None = None
    desired_income_range: str | None = None
    time_availability: str | None = None
    experience_level: str | None = None
    # unknown keys of a recorded call or a request, kept as they came
    extra: dict[str, object] = field(default_factory=dict)

    @property
    def name(self) -> str | None:
        """First and last name as far as known."""
        return " ".join(part for part in (self.first_name, self.last_name) if part) or None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One side's connection: a phone line with an id of its own."""

    leg_id: LegId
    party: Party
    call_leg_id: str | None = None
    call_session_id: str | None = None
    from_at: datetime | None = None
    to_at: datetime | None = None
