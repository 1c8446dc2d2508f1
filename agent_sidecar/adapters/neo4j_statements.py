"""The Cypher of the graph adapter; the same text runs on Neo4j and on ArcadeDB.

Every key in a MERGE comes from `GraphFacts`, which never names a node by nothing.
"""

from collections.abc import Mapping
from typing import LiteralString

from agent_sidecar.domain.facts import EdgeType

# the lock is the write to the node: a MERGE would first share it, and two that share it deadlock
LOCK = "MATCH (e:Evidence {name: 'all'}) SET e.revision = e.revision + 1 RETURN e.revision AS n"
FORMER_CALLS = """
UNWIND $ids AS id MATCH (c:Call {id: id})
RETURN id, c.contribution AS contribution, c.contribution_at AS at, c.leadId AS lead_id
"""
FORMER_LEADS = "UNWIND $ids AS id MATCH (l:Lead {id: id}) RETURN id, properties(l) AS properties"
FORMER_CLOSERS = (
    "UNWIND $ids AS id MATCH (k:Kevin {name: id}) RETURN id, properties(k) AS properties"
)
FORGET = """
UNWIND $ids AS id
MATCH (c:Call {id: id})-[r:HAD_CALL|HAD_CONVERSATION|ENCOUNTERED_OBJECTION|USED_STRATEGY|HINTED|
  EXHIBITED_PATTERN|LED_TO_OUTCOME|KEVIN_AVAILABLE|TRANSFER_ATTEMPTED]-()
DELETE r
"""
# apart, because ArcadeDB looks at every node there is for a MERGE of two labels
NEW_CALLS = "UNWIND $rows AS row CREATE (c:Conversation:Call {id: row.id}) SET c = row.properties"
CALLS = "UNWIND $rows AS row MATCH (c:Call {id: row.id}) SET c = row.properties"
LEADS = "UNWIND $rows AS row MERGE (l:Lead {id: row.id}) SET l.leadId = row.id, l += row.properties"
# known by the user's own id since the CRM was down when the lead was called
LEADS_BY_ALIAS = "UNWIND $rows AS row MATCH (l:Lead {id: row.alias}) SET l += row.properties"
DELETE_LEADS = "UNWIND $ids AS id MATCH (l:Lead {id: id}) DETACH DELETE l"
WERE_ALL_TOLD = "MATCH (e:Evidence {name: 'leads'}) RETURN e.name AS name"
NOTE_ALL_TOLD = "MERGE (e:Evidence {name: 'leads'})"
CLOSERS = "UNWIND $rows AS row MERGE (k:Kevin {name: row.id}) SET k += row.properties"
PATTERNS = "UNWIND $rows AS row MERGE (p:Pattern {id: row.id}) SET p.type = row.type"
_FROM = "UNWIND $edges AS edge MATCH (c:Call {id: edge.of}) "
EDGES: Mapping[EdgeType, LiteralString] = {
    "HAD_CALL": _FROM + "MATCH (l:Lead {id: edge.to}) MERGE (l)-[:HAD_CALL]->(c)",
    "HAD_CONVERSATION": _FROM
    + """
MATCH (l:Lead {id: edge.to}) MERGE (l)-[r:HAD_CONVERSATION]->(c) SET r += edge.properties""",
    "ENCOUNTERED_OBJECTION": _FROM
    + """
MERGE (o:Objection {type: edge.to})
MERGE (c)-[r:ENCOUNTERED_OBJECTION {position: edge.position}]->(o) SET r += edge.properties""",
    "USED_STRATEGY": _FROM
    + """
MERGE (s:Strategy {name: edge.to})
MERGE (c)-[r:USED_STRATEGY {position: edge.position}]->(s) SET r += edge.properties""",
    "HINTED": _FROM
    + """
MERGE (s:Strategy {name: edge.to})
MERGE (c)-[r:HINTED {position: edge.position}]->(s) SET r += edge.properties""",
    "EXHIBITED_PATTERN": _FROM
    + """
MATCH (p:Pattern {id: edge.to}) MERGE (c)-[r:EXHIBITED_PATTERN]->(p) SET r += edge.properties""",
    "LED_TO_OUTCOME": _FROM + "MERGE (o:Outcome {type: edge.to}) MERGE (c)-[:LED_TO_OUTCOME]->(o)",
    "KEVIN_AVAILABLE": _FROM
    + """
MERGE (k:Kevin {name: edge.to})
MERGE (c)-[r:KEVIN_AVAILABLE]->(k) SET r += edge.properties""",
    "TRANSFER_ATTEMPTED": _FROM
    + """
MERGE (k:Kevin {name: edge.to})
MERGE (c)-[r:TRANSFER_ATTEMPTED {position: edge.position}]->(k) SET r += edge.properties""",
}
CALLS_OF_LEADS = """
UNWIND $lead_ids AS lead_id
MATCH (:Lead {id: lead_id})-[:HAD_CALL]->(c:Call)
RETURN lead_id, c.motivation_level AS motivation_level, c.skepticism_level AS skepticism_level,
  c.urgency AS urgency, c.pace AS pace, c.formality AS formality,
  c.technical_comfort AS technical_comfort
"""
LEAD_TRAITS = "UNWIND $rows AS row MATCH (l:Lead {id: row.lead_id}) SET l += row.traits"
_ANSWER = """
MERGE (s:Strategy {name: row.strategy}) MERGE (x)-[a:ANSWERED_BY]->(s)
SET a += row.properties WITH a WHERE a.tried <= 0 DELETE a"""
_OF_A_KIND = """
MERGE (x:Kind {scope: row.scope}) ON CREATE SET x.kind = row.kind MERGE (y)-[:FOR_KIND]->(x)"""
_KEPT = """
MATCH (x)-[a:ANSWERED_BY]->(s:Strategy) WHERE s.name IN row.strategies
RETURN row.scope AS scope, s.name AS strategy, properties(a) AS properties"""
# Counts for everybody hang on the phase or objection, counts of a kind of lead on a node of that
# kind: with all of them on one node a question had to look at every kind there is, and a write of
# one call took 890 ms instead of 70 at 100 kinds and 25 strategies a phase.
ANSWERED: Mapping[tuple[str, bool], LiteralString] = {
    ("objection", False): "UNWIND $rows AS row MERGE (x:Objection {type: row.name})" + _ANSWER,
    ("phase", False): "UNWIND $rows AS row MERGE (x:Phase {number: toInteger(row.name)})" + _ANSWER,
    ("objection", True): (
        "UNWIND $rows AS row MERGE (y:Objection {type: row.name})" + _OF_A_KIND + _ANSWER
    ),
    ("phase", True): (
        "UNWIND $rows AS row MERGE (y:Phase {number: toInteger(row.name)})" + _OF_A_KIND + _ANSWER
    ),
}
# what is kept there before it is written
FORMER_ANSWERED: Mapping[tuple[str, bool], LiteralString] = {
    ("objection", False): "UNWIND $rows AS row MATCH (x:Objection {type: row.name})" + _KEPT,
    ("phase", False): "UNWIND $rows AS row MATCH (x:Phase {number: toInteger(row.name)})" + _KEPT,
    ("objection", True): "UNWIND $rows AS row MATCH (x:Kind {scope: row.scope})" + _KEPT,
    ("phase", True): "UNWIND $rows AS row MATCH (x:Kind {scope: row.scope})" + _KEPT,
}
# read and write of the tally that a counted node carries, by what is counted
TALLIES: Mapping[str, tuple[LiteralString, LiteralString]] = {
    "strategy": (
        "UNWIND $keys AS key MATCH (x:Strategy {name: key}) RETURN key, x.tally AS tally",
        "UNWIND $rows AS row MERGE (x:Strategy {name: row.key}) SET x += row.properties",
    ),
    "objection": (
        "UNWIND $keys AS key MATCH (x:Objection {type: key}) RETURN key, x.tally AS tally",
        "UNWIND $rows AS row MERGE (x:Objection {type: row.key}) SET x += row.properties",
    ),
    "pattern": (
        "UNWIND $keys AS key MATCH (x:Pattern {id: key}) RETURN key, x.tally AS tally",
        "UNWIND $rows AS row MERGE (x:Pattern {id: row.key}) SET x += row.properties",
    ),
}
TOTALS = """
MATCH (e:Evidence {name: 'all'})
SET e.calls = e.calls + $calls, e.transferred = e.transferred + $transferred
RETURN e.calls AS calls, e.transferred AS transferred
"""
USES = """
MATCH (s:Strategy)
RETURN s.name AS name, coalesce(s.calls, 0) AS calls, coalesce(s.transferred, 0) AS transferred
"""
CORRELATIONS = """
UNWIND $rows AS row MATCH (s:Strategy {name: row.name})
SET s.kevin_transfer_correlation = row.correlation
"""

CALL_IDS = "MATCH (c:Call) WHERE c.id > $after RETURN c.id AS id ORDER BY c.id LIMIT $most"
# the nodes that calls have edges with
BESIDE = """
UNWIND $ids AS id MATCH (c:Call {id: id})--(n)
RETURN DISTINCT labels(n)[0] AS label, coalesce(n.id, n.name, n.type) AS key
"""
REMOVE_CALLS = "UNWIND $ids AS id MATCH (c:Call {id: id}) DETACH DELETE c"
# what nothing leads to any more; a kind first, since it hangs on a phase or an objection
ORPHANS: Mapping[str, LiteralString] = {
    "Kind": (
        "UNWIND $keys AS key MATCH (x:Kind {scope: key})"
        " WHERE NOT (x)-[:ANSWERED_BY]->() DETACH DELETE x"
    ),
    "Phase": "UNWIND $keys AS key MATCH (x:Phase {number: key}) WHERE NOT (x)--() DELETE x",
    "Objection": "UNWIND $keys AS key MATCH (x:Objection {type: key}) WHERE NOT (x)--() DELETE x",
    "Strategy": "UNWIND $keys AS key MATCH (x:Strategy {name: key}) WHERE NOT (x)--() DELETE x",
    "Pattern": "UNWIND $keys AS key MATCH (x:Pattern {id: key}) WHERE NOT (x)--() DELETE x",
    "Outcome": "UNWIND $keys AS key MATCH (x:Outcome {type: key}) WHERE NOT (x)--() DELETE x",
    "Kevin": "UNWIND $keys AS key MATCH (x:Kevin {name: key}) WHERE NOT (x)--() DELETE x",
    "Lead": "UNWIND $keys AS key MATCH (x:Lead {id: key}) WHERE NOT (x)--() DELETE x",
}
# who was seen last in a call that is gone, with the calls that are left; and what to write then
LEADS_LAST_SEEN: tuple[LiteralString, LiteralString] = (
    """
UNWIND $leads AS id MATCH (l:Lead {id: id})-[:HAD_CALL]->(c:Call) WHERE l.seen_call IN $gone
RETURN id AS key, c.id AS call, c.startTime AS started_at, c.duration AS s, null AS available
""",
    """
UNWIND $rows AS row MATCH (l:Lead {id: row.id}) SET l.seen_at = row.at, l.seen_call = row.call
""",
)
CLOSERS_LAST_SEEN: tuple[LiteralString, LiteralString] = (
    """
MATCH (k:Kevin) WHERE k.seen_call IN $gone MATCH (c:Call)-[r:KEVIN_AVAILABLE]->(k)
RETURN k.name AS key, c.id AS call, c.startTime AS started_at, c.duration AS s,
       r.available AS available
""",
    """
UNWIND $rows AS row MATCH (k:Kevin {name: row.id})
SET k.seen_at = row.at, k.seen_call = row.call, k.availability = row.available
""",
)
# each in steps until it finds nothing; calls first, since the edges are theirs
CLEAR: tuple[LiteralString, ...] = (
    # the newest ids first: ArcadeDB looks for an edge of a busy node from its newest on
    "MATCH (x:Call) WITH x ORDER BY x.id DESC LIMIT $most DETACH DELETE x RETURN count(x) AS n",
    "MATCH (x:Kind) WITH x LIMIT $most DETACH DELETE x RETURN count(x) AS n",
    "MATCH (x:Phase) WITH x LIMIT $most DETACH DELETE x RETURN count(x) AS n",
    "MATCH (x:Objection) WITH x LIMIT $most DETACH DELETE x RETURN count(x) AS n",
    "MATCH (x:Strategy) WITH x LIMIT $most DETACH DELETE x RETURN count(x) AS n",
    "MATCH (x:Pattern) WITH x LIMIT $most DETACH DELETE x RETURN count(x) AS n",
    "MATCH (x:Outcome) WITH x LIMIT $most DETACH DELETE x RETURN count(x) AS n",
    "MATCH (x:Kevin) WITH x LIMIT $most DETACH DELETE x RETURN count(x) AS n",
    "MATCH (x:Lead) WITH x LIMIT $most DETACH DELETE x RETURN count(x) AS n",
    # after the leads: they are all told anew
    "MATCH (x:Evidence {name: 'leads'}) WITH x LIMIT $most DELETE x RETURN count(x) AS n",
    "MATCH (e:Evidence {name: 'all'}) SET e.calls = 0, e.transferred = 0 RETURN 0 AS n",
)

READ_CALLS = "UNWIND $ids AS id MATCH (c:Call {id: id}) RETURN id, properties(c) AS properties"
READ_LEADS = "UNWIND $ids AS id MATCH (l:Lead {id: id}) RETURN id, properties(l) AS properties"
READ_EDGES = """
UNWIND $ids AS id MATCH (c:Call {id: id})-[r]-(n)
RETURN id, type(r) AS type, properties(r) AS properties, coalesce(n.id, n.name, n.type) AS to
"""
# one count per label and one of all edges: both servers know these without looking at each
COUNTS = """
MATCH (n:Lead) WITH count(n) AS n RETURN 'leads' AS kind, n
UNION ALL MATCH (n:Call) WITH count(n) AS n RETURN 'calls' AS kind, n
UNION ALL MATCH (n:Objection) WITH count(n) AS n RETURN 'objections' AS kind, n
UNION ALL MATCH (n:Strategy) WITH count(n) AS n RETURN 'strategies' AS kind, n
UNION ALL MATCH (n:Pattern) WITH count(n) AS n RETURN 'patterns' AS kind, n
UNION ALL MATCH (n:Outcome) WITH count(n) AS n RETURN 'outcomes' AS kind, n
UNION ALL MATCH (n:Kevin) WITH count(n) AS n RETURN 'closers' AS kind, n
UNION ALL MATCH ()-[r]->() WITH count(r) AS n RETURN 'edges' AS kind, n
"""
REVISION = "MATCH (e:Evidence {name: 'all'}) RETURN e.revision AS n"
CONTRIBUTIONS = """
MATCH (c:Call) WHERE c.id > $after
RETURN c.id AS id, c.contribution AS contribution, c.contribution_at AS at ORDER BY c.id LIMIT $most
"""
ALL_ANSWERED = """
MATCH (x:Phase)-[a:ANSWERED_BY]->(s:Strategy)
RETURN 'phase:' + toString(x.number) AS scope, '' AS kind, s.name AS strategy,
       properties(a) AS properties
UNION ALL MATCH (x:Objection)-[a:ANSWERED_BY]->(s:Strategy)
RETURN 'objection:' + x.type AS scope, '' AS kind, s.name AS strategy, properties(a) AS properties
UNION ALL MATCH (x:Kind)-[a:ANSWERED_BY]->(s:Strategy)
RETURN x.scope AS scope, x.kind AS kind, s.name AS strategy, properties(a) AS properties
"""
COUNTED_NODES = """
MATCH (x:Strategy) RETURN 'strategy' AS counter, x.name AS key, properties(x) AS properties
UNION ALL
MATCH (x:Objection) RETURN 'objection' AS counter, x.type AS key, properties(x) AS properties
UNION ALL
MATCH (x:Pattern) RETURN 'pattern' AS counter, x.id AS key, properties(x) AS properties
"""
READ_TOTALS = """
MATCH (e:Evidence {name: 'all'}) RETURN e.calls AS calls, e.transferred AS transferred
"""
SET_TOTALS = """
MATCH (e:Evidence {name: 'all'}) SET e.calls = $calls, e.transferred = $transferred
"""
SCHEMA_NAMES: Mapping[str, LiteralString] = {
    "constraint": "SHOW CONSTRAINTS YIELD name RETURN name",
    "index": "SHOW INDEXES YIELD name RETURN name",
}
