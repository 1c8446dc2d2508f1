"""Compares the graph's counts with what its calls have added, and sets them right.

Every call's node says what it has added; who compares those with the records, as `verify` does,
has proven the counts. A writer that comes between the reads would spoil the comparison, so the
revision that every writer counts up must be the same before and after.
"""

from collections.abc import Mapping, Sequence
from typing import LiteralString, cast

from agent_sidecar.adapters import neo4j_statements as cypher
from agent_sidecar.adapters.bolt import Bolt, Row, Run
from agent_sidecar.adapters.neo4j_counts import (
    answer_properties,
    read_answers,
    read_contribution,
)
from agent_sidecar.domain.count_audit import (
    AnswerKey,
    Corrections,
    Expected,
    Held,
    HeldNode,
)
from agent_sidecar.domain.tally import Answers, read_tally, scope, write_tally
from agent_sidecar.errors import StoreUnavailable

_CALLS, _ROWS = 500, 500
_TRIES = 3


class Neo4jAudit:
    """Compares the counts, and mends them."""

    def __init__(self, bolt: Bolt) -> None:
        self._bolt = bolt

    async def differences(self) -> Sequence[str] | None:
        """Name every count that is wrong; None: calls came all the time, so nobody can tell."""
        found = await self._corrections()
        return None if found is None else found[1].differences

    async def mend(self) -> Sequence[str] | None:
        """Set every wrong count right, in one transaction; return what was wrong, None as above."""
        for _ in range(_TRIES):
            found = await self._corrections()
            if found is None:
                return None
            revision, corrections = found
            if not corrections.differences or await self._write(revision, corrections):
                return corrections.differences
        return None

    async def _corrections(self) -> tuple[int, Corrections] | None:
        for _ in range(_TRIES):
            before = await self._revision()
            expected, held = await self._expected(), await self._held()
            if await self._revision() == before:
                return before, expected.corrections(held)
        return None

    async def _revision(self) -> int:
        rows = await self._bolt.read(cypher.REVISION)
        if not rows:
            raise StoreUnavailable("the graph has no schema yet: run `agent-sidecar migrate`")
        return cast(int, rows[0]["n"])

    async def _expected(self) -> Expected:
        expected = Expected()
        after = ""
        while rows := await self._bolt.read(cypher.CONTRIBUTIONS, after=after, most=_CALLS):
            after = str(rows[-1]["id"])
            for row in rows:
                contribution = read_contribution(row)
                expected.add(contribution.counts, contribution.at_days)
        return expected

    async def _held(self) -> Held:
        read = self._bolt.read
        answers: dict[AnswerKey, list[Answers]] = {}
        for row in await read(cypher.ALL_ANSWERED):
            kind = str(row["kind"] or "")
            context = str(row["scope"]).removesuffix(f"|{kind}" if kind else "")
            kept = read_answers(cast(Row, row["properties"]))
            answers.setdefault((context, kind, str(row["strategy"])), []).append(kept)
        nodes: dict[tuple[str, str], HeldNode] = {}
        for row in await read(cypher.COUNTED_NODES):
            properties = cast(Row, row["properties"])
            text = properties.get("tally")
            tally = read_tally(text) if isinstance(text, str) else None
            key = str(row["counter"]), str(row["key"])
            nodes[key] = HeldNode(tally=tally, properties=properties)
        (totals,) = await read(cypher.READ_TOTALS)
        return Held(
            answers=answers,
            nodes=nodes,
            totals=(cast(int, totals["calls"]), cast(int, totals["transferred"])),
        )

    async def _write(self, revision: int, corrections: Corrections) -> bool:
        """Write; False when somebody else wrote since `revision`."""

        async def work(run: Run) -> bool:
            rows = await run(cypher.LOCK)
            if cast(int, rows[0]["n"]) != revision + 1:
                return False
            # first away with what is there, which may be there twice
            await _set_answers(run, dict.fromkeys(corrections.answers, Answers()))
            await _set_answers(run, corrections.answers)
            for counter, (_, statement) in cypher.TALLIES.items():
                nodes = [
                    {"key": key, "properties": {**figures, "tally": write_tally(tally)}}
                    for (of, key), (tally, figures) in corrections.nodes.items()
                    if of == counter
                ]
                if nodes:
                    await run(statement, rows=nodes)
            if corrections.totals is not None:
                calls, transferred = corrections.totals
                await run(cypher.SET_TOTALS, calls=calls, transferred=transferred)
            return True

        return await self._bolt.write(work)


async def _set_answers(run: Run, answers: Mapping[AnswerKey, Answers]) -> None:
    by_statement: dict[LiteralString, list[dict[str, object]]] = {}
    for (context, kind, strategy), kept in answers.items():
        about, _, name = context.partition(":")
        row: dict[str, object] = {
            "name": name,
            "scope": scope(context, kind),
            "kind": kind,
            "strategy": strategy,
            "properties": answer_properties(kept),
        }
        by_statement.setdefault(cypher.ANSWERED[about, bool(kind)], []).append(row)
    for statement, rows in by_statement.items():
        for start in range(0, len(rows), _ROWS):
            await run(statement, rows=rows[start : start + _ROWS])
