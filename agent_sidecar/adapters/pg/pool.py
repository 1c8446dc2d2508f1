"""Connections to one PostgreSQL: opened when needed, work in transactions, errors in our words.

Made to go through PgBouncer in transaction mode: nothing outlives a transaction on the server, no
session settings, locks or listeners, and with `pooled` not even a prepared statement.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Self, TypeAlias, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from agent_sidecar.adapters.pg.address import PgAddress
from agent_sidecar.errors import RecordRejected, SidecarError, StoreUnavailable
from agent_sidecar.telemetry import ResponseTimes

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"
_T = TypeVar("_T")

# Work is idempotent, so it may run again: after losing a race, and on a connection that the server
# had closed while it lay idle.
_ATTEMPTS = 3
_WORTH_ANOTHER_TRY = (
    asyncpg.TransactionRollbackError,
    asyncpg.UniqueViolationError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.ConnectionDoesNotExistError,
)
# the record is at fault, not the server
_REFUSED_BY_CONTENT = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)
_FAILURES = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
_CLOSE_S = 5.0


class PgPool:
    """The connections that all adapters of one server share; nothing is connected before use.

    `setting` is what errors tell a person to look at. Times are wall seconds: a sleeping cloud
    database may take several to accept its first connection.
    """

    def __init__(
        self,
        url: str,
        *,
        setting: str = "SIDECAR_POSTGRES_URL",
        connections: int = 8,
        connect_s: float = 15.0,
        command_s: float = 10.0,
        times: ResponseTimes | None = None,
    ) -> None:
        self._address = PgAddress.parse(url, setting=setting)
        self._setting = setting
        self._connections = connections
        self._connect_s = connect_s
        self._command_s = command_s
        self._times = times or ResponseTimes()
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._opening = asyncio.Lock()
        self._is_closed = False

    async def transact(
        self, work: Callable[[Connection], Awaitable[_T]], *, readonly: bool = False
    ) -> _T:
        """Run `work` in one transaction, again from its beginning when it may succeed then.

        Raises `StoreUnavailable` or `RecordRejected`.
        """
        attempt = 1
        while True:
            try:
                with self._times.measured():
                    return await self._transact(work, readonly=readonly)
            except _FAILURES as exc:
                if attempt == _ATTEMPTS or not isinstance(exc, _WORTH_ANOTHER_TRY):
                    raise self._translated(exc) from exc
            attempt += 1

    async def ping(self) -> None:
        """Ask the server something. Raises `StoreUnavailable`."""

        async def ask(connection: Connection) -> None:
            await connection.fetchval("SELECT 1")

        await self.transact(ask, readonly=True)

    async def aclose(self) -> None:
        """End all connections, for good; what still runs gets a few seconds."""
        self._is_closed = True
        async with self._opening:
            pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_S):
                await pool.close()
        except TimeoutError:
            pool.terminate()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def _transact(self, work: Callable[[Connection], Awaitable[_T]], *, readonly: bool) -> _T:
        pool = await self._open()
        async with (
            pool.acquire(timeout=self._connect_s) as connection,
            connection.transaction(readonly=readonly),
        ):
            return await work(connection)

    async def _open(self) -> "asyncpg.Pool[asyncpg.Record]":
        async with self._opening:
            if self._is_closed:
                raise asyncpg.InterfaceError("the pool is closed")
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._address.dsn,
                    # Opens nothing now, and keeps asyncpg from reconnecting in the background,
                    # with a traceback in the log for each try while the server is down.
                    min_size=0,
                    max_size=self._connections,
                    timeout=self._connect_s,
                    command_timeout=self._command_s,
                    statement_cache_size=0 if self._address.pooled else 100,
                    reset=_leave_as_it_is,
                )
            return self._pool

    def _translated(self, exc: BaseException) -> SidecarError:
        where = f"PostgreSQL at {self._address.place}"
        if isinstance(exc, _REFUSED_BY_CONTENT):
            return RecordRejected(f"{where} refuses this: {_reason(exc)}")
        return StoreUnavailable(f"{where}: {_reason(exc)}. What to do: {self._advice(exc)}")

    def _advice(self, exc: BaseException) -> str:
        sqlstate = getattr(exc, "sqlstate", None) or ""
        if sqlstate == "42501":
            return f"give the user of {self._setting} the right to its tables"
        if sqlstate == "42P07":
            return (
                f"tables of that name are not ours: name a database of its own in {self._setting}"
            )
        if sqlstate.startswith("42"):
            return "run `agent-sidecar migrate`, which brings the tables to this version"
        if sqlstate.startswith("28"):
            return f"check user and password in {self._setting}"
        if sqlstate.startswith("3D"):
            return f"create the database, or name another in {self._setting}"
        return f"check that it runs and that {self._setting} leads to it"


async def _leave_as_it_is(connection: object) -> None:
    """Save a round trip per use: no work of ours leaves a session state to reset."""


def _reason(exc: BaseException) -> str:
    """Say what happened without the values: they may be names, numbers or words of a call."""
    if isinstance(exc, asyncpg.PostgresError):
        # the driver puts values after the first colon, the server into the detail
        said = str(exc.message or exc).partition(":")[0]
        names = [exc.table_name, exc.column_name, exc.constraint_name]
        place = ", ".join(name for name in names if name)
        return f"{said} ({place})" if place and place not in said else said
    if isinstance(exc, TimeoutError) and not str(exc):
        return "no answer in time"
    return str(exc) or type(exc).__name__
