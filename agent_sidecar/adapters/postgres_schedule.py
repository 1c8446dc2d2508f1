"""When closers work, in PostgreSQL: the stored half of `ports.Closers`.

Every change counts the closer's revision up in its own transaction, so that of two copies of a
schedule anybody can tell which is the newer.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, time
from uuid import UUID

from agent_sidecar.adapters.pg import Connection, PgPool
from agent_sidecar.domain.availability import Override, Schedule
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
# locks the row: two writers do not mix their hours, and the later one's override is the newer one
_COUNT_UP = "UPDATE closers SET revision = revision + 1, updated_at = now() WHERE name = $1"
_GET_CLOSER = "SELECT name, number, timezone, revision FROM closers WHERE name = $1"
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
# made at the time of the statement: that of the transaction may be before the lock was had
_INSERT_OVERRIDE = """
INSERT INTO kevin_availability
    (id, closer, timezone, override_start, override_end, is_available, reason, created_at)
SELECT $2, name, timezone, $3, coalesce($4::timestamptz, 'infinity'), $5, $6, clock_timestamp()
FROM closers WHERE name = $1
ON CONFLICT (id) DO NOTHING
"""
# history stays readable; a calendar that Python cannot tell is as good as none; our clock may be
# behind the server's
_GET_OVERRIDES = """
SELECT id, greatest(override_start, '1970-01-01'::timestamptz) AS start_at,
    CASE WHEN override_end < '9000-01-01'::timestamptz THEN override_end END AS end_at,
    is_available, reason
FROM kevin_availability
WHERE closer = $1 AND is_active AND override_start < '9000-01-01'::timestamptz
    AND override_end > now() - interval '1 hour'
ORDER BY created_at DESC, id
"""
_REMOVE_OVERRIDE = """
UPDATE kevin_availability SET is_active = false
WHERE closer = $1 AND id = $2 AND is_active AND override_start IS NOT NULL RETURNING id
"""
# one that begins now was said by a process whose clock is a little ahead
_END_ABSENCE = """
UPDATE kevin_availability SET
    override_end = CASE
        WHEN override_start < $2::timestamptz THEN $2::timestamptz ELSE override_end END,
    is_active = override_start < $2::timestamptz
WHERE closer = $1 AND is_active AND NOT is_available
    AND override_start < $2::timestamptz + interval '1 minute'
    AND override_end > $2::timestamptz
"""
# How "any time" is stored, so that a query over the table finds it: a window whose end is not
# after its start ends the next day.
_ANY_TIME = tuple(Window(day_of_week=day, start=time(0), end=time(0)) for day in range(7))


class PostgresSchedule:
    """Closers, their weekly hours (0 = Sunday, in the closer's own zone) and overrides."""

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

    async def schedule(self, name: str) -> Schedule | None:
        """Return what is stored of a closer; None when he is unknown or has no hours left.

        Windows that a person switched off all together must not turn into "any time".
        """

        async def work(connection: Connection) -> Schedule | None:
            return await _read(connection, name)

        return await self._pool.transact(work, readonly=True)

    async def set_schedule(self, closer: Closer) -> Schedule | None:
        """Replace the closer's number, zone and weekly hours."""

        async def work(connection: Connection) -> None:
            await connection.execute(_PUT_CLOSER, closer.name, closer.number, closer.timezone)
            await connection.execute(_DELETE_WINDOWS, closer.name)
            await _insert_windows(connection, closer)

        return await self._change(closer.name, work)

    async def add_override(self, name: str, override: Override) -> Schedule | None:
        """Add it as the newest, once; of a closer who is not stored, do nothing."""

        async def work(connection: Connection) -> None:
            await connection.execute(
                _INSERT_OVERRIDE,
                name,
                UUID(override.override_id),
                override.start_at,
                override.end_at,
                override.is_available,
                override.reason,
            )

        return await self._change(name, work)

    async def remove_override(self, name: str, override_id: str) -> Schedule | None:
        """Take it back, kept as switched off; None: he has no such override."""
        try:
            known = UUID(override_id)
        except ValueError:
            return None
        found = False

        async def work(connection: Connection) -> None:
            nonlocal found
            found = await connection.fetchval(_REMOVE_OVERRIDE, name, known) is not None

        schedule = await self._change(name, work)
        return schedule if found else None

    async def end_absence(self, name: str, at: datetime) -> Schedule | None:
        """End every override that keeps him off at this moment."""

        async def work(connection: Connection) -> None:
            await connection.execute(_END_ABSENCE, name, at)

        return await self._change(name, work)

    async def _change(
        self, name: str, change: Callable[[Connection], Awaitable[None]]
    ) -> Schedule | None:
        async def work(connection: Connection) -> Schedule | None:
            await connection.execute(_COUNT_UP, name)
            await change(connection)
            return await _read(connection, name)

        return await self._pool.transact(work)


async def _read(connection: Connection, name: str) -> Schedule | None:
    closer = await connection.fetchrow(_GET_CLOSER, name)
    if closer is None:
        return None
    hours = tuple(
        Window(day_of_week=row["day_of_week"], start=row["start_time"], end=row["end_time"])
        for row in await connection.fetch(_GET_WINDOWS, name)
    )
    if not hours:
        return None
    overrides = tuple(
        Override(
            override_id=str(row["id"]),
            start_at=row["start_at"],
            end_at=row["end_at"],
            is_available=row["is_available"],
            reason=row["reason"],
        )
        for row in await connection.fetch(_GET_OVERRIDES, name)
    )
    return Schedule(
        closer=Closer(
            name=closer["name"],
            number=closer["number"],
            timezone=closer["timezone"],
            hours=() if hours == _ANY_TIME else hours,
        ),
        overrides=overrides,
        revision=closer["revision"],
    )


async def _insert_windows(connection: Connection, closer: Closer) -> None:
    await connection.executemany(
        _INSERT_WINDOW,
        [
            (closer.name, closer.timezone, window.day_of_week, window.start, window.end)
            for window in closer.hours or _ANY_TIME
        ],
    )
