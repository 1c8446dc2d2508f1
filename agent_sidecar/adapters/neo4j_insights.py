"""What the graph says of a kind of lead: strategies, objections and their answers, patterns.

Everything is read from counts that were kept when calls ended, so that it costs the same however
many calls there are.
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import cast

from agent_sidecar.adapters.bolt import Bolt, Row
from agent_sidecar.domain.hints import Evidence
from agent_sidecar.domain.insights import (
    GOOD_PATTERN,
    PATTERNS,
    GraphAnswer,
    ObjectionFigures,
    PatternFigures,
    Profile,
)
from agent_sidecar.domain.playbook import PHASES
from agent_sidecar.domain.tally import EVERYBODY, scope
from agent_sidecar.domain.types import ObjectionType, StrategyName

# an edge that an older version wrote has no `sunk`: every other reaction passed for one
_SUMS = """
       sum(a.tried) AS tried, sum(a.lifted) AS lifted, sum(a.won) AS won,
       sum(coalesce(a.sunk, a.tried - a.lifted)) AS sunk
"""
# one row per kind or objection: rows cost more than what is in them
_FOUND = "collect([strategy, tried, lifted, won, sunk]) AS found"
STRATEGIES_OF_EVERYBODY = (
    """
MATCH (p:Phase)-[a:ANSWERED_BY]->(s:Strategy) WHERE p.number IN $phases
WITH s.name AS strategy,"""
    + _SUMS
    + "RETURN '' AS scope, "
    + _FOUND
)
STRATEGIES_OF_KINDS = (
    """
MATCH (k:Kind)-[a:ANSWERED_BY]->(s:Strategy) WHERE k.scope IN $scopes
WITH k.kind AS scope, s.name AS strategy,"""
    + _SUMS
    + "RETURN scope, "
    + _FOUND
)
ANSWERS = (
    """
MATCH (o:Objection)-[a:ANSWERED_BY]->(s:Strategy)
WITH 'objection:' + o.type AS scope, s.name AS strategy,"""
    + _SUMS
    + "RETURN scope, "
    + _FOUND
    + """
UNION ALL
MATCH (k:Kind)-[a:ANSWERED_BY]->(s:Strategy) WHERE k.scope IN $scopes
WITH k.scope AS scope, s.name AS strategy,"""
    + _SUMS
    + "RETURN scope, "
    + _FOUND
)
OBJECTIONS = """
MATCH (o:Objection) WHERE o.frequency > 0
RETURN o.type AS type, o.frequency AS met, o.resolved AS resolved,
       o.successful_responses AS responses
ORDER BY met DESC, type LIMIT 50
"""
GOOD_PATTERNS = """
MATCH (p:Pattern) WHERE p.effectiveness > $good AND p.calls > 0
RETURN p.id AS id, p.type AS type, p.effectiveness AS effectiveness, p.calls AS calls
ORDER BY calls DESC, effectiveness DESC, id LIMIT $most
"""


class Neo4jInsights:
    """What the graph knows of such leads."""

    def __init__(self, bolt: Bolt) -> None:
        self._bolt = bolt

    async def relationships(
        self, profile: Profile, objections: Sequence[ObjectionType]
    ) -> GraphAnswer:
        """Answer for the profile's kinds, and for these objections; all questions at once.

        Raises `StoreUnavailable`.
        """
        kinds = [kind for kind in profile.kinds if kind != EVERYBODY]
        phases = [profile.phase] if profile.phase else list(range(1, PHASES + 1))
        ask = self._bolt.ask
        everybody, of_kinds, answers, met, patterns = await asyncio.gather(
            ask(STRATEGIES_OF_EVERYBODY, phases=phases),
            ask(
                STRATEGIES_OF_KINDS, scopes=[scope(f"phase:{p}", k) for p in phases for k in kinds]
            ),
            ask(ANSWERS, scopes=[scope(f"objection:{o}", k) for o in objections for k in kinds]),
            ask(OBJECTIONS),
            ask(GOOD_PATTERNS, good=GOOD_PATTERN, most=PATTERNS),
        )
        return GraphAnswer(
            strategies=tuple(_evidence([*everybody, *of_kinds])),
            answers=tuple(_evidence(answers)),
            objections=tuple(_objection(row) for row in met),
            patterns=tuple(_pattern(row) for row in patterns),
        )


def _evidence(rows: Sequence[Row]) -> Iterator[Evidence]:
    for row in rows:
        found = cast(list[tuple[str, int, int, int, int]], row["found"])
        for strategy, tried, lifted, won, sunk in found:
            yield Evidence(
                strategy=StrategyName(strategy),
                scope=str(row["scope"]),
                tried=tried,
                lifted=lifted,
                won=won,
                sunk=sunk,
            )


def _objection(row: Row) -> ObjectionFigures:
    return ObjectionFigures(
        type=ObjectionType(str(row["type"])),
        met=cast(int, row["met"]),
        resolved=cast("int | None", row["resolved"]) or 0,
        responses=tuple(cast("list[str] | None", row["responses"]) or ()),
    )


def _pattern(row: Row) -> PatternFigures:
    return PatternFigures(
        id=str(row["id"]),
        type=str(row["type"]),
        effectiveness=cast(float, row["effectiveness"]),
        calls=cast(int, row["calls"]),
    )
