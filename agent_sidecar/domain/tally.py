"""What one call adds to the counts of the graph, and what the counts say.

A call's contribution is stored beside it, so that applying a record means adding `deltas(former,
now)`: twice is as once, and a corrected record leaves the counts as if it had been the first.

Kinds of lead form a hierarchy. For a lead with the fields a=1, b=2, c=3 (most telling first) a move
counts for everybody, for `a=1`, for `a=1|b=2` and for `a=1|b=2|c=3`; ranking backs off from the
narrowest to everybody. A field that is not known is left out, so such leads have kinds of their
own. A move so adds to at most `2 * (KIND_FIELDS + 1)` counts: one set for its phase, one for the
objection that it answered.

What is newer counts more: beside the counts stand sums in which a try counts half after each of
`HALF_LIVES_DAYS`, as of the newest call in them. A try is as old as its call, so sums depend on no
order, and a call is taken out of them as it came in, up to rounding.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from agent_sidecar.domain.record import CallRecord, Credit
from agent_sidecar.domain.types import ObjectionType

# how many fields of a kind of lead are told apart, and how much of each value
KIND_FIELDS, KIND_VALUE_CHARACTERS = 4, 40
EVERYBODY = ""
# shown with an objection: its commonest triggers; the others are remembered up to a limit
TRIGGERS_SHOWN, TRIGGERS_KEPT, TRIGGER_CHARACTERS = 10, 500, 60
# long before short, as ranking reads them
HALF_LIVES_DAYS = (32.0, 4.0, 0.5)
DAY_S = 86_400.0
# sums stay exact as integers: effectiveness 0..10 is counted in thousandths
THOUSANDTHS = 1000

Counter = Literal["answered", "strategy", "objection", "pattern", "calls"]
Amounts: TypeAlias = tuple[int, ...]
# counts kept on one node, by what they are about: `all`, a scope, `response:…` or `trigger:…`
Tally: TypeAlias = Mapping[str, Amounts]
Derived: TypeAlias = dict[str, int | float | list[str] | None]
ALL, HINTS = "all", "hints"


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What is added to one counter.

    `answered`: (context, kind of lead, strategy) -> tried, lifted, sunk, won, hinted.
    `strategy`: (name, all) -> calls, transferred, tried, lifted; (name, context) -> tried, lifted;
    (name, hints) -> hinted, of them used, dismissed.
    `objection`: (type, all) -> met, resolved; (type, response:… or trigger:…) -> times.
    `pattern`: (id, all) -> calls, effectiveness in thousandths.
    `calls`: (all, all) -> calls, transferred.
    """

    counter: Counter
    key: tuple[str, ...]
    amounts: Amounts


def kinds(lead_kind: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Return the kinds that a lead belongs to, from everybody to the narrowest."""
    parts = [f"{_word(name)}={_word(value)}" for name, value in lead_kind[:KIND_FIELDS]]
    return tuple("|".join(parts[:depth]) for depth in range(len(parts) + 1))


def contexts(phase: int, objection: ObjectionType | None) -> tuple[str, ...]:
    """Return the moments that are told apart: the phase, and the objection if one is open."""
    return (f"phase:{phase}",) + ((f"objection:{objection}",) if objection else ())


def scope(context: str, kind: str) -> str:
    """Name what counts are about, as `Evidence.scope` does."""
    return f"{context}|{kind}" if kind else context


def counts(record: CallRecord) -> tuple[Count, ...]:
    """Return the record's whole contribution, sorted; nothing unless it is evidence."""
    if not record.is_evidence:
        return ()
    sums = _Sums()
    transferred = int(record.transfer_successful)
    # a call that nobody answered says nothing about what works
    if record.outcome.final_status != "no_answer":
        sums.add("calls", (ALL, ALL), (1, transferred))
    for name in {credit.strategy for credit in record.credits}:
        sums.add("strategy", (name, ALL), (1, transferred, 0, 0))
    for given in record.hints:
        used, dismissed = given.status == "used", given.status == "dismissed"
        sums.add("strategy", (given.hint.strategy, HINTS), (1, int(used), int(dismissed)))
    for credit in record.credits:
        _count_move(sums, credit, kinds(record.lead_kind), won=record.outcome.qualified is True)
    for met in record.objections:
        sums.add("objection", (met.type, ALL), (1, int(met.resolved)))
        if met.resolved and met.strategy:
            sums.add("objection", (met.type, f"response:{met.strategy}"), (1,))
        if trigger := met.trigger.casefold().strip()[:TRIGGER_CHARACTERS]:
            sums.add("objection", (met.type, f"trigger:{trigger}"), (1,))
    for identity, effectiveness in pattern_effectiveness(record).items():
        sums.add("pattern", (identity, ALL), (1, round(effectiveness * THOUSANDTHS)))
    return sums.nonzero()


def pattern_effectiveness(record: CallRecord) -> Mapping[str, float]:
    """Return each pattern's mean effectiveness in this call, 0..10, by its id."""
    seen: dict[str, list[float]] = defaultdict(list)
    for pattern in record.patterns:
        if pattern.id:
            seen[pattern.id].append(pattern.effectiveness)
    return {identity: sum(values) / len(values) for identity, values in seen.items()}


def deltas(former: Iterable[Count], now: Iterable[Count]) -> tuple[Count, ...]:
    """Return what must be added so that `now` stands where `former` stood."""
    sums = _Sums()
    for count in now:
        sums.add(count.counter, count.key, count.amounts)
    for count in former:
        sums.add(count.counter, count.key, tuple(-amount for amount in count.amounts))
    return sums.nonzero()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What is kept of how often a strategy was an answer, and what followed."""

    tried: int = 0
    lifted: int = 0
    # the prospect's next reaction was negative rather than positive
    sunk: int = 0
    won: int = 0
    # tries that followed a hint
    hinted: int = 0
    # when the newest call in the sums began, in days since 1970; 0: there is none
    at_days: float = 0.0
    # tried and lifted by half-life, faded to then
    sums: tuple[float, ...] = (0.0,) * (2 * len(HALF_LIVES_DAYS))

    @property
    def amounts(self) -> Mapping[str, int]:
        """Return the whole counts by name."""
        return {
            "tried": self.tried,
            "lifted": self.lifted,
            "sunk": self.sunk,
            "won": self.won,
            "hinted": self.hinted,
        }

    def plus(self, amounts: Amounts, at_days: float | None, *, times: int = 1) -> "Answers":
        """Return it with a call's amounts; `times` -1 takes them out again.

        A call whose time nobody kept (None) counts, and has faded.
        """
        tried, lifted, sunk, won, hinted = (*amounts, 0, 0)[:5]
        now_days, sums = self.at_days, self.sums
        if at_days is not None:
            now_days = max(self.at_days, at_days)
            added = faded((tried, lifted) * len(HALF_LIVES_DAYS), now_days - at_days)
            kept = faded(self.sums, now_days - self.at_days)
            sums = tuple(a + times * b for a, b in zip(kept, added, strict=True))
        return Answers(
            tried=self.tried + times * tried,
            lifted=self.lifted + times * lifted,
            sunk=self.sunk + times * sunk,
            won=self.won + times * won,
            hinted=self.hinted + times * hinted,
            at_days=now_days,
            sums=sums,
        )

    def recent(self, now_days: float) -> tuple[tuple[float, float], ...]:
        """Return (tried, lifted) by half-life as of a time; never less than nothing."""
        sums = [max(0.0, n) for n in faded(self.sums, max(0.0, now_days - self.at_days))]
        return tuple(
            (tried, min(tried, lifted)) for tried, lifted in zip(sums[::2], sums[1::2], strict=True)
        )


def faded(sums: Sequence[float], by_days: float) -> tuple[float, ...]:
    """Return pairs of sums, one of each half-life, so much later."""
    return tuple(
        amount * 0.5 ** (by_days / HALF_LIVES_DAYS[place // 2]) for place, amount in enumerate(sums)
    )


def days(at: datetime) -> float:
    """Return a time in days since 1970."""
    return at.astimezone(UTC).timestamp() / DAY_S


def added(tally: Tally, changes: Iterable[Count]) -> Tally:
    """Return a node's tally after these changes to it."""
    sums = {item: list(amounts) for item, amounts in tally.items()}
    for change in changes:
        former = sums.get(change.key[1], [0] * len(change.amounts))
        sums[change.key[1]] = [a + b for a, b in zip(former, change.amounts, strict=True)]
    # a forgotten trigger may be taken back later: it must not go below nothing
    kept = {i: tuple(a) for i, a in sums.items() if any(n > 0 for n in a) or i == ALL}
    triggers = sorted(
        (item for item in kept if item.startswith("trigger:")), key=lambda i: (-kept[i][0], i)
    )
    for item in triggers[TRIGGERS_KEPT:]:
        del kept[item]
    return kept


def read_tally(text: str | None) -> Tally:
    """Read a tally as `write_tally` wrote it; nothing yet: an empty one."""
    stored: dict[str, list[int]] = json.loads(text or "{}")
    return {item: tuple(amounts) for item, amounts in stored.items()}


def write_tally(tally: Tally) -> str:
    """Write a tally as one property: a graph cannot hold maps."""
    return json.dumps(tally, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def strategy_figures(tally: Tally) -> Derived:
    """Return what a strategy's node shows of its counts."""
    calls, transferred, tried, lifted = tally.get(ALL, (0, 0, 0, 0))
    hinted, used, dismissed = tally.get(HINTS, (0, 0, 0))
    return {
        "calls": calls,
        "transferred": transferred,
        "tried": tried,
        "lifted": lifted,
        "hinted": hinted,
        "hints_used": used,
        "hints_dismissed": dismissed,
        "success_rate": lifted / tried if tried else None,
        "context_effectiveness": [
            f"{context}: {amounts[1] / amounts[0]:.2f} ({amounts[0]})"
            for context, amounts in sorted(tally.items())
            if context not in {ALL, HINTS}
        ],
    }


def objection_figures(tally: Tally) -> Derived:
    """Return what an objection's node shows of its counts; the commonest first."""
    met, resolved = tally.get(ALL, (0, 0))
    return {
        "frequency": met,
        "resolved": resolved,
        "successful_responses": _commonest(tally, "response:"),
        "context_triggers": _commonest(tally, "trigger:")[:TRIGGERS_SHOWN],
    }


def pattern_figures(tally: Tally) -> Derived:
    """Return what a pattern's node shows of its counts."""
    calls, thousandths = tally.get(ALL, (0, 0))
    mean = thousandths / calls / THOUSANDTHS if calls else None
    return {"calls": calls, "effectiveness": mean}


def transfer_correlation(
    *, calls: int, transferred: int, used: int, used_and_transferred: int
) -> float | None:
    """Return phi (-1..1) between using a strategy and reaching the closer, over calls.

    None while one side of either never happened: then nothing can be said.
    """
    both = used_and_transferred * (calls - used - transferred + used_and_transferred)
    either = (used - used_and_transferred) * (transferred - used_and_transferred)
    spread = used * (calls - used) * transferred * (calls - transferred)
    return (both - either) / math.sqrt(spread) if spread > 0 else None


def _count_move(sums: "_Sums", credit: Credit, lead_kinds: Sequence[str], *, won: bool) -> None:
    lifted, sunk = int(credit.lifted is True), int(credit.lifted is False)
    sums.add("strategy", (credit.strategy, ALL), (0, 0, 1, lifted))
    for context in contexts(credit.phase, credit.objection):
        sums.add("strategy", (credit.strategy, context), (1, lifted))
        for kind in lead_kinds:
            amounts = (1, lifted, sunk, int(won), int(credit.hinted))
            sums.add("answered", (context, kind, credit.strategy), amounts)


def _commonest(tally: Tally, prefix: str) -> list[str]:
    items = [item for item in tally if item.startswith(prefix)]
    items.sort(key=lambda item: (-tally[item][0], item))
    return [item.removeprefix(prefix) for item in items]


def _word(text: str) -> str:
    """Keep a value from looking like two: `|` and `=` separate the parts of a kind."""
    return text.strip()[:KIND_VALUE_CHARACTERS].replace("|", "/").replace("=", ":")


class _Sums:
    """Adds up amounts by counter and key."""

    def __init__(self) -> None:
        self._sums: dict[tuple[Counter, tuple[str, ...]], list[int]] = {}

    def add(self, counter: Counter, key: tuple[str, ...], amounts: Amounts) -> None:
        former = self._sums.get((counter, key), [0] * len(amounts))
        self._sums[counter, key] = [a + b for a, b in zip(former, amounts, strict=True)]

    def nonzero(self) -> tuple[Count, ...]:
        return tuple(
            Count(counter=counter, key=key, amounts=tuple(amounts))
            for (counter, key), amounts in sorted(self._sums.items())
            if any(amounts)
        )
