"""A call's facts and counts in the graph by the driver alone, for calls that are new.

Nodes that many calls share are merged once a batch, edges are created without a look, and what a
count was is read once a batch: as somebody writes it who is the only writer.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, LiteralString, cast

import msgspec
from neo4j import AsyncTransaction

from agent_sidecar.domain import tally
from agent_sidecar.domain.facts import GraphFacts, lead_properties, mean_traits

_CALL_NODES = "UNWIND $rows AS row CREATE (c:Conversation:Call) SET c = row"
_LEAD_NODES = "UNWIND $rows AS row MERGE (l:Lead {id: row.id}) SET l += row"
_PATTERN_NODES = "UNWIND $rows AS row MERGE (p:Pattern {id: row.id}) SET p.type = row.type"
_CLOSER_NODES = "UNWIND $rows AS row MERGE (k:Kevin {name: row.name}) SET k += row"
_OTHER_NODES: Mapping[str, LiteralString] = {
    "strategy": "UNWIND $keys AS key MERGE (:Strategy {name: key})",
    "objection": "UNWIND $keys AS key MERGE (:Objection {type: key})",
    "outcome": "UNWIND $keys AS key MERGE (:Outcome {type: key})",
}
_EDGE: LiteralString = "UNWIND $rows AS row MATCH (c:Call {id: row.of}) "
_EDGES: Mapping[str, LiteralString] = {
    "HAD_CALL": _EDGE + "MATCH (n:Lead {id: row.to}) CREATE (n)-[:HAD_CALL]->(c)",
    "HAD_CONVERSATION": _EDGE
    + "MATCH (n:Lead {id: row.to}) CREATE (n)-[r:HAD_CONVERSATION]->(c) SET r = row.properties",
    "ENCOUNTERED_OBJECTION": _EDGE
    + "MATCH (n:Objection {type: row.to})"
    + " CREATE (c)-[r:ENCOUNTERED_OBJECTION]->(n) SET r = row.properties",
    "USED_STRATEGY": _EDGE
    + "MATCH (n:Strategy {name: row.to})"
    + " CREATE (c)-[r:USED_STRATEGY]->(n) SET r = row.properties",
    "HINTED": _EDGE
    + "MATCH (n:Strategy {name: row.to}) CREATE (c)-[r:HINTED]->(n) SET r = row.properties",
    "EXHIBITED_PATTERN": _EDGE
    + "MATCH (n:Pattern {id: row.to})"
    + " CREATE (c)-[r:EXHIBITED_PATTERN]->(n) SET r = row.properties",
    "LED_TO_OUTCOME": _EDGE + "MATCH (n:Outcome {type: row.to}) CREATE (c)-[:LED_TO_OUTCOME]->(n)",
    "KEVIN_AVAILABLE": _EDGE
    + "MATCH (n:Kevin {name: row.to}) CREATE (c)-[r:KEVIN_AVAILABLE]->(n) SET r = row.properties",
    "TRANSFER_ATTEMPTED": _EDGE
    + "MATCH (n:Kevin {name: row.to})"
    + " CREATE (c)-[r:TRANSFER_ATTEMPTED]->(n) SET r = row.properties",
}
# where the counts of a moment hang: on the objection or phase itself, or on a kind of lead
_MOMENTS: Mapping[tuple[str, bool], LiteralString] = {
    ("objection", False): "MERGE (x:Objection {type: row.name}) ",
    ("phase", False): "MERGE (x:Phase {number: toInteger(row.name)}) ",
    ("objection", True): "MERGE (y:Objection {type: row.name}) MERGE (x:Kind {scope: row.scope})"
    " ON CREATE SET x.kind = row.kind MERGE (y)-[:FOR_KIND]->(x) ",
    ("phase", True): "MERGE (y:Phase {number: toInteger(row.name)})"
    " MERGE (x:Kind {scope: row.scope}) ON CREATE SET x.kind = row.kind"
    " MERGE (y)-[:FOR_KIND]->(x) ",
}
_READ_ANSWERS: Mapping[tuple[str, bool], LiteralString] = {
    ("objection", False): "UNWIND $rows AS row MATCH (x:Objection {type: row.name}) ",
    ("phase", False): "UNWIND $rows AS row MATCH (x:Phase {number: toInteger(row.name)}) ",
    ("objection", True): "UNWIND $rows AS row MATCH (x:Kind {scope: row.scope}) ",
    ("phase", True): "UNWIND $rows AS row MATCH (x:Kind {scope: row.scope}) ",
}
_THEIR_ANSWERS: LiteralString = (
    "MATCH (x)-[a:ANSWERED_BY]->(s:Strategy)"
    " RETURN row.scope AS scope, s.name AS strategy, properties(a) AS kept"
)
_SET_ANSWERS: LiteralString = (
    "MERGE (s:Strategy {name: row.strategy}) MERGE (x)-[a:ANSWERED_BY]->(s) SET a += row.answers"
)
_TALLIES: Mapping[str, tuple[LiteralString, LiteralString]] = {
    "strategy": (
        "MATCH (x:Strategy) WHERE x.name IN $keys RETURN x.name AS key, x.tally AS tally",
        "UNWIND $rows AS row MATCH (x:Strategy {name: row.key}) SET x += row.figures",
    ),
    "objection": (
        "MATCH (x:Objection) WHERE x.type IN $keys RETURN x.type AS key, x.tally AS tally",
        "UNWIND $rows AS row MATCH (x:Objection {type: row.key}) SET x += row.figures",
    ),
    "pattern": (
        "MATCH (x:Pattern) WHERE x.id IN $keys RETURN x.id AS key, x.tally AS tally",
        "UNWIND $rows AS row MATCH (x:Pattern {id: row.key}) SET x += row.figures",
    ),
}
_FIGURES = {
    "strategy": tally.strategy_figures,
    "objection": tally.objection_figures,
    "pattern": tally.pattern_figures,
}
_TOTALS = """
MATCH (e:Evidence {name: 'all'})
SET e.calls = e.calls + $calls, e.transferred = e.transferred + $transferred
WITH e.calls AS calls, e.transferred AS transferred MATCH (s:Strategy)
RETURN calls, transferred, s.name AS name, coalesce(s.calls, 0) AS used,
    coalesce(s.transferred, 0) AS both
"""
_CORRELATIONS = (
    "UNWIND $rows AS row MATCH (s:Strategy {name: row.name})"
    " SET s.kevin_transfer_correlation = row.phi"
)


async def write_facts(opened: AsyncTransaction, calls: Sequence[GraphFacts]) -> None:
    await opened.run(_CALL_NODES, rows=[_call_node(facts) for facts in calls])
    leads = [
        {"id": f.lead_id, "leadId": f.lead_id, **lead_properties(f, {}), **mean_traits([f.call])}
        for f in calls
    ]
    await opened.run(_LEAD_NODES, rows=leads)
    patterns = sorted({pattern for facts in calls for pattern in facts.patterns})
    await opened.run(_PATTERN_NODES, rows=[{"id": i, "type": kind} for i, kind in patterns])
    newest = {f.closer: f for f in sorted(calls, key=lambda f: (f.seen_at, f.call_id))}
    closers = [
        {
            "name": name,
            "availability": facts.closer_available,
            "seen_at": facts.seen_at,
            "seen_call": facts.call_id,
        }
        for name, facts in newest.items()
    ]
    await opened.run(_CLOSER_NODES, rows=closers)
    keys: dict[str, set[str]] = defaultdict(set)
    edges: dict[str, list[Mapping[str, object]]] = defaultdict(list)
    for facts in calls:
        for edge in facts.edges:
            row: dict[str, object] = {
                "of": facts.call_id,
                "to": edge.to,
                "properties": edge.properties,
            }
            edges[edge.type].append(row)
            if edge.type in ("USED_STRATEGY", "HINTED"):
                keys["strategy"].add(edge.to)
            elif edge.type == "ENCOUNTERED_OBJECTION":
                keys["objection"].add(edge.to)
            elif edge.type == "LED_TO_OUTCOME":
                keys["outcome"].add(edge.to)
    for what, names in keys.items():
        await opened.run(_OTHER_NODES[what], keys=sorted(names))
    for kind, rows in edges.items():
        await opened.run(_EDGES[kind], rows=rows)


def _call_node(facts: GraphFacts) -> Mapping[str, object]:
    contribution = msgspec.json.encode(facts.contribution).decode()
    return {**facts.call, "contribution": contribution, "contribution_at": facts.at_days}


async def write_counts(opened: AsyncTransaction, calls: Sequence[GraphFacts]) -> None:
    answers: dict[tuple[str, bool], list[tuple[tally.Count, float]]] = defaultdict(list)
    others: list[tally.Count] = []
    for facts in calls:
        for count in facts.contribution:
            if count.counter == "answered":
                context, kind, _ = count.key
                place = context.partition(":")[0], bool(kind)
                answers[place].append((count, facts.at_days))
            else:
                others.append(count)
    for place, added in answers.items():
        await _write_answers(opened, place, added)
    by_node: dict[str, dict[str, list[tally.Count]]] = defaultdict(lambda: defaultdict(list))
    totals = (0, 0)
    for count in tally.deltas((), others):
        if count.counter == "calls":
            totals = cast(tuple[int, int], count.amounts)
        else:
            by_node[count.counter][count.key[0]].append(count)
    for counter, changes in by_node.items():
        await _write_tallies(opened, counter, changes)
    await _correlate(opened, totals)


async def _write_answers(
    opened: AsyncTransaction, place: tuple[str, bool], added: Iterable[tuple[tally.Count, float]]
) -> None:
    sums: dict[tuple[str, str, str], tally.Answers] = {}
    added = list(added)
    moments = {
        tally.scope(context, kind): context.partition(":")[2]
        for context, kind, _ in (count.key for count, _ in added)
    }
    asked = [{"scope": scope, "name": name} for scope, name in moments.items()]
    read = await opened.run(_READ_ANSWERS[place] + _THEIR_ANSWERS, rows=asked)
    kept = {(row["scope"], row["strategy"]): _answers(row["kept"]) async for row in read}
    for count, at_days in added:
        context, kind, strategy = count.key
        key = (context, kind, strategy)
        if key not in sums:
            sums[key] = kept.get((tally.scope(context, kind), strategy), tally.Answers())
        sums[key] = sums[key].plus(count.amounts, at_days)
    rows = [
        {
            "name": context.partition(":")[2],
            "scope": tally.scope(context, kind),
            "kind": kind,
            "strategy": strategy,
            "answers": {
                "tried": now.tried,
                "lifted": now.lifted,
                "sunk": now.sunk,
                "won": now.won,
                "hinted": now.hinted,
                "at": now.at_days,
                "sums": list(now.sums),
            },
        }
        for (context, kind, strategy), now in sums.items()
    ]
    await opened.run("UNWIND $rows AS row " + _MOMENTS[place] + _SET_ANSWERS, rows=rows)


def _answers(kept: Mapping[str, Any]) -> tally.Answers:
    counted = {name: kept[name] for name in ("tried", "lifted", "sunk", "won", "hinted")}
    return tally.Answers(**counted, at_days=kept["at"], sums=tuple(kept["sums"]))


async def _write_tallies(
    opened: AsyncTransaction, counter: str, changes: Mapping[str, Sequence[tally.Count]]
) -> None:
    read, write = _TALLIES[counter]
    found = await opened.run(read, keys=list(changes))
    stored = {row["key"]: row["tally"] async for row in found}
    rows = []
    for key, added in changes.items():
        now = tally.added(tally.read_tally(stored.get(key)), added)
        figures = {**_FIGURES[counter](now), "tally": tally.write_tally(now)}
        rows.append({"key": key, "figures": figures})
    await opened.run(write, rows=rows)


async def _correlate(opened: AsyncTransaction, totals: tuple[int, int]) -> None:
    found = await opened.run(_TOTALS, calls=totals[0], transferred=totals[1])
    rows = [
        {
            "name": row["name"],
            "phi": tally.transfer_correlation(
                calls=row["calls"],
                transferred=row["transferred"],
                used=row["used"],
                used_and_transferred=row["both"],
            ),
        }
        async for row in found
    ]
    await opened.run(_CORRELATIONS, rows=rows)
