"""Which leads the graph has yet to hear of: the table `lead_changes`, filled by triggers.

One process at a time tells them, so an older state is never told after a newer one. The lock is of
the transaction that tells, as PgBouncer wants it, and of nothing else: nobody who looks up or
changes a lead waits for the graph.
"""

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import asyncpg

from agent_sidecar.adapters.pg import Connection, PgPool, lead_rows
from agent_sidecar.ports import ChangedLead

# the number only has to be ours, and another than that of migrations
_LOCK = "SELECT pg_try_advisory_xact_lock(718150412)"
_OLDEST = """
SELECT changes.lead_id, changes.number, leads.*
FROM lead_changes AS changes LEFT JOIN leads ON leads.id = changes.lead_id
ORDER BY changes.number LIMIT $1
"""
# What is locked is being changed again, and stays. Without the number it would be forgotten that a
# lead changed while the graph was told of it.
_FORGET = """
DELETE FROM lead_changes WHERE lead_id IN (
    SELECT changes.lead_id
    FROM lead_changes AS changes
    JOIN unnest($1::uuid[], $2::bigint[]) AS told (lead_id, number) USING (lead_id, number)
    ORDER BY changes.lead_id FOR UPDATE OF changes SKIP LOCKED)
"""
_CHANGE_ALL = "INSERT INTO lead_changes (lead_id) SELECT id FROM leads ON CONFLICT DO NOTHING"


class PostgresLeadChanges:
    """`wrapup.lead_feed.LeadChanges`."""

    def __init__(self, pool: PgPool) -> None:
        self._pool = pool

    async def tell(
        self, take: Callable[[Sequence[ChangedLead]], Awaitable[None]], *, most: int
    ) -> int:
        """Give what changed first to `take`, and forget it when that returns; 0: nothing to tell.

        Nor is there anything while another process tells. What `take` raises, goes on.
        """

        async def work(connection: Connection) -> int:
            if not await connection.fetchval(_LOCK):
                return 0
            rows = await connection.fetch(_OLDEST, most)
            if rows:
                await take([_changed(row) for row in rows])
                ids: list[UUID] = [row["lead_id"] for row in rows]
                await connection.execute(_FORGET, ids, [row["number"] for row in rows])
            return len(rows)

        return await self._pool.transact(work)

    async def change_all(self) -> None:
        """Count every lead as changed: the graph knows none of them."""

        async def work(connection: Connection) -> None:
            await connection.execute(_CHANGE_ALL)

        await self._pool.transact(work)


def _changed(row: asyncpg.Record) -> ChangedLead:
    return ChangedLead(
        lead_id=str(row["lead_id"]), lead=None if row["id"] is None else lead_rows.lead_of(row)
    )
