"""The graph of calls in Neo4j, or in a server that speaks its protocol: facts and exact counts.

One record is one write transaction. It first touches the one `Evidence` node, which makes writers
queue there: what a transaction reads and adds to is then its own until it commits, deadlocks cannot
happen, and figures that depend on all calls (correlations) stay exact. The call's node keeps what
the call has added to the counts, so a record applied again adds the difference: nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import resources
from typing import TypeAlias, cast

import msgspec

from agent_sidecar.adapters import neo4j_statements as cypher
from agent_sidecar.adapters.bolt import Bolt, Row, Run, numbered_statements
from agent_sidecar.domain.audit import property_differences
from agent_sidecar.domain.facts import (
    Edge,
    EdgeType,
    GraphFacts,
    graph_facts,
    lead_properties,
    mean_traits,
    seen_later,
)
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.tally import (
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
from agent_sidecar.domain.types import CallId, StoreName
from agent_sidecar.errors import StoreUnavailable

_SCHEMA = resources.files("agent_sidecar.adapters") / "schema" / "graph"
# what is derived from the counts that a node carries
_FIGURES: Mapping[str, Callable[[Tally], Derived]] = {
    "strategy": strategy_figures,
    "objection": objection_figures,
    "pattern": pattern_figures,
}
# (scope, strategy) -> tried, lifted, won
_Evidence: TypeAlias = Mapping[tuple[str, str], tuple[int, ...]]


class Neo4jGraph:
    """The projection of records into the graph."""

    store: StoreName = "neo4j"

    def __init__(self, bolt: Bolt) -> None:
        self._bolt = bolt
        self._engine = "Neo4j"

    @property
    def engine(self) -> str:
        """The server's own name for itself, known from the first `ping` or `migrate` on."""
        return self._engine

    async def ping(self) -> None:
        self._engine = await self._bolt.product()
        await self._bolt.read("RETURN 1 AS one")

    async def migrate(self) -> Sequence[str]:
        self._engine = await self._bolt.product()
        former = await self._schema_names()
        for statement in numbered_statements(_SCHEMA):
            await self._bolt.run(statement)
        return sorted(await self._schema_names() - former)

    async def apply(self, record: CallRecord) -> None:
        facts = graph_facts(record)

        async def work(run: Run) -> None:
            await _replace(run, facts)

        await self._bolt.write(work)

    async def counts(self) -> Mapping[str, int]:
        rows = await self._bolt.read(cypher.COUNTS)
        return {str(row["kind"]): cast(int, row["n"]) for row in rows}

    async def differences(self, records: Sequence[CallRecord]) -> Mapping[CallId, Sequence[str]]:
        all_facts = [graph_facts(record) for record in records]
        ids = [facts.call_id for facts in all_facts]
        read = self._bolt.read
        calls = _by_id(await read(cypher.READ_CALLS, ids=ids))
        leads = _by_id(await read(cypher.READ_LEADS, ids=sorted({f.lead_id for f in all_facts})))
        edges: dict[str, list[Row]] = defaultdict(list)
        for row in await read(cypher.READ_EDGES, ids=ids):
            edges[str(row["id"])].append(row)
        answered = await self._answered(all_facts)
        found: dict[CallId, Sequence[str]] = {}
        for facts in all_facts:
            call = calls.get(facts.call_id)
            if call is None:
                found[facts.call_id] = ["the call is missing"]
                continue
            sentences = [
                *property_differences(_call_properties(facts), call),
                *_lead_differences(facts, leads.get(facts.lead_id)),
                *_edge_differences(facts.edges, edges[facts.call_id]),
                *_count_differences(facts.contribution, answered),
            ]
            if sentences:
                found[facts.call_id] = sentences
        return found

    async def _answered(self, all_facts: Iterable[GraphFacts]) -> _Evidence:
        """Read the evidence that these records have a share in, and that of everybody."""
        keys = {c.key for f in all_facts for c in f.contribution if c.counter == "answered"}
        scopes = sorted({scope(context, kind) for context, kind, _ in keys if kind})
        answered: dict[tuple[str, str], tuple[int, ...]] = {}
        for row in await self._bolt.read(cypher.READ_ANSWERED, scopes=scopes):
            for strategy, *amounts in cast(list[tuple[str, int, int, int]], row["found"]):
                answered[str(row["scope"]), strategy] = tuple(amounts)
        return answered

    async def _schema_names(self) -> set[str]:
        return {
            f"{kind} {row['name']}"
            for kind, statement in cypher.SCHEMA_NAMES.items()
            for row in await self._bolt.run(statement)
        }


async def _replace(run: Run, facts: GraphFacts) -> None:
    """Make the graph hold exactly this of the call, whatever it held before."""
    if not await run(cypher.LOCK):
        raise StoreUnavailable("the graph has no schema yet: run `agent-sidecar migrate`")
    (former,) = await run(
        cypher.FORMER, call_id=facts.call_id, lead_id=facts.lead_id, closer=facts.closer
    )
    await run(cypher.FORGET, call_id=facts.call_id)
    await run(cypher.CALL, call_id=facts.call_id, properties=_call_properties(facts))
    if facts.lead_id:
        changed = lead_properties(facts, _properties(former["lead"]))
        await run(cypher.LEAD, lead_id=facts.lead_id, properties=changed)
    if facts.closer and seen_later(facts, _properties(former["closer"])):
        changed = {
            "availability": facts.closer_available,
            "seen_at": facts.seen_at,
            "seen_call": facts.call_id,
        }
        await run(cypher.CLOSER, closer=facts.closer, properties=changed)
    if facts.patterns:
        rows = [{"id": identity, "type": kind} for identity, kind in facts.patterns]
        await run(cypher.PATTERNS, rows=rows)
    await _write_edges(run, facts)
    await _learn_traits(run, {facts.lead_id, str(former["lead_id"] or "")} - {""})
    await _count(run, deltas(_read_contribution(former["contribution"]), facts.contribution))


async def _write_edges(run: Run, facts: GraphFacts) -> None:
    edges: dict[EdgeType, list[dict[str, object]]] = defaultdict(list)
    for edge in facts.edges:
        edges[edge.type].append(
            {"to": edge.to, "position": edge.position, "properties": edge.properties}
        )
    for kind, rows in edges.items():
        await run(cypher.EDGES[kind], call_id=facts.call_id, edges=rows)


async def _learn_traits(run: Run, lead_ids: Iterable[str]) -> None:
    calls: dict[str, list[Row]] = defaultdict(list)
    for row in await run(cypher.CALLS_OF_LEADS, lead_ids=sorted(lead_ids)):
        calls[str(row["lead_id"])].append(_properties(row["call"]))
    rows = [{"lead_id": lead, "traits": mean_traits(told)} for lead, told in calls.items()]
    if rows:
        await run(cypher.LEAD_TRAITS, rows=rows)


async def _count(run: Run, changes: Sequence[Count]) -> None:
    """Add to the counts, and derive anew what depends on them."""
    answered: dict[tuple[str, bool], list[dict[str, object]]] = defaultdict(list)
    tallied: dict[str, dict[str, list[Count]]] = defaultdict(lambda: defaultdict(list))
    totals = (0, 0)
    for change in changes:
        if change.counter == "answered":
            context, kind, _ = change.key
            answered[context.partition(":")[0], bool(kind)].append(_answered_row(change))
        elif change.counter == "calls":
            totals = (change.amounts[0], change.amounts[1])
        else:
            tallied[change.counter][change.key[0]].append(change)
    for about, rows in answered.items():
        await run(cypher.ANSWERED[about], rows=rows)
    for counter, by_node in tallied.items():
        await _add_to_tallies(run, counter, by_node)
    if changes:
        await _correlate(run, calls=totals[0], transferred=totals[1])


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


def _lead_differences(facts: GraphFacts, stored: Row | None) -> Iterable[str]:
    if not facts.lead_id:
        return
    if stored is None:
        yield f"the lead {facts.lead_id} is missing"
    elif stored.get("seen_call") == facts.call_id:
        # a later call of the same lead may say otherwise, and is right
        wanted = {key: value for key, value in facts.lead.items() if value is not None}
        for sentence in property_differences(wanted, {key: stored.get(key) for key in wanted}):
            yield f"lead {facts.lead_id}: {sentence}"


def _edge_differences(edges: Iterable[Edge], stored: Iterable[Row]) -> Iterable[str]:
    wanted = {(edge.type, edge.to, edge.position): edge.properties for edge in edges}
    found: dict[tuple[str, str, int], Row] = {}
    for row in stored:
        properties = _properties(row["properties"])
        key = (str(row["type"]), str(row["to"]), cast(int, properties.get("position", 0)))
        if key in found or key not in wanted:
            yield f"an edge {key[0]} with {key[1]} too many"
        found[key] = properties
    for key, properties in wanted.items():
        if key not in found:
            yield f"the edge {key[0]} with {key[1]} is missing"
            continue
        for sentence in property_differences(properties, found[key]):
            yield f"{key[0]} with {key[1]}: {sentence}"


def _count_differences(contribution: Iterable[Count], stored: _Evidence) -> Iterable[str]:
    """Evidence is a sum over calls: it can be no less than what this call alone has added."""
    for count in contribution:
        if count.counter != "answered":
            continue
        context, kind, strategy = count.key
        found = stored.get((scope(context, kind), strategy), (0, 0, 0))
        if any(have < share for have, share in zip(found, count.amounts, strict=True)):
            yield (
                f"ANSWERED_BY {strategy} of {scope(context, kind)} counts {found},"
                f" less than this call's own {count.amounts}"
            )


def _answered_row(count: Count) -> dict[str, object]:
    context, kind, strategy = count.key
    tried, lifted, won = count.amounts
    return {
        "name": context.partition(":")[2],
        "scope": scope(context, kind),
        "kind": kind,
        "strategy": strategy,
        "tried": tried,
        "lifted": lifted,
        "won": won,
    }


def _call_properties(facts: GraphFacts) -> Mapping[str, object]:
    contribution = msgspec.json.encode(facts.contribution).decode()
    return {**facts.call, "contribution": contribution}


def _read_contribution(text: object) -> tuple[Count, ...]:
    return msgspec.json.decode(text, type=tuple[Count, ...]) if isinstance(text, str) else ()


def _properties(value: object) -> Row:
    return cast(Row, value or {})


def _by_id(rows: Iterable[Row]) -> Mapping[str, Row]:
    return {str(row["id"]): _properties(row["properties"]) for row in rows}
