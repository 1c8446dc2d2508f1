"""The user's playbook: phases, strategies, objections, closers, thresholds.

Reading the file and its syntax is an adapter's work; what a playbook must be to make sense is told
by `playbook_check`.
"""

from dataclasses import dataclass, field
from datetime import time
from typing import Literal

from agent_sidecar.domain.types import ObjectionType, StrategyName

PHASES = 12
# what an objection says about who raises it
Shows = Literal["scepticism", "discomfort"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One of the twelve steps of a sales conversation."""

    number: int
    name: str
    goal: str
    # typical agent wordings of this phase: what recognises it
    cues: tuple[str, ...]
    # typical prospect wordings of this phase
    answers: tuple[str, ...] = ()
    # whole-word phrases of the agent that make it certain
    phrases: tuple[str, ...] = ()
    # objections are answered in it: it is near from every phase while one is open
    answers_objections: bool = False
    allows_transfer: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """Something an agent can do next, with words to do it."""

    name: StrategyName
    # the moment it is for, in one sentence
    when: str
    say: tuple[str, ...]
    avoid: tuple[str, ...] = ()
    objections: tuple[ObjectionType, ...] = ()
    phases: tuple[int, ...] = ()
    # `video` and `booking` are second-best ends: using one decides the outcome of a call
    ends_with: Literal["video", "booking"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """A reason a prospect gives against, with how it usually sounds."""

    type: ObjectionType
    wordings: tuple[str, ...]
    # lines that sound alike and do not object: what is closer to one of them is not this objection
    unlike: tuple[str, ...] = ()
    # whole-word phrases that make it certain
    triggers: tuple[str, ...] = ()
    # ends the call: a refusal or a do-not-call request
    is_refusal: bool = False
    # that he doubts us, or that he is not at ease with what the work needs
    shows: Shows | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A weekly stretch of time; `end` not after `start` means that it ends the next day."""

    # 0 = Sunday
    day_of_week: int
    start: time
    end: time


@dataclass(frozen=True, slots=True, kw_only=True)
class Closer:
    """A human who takes over hot prospects."""

    name: str
    # E.164; a setting may give it instead
    number: str | None = None
    timezone: str = "America/New_York"
    # empty: any time
    hours: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """When to speak and when to act; `_s` in seconds of the call's own time."""

    hint_confidence: float = 0.35
    hint_cool_down_s: float = 8.0
    hints_per_minute: int = 4
    hint_expiry_s: float = 30.0
    # engagement 0..100 at which a transfer is proposed ...
    transfer_engagement: float = 75.0
    # ... after so many prospect segments in a row
    transfer_segments: int = 2
    # below this the count starts again
    transfer_release: float = 65.0
    transfer_cool_down_s: float = 60.0
    # |sentiment| from which a line counts as positive or negative
    sentiment: float = 0.25
    # engagement from which a follow-up counts as qualified
    follow_up_engagement: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Playbook:
    """Everything the user decides about the conversation."""

    name: str
    phases: tuple[Phase, ...]
    strategies: tuple[Strategy, ...]
    objections: tuple[Objection, ...]
    closers: tuple[Closer, ...]
    thresholds: Thresholds = field(default_factory=Thresholds)
    # lead fields that make a "kind of lead" for evidence, most telling first
    lead_kind: tuple[str, ...] = (
        "experience_level",
        "current_income_range",
        "motivation",
        "scepticism",
    )
    # whole-word phrases with which a prospect asks for the next step or a person
    buying_signals: tuple[str, ...] = ()
    # hinted when no closer is free: names of strategies, best first
    second_best: tuple[StrategyName, ...] = ()

    def strategy(self, name: str) -> Strategy | None:
        """Return the strategy of that name."""
        return next((s for s in self.strategies if s.name == name), None)

    def phase(self, number: int) -> Phase:
        """Return the phase of that number, 1 to 12."""
        return next(p for p in self.phases if p.number == number)
