"""The daily learning metrics in PostgreSQL: facts out of calls and transfers, rows into a table.

Everything is counted anew each time, so that no correction, erasure or late record can be missed:
one pass over a few columns, no document. Passes of several processes wait for each other, so that
the last one to write is the last one to have looked.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import fields
from datetime import date, datetime

import asyncpg

from agent_sidecar.adapters.pg import Connection, PgPool
from agent_sidecar.domain.metrics import UNANSWERED, DayFacts, LearningDay
from agent_sidecar.domain.types import EVIDENCE_SOURCES

# the number only has to be ours
_LOCK = "SELECT pg_advisory_xact_lock(718150412)"
# a row that others wrote may lack its status and its end
_FACTS = """
WITH of_calls AS (
    SELECT (start_time AT TIME ZONE $1)::date AS metric_date,
        count(*) FILTER (WHERE final_status IS DISTINCT FROM $2) AS answered,
        count(*) FILTER (WHERE final_status IS DISTINCT FROM $2
            AND (qualified IS NOT NULL OR coalesce(end_time, start_time) <= $3)) AS counted,
        count(*) FILTER (WHERE final_status IS DISTINCT FROM $2 AND qualified) AS qualified,
        count(engagement_score) FILTER (WHERE final_status IS DISTINCT FROM $2) AS scored,
        coalesce(sum(engagement_score) FILTER (WHERE final_status IS DISTINCT FROM $2), 0)
            AS engagement_sum,
        sum(hints_judged) AS hints_judged, sum(hints_came_true) AS hints_came_true
    FROM calls WHERE source = ANY($4::text[]) GROUP BY 1
), of_transfers AS (
    SELECT (start_time AT TIME ZONE $1)::date AS metric_date,
        count(*) AS transfers, count(bridged_at) AS bridged
    FROM transfers JOIN calls ON calls.id = transfers.call_id
    WHERE source = ANY($4::text[]) GROUP BY 1
)
SELECT of_calls.*, coalesce(transfers, 0) AS transfers, coalesce(bridged, 0) AS bridged
FROM of_calls LEFT JOIN of_transfers USING (metric_date)
"""
_ROWS = """
SELECT metric_date, total_calls, qualified_rate, avg_engagement_score, transfer_success_rate,
    pattern_recognition_accuracy, beast_mode_score, closed
FROM learning_metrics ORDER BY metric_date
"""
_UPSERT = """
INSERT INTO learning_metrics (metric_date, total_calls, qualified_rate, avg_engagement_score,
    transfer_success_rate, pattern_recognition_accuracy, beast_mode_score)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (metric_date) DO UPDATE SET total_calls = excluded.total_calls,
    qualified_rate = excluded.qualified_rate,
    avg_engagement_score = excluded.avg_engagement_score,
    transfer_success_rate = excluded.transfer_success_rate,
    pattern_recognition_accuracy = excluded.pattern_recognition_accuracy,
    beast_mode_score = excluded.beast_mode_score, updated_at = now()
"""
_DELETE = "DELETE FROM learning_metrics WHERE metric_date = ANY($1::date[]) AND NOT closed"
_CLOSE = "UPDATE learning_metrics SET closed = true WHERE metric_date = ANY($1::date[])"
_FACT_NAMES = tuple(one.name for one in fields(DayFacts))
_NAMES = tuple(one.name for one in fields(LearningDay))

MakeDays = Callable[[Sequence[DayFacts], Sequence[LearningDay]], Sequence[LearningDay]]


class PostgresMetrics:
    """`learning.metrics.DailyMetrics` on the table `learning_metrics`."""

    def __init__(self, pool: PgPool) -> None:
        self._pool = pool

    async def rewrite(self, make: MakeDays, *, zone: str, unknown_until: datetime) -> int:
        """Write the rows that are made of all calls; return how many were not as they should be."""

        async def work(connection: Connection) -> int:
            await connection.execute(_LOCK)
            sources = sorted(EVIDENCE_SOURCES)
            found = await connection.fetch(_FACTS, zone, UNANSWERED, unknown_until, sources)
            # the rows after the facts: of a day that is closed meanwhile the row stands
            rows = {row["metric_date"]: row for row in await connection.fetch(_ROWS)}
            facts = [DayFacts(**{name: row[name] for name in _FACT_NAMES}) for row in found]
            closed = [_day(row) for row in rows.values() if row["closed"]]
            days = make(facts, closed)
            changed = [
                d for d in days if d.metric_date not in rows or d != _day(rows[d.metric_date])
            ]
            gone = rows.keys() - {day.metric_date for day in days}
            if changed:
                values = [tuple(getattr(day, name) for name in _NAMES) for day in changed]
                await connection.executemany(_UPSERT, values)
            if gone:
                await connection.execute(_DELETE, sorted(gone))
            return len(changed) + len(gone)

        return await self._pool.transact(work)

    async def close(self, days: Collection[date]) -> None:
        """Let these rows stand, whatever becomes of their calls."""

        async def work(connection: Connection) -> None:
            await connection.execute(_LOCK)
            await connection.execute(_CLOSE, sorted(days))

        await self._pool.transact(work)

    async def days(self) -> Sequence[LearningDay]:
        """Return all rows, oldest first."""

        async def work(connection: Connection) -> Sequence[LearningDay]:
            return [_day(row) for row in await connection.fetch(_ROWS)]

        return await self._pool.transact(work, readonly=True)


def _day(row: asyncpg.Record) -> LearningDay:
    return LearningDay(**{name: row[name] for name in _NAMES})
