"""Evidence from the graph: how often each strategy was tried in such a moment, and what followed.

One cheap read of counts that were kept when calls ended; nothing is added up while a call waits.
"""

from collections.abc import Iterable, Sequence
from typing import cast

from agent_sidecar.adapters.bolt import Bolt, Row
from agent_sidecar.domain.hints import Evidence, Question, Retrieved
from agent_sidecar.domain.tally import kinds, scope
from agent_sidecar.domain.types import StrategyName

IN_PHASE = """
MATCH (:Phase {number: $phase})-[a:ANSWERED_BY]->(s:Strategy) WHERE a.kind IN $kinds
RETURN 'phase:' + toString($phase) AS context, a.kind AS kind, s.name AS strategy,
       a.tried AS tried, a.lifted AS lifted, a.won AS won
"""
IN_PHASE_AND_ON_OBJECTION = (
    IN_PHASE
    + """
UNION ALL
MATCH (:Objection {type: $objection})-[a:ANSWERED_BY]->(s:Strategy) WHERE a.kind IN $kinds
RETURN 'objection:' + $objection AS context, a.kind AS kind, s.name AS strategy,
       a.tried AS tried, a.lifted AS lifted, a.won AS won
"""
)
EVERYTHING = """
MATCH (p:Phase)-[a:ANSWERED_BY]->(s:Strategy)
RETURN 'phase:' + toString(p.number) AS context, a.kind AS kind, s.name AS strategy,
       a.tried AS tried, a.lifted AS lifted, a.won AS won
UNION ALL
MATCH (o:Objection)-[a:ANSWERED_BY]->(s:Strategy)
RETURN 'objection:' + o.type AS context, a.kind AS kind, s.name AS strategy,
       a.tried AS tried, a.lifted AS lifted, a.won AS won
"""


class Neo4jEvidence:
    """The retriever of evidence; knows every scope from the lead's own kind to everybody."""

    name = "neo4j"

    def __init__(self, bolt: Bolt) -> None:
        self._bolt = bolt

    async def retrieve(self, question: Question) -> Retrieved:
        """Answer for the question's phase and objection. Raises `StoreUnavailable`."""
        wanted = list(kinds(question.lead_kind))
        if question.objection is None:
            rows = await self._bolt.read(IN_PHASE, phase=question.phase, kinds=wanted)
        else:
            rows = await self._bolt.read(
                IN_PHASE_AND_ON_OBJECTION,
                phase=question.phase,
                objection=question.objection,
                kinds=wanted,
            )
        return Retrieved(evidence=tuple(_evidence(rows)))

    async def everything(self) -> Sequence[Evidence]:
        """Return all evidence there is, for a copy that answers when the graph is late."""
        return tuple(_evidence(await self._bolt.read(EVERYTHING)))


def _evidence(rows: Iterable[Row]) -> Iterable[Evidence]:
    for row in rows:
        yield Evidence(
            strategy=StrategyName(str(row["strategy"])),
            scope=scope(str(row["context"]), str(row["kind"])),
            tried=cast(int, row["tried"]),
            lifted=cast(int, row["lifted"]),
            won=cast(int, row["won"]),
        )
