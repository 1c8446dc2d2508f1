"""Two policies compared on the same finished calls: what another one would have changed.

A transfer counts as proposed once a call, by its first; further ones are counted apart. Well means
that the call ended qualified, badly that it did not; whose end nobody knows stands by itself.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from statistics import median
from typing import Literal, NamedTuple

from agent_sidecar.domain.playbook import Objection, Phase, Playbook, Strategy, Thresholds
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.types import StrategyName
from agent_sidecar.learning.policy_replay import Played

Ended = Literal["well", "badly", "unknown"]
ENDS: tuple[Ended, ...] = ("well", "badly", "unknown")
_ENDED: Mapping[bool | None, Ended] = {True: "well", False: "badly", None: "unknown"}


class Both(NamedTuple):
    """One call under both policies."""

    ended: Ended
    in_use: Played
    tried: Played


@dataclass(slots=True)
class Tally:
    """What one policy would have done on calls that ended alike."""

    calls: int = 0
    hints_given: int = 0
    # we asked what has worked, and nothing was good enough to show
    hints_withheld: int = 0
    # calls in which a transfer was proposed
    transfers_proposed: int = 0
    # proposed again after the first one came to nothing
    further_transfers: int = 0


@dataclass(slots=True)
class StrategyTally:
    """How often a strategy was hinted, and how often it was the best and not good enough."""

    given: int = 0
    withheld: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One policy over all calls."""

    ends: Mapping[Ended, Tally]
    strategies: Mapping[StrategyName, StrategyTally]

    def total(self) -> Tally:
        """Return the sums over all calls."""
        names = [one.name for one in fields(Tally)]
        return Tally(**{n: sum(getattr(t, n) for t in self.ends.values()) for n in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """What only one of the two does, by how the calls ended."""

    more: Mapping[Ended, int]
    fewer: Mapping[Ended, int]

    def in_words(self, thing: str, done: str) -> str:
        """Say it as a person would: “12 more transfers proposed, 9 of them on calls …”."""
        more, fewer = sum(self.more.values()), sum(self.fewer.values())
        parts = []
        if more:
            parts.append(f"{more} more {_plural(more, thing)} {done}{_well(more, self.more)}")
        if fewer:
            what = "" if more else f" {_plural(fewer, thing)} {done}"
            parts.append(f"{fewer} fewer{what}{_well(fewer, self.fewer)}")
        return "; ".join(parts) or f"the same {thing}s {done}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What the policy that is tried would have changed."""

    # what differs between the playbooks, in words
    changes: tuple[str, ...]
    in_use: Side
    tried: Side
    # calls in which only one policy proposes a transfer
    transfers: Shift
    # moments in which one shows a strategy and the other does not show that one
    hints: Shift
    # where both propose one: seconds by which the tried one is later, the median; -: earlier
    transfer_shift_s: float | None

    def in_words(self) -> Iterator[str]:
        """Yield what a person wants to know first."""
        yield f"{'; '.join(self.changes) or 'nothing differs'}:"
        yield self.transfers.in_words("transfer", "proposed")
        if self.transfer_shift_s:
            when = "later" if self.transfer_shift_s > 0 else "earlier"
            yield f"where both propose one, {abs(self.transfer_shift_s):.0f} s {when} (median)"
        yield self.hints.in_words("hint", "given")

    def to_json(self) -> dict[str, object]:
        """Return it for programs."""
        return {
            "changes": self.changes,
            "sentences": list(self.in_words()),
            "calls": {end: tally.calls for end, tally in self.in_use.ends.items()},
            "in_use": _side_json(self.in_use),
            "tried": _side_json(self.tried),
            "transfers": asdict(self.transfers),
            "hints": asdict(self.hints),
            "transfer_shift_s": self.transfer_shift_s,
        }


def ended(record: CallRecord) -> Ended:
    """Return how a call ended."""
    return _ENDED[record.outcome.qualified]


def compare(calls: Iterable[Both], in_use: Playbook, tried: Playbook) -> Comparison:
    """Count what both policies did, and what only one of them did."""
    played = list(calls)
    transfers = [
        (one.ended, bool(one.in_use.proposed_at_s), bool(one.tried.proposed_at_s)) for one in played
    ]
    shifts_s = [
        one.tried.proposed_at_s[0] - one.in_use.proposed_at_s[0]
        for one in played
        if one.tried.proposed_at_s and one.in_use.proposed_at_s
    ]
    return Comparison(
        changes=tuple(changes(in_use, tried)),
        in_use=_side((one.ended, one.in_use) for one in played),
        tried=_side((one.ended, one.tried) for one in played),
        transfers=Shift(
            more=_by_end(end for end, before, now in transfers if now and not before),
            fewer=_by_end(end for end, before, now in transfers if before and not now),
        ),
        hints=Shift(
            more=_by_end(o.ended for o in played for _ in {*o.tried.given} - {*o.in_use.given}),
            fewer=_by_end(o.ended for o in played for _ in {*o.in_use.given} - {*o.tried.given}),
        ),
        transfer_shift_s=round(median(shifts_s), 1) if shifts_s else None,
    )


def changes(in_use: Playbook, tried: Playbook) -> Iterator[str]:
    """Say what differs between two playbooks, as far as a call can feel it."""
    for one in fields(Thresholds):
        before, now = getattr(in_use.thresholds, one.name), getattr(tried.thresholds, one.name)
        if before != now:
            yield f"{one.name} {now:g} instead of {before:g}"
    yield from _named("strategy", _strategies(in_use.strategies), _strategies(tried.strategies))
    yield from _named("objection", _objections(in_use.objections), _objections(tried.objections))
    yield from _named("phase", _phases(in_use.phases), _phases(tried.phases))
    for name in ("buying_signals", "second_best", "lead_kind"):
        if getattr(in_use, name) != getattr(tried, name):
            yield f"other {name}"


def _strategies(strategies: Sequence[Strategy]) -> Mapping[str, object]:
    return {strategy.name: strategy for strategy in strategies}


def _objections(objections: Sequence[Objection]) -> Mapping[str, object]:
    return {objection.type: objection for objection in objections}


def _phases(phases: Sequence[Phase]) -> Mapping[str, object]:
    return {str(phase.number): phase for phase in phases}


def _named(what: str, before: Mapping[str, object], now: Mapping[str, object]) -> Iterator[str]:
    for told, names in (
        ("new", now.keys() - before.keys()),
        ("gone", before.keys() - now.keys()),
        ("changed", {n for n in now.keys() & before.keys() if now[n] != before[n]}),
    ):
        if names:
            yield f"{what} {told}: {', '.join(sorted(names))}"


def _side(calls: Iterable[tuple[Ended, Played]]) -> Side:
    ends: dict[Ended, Tally] = {end: Tally() for end in ENDS}
    strategies: dict[StrategyName, StrategyTally] = {}
    for end, played in calls:
        tally = ends[end]
        tally.calls += 1
        tally.hints_given += len(played.given)
        tally.hints_withheld += len(played.withheld)
        tally.transfers_proposed += bool(played.proposed_at_s)
        tally.further_transfers += max(0, len(played.proposed_at_s) - 1)
        for _, name in played.given:
            strategies.setdefault(name, StrategyTally()).given += 1
        for _, best in played.withheld:
            if best is not None:
                strategies.setdefault(best, StrategyTally()).withheld += 1
    return Side(ends=ends, strategies=strategies)


def _by_end(found: Iterable[Ended]) -> Mapping[Ended, int]:
    counted = Counter(found)
    return {end: counted[end] for end in ENDS}


def _side_json(side: Side) -> dict[str, object]:
    return {
        "total": asdict(side.total()),
        **{end: asdict(tally) for end, tally in side.ends.items()},
        "strategies": {name: asdict(tally) for name, tally in sorted(side.strategies.items())},
    }


def _plural(number: int, thing: str) -> str:
    return thing if number == 1 else f"{thing}s"


def _well(number: int, by_end: Mapping[Ended, int]) -> str:
    if number == 1:
        ends = {"well": "ended well", "badly": "ended badly", "unknown": "ended nobody knows how"}
        return f", on a call that {next(ends[end] for end in ENDS if by_end[end])}"
    return f", {by_end['well']} of them on calls that ended well"
