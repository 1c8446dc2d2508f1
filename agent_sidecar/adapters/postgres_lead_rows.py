"""Leads as rows that can be forgotten: found by anything that names one, removed with his calls."""

from collections.abc import Collection, Sequence

from agent_sidecar.adapters.pg import Connection, PgPool, lead_rows
from agent_sidecar.domain.erasure import Person
from agent_sidecar.domain.types import CallId, Lead

# the same rule as `domain.erasure.is_same_number`: one of two may be without its country's prefix
_NAMED = r"""
SELECT * FROM leads
WHERE id::text = ANY($1::text[]) OR external_id = ANY($2::text[]) OR email = ANY($3::text[])
    OR EXISTS (
        SELECT FROM unnest($4::text[]) AS asked,
            unnest(ARRAY[phone, extra ->> 'phone']) AS written,
            regexp_replace(written, '\D', '', 'g') AS digits
        WHERE digits = asked
            OR length(asked) >= 10 AND right(digits, length(asked)) = asked
            OR length(digits) >= 10 AND right(asked, length(digits)) = digits
    )
"""
_CALLS_OF = "SELECT call_id FROM calls WHERE lead_id::text = ANY($1::text[])"
# a transfer of a call that somebody wrote by himself may name the lead too
_FORGET = """
DELETE FROM leads WHERE id::text = ANY($1::text[])
    AND NOT EXISTS (SELECT FROM calls WHERE calls.lead_id = leads.id)
RETURNING id
"""


class PostgresLeadRows:
    """`ports.LeadRows`."""

    def __init__(self, pool: PgPool) -> None:
        self._pool = pool

    async def named(self, person: Person) -> Sequence[Lead]:
        async def work(connection: Connection) -> Sequence[Lead]:
            rows = await connection.fetch(
                _NAMED,
                list(person.lead_ids),
                list(person.external_ids),
                list(person.emails),
                list(person.phones),
            )
            return [lead_rows.lead_of(row) for row in rows]

        return await self._pool.transact(work, readonly=True)

    async def calls_of(self, lead_ids: Collection[str]) -> Sequence[CallId]:
        async def work(connection: Connection) -> Sequence[CallId]:
            rows = await connection.fetch(_CALLS_OF, list(lead_ids))
            return [CallId(row["call_id"]) for row in rows]

        return await self._pool.transact(work, readonly=True)

    async def forget(self, lead_ids: Collection[str]) -> int:
        async def work(connection: Connection) -> int:
            return len(await connection.fetch(_FORGET, list(lead_ids)))

        return await self._pool.transact(work)
