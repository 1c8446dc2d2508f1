"""The user's playbook: phases, strategies, objections, closers, thresholds; validated by meaning.

Reading the file and its syntax is an adapter's work; here is what a playbook must be to make sense.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import time
from typing import Literal

from agent_sidecar.domain.types import ObjectionType, StrategyName
from agent_sidecar.domain.zones import zone_named

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """What is wrong in a playbook; `path` leads to the place, for example ("strategies", 3)."""

    path: tuple[str | int, ...]
    text: str


def mistakes(playbook: Playbook) -> Iterator[Mistake]:
    """Yield every contradiction in the playbook, in the order of the file."""
    yield from _phase_mistakes(playbook)
    yield from _strategy_mistakes(playbook)
    yield from _objection_mistakes(playbook)
    yield from _closer_mistakes(playbook)
    yield from _threshold_mistakes(playbook.thresholds)
    known = {s.name for s in playbook.strategies}
    for index, name in enumerate(playbook.second_best):
        if name not in known:
            yield Mistake(
                path=("second_best", index),
                text=f"there is no strategy {name!r}; name one of: {', '.join(sorted(known))}",
            )


def _phase_mistakes(playbook: Playbook) -> Iterator[Mistake]:
    numbers = [phase.number for phase in playbook.phases]
    if sorted(numbers) != list(range(1, PHASES + 1)):
        yield Mistake(
            path=("phases",),
            text=f"phases must be numbered 1 to {PHASES}, each once; found {sorted(numbers)}",
        )
    for index, phase in enumerate(playbook.phases):
        if not phase.cues:
            yield Mistake(
                path=("phases", index, "cues"),
                text=f"phase {phase.number} has no cues: it could never be recognised; add some",
            )
    if not any(phase.allows_transfer for phase in playbook.phases):
        yield Mistake(
            path=("phases",),
            text="no phase has allows_transfer: true, so no prospect could ever be handed over",
        )


def _strategy_mistakes(playbook: Playbook) -> Iterator[Mistake]:
    objections = {o.type for o in playbook.objections}
    seen: set[str] = set()
    if not playbook.strategies:
        yield Mistake(path=("strategies",), text="there must be at least one strategy")
    for index, strategy in enumerate(playbook.strategies):
        if strategy.name in seen:
            yield Mistake(
                path=("strategies", index, "name"),
                text=f"the strategy {strategy.name!r} is there twice; rename one",
            )
        seen.add(strategy.name)
        if not strategy.say or not all(text.strip() for text in strategy.say):
            yield Mistake(
                path=("strategies", index, "say"),
                text=f"the strategy {strategy.name!r} has an empty `say`; add a sentence",
            )
        for unknown in sorted(set(strategy.objections) - objections):
            yield Mistake(
                path=("strategies", index, "objections"),
                text=f"the strategy {strategy.name!r} names the objection {unknown!r},"
                " which is not defined under objections",
            )
        for number in strategy.phases:
            if not 1 <= number <= PHASES:
                yield Mistake(
                    path=("strategies", index, "phases"),
                    text=f"the strategy {strategy.name!r} names phase {number};"
                    f" phases go from 1 to {PHASES}",
                )


def _objection_mistakes(playbook: Playbook) -> Iterator[Mistake]:
    seen: set[str] = set()
    for index, objection in enumerate(playbook.objections):
        if objection.type in seen:
            yield Mistake(
                path=("objections", index, "type"),
                text=f"the objection {objection.type!r} is there twice; rename one",
            )
        seen.add(objection.type)
        if not objection.wordings:
            yield Mistake(
                path=("objections", index, "wordings"),
                text=f"the objection {objection.type!r} has no wordings: it could never be"
                " recognised; add some",
            )
        for text in sorted(set(objection.wordings) & set(objection.unlike)):
            yield Mistake(
                path=("objections", index, "unlike"),
                text=f"the objection {objection.type!r} has {text!r} both as a wording and as a"
                " line that is no objection; remove one",
            )


def _closer_mistakes(playbook: Playbook) -> Iterator[Mistake]:
    if not playbook.closers:
        yield Mistake(path=("closers",), text="there must be at least one closer")
    seen: set[str] = set()
    for index, closer in enumerate(playbook.closers):
        if closer.name in seen:
            yield Mistake(
                path=("closers", index, "name"),
                text=f"the closer {closer.name!r} is there twice; rename one",
            )
        seen.add(closer.name)
        if zone_named(closer.timezone) is None:
            yield Mistake(
                path=("closers", index, "timezone"),
                text=f"the timezone {closer.timezone!r} of {closer.name} does not exist;"
                " give an IANA name such as America/New_York",
            )
        for place, window in enumerate(closer.hours):
            if not 0 <= window.day_of_week <= 6:
                yield Mistake(
                    path=("closers", index, "hours", place),
                    text=f"day_of_week {window.day_of_week} of {closer.name} must be 0 (Sunday)"
                    " to 6 (Saturday)",
                )


def _threshold_mistakes(thresholds: Thresholds) -> Iterator[Mistake]:
    limits = {
        "hint_confidence": (0.0, 1.0),
        "transfer_engagement": (0.0, 100.0),
        "transfer_release": (0.0, 100.0),
        "sentiment": (0.0, 1.0),
        "follow_up_engagement": (0.0, 100.0),
        "hint_cool_down_s": (0.0, 3600.0),
        "hint_expiry_s": (1.0, 3600.0),
        "transfer_cool_down_s": (0.0, 86400.0),
        "hints_per_minute": (0, 60),
        "transfer_segments": (1, 100),
    }
    for name, (low, high) in limits.items():
        value = getattr(thresholds, name)
        if not low <= value <= high:
            yield Mistake(
                path=("thresholds", name), text=f"{name} is {value}; it must be {low} to {high}"
            )
    if thresholds.transfer_release > thresholds.transfer_engagement:
        yield Mistake(
            path=("thresholds", "transfer_release"),
            text="transfer_release must not be above transfer_engagement",
        )
