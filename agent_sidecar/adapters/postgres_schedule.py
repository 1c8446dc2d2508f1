"""When closers work, in PostgreSQL: the stored half of `ports.Closers`."""

from collections.abc import Sequence
from datetime import time

from agent_sidecar.adapters.pg import Connection, PgPool
from agent_sidecar.domain.playbook import Closer, Window

_CREATE_CLOSER = """
INSERT INTO closers (name, number, timezone) VALUES ($1, $2, $3)
ON CONFLICT (name) DO NOTHING RETURNING name
"""
_PUT_CLOSER = """
INSERT INTO closers (name, number, timezone) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE
SET number = excluded.number, timezone = excluded.timezone, updated_at = now()
"""
_GET_CLOSER = "SELECT name, number, timezone FROM closers WHERE name = $1"
# overrides stay
_DELETE_WINDOWS = "DELETE FROM kevin_availability WHERE closer = $1 AND day_of_week IS NOT NULL"
_INSERT_WINDOW = """
INSERT INTO kevin_availability (closer, timezone, day_of_week, start_time, end_time)
VALUES ($1, $2, $3, $4, $5)
"""
_GET_WINDOWS = """
SELECT day_of_week, start_time, end_time FROM kevin_availability
WHERE closer = $1 AND is_active AND day_of_week IS NOT NULL
ORDER BY day_of_week, start_time, end_time
"""
# How "any time" is stored, so that a query over the table finds it: a window whose end is not
# after its start ends the next day.
_ANY_TIME = tuple(Window(day_of_week=day, start=time(0), end=time(0)) for day in range(7))


class PostgresSchedule:
    """Closers and their weekly hours; 0 = Sunday, in the closer's own zone."""

    def __init__(self, pool: PgPool) -> None:
        self._pool = pool

    async def load(self, closers: Sequence[Closer]) -> None:
        """Store closers and hours where the store has none of its own."""

        async def work(connection: Connection) -> None:
            for closer in closers:
                # one row decides who stores the hours when two processes start at once
                values = (closer.name, closer.number, closer.timezone)
                if await connection.fetchval(_CREATE_CLOSER, *values) is not None:
                    await _insert_windows(connection, closer)

        await self._pool.transact(work)

    async def schedule(self, name: str) -> Closer | None:
        """Return the closer with his stored hours; None when he is unknown or has none left.

        Windows that a person switched off all together must not turn into "any time".
        """

        async def work(connection: Connection) -> Closer | None:
            closer = await connection.fetchrow(_GET_CLOSER, name)
            if closer is None:
                return None
            hours = tuple(
                Window(day_of_week=row["day_of_week"], start=row["start_time"], end=row["end_time"])
                for row in await connection.fetch(_GET_WINDOWS, name)
            )
            if not hours:
                return None
            return Closer(
                name=closer["name"],
                number=closer["number"],
                timezone=closer["timezone"],
                hours=() if hours == _ANY_TIME else hours,
            )

        return await self._pool.transact(work, readonly=True)

    async def set_schedule(self, closer: Closer) -> None:
        """Replace the closer's number, zone and weekly hours."""

        async def work(connection: Connection) -> None:
            # the row stays locked, so that two writers do not mix their hours
            await connection.execute(_PUT_CLOSER, closer.name, closer.number, closer.timezone)
            await connection.execute(_DELETE_WINDOWS, closer.name)
            await _insert_windows(connection, closer)

        await self._pool.transact(work)


async def _insert_windows(connection: Connection, closer: Closer) -> None:
    await connection.executemany(
        _INSERT_WINDOW,
        [
            (closer.name, closer.timezone, window.day_of_week, window.start, window.end)
            for window in closer.hours or _ANY_TIME
        ],
    )
