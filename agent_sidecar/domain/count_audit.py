"""Compares the counts of the graph with the sum of what its calls have added, exactly.

`Expected` adds up what the calls say, one by one, and keeps one sum per counter, so a hundred
thousand calls need no more memory than a hundred. `corrections` compares with what is stored and
returns what must be written for both to be the same; nothing when they are.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isclose

from agent_sidecar.domain.audit import property_differences
from agent_sidecar.domain.tally import (
    ALL,
    TRIGGERS_KEPT,
    Answers,
    Count,
    Derived,
    Tally,
    objection_figures,
    pattern_figures,
    scope,
    strategy_figures,
    transfer_correlation,
)

# context, kind of lead, strategy
AnswerKey = tuple[str, str, str]
# strategy, objection or pattern, and which
NodeKey = tuple[str, str]
_FIGURES = {
    "strategy": strategy_figures,
    "objection": objection_figures,
    "pattern": pattern_figures,
}
_TRIGGER = "trigger:"
# faded sums are floats, added in another order
_CLOSE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldNode:
    """A counted node as it is stored; without a tally nothing was ever counted there."""

    tally: Tally | None
    properties: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """All counts as they are stored."""

    # several for one key: it is doubled
    answers: Mapping[AnswerKey, Sequence[Answers]]
    nodes: Mapping[NodeKey, HeldNode]
    # calls and transferred ones
    totals: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrections:
    """What differs, in sentences, and what to write."""

    differences: tuple[str, ...] = ()
    answers: Mapping[AnswerKey, Answers] = field(default_factory=dict)
    nodes: Mapping[NodeKey, tuple[Tally, Derived]] = field(default_factory=dict)
    totals: tuple[int, int] | None = None


class Expected:
    """The sums of what calls add to the counts."""

    def __init__(self) -> None:
        self._answers: dict[AnswerKey, Answers] = {}
        self._tallies: dict[NodeKey, dict[str, list[int]]] = defaultdict(dict)
        self._totals = (0, 0)

    def add(self, counts: Iterable[Count], at_days: float | None) -> None:
        """Add one call's contribution, of its time."""
        for count in counts:
            if count.counter == "answered":
                context, kind, strategy = count.key
                key = (context, kind, strategy)
                former = self._answers.get(key, Answers())
                self._answers[key] = former.plus(count.amounts, at_days)
            elif count.counter == "calls":
                calls, transferred = count.amounts
                self._totals = (self._totals[0] + calls, self._totals[1] + transferred)
            else:
                node, item = count.key
                tally = self._tallies[count.counter, node]
                sums = tally.setdefault(item, [0] * len(count.amounts))
                for place, amount in enumerate(count.amounts):
                    sums[place] += amount

    def corrections(self, held: Held) -> Corrections:
        """Compare with what is stored."""
        answers: dict[AnswerKey, Answers] = {}
        nodes: dict[NodeKey, tuple[Tally, Derived]] = {}
        sentences: list[str] = []
        for answer_key in sorted(self._answers.keys() | held.answers.keys()):
            wanted = self._answers.get(answer_key, Answers())
            wrong = list(_answer_differences(answer_key, wanted, held.answers.get(answer_key, ())))
            if wrong:
                answers[answer_key] = wanted
                sentences += wrong
        for node_key in sorted(self._tallies.keys() | held.nodes.keys()):
            node = held.nodes.get(node_key, HeldNode(tally=None, properties={}))
            tally = self._tally(node_key, node.tally)
            if node.tally is None and not tally:
                continue
            figures = self._figures(node_key, tally)
            wrong = list(_node_differences(node_key, (tally, figures), node))
            if wrong:
                nodes[node_key] = (tally, figures)
                sentences += wrong
        right = self._totals == held.totals
        if not right:
            sentences.append(
                f"Evidence (calls, transferred) is {held.totals} instead of {self._totals}"
            )
        return Corrections(
            differences=tuple(sentences),
            answers=answers,
            nodes=nodes,
            totals=None if right else self._totals,
        )

    def _tally(self, key: NodeKey, stored: Tally | None) -> Tally:
        wanted = _nonzero({item: tuple(sums) for item, sums in self._tallies.get(key, {}).items()})
        if sum(item.startswith(_TRIGGER) for item in wanted) <= TRIGGERS_KEPT:
            return wanted
        # which of so many words are kept depends on the order in which they came
        kept = {i: n for i, n in (stored or {}).items() if i.startswith(_TRIGGER)}
        return {i: n for i, n in wanted.items() if not i.startswith(_TRIGGER)} | kept

    def _figures(self, key: NodeKey, tally: Tally) -> Derived:
        figures = _FIGURES[key[0]](tally)
        if key[0] == "strategy":
            used, used_and_transferred, *_ = tally.get(ALL, (0, 0))
            figures["kevin_transfer_correlation"] = transfer_correlation(
                calls=self._totals[0],
                transferred=self._totals[1],
                used=used,
                used_and_transferred=used_and_transferred,
            )
        return figures


def _answer_differences(
    key: AnswerKey, wanted: Answers, stored: Sequence[Answers]
) -> Iterator[str]:
    context, kind, strategy = key
    what = f"ANSWERED_BY {strategy} of {scope(context, kind)}"
    if len(stored) > 1:
        yield f"{what} is there {len(stored)} times"
        return
    found = stored[0] if stored else Answers()
    yield from (f"{what}: {text}" for text in property_differences(wanted.amounts, found.amounts))
    at_days = max(wanted.at_days, found.at_days)
    for expected, kept in zip(wanted.recent(at_days), found.recent(at_days), strict=True):
        if not all(
            isclose(a, b, rel_tol=_CLOSE, abs_tol=_CLOSE)
            for a, b in zip(expected, kept, strict=True)
        ):
            yield f"{what}: its faded sums are {kept} instead of {expected}"


def _node_differences(key: NodeKey, wanted: tuple[Tally, Derived], node: HeldNode) -> Iterator[str]:
    tally, figures = wanted
    what = " ".join(key)
    stored = _nonzero(node.tally or {})
    for item in sorted(tally.keys() | stored.keys()):
        if tally.get(item) != stored.get(item):
            yield (
                f"{what}: its tally of {item} is {stored.get(item, 'nothing')}"
                f" instead of {tally.get(item, 'nothing')}"
            )
    found = {name: node.properties.get(name) for name in figures}
    yield from (f"{what}: {text}" for text in property_differences(figures, found))


def _nonzero(tally: Tally) -> Tally:
    return {item: amounts for item, amounts in tally.items() if any(amounts)}
