"""What is asked of the stores in a moment of a call, what they answer, and what a hint is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from agent_sidecar.domain.types import CallId, HintId, ObjectionType, StrategyName, Vector

HintStatus = Literal["shown", "used", "dismissed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What fitted weights expect of one strategy: chances of a positive next reaction, 0..1."""

    # in this moment
    chance: float
    # over all moments of the fitted calls in which it was used
    usual: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """What has worked in such a moment? Asked of every retriever at once."""

    question_id: str
    call_id: CallId | None
    text: str
    vector: Vector | None
    phase: int
    objection: ObjectionType | None
    # (field, value) pairs that are known of this lead, most telling first
    lead_kind: tuple[tuple[str, str], ...] = ()
    engagement: float | None = None
    # call time; None: now
    at: datetime | None = None
    # by strategy, of those that the weights in use know
    outlooks: Mapping[StrategyName, Outlook] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A strategy that is close to the moment, as the vectors see it."""

    strategy: StrategyName
    # cosine similarity, -1..1
    closeness: float
    # `playbook`: the strategy's own wording; `proven`: a line that worked in an earlier call
    origin: Literal["playbook", "proven"]
    # the words found, when they are a proven line
    say: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProvenLine:
    """An answer that worked in an earlier call, and the vector of the moment it was given in."""

    strategy: StrategyName
    say: str
    vector: Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """How often a strategy was tried in such a moment, and what followed."""

    strategy: StrategyName
    # what the counts are about: "objection:price", "phase:5", or either with "|kind=value"
    scope: str
    tried: int
    # the prospect's next reaction was positive rather than negative
    lifted: int
    # the call ended qualified
    won: int
    # the next reaction was negative rather than positive; None: as often as it was not positive
    sunk: int | None = None
    # (tried, lifted) as above where a try counts half after each of `tally.HALF_LIVES_DAYS`
    recent: tuple[tuple[float, float], ...] = ()

    @property
    def reacted(self) -> int:
        """How often there was a reaction of either side."""
        lifted = min(self.lifted, self.tried)
        return self.tried if self.sunk is None else min(self.tried, lifted + self.sunk)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieved:
    """What one retriever, or all of them together, found by the deadline."""

    candidates: tuple[Candidate, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    # stores that were late, down or skipped: their part came from the warm copy, or is missing
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """A strategy proposed now."""

    hint_id: HintId
    question_id: str
    strategy: StrategyName
    say: str
    why: tuple[str, ...]
    # 0..1: chance of a positive next reaction
    confidence: float
    tried: int
    lifted: int
    won: int
    phase: int
    objection: ObjectionType | None
    engagement: float | None
    degraded: tuple[str, ...]
    # call time
    given_at: datetime
    expires_at: datetime
    # 0..1: what any strategy led to in such a moment; None: by a version that did not keep it
    base_rate: float | None = None
