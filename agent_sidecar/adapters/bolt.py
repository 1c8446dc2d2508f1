"""The driver of graph servers: sessions, transactions, time limits, and errors in our words.

Shared by the adapters that speak Bolt. Works on Neo4j and on servers that speak its protocol;
those that do not lock but refuse (ArcadeDB) get `serialize_writes`.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from importlib.resources.abc import Traversable
from types import TracebackType
from typing import LiteralString, Protocol, Self, TypeVar

from neo4j import READ_ACCESS, AsyncDriver, AsyncGraphDatabase, AsyncResult, AsyncTransaction, Query
from neo4j.exceptions import (
    AuthError,
    ClientError,
    ConfigurationError,
    ConstraintError,
    DatabaseError,
    DriverError,
    Neo4jError,
    ServiceUnavailable,
    SessionExpired,
    TransientError,
)
from neo4j.time import DateTime

from agent_sidecar.errors import RecordRejected, SettingsInvalid, StoreUnavailable
from agent_sidecar.telemetry import ResponseTimes

T = TypeVar("T")
Row = Mapping[str, object]

_CONNECT_S = 3.0
_SCHEMES = ("bolt", "bolt+s", "bolt+ssc", "neo4j", "neo4j+s", "neo4j+ssc")
# refused writes are tried again after 5, 10, 20 … ms
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.0025, 0.25
# a broken constraint is two writers that met, but it may be the data: then it stays broken
_CONSTRAINT_TRIES = 8
# a pooled connection may have died with its server: one fresh one is worth a try, more are not
_CONNECTION_TRIES = 2
# what the servers say when they, not the data, are the reason
_NOT_THE_DATA = (
    *("Timeout", "TimedOut", "DatabaseNotFound", "Security", "Terminated", "NotALeader"),
    # a commit that failed, when its disk is full for instance, as ArcadeDB says it
    "TransactionNotFound",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoltAddress:
    """Where the graph server answers, and as whom."""

    url: str
    user: str
    password: str = field(repr=False)
    # None: the server's own default
    database: str | None = None


class Run(Protocol):
    """Run one statement inside a transaction and return its rows."""

    async def __call__(self, statement: LiteralString, **parameters: object) -> list[Row]: ...


class Bolt:
    """One pool of connections to one graph server; an async context manager.

    Nothing connects before the first question, so a server may come later. `serialize_writes`
    lets one write transaction run at a time, for servers that answer concurrent ones with errors.
    `write_s` is for one whole write with its retries, `read_s` for one read, `ask_s` for what a
    live call asks: here, and on the server where it has such limits, for nobody waits any longer.
    """

    def __init__(
        self,
        address: BoltAddress,
        *,
        serialize_writes: bool = False,
        read_s: float = 5.0,
        ask_s: float = 1.0,
        write_s: float = 30.0,
        times: ResponseTimes | None = None,
    ) -> None:
        self._address = address
        self._read_s = read_s
        self._ask_s = ask_s
        self._write_s = write_s
        self._times = times or ResponseTimes()
        self._turn: AbstractAsyncContextManager[object] = (
            asyncio.Lock() if serialize_writes else nullcontext()
        )
        if address.url.partition("://")[0] not in _SCHEMES:
            raise _unusable(address.url, "it has another scheme")
        try:
            self._driver: AsyncDriver = AsyncGraphDatabase.driver(
                address.url,
                auth=(address.user, address.password),
                connection_timeout=_CONNECT_S,
                connection_acquisition_timeout=_CONNECT_S,
                # the driver would log one line per statement about labels that do not exist yet
                notifications_min_severity="OFF",
                telemetry_disabled=True,
            )
        except (ConfigurationError, ValueError) as exc:
            raise _unusable(address.url, str(exc)) from exc

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._driver.close()

    async def read(self, statement: LiteralString, **parameters: object) -> list[Row]:
        """Run one statement that only reads, at the lowest price: no transaction around it."""
        return await self._read(statement, parameters, within_s=self._read_s)

    async def ask(self, statement: LiteralString, **parameters: object) -> list[Row]:
        """Read what a live call waits for."""
        return await self._read(statement, parameters, within_s=self._ask_s)

    async def _read(
        self, statement: LiteralString, parameters: Mapping[str, object], *, within_s: float
    ) -> list[Row]:
        async def ask() -> list[Row]:
            async with self._driver.session(
                database=self._address.database, default_access_mode=READ_ACCESS
            ) as session:
                # the server stops too, where it can: a question nobody waits for costs others
                query = Query(statement, timeout=within_s)
                return await _rows(session.run(query, dict(parameters)))

        async with self._translated(within_s):
            with self._times.measured():
                return await _on_a_fresh_connection(ask)

    async def run(self, statement: LiteralString, **parameters: object) -> list[Row]:
        """Run one statement that changes the schema, by itself, as servers want it."""

        async def ask() -> list[Row]:
            async with self._driver.session(database=self._address.database) as session:
                return await _rows(session.run(Query(statement, timeout=self._write_s), parameters))

        async with self._translated(self._write_s), self._turn:
            return await _on_a_fresh_connection(ask)

    async def write(self, work: Callable[[Run], Awaitable[T]]) -> T:
        """Run `work` in one write transaction; refused by the server, again from its start."""
        # the turn is waited for before the clock runs: it is ours to give, not the server's
        async with self._translated(self._write_s), self._turn:
            with self._times.measured():
                return await self._write(work)

    async def _write(self, work: Callable[[Run], Awaitable[T]]) -> T:
        attempt = 0
        while True:  # until the time is up
            attempt += 1
            try:
                return await _on_a_fresh_connection(lambda: self._transaction(work))
            except (TransientError, ConstraintError) as exc:
                # two writers met: one of them was refused, and nothing of it was kept
                if isinstance(exc, ConstraintError) and attempt == _CONSTRAINT_TRIES:
                    raise
                wait_s = min(_FIRST_WAIT_S * 2.0 ** min(attempt, 10), _LONGEST_WAIT_S)
                await asyncio.sleep(wait_s * random.uniform(0.5, 1.5))  # noqa: S311

    async def product(self) -> str:
        """Ask the server what it is, as a person should read it."""
        async with self._translated(self._read_s):
            agent = (await self._driver.get_server_info()).agent
        if "ArcadeDB" in agent:
            return f"ArcadeDB {agent.rpartition('ArcadeDB')[2].strip(' )')} (Bolt)"
        return agent.replace("/", " ", 1)

    async def _transaction(self, work: Callable[[Run], Awaitable[T]]) -> T:
        async with (
            self._driver.session(database=self._address.database) as session,
            await session.begin_transaction(timeout=self._write_s) as transaction,
        ):
            result = await work(_runner(transaction))
            await transaction.commit()
            return result

    @asynccontextmanager
    async def _translated(self, budget_s: float) -> AsyncIterator[None]:
        where = f"the graph server at {self._address.url}"
        try:
            async with asyncio.timeout(budget_s):
                yield
        except TimeoutError as exc:
            raise StoreUnavailable(
                f"{where} did not answer within {budget_s:g} s: see whether it is overloaded"
            ) from exc
        except AuthError as exc:
            raise StoreUnavailable(
                f"{where} refused the login of {self._address.user!r}:"
                " mend SIDECAR_NEO4J_USER and SIDECAR_NEO4J_PASSWORD"
            ) from exc
        except (ServiceUnavailable, SessionExpired, OSError) as exc:
            raise StoreUnavailable(
                f"{where} does not answer ({_first_line(exc)}): start it, or mend SIDECAR_NEO4J_URL"
            ) from exc
        except (TransientError, DatabaseError, DriverError) as exc:
            raise StoreUnavailable(f"{where} failed ({_first_line(exc)}): see its log") from exc
        except ClientError as exc:
            code = exc.code or ""
            if "DatabaseNotFound" in code:
                raise StoreUnavailable(
                    f"{where} has no database {self._address.database!r}:"
                    " mend SIDECAR_NEO4J_DATABASE, or wait until it has started"
                ) from exc
            if any(word in code for word in _NOT_THE_DATA):
                raise StoreUnavailable(f"{where} stopped ({_first_line(exc)})") from exc
            raise RecordRejected(f"{where} refused this ({_first_line(exc)})") from exc
        except Neo4jError as exc:
            raise StoreUnavailable(f"{where} failed ({_first_line(exc)})") from exc


def numbered_statements(folder: Traversable) -> Iterator[LiteralString]:
    """Yield every statement of a folder's `.cypher` files, in the order of their names."""
    files = (file for file in folder.iterdir() if file.name.endswith(".cypher"))
    for file in sorted(files, key=lambda file: file.name):
        lines = file.read_text(encoding="utf-8").splitlines()
        text = "\n".join(line for line in lines if not line.startswith("//"))
        for statement in text.split(";"):
            if statement.strip():
                yield statement.strip()


async def _on_a_fresh_connection(ask: Callable[[], Awaitable[T]]) -> T:
    for _ in range(_CONNECTION_TRIES - 1):
        try:
            return await ask()
        except (ServiceUnavailable, SessionExpired):
            continue
    return await ask()


def _unusable(url: str, why: str) -> SettingsInvalid:
    return SettingsInvalid(
        f"SIDECAR_NEO4J_URL {url!r} cannot be used ({why});"
        " write bolt://HOST:7687, or neo4j+s://HOST for a cloud server"
    )


def _runner(transaction: AsyncTransaction) -> Run:
    async def run(statement: LiteralString, **parameters: object) -> list[Row]:
        return await _rows(transaction.run(statement, parameters))

    return run


async def _rows(answer: Awaitable[AsyncResult]) -> list[Row]:
    try:
        result = await answer
    except (OverflowError, TypeError, ValueError) as exc:
        # the driver cannot put a value on the wire: it will never be able to
        raise RecordRejected(f"a value cannot be sent to the graph server: {exc}") from exc
    # nothing that we ask returns nodes: `data()`, which looks for them, took as long as the server
    return [
        _native_row(dict(zip(record.keys(), record.values(), strict=True)))
        async for record in result
    ]


def _native_row(values: Mapping[str, object]) -> Row:
    return {key: _native(value) for key, value in values.items()}


def _native(value: object) -> object:
    """Turn the driver's times into Python's, at any depth."""
    if isinstance(value, DateTime):
        return value.to_native()
    if isinstance(value, dict):
        return _native_row(value)
    if isinstance(value, list):
        return [_native(item) for item in value]
    return value


def _first_line(exc: BaseException) -> str:
    text = getattr(exc, "message", None) or str(exc) or type(exc).__name__
    return str(text).splitlines()[0][:300]
