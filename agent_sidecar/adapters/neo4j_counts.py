"""The counts of the graph: what calls add to them, and what is derived from them.

Everything runs inside the transaction that writes the calls, which holds the one `Evidence` node:
what is read here is nobody else's to change until it is written.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import msgspec

from agent_sidecar.adapters import neo4j_statements as cypher
from agent_sidecar.adapters.bolt import Row, Run
from agent_sidecar.domain.tally import (
    Answers,
    Count,
    Derived,
    Tally,
    added,
    deltas,
    objection_figures,
    pattern_figures,
    read_tally,
    scope,
    strategy_figures,
    transfer_correlation,
    write_tally,
)

# what is derived from the counts that a node carries
_FIGURES: Mapping[str, Callable[[Tally], Derived]] = {
    "strategy": strategy_figures,
    "objection": objection_figures,
    "pattern": pattern_figures,
}
# context, kind of lead, strategy
_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """What one call adds to the counts, and when it was; None: written before times were kept."""

    counts: tuple[Count, ...] = ()
    at_days: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a call had added, and what it adds now."""

    former: Contribution
    now: Contribution


async def write_counts(run: Run, changes: Sequence[Change]) -> None:
    """Make the counts what they are with these changes, and derive anew what depends on them."""
    changes = [change for change in changes if change.former != change.now]
    if not changes:
        return
    await _answer(run, changes)
    sums = deltas(
        _others(change.former for change in changes), _others(change.now for change in changes)
    )
    tallied: dict[str, dict[str, list[Count]]] = defaultdict(lambda: defaultdict(list))
    calls, transferred = 0, 0
    for count in sums:
        if count.counter == "calls":
            calls, transferred = count.amounts
        else:
            tallied[count.counter][count.key[0]].append(count)
    for counter, by_node in tallied.items():
        await _add_to_tallies(run, counter, by_node)
    if sums:
        await _correlate(run, calls=calls, transferred=transferred)


def counted_nodes(counts: Iterable[Count]) -> Iterator[tuple[str, str | int]]:
    """Yield label and key of every node that these counts are kept on, or lead to."""
    for count in counts:
        match count.counter, count.key:
            case "answered", (context, kind, strategy):
                yield "Strategy", strategy
                about, _, name = context.partition(":")
                yield ("Phase", int(name)) if about == "phase" else ("Objection", name)
                if kind:
                    yield "Kind", scope(context, kind)
            case ("strategy" | "objection" | "pattern") as counter, (key, *_):
                yield counter.capitalize(), key


def read_answers(properties: Row) -> Answers:
    """Read an edge `ANSWERED_BY`; one that an older version wrote has no sums yet."""
    read = cast(Mapping[str, int], properties)
    sums = cast(list[float] | None, properties.get("sums"))
    known = Answers(
        tried=read["tried"],
        lifted=read["lifted"],
        # before it was counted every other reaction passed for one
        sunk=read.get("sunk", read["tried"] - read["lifted"]),
        won=read["won"],
        hinted=read.get("hinted", 0),
    )
    if sums is None:
        return known
    return Answers(
        tried=known.tried,
        lifted=known.lifted,
        sunk=known.sunk,
        won=known.won,
        hinted=known.hinted,
        at_days=cast(float, properties["at"]),
        sums=tuple(sums),
    )


def read_contribution(call: Row) -> Contribution:
    """Read what a call's node says that it has added: `contribution` and `at`."""
    text, at = call.get("contribution"), call.get("at")
    if not isinstance(text, str):
        return Contribution()
    counts = msgspec.json.decode(text, type=tuple[Count, ...])
    return Contribution(counts=counts, at_days=at if isinstance(at, float) else None)


def answer_properties(answers: Answers) -> Mapping[str, object]:
    """Return what an edge `ANSWERED_BY` keeps."""
    return {**answers.amounts, "at": answers.at_days, "sums": list(answers.sums)}


def _others(contributions: Iterable[Contribution]) -> Iterator[Count]:
    """Yield what is counted elsewhere than on `ANSWERED_BY`."""
    for contribution in contributions:
        yield from (count for count in contribution.counts if count.counter != "answered")


async def _answer(run: Run, changes: Iterable[Change]) -> None:
    """Bring every edge `ANSWERED_BY` that a change touches to what it is now."""
    touched: dict[tuple[str, bool], dict[_Key, list[tuple[Count, float | None, int]]]] = {}
    for change in changes:
        for contribution, times in ((change.former, -1), (change.now, 1)):
            for count in contribution.counts:
                if count.counter == "answered":
                    context, kind, strategy = count.key
                    place = context.partition(":")[0], bool(kind)
                    edges = touched.setdefault(place, {})
                    steps = edges.setdefault((context, kind, strategy), [])
                    steps.append((count, contribution.at_days, times))
    for place, edges in touched.items():
        kept = await _kept(run, place, edges)
        rows = []
        for (context, kind, strategy), steps in edges.items():
            answers = kept.get((scope(context, kind), strategy), Answers())
            for count, at_days, times in steps:
                answers = answers.plus(count.amounts, at_days, times=times)
            rows.append(
                {
                    "name": context.partition(":")[2],
                    "scope": scope(context, kind),
                    "kind": kind,
                    "strategy": strategy,
                    "properties": answer_properties(answers),
                }
            )
        await run(cypher.ANSWERED[place], rows=rows)


async def _kept(
    run: Run, place: tuple[str, bool], edges: Iterable[_Key]
) -> Mapping[tuple[str, str], Answers]:
    strategies: dict[tuple[str, str], list[str]] = defaultdict(list)
    for context, kind, strategy in edges:
        strategies[context, kind].append(strategy)
    rows = [
        {"name": context.partition(":")[2], "scope": scope(context, kind), "strategies": names}
        for (context, kind), names in strategies.items()
    ]
    found = await run(cypher.FORMER_ANSWERED[place], rows=rows)
    return {
        (str(row["scope"]), str(row["strategy"])): read_answers(cast(Row, row["properties"]))
        for row in found
    }


async def _add_to_tallies(run: Run, counter: str, changes: Mapping[str, Sequence[Count]]) -> None:
    read, write = cypher.TALLIES[counter]
    stored = {str(r["key"]): r["tally"] for r in await run(read, keys=sorted(changes))}
    rows = []
    for key, added_here in sorted(changes.items()):
        tally = added(read_tally(cast(str | None, stored.get(key))), added_here)
        properties = {**_FIGURES[counter](tally), "tally": write_tally(tally)}
        rows.append({"key": key, "properties": properties})
    await run(write, rows=rows)


async def _correlate(run: Run, *, calls: int, transferred: int) -> None:
    """Add to the totals; every strategy's correlation depends on them."""
    (totals,) = await run(cypher.TOTALS, calls=calls, transferred=transferred)
    rows = [
        {
            "name": use["name"],
            "correlation": transfer_correlation(
                calls=cast(int, totals["calls"]),
                transferred=cast(int, totals["transferred"]),
                used=cast(int, use["calls"]),
                used_and_transferred=cast(int, use["transferred"]),
            ),
        }
        for use in await run(cypher.USES)
    ]
    await run(cypher.CORRELATIONS, rows=rows)
