"""How calls of a kind of lead end: the newest calls, grouped by what they share with a profile.

One pass over a bounded number of calls, whatever is stored; what the numbers mean is told by
`domain.insights`.
"""

from collections.abc import Sequence

from agent_sidecar.adapters.pg import Connection, PgPool
from agent_sidecar.domain.insights import CallGroup, Profile, Rates
from agent_sidecar.domain.tally import KIND_FIELDS

# a season of a team: what is older says less of today, and would cost more the longer we run
NEWEST_CALLS = 20_000

# a call that nobody learnt the end of counts as lost after a day, and not before
_GROUPS = """
WITH newest AS (
    SELECT lead_id, coalesce(qualified, false) AS qualified, transfer_successful, kevin_available
    FROM calls
    WHERE source IN ('live', 'import') AND (qualified IS NOT NULL
        OR (final_status = 'unknown' AND start_time < now() - interval '24 hours'))
    ORDER BY start_time DESC LIMIT $9
)
SELECT coalesce(lead_field(leads, $1) = $5, false) AS first,
    coalesce(lead_field(leads, $2) = $6, false) AS second,
    coalesce(lead_field(leads, $3) = $7, false) AS third,
    coalesce(lead_field(leads, $4) = $8, false) AS fourth,
    kevin_available AS closer_free, count(*) AS calls,
    count(*) FILTER (WHERE qualified) AS qualified,
    count(*) FILTER (WHERE transfer_successful) AS transferred
FROM newest LEFT JOIN leads ON leads.id = newest.lead_id
GROUP BY 1, 2, 3, 4, 5
"""


class PostgresInsights:
    """What the tables know of such leads."""

    def __init__(self, pool: PgPool) -> None:
        self._pool = pool

    async def success(self, profile: Profile) -> Sequence[CallGroup]:
        """Group the newest calls whose end is known. Raises `StoreUnavailable`."""
        known = len(profile.kind)
        padded = [*profile.kind, *([(None, None)] * KIND_FIELDS)][:KIND_FIELDS]
        names, values = zip(*padded, strict=True)

        async def work(connection: Connection) -> Sequence[CallGroup]:
            rows = await connection.fetch(_GROUPS, *names, *values, NEWEST_CALLS)
            return [
                CallGroup(
                    matches=tuple(row.values())[:known],
                    closer_free=row["closer_free"],
                    rates=Rates(
                        calls=row["calls"],
                        qualified=row["qualified"],
                        transferred=row["transferred"],
                    ),
                )
                for row in rows
            ]

        return await self._pool.transact(work, readonly=True)
