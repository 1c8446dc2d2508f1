"""The graph of calls in Neo4j, or in a server that speaks its protocol: facts and exact counts.

A batch of records is one write transaction. It first touches the one `Evidence` node, which makes
writers queue there: what a transaction reads and adds to is then its own until it commits,
deadlocks cannot happen, and figures that depend on all calls (correlations) stay exact. The call's
node keeps what the call has added to the counts, so a record applied again adds the difference:
nothing.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from importlib import resources
from typing import LiteralString, cast

import msgspec

from agent_sidecar.adapters import neo4j_statements as cypher
from agent_sidecar.adapters.bolt import Bolt, Row, Run, numbered_statements
from agent_sidecar.adapters.neo4j_counts import (
    Change,
    Contribution,
    counted_nodes,
    read_contribution,
    write_counts,
)
from agent_sidecar.domain.audit import property_differences
from agent_sidecar.domain.facts import (
    Edge,
    EdgeType,
    GraphFacts,
    graph_facts,
    is_from_crm,
    lead_properties,
    mean_traits,
    seen_later,
)
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.types import CallId, StoreName
from agent_sidecar.errors import StoreUnavailable

_SCHEMA = resources.files("agent_sidecar.adapters") / "schema" / "graph"
# calls taken out in one transaction, and nodes removed in one by `clear`
_STEP, _CLEARED = 50, 200


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
        await self.apply_all([record])

    async def apply_all(self, records: Sequence[CallRecord]) -> None:
        # the newest version of a call is all that counts
        newest: dict[CallId, GraphFacts] = {}
        for record in records:
            newest[record.call_id] = graph_facts(record)
            # each takes milliseconds, and live calls come first
            await asyncio.sleep(0)

        async def work(run: Run) -> None:
            await _replace(run, list(newest.values()))

        await self._bolt.write(work)

    async def forget(self, call_ids: Collection[CallId]) -> None:
        ids = sorted(call_ids)
        for start in range(0, len(ids), _STEP):
            some = ids[start : start + _STEP]

            async def work(run: Run, some: Sequence[CallId] = some) -> None:
                await _take_out(run, some)

            await self._bolt.write(work)

    async def clear(self) -> None:
        # calls first: without their edges the nodes that they share go quickly
        for statement in cypher.CLEAR:
            while await self._step(statement):
                continue

    async def _step(self, statement: LiteralString) -> bool:
        """Remove some of what the statement finds; False when there was nothing left."""

        async def work(run: Run) -> int:
            await _lock(run)
            return cast(int, (await run(statement, most=_CLEARED))[0]["n"])

        return await self._bolt.write(work) > 0

    async def call_ids(self, *, batch: int = 500) -> AsyncIterator[Sequence[CallId]]:
        after = ""
        while rows := await self._bolt.read(cypher.CALL_IDS, after=after, most=batch):
            after = str(rows[-1]["id"])
            yield [CallId(str(row["id"])) for row in rows]

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
            ]
            if sentences:
                found[facts.call_id] = sentences
        return found

    async def _schema_names(self) -> set[str]:
        return {
            f"{kind} {row['name']}"
            for kind, statement in cypher.SCHEMA_NAMES.items()
            for row in await self._bolt.run(statement)
        }


async def _lock(run: Run) -> None:
    if not await run(cypher.LOCK):
        raise StoreUnavailable("the graph has no schema yet: run `agent-sidecar migrate`")


async def _replace(run: Run, calls: Sequence[GraphFacts]) -> None:
    """Make the graph hold exactly this of these calls, whatever it held before."""
    await _lock(run)
    ids = [facts.call_id for facts in calls]
    former = {str(row["id"]): row for row in await run(cypher.FORMER_CALLS, ids=ids)}
    if former:
        await run(cypher.FORGET, ids=sorted(former))
    for statement, known in ((cypher.NEW_CALLS, False), (cypher.CALLS, True)):
        rows = [
            {"id": facts.call_id, "properties": _call_properties(facts)}
            for facts in calls
            if (facts.call_id in former) is known
        ]
        if rows:
            await run(statement, rows=rows)
    await _write_leads(run, calls)
    await _write_closers(run, calls)
    patterns = sorted({pattern for facts in calls for pattern in facts.patterns})
    if patterns:
        await run(cypher.PATTERNS, rows=[{"id": i, "type": kind} for i, kind in patterns])
    await _write_edges(run, calls)
    leads = {facts.lead_id for facts in calls}
    leads |= {str(row["lead_id"] or "") for row in former.values()}
    await _learn_traits(run, leads - {""})
    await write_counts(
        run,
        [
            Change(
                former=read_contribution(former.get(facts.call_id, {})),
                now=Contribution(counts=facts.contribution, at_days=facts.at_days),
            )
            for facts in calls
        ],
    )


async def _take_out(run: Run, call_ids: Sequence[CallId]) -> None:
    """Leave the graph as if these calls had never been."""
    await _lock(run)
    former = await run(cypher.FORMER_CALLS, ids=call_ids)
    if not former:
        return
    ids = [str(row["id"]) for row in former]
    beside = await run(cypher.BESIDE, ids=ids)
    await run(cypher.REMOVE_CALLS, ids=ids)
    taken = [Change(former=read_contribution(row), now=Contribution()) for row in former]
    await write_counts(run, taken)
    touched = {label: set[object]() for label in cypher.ORPHANS}
    for row in beside:
        touched[str(row["label"])].add(row["key"])
    for change in taken:
        for label, key in counted_nodes(change.former.counts):
            touched[label].add(key)
    for label, orphaned in cypher.ORPHANS.items():
        # sorted as texts: a label's keys are all of one type
        await run(orphaned, keys=sorted(touched[label], key=str))
    leads = sorted(str(lead) for lead in touched["Lead"])
    await _learn_traits(run, leads)
    await _look_back(run, leads, ids)


async def _look_back(run: Run, leads: Sequence[str], gone: Sequence[str]) -> None:
    """Let leads and closers be seen last in a call that is left, if one of these was the last."""
    for found, write in (cypher.LEADS_LAST_SEEN, cypher.CLOSERS_LAST_SEEN):
        last: dict[str, tuple[datetime, str, object]] = {}
        for row in await run(found, gone=gone, leads=leads):
            ended_at = cast(datetime, row["started_at"]) + timedelta(seconds=cast(float, row["s"]))
            seen = (ended_at, str(row["call"]), row["available"])
            key = str(row["key"])
            last[key] = max(last.get(key, seen), seen, key=lambda seen: seen[:2])
        rows = [{"id": k, "at": s[0], "call": s[1], "available": s[2]} for k, s in last.items()]
        if rows:
            await run(write, rows=rows)


async def _write_leads(run: Run, calls: Sequence[GraphFacts]) -> None:
    ids = sorted({facts.lead_id for facts in calls} - {""})
    if not ids:
        return
    stored = _by_id(await run(cypher.FORMER_LEADS, ids=ids))
    known = {identity: dict(stored.get(identity, {})) for identity in ids}
    changed: dict[str, dict[str, object]] = {identity: {} for identity in ids}
    for facts in calls:
        if facts.lead_id:
            changes = lead_properties(facts, known[facts.lead_id])
            known[facts.lead_id] |= changes
            changed[facts.lead_id] |= changes
    await run(cypher.LEADS, rows=[{"id": i, "properties": p} for i, p in changed.items()])


async def _write_closers(run: Run, calls: Sequence[GraphFacts]) -> None:
    names = sorted({facts.closer for facts in calls} - {""})
    if not names:
        return
    known = {n: dict(p) for n, p in _by_id(await run(cypher.FORMER_CLOSERS, ids=names)).items()}
    changed: dict[str, dict[str, object]] = {}
    for facts in calls:
        if facts.closer and seen_later(facts, known.get(facts.closer, {})):
            changed[facts.closer] = known[facts.closer] = {
                "availability": facts.closer_available,
                "seen_at": facts.seen_at,
                "seen_call": facts.call_id,
            }
    if changed:
        await run(cypher.CLOSERS, rows=[{"id": n, "properties": p} for n, p in changed.items()])


async def _write_edges(run: Run, calls: Iterable[GraphFacts]) -> None:
    edges: dict[EdgeType, list[dict[str, object]]] = defaultdict(list)
    for facts in calls:
        for edge in facts.edges:
            edges[edge.type].append(
                {
                    "of": facts.call_id,
                    "to": edge.to,
                    "position": edge.position,
                    "properties": edge.properties,
                }
            )
    for kind, rows in edges.items():
        await run(cypher.EDGES[kind], edges=rows)


async def _learn_traits(run: Run, lead_ids: Iterable[str]) -> None:
    calls: dict[str, list[Row]] = defaultdict(list)
    for row in await run(cypher.CALLS_OF_LEADS, lead_ids=sorted(lead_ids)):
        calls[str(row["lead_id"])].append(row)
    rows = [{"lead_id": lead, "traits": mean_traits(told)} for lead, told in calls.items()]
    if rows:
        await run(cypher.LEAD_TRAITS, rows=rows)


def _lead_differences(facts: GraphFacts, stored: Row | None) -> Iterable[str]:
    if not facts.lead_id:
        return
    if stored is None:
        yield f"the lead {facts.lead_id} is missing"
    elif stored.get("seen_call") == facts.call_id and not is_from_crm(stored):
        # a later call of the same lead may say otherwise, or the CRM, and is right
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


def _call_properties(facts: GraphFacts) -> Mapping[str, object]:
    contribution = msgspec.json.encode(facts.contribution).decode()
    return {**facts.call, "contribution": contribution, "contribution_at": facts.at_days}


def _properties(value: object) -> Row:
    return cast(Row, value or {})


def _by_id(rows: Iterable[Row]) -> Mapping[str, Row]:
    return {str(row["id"]): _properties(row["properties"]) for row in rows}
