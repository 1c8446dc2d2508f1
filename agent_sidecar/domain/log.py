"""What a call has been so far: the facts that its record is made of."""

from dataclasses import dataclass, field
from datetime import datetime

from agent_sidecar.domain.events import CallOpened
from agent_sidecar.domain.hints import Hint, HintStatus
from agent_sidecar.domain.record import (
    FinalStatus,
    KeyMoment,
    Recording,
    TranscriptSegment,
    TransferAttempt,
)
from agent_sidecar.domain.traits import TraitsHeard
from agent_sidecar.domain.types import HintId, Lead, Leg, LegId, Party, TransferId
from agent_sidecar.domain.voices import Voices

# in Telnyx's words: such a leg rang, or not even that
_NEVER_TAKEN = frozenset(
    {"call_rejected", "no_answer", "not_found", "originator_cancel", "timeout", "user_busy"}
)


@dataclass(slots=True)
class HintShown:
    """A hint in the course of its call."""

    hint: Hint
    latency_ms: float
    status: HintStatus = "shown"


@dataclass(slots=True)
class CallLog:
    """Everything that happened, in order; only `Call` writes it."""

    opened: CallOpened
    lead: Lead
    legs: dict[LegId, Leg] = field(default_factory=dict)
    voices: Voices = field(init=False)
    answered_at: datetime | None = None
    # the newest time anything was said or done
    last_at: datetime | None = None
    hung_up_at: datetime | None = None
    hangup_cause: str | None = None
    hangup_source: str | None = None
    machine: bool = False
    segments: list[TranscriptSegment] = field(default_factory=list)
    progression: list[float] = field(default_factory=list)
    traits: TraitsHeard = field(default_factory=TraitsHeard)
    moments: list[KeyMoment] = field(default_factory=list)
    hints: dict[HintId, HintShown] = field(default_factory=dict)
    transfers: dict[TransferId, TransferAttempt] = field(default_factory=dict)
    refused: bool = False
    # at the first transfer decision; None: there was none
    closer_at_decision: bool | None = None
    closer_now: bool = False
    closer: str = ""
    posted: tuple[FinalStatus, bool | None] | None = None
    recording: Recording = field(default_factory=Recording)
    frames_lost: int = 0
    masked_s: float = 0.0
    echo_s: float = 0.0
    interruptions: int = 0
    interrupted: bool = False
    closed_at: datetime | None = None

    def __post_init__(self) -> None:
        self.voices = Voices(self.legs, self.opened.agent)

    def seconds(self, at: datetime) -> float:
        """Return a time of the conversation as seconds since its start."""
        return max(0.0, (at - self.opened.at).total_seconds())

    @property
    def taken_at(self) -> datetime | None:
        """When the prospect took the call; None: he never did.

        Whoever dials and attaches at once does so while it rings: until its end such a call may
        pass for answered.
        """
        never = self.hangup_cause in _NEVER_TAKEN and not self.segments
        return None if never else self.answered_at

    @property
    def prospect_leg(self) -> Leg | None:
        """The leg that the prospect is on."""
        return next((leg for leg in self.legs.values() if leg.party == "prospect"), None)

    def leg_of(self, party: Party) -> Leg | None:
        """Return the newest leg of a party that has not hung up."""
        legs = [x for x in self.legs.values() if x.party == party and x.to_at is None]
        return legs[-1] if legs else None

    def last_turn(self, party: Party) -> list[TranscriptSegment]:
        """Return the segments of a party's last turn; the agent may have spoken since."""
        turn: list[TranscriptSegment] = []
        for segment in reversed(self.segments):
            if segment.speaker == party:
                turn.append(segment)
            elif turn:
                break
        return turn[::-1]

    @property
    def last_objection(self) -> str | None:
        """The objection raised last."""
        return next((s.objection for s in reversed(self.segments) if s.objection), None)

    @property
    def bridged(self) -> bool:
        """A closer has been proven to talk to the prospect."""
        return any(t.outcome == "bridged" for t in self.transfers.values())

    @property
    def is_with_agent(self) -> bool:
        """The agent can still do something: nobody hung up, and no closer talks to the prospect."""
        is_up = self.hung_up_at is None and self.closed_at is None
        return is_up and self.voices.other == "agent"
