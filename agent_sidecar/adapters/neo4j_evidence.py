"""Evidence from the graph: how often each strategy was tried in such a moment, and what followed.

One cheap read of counts that were kept when calls ended; nothing is added up while a call waits.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import cast

from agent_sidecar.adapters.bolt import Bolt, Row
from agent_sidecar.adapters.neo4j_counts import read_answers
from agent_sidecar.domain.hints import Evidence, Question, Retrieved
from agent_sidecar.domain.tally import EVERYBODY, contexts, days, kinds, scope
from agent_sidecar.domain.types import StrategyName

# one row per scope: rows cost more than what is in them (125 rows 9 ms, 5 rows 3 ms)
IN_PHASE = """
MATCH (:Phase {number: $phase})-[a:ANSWERED_BY]->(s:Strategy)
RETURN 'phase:' + toString($phase) AS scope,
       collect([s.name, properties(a)]) AS found
UNION ALL
MATCH (k:Kind)-[a:ANSWERED_BY]->(s:Strategy) WHERE k.scope IN $scopes
RETURN k.scope AS scope, collect([s.name, properties(a)]) AS found
"""
IN_PHASE_AND_ON_OBJECTION = (
    IN_PHASE
    + """
UNION ALL
MATCH (:Objection {type: $objection})-[a:ANSWERED_BY]->(s:Strategy)
RETURN 'objection:' + $objection AS scope,
       collect([s.name, properties(a)]) AS found
"""
)
EVERYTHING = """
MATCH (p:Phase)-[a:ANSWERED_BY]->(s:Strategy)
RETURN 'phase:' + toString(p.number) AS scope,
       collect([s.name, properties(a)]) AS found
UNION ALL
MATCH (o:Objection)-[a:ANSWERED_BY]->(s:Strategy)
RETURN 'objection:' + o.type AS scope, collect([s.name, properties(a)]) AS found
UNION ALL
MATCH (k:Kind)-[a:ANSWERED_BY]->(s:Strategy)
RETURN k.scope AS scope, collect([s.name, properties(a)]) AS found
"""


class Neo4jEvidence:
    """The retriever of evidence; knows every scope from the lead's own kind to everybody."""

    name = "neo4j"

    def __init__(self, bolt: Bolt) -> None:
        self._bolt = bolt

    async def retrieve(self, question: Question) -> Retrieved:
        """Answer for the question's phase and objection. Raises `StoreUnavailable`."""
        narrower = [kind for kind in kinds(question.lead_kind) if kind != EVERYBODY]
        moments = contexts(question.phase, question.objection)
        scopes = [scope(moment, kind) for moment in moments for kind in narrower]
        if question.objection is None:
            rows = await self._bolt.ask(IN_PHASE, phase=question.phase, scopes=scopes)
        else:
            rows = await self._bolt.ask(
                IN_PHASE_AND_ON_OBJECTION,
                phase=question.phase,
                objection=question.objection,
                scopes=scopes,
            )
        return Retrieved(evidence=tuple(_evidence(rows, question.at)))

    async def everything(self, at: datetime) -> Sequence[Evidence]:
        """Return all evidence there is as of a time, to answer from when the graph is late."""
        return tuple(_evidence(await self._bolt.read(EVERYTHING), at))


def _evidence(rows: Iterable[Row], at: datetime | None) -> Iterable[Evidence]:
    for row in rows:
        for strategy, properties in cast(list[tuple[str, Row]], row["found"]):
            kept = read_answers(properties)
            yield Evidence(
                strategy=StrategyName(strategy),
                scope=str(row["scope"]),
                tried=kept.tried,
                lifted=kept.lifted,
                won=kept.won,
                sunk=kept.sunk,
                recent=kept.recent(kept.at_days if at is None else days(at)),
            )
