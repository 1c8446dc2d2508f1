"""Real servers for contract tests: started once, and a fresh database for each test.

`stack` is the embedded stack. Environment variables name other servers to test against:
`MONGODB_TEST_URL` (else a MongoDB-wire server of our own), `NEO4J_TEST_URL`. Where PgBouncer is
installed, what asks for `gated_postgres_url` runs through it as well as without it.
"""

import contextlib
import fcntl
import gc
import os
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient

from agent_sidecar.adapters.bolt import Bolt, BoltAddress
from agent_sidecar.adapters.neo4j_graph import Neo4jGraph
from agent_sidecar.embedded import Stack, StackUrls
from tests.contract.gate import Gate
from tests.contract.pgbouncer import NOT_INSTALLED, pgbouncer_before
from tests.contract.projections import (
    emptied_chroma,
    emptied_graph,
    emptied_mongo,
    emptied_postgres,
    projection,
    unmigrated,
)
from tests.secantus import secantus_server

__all__ = [
    "emptied_chroma",
    "emptied_graph",
    "emptied_mongo",
    "emptied_postgres",
    "projection",
    "unmigrated",
]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack() -> AsyncIterator[StackUrls]:
    """Start all four embedded servers."""
    # pytest's own folders have names that a unix socket's path cannot carry
    with tempfile.TemporaryDirectory(prefix="stack-") as folder:
        servers = Stack(Path(folder))
        try:
            yield await servers.start()
        finally:
            await servers.aclose()


# --- PostgreSQL ---------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def postgres_url(stack: StackUrls) -> AsyncIterator[str]:
    """Make an empty database for one test."""
    assert stack.postgres is not None
    name = f"test_{uuid4().hex}"
    await _on_postgres(stack.postgres, f"CREATE DATABASE {name}")
    try:
        yield urlsplit(stack.postgres)._replace(path=f"/{name}").geturl()
    finally:
        await _on_postgres(stack.postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pgbouncer(stack: StackUrls) -> AsyncIterator[int | None]:
    """Start a PgBouncer before the stack's server and yield its port; None: not installed."""
    assert stack.postgres is not None
    async with pgbouncer_before(stack.postgres) as port:
        yield port


@pytest.fixture(params=["direct", "pooled"])
def is_pooled(request: pytest.FixtureRequest, pgbouncer: int | None) -> bool:
    """Say whether PgBouncer stands between."""
    if request.param == "pooled" and pgbouncer is None:
        pytest.skip(NOT_INSTALLED)
    return bool(request.param == "pooled")


@pytest_asyncio.fixture
async def postgres_gate(
    stack: StackUrls, postgres_url: str, pgbouncer: int | None, is_pooled: bool
) -> AsyncIterator[Gate]:
    """Open a way to that database that can be shut."""
    async with Gate(way_to_postgres(stack, pgbouncer if is_pooled else None)) as gate:
        yield gate


@pytest.fixture
def gated_postgres_url(postgres_url: str, postgres_gate: Gate, is_pooled: bool) -> str:
    return through(postgres_url, postgres_gate, pooled=is_pooled)


def way_to_postgres(stack: StackUrls, pgbouncer: int | None) -> str | tuple[str, int]:
    """Return where to connect to: PgBouncer's port if given, else the server's own socket."""
    return postgres_socket(stack) if pgbouncer is None else ("127.0.0.1", pgbouncer)


def postgres_socket(stack: StackUrls) -> str:
    """Return the path of the server's unix socket."""
    assert stack.postgres is not None
    query = parse_qs(urlsplit(stack.postgres).query)
    return f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}"


def through(url: str, gate: Gate, *, pooled: bool = False) -> str:
    """Return the URL of the same database by way of the gate."""
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    through_it = f"postgresql://{login}@127.0.0.1:{gate.port}{parts.path}?sslmode=disable"
    return f"{through_it}&pgbouncer=true" if pooled else through_it


async def _on_postgres(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


# --- MongoDB ------------------------------------------------------------------------------------


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mongodb_server() -> AsyncIterator[str]:
    """Name a MongoDB, or start a server that speaks as one."""
    if url := os.environ.get("MONGODB_TEST_URL"):
        yield url
        return
    async with secantus_server() as url:
        yield url


@pytest_asyncio.fixture
async def mongodb_url(mongodb_server: str) -> AsyncIterator[str]:
    """Name an empty database for one test."""
    name = f"test_{uuid4().hex}"
    parts = urlsplit(mongodb_server)
    yield parts._replace(path=f"/{name}").geturl()
    client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(mongodb_server)
    await client.drop_database(name)
    await client.close()
    # pymongo 4.20: a monitor that is cancelled just as it connected forgets its socket, and the
    # warning would hit whichever test runs when the garbage is collected
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


# --- Neo4j: the graph of the stack and the server of NEO4J_TEST_URL, as parameters ----------------


@pytest_asyncio.fixture(params=["arcadedb", "neo4j"])
async def bolt(request: pytest.FixtureRequest, stack: StackUrls) -> AsyncIterator[Bolt]:
    """Give a graph server with our schema and nothing in it."""
    if request.param == "arcadedb":
        assert stack.neo4j
        assert stack.neo4j_user
        assert stack.neo4j_password
        address = BoltAddress(url=stack.neo4j, user=stack.neo4j_user, password=stack.neo4j_password)
    else:
        if not os.environ.get("NEO4J_TEST_URL"):
            pytest.skip("NEO4J_TEST_URL names no Neo4j")
        address = BoltAddress(
            url=os.environ["NEO4J_TEST_URL"],
            user=os.environ.get("NEO4J_TEST_USER", "neo4j"),
            password=os.environ["NEO4J_TEST_PASSWORD"],
        )
    # ArcadeDB is this process's own, the one Neo4j everybody's
    turn = _turn_on_neo4j() if request.param == "neo4j" else contextlib.nullcontext()
    with turn:
        async with Bolt(address, serialize_writes=request.param == "arcadedb") as bolt:
            await bolt.run("MATCH (n) DETACH DELETE n")
            await Neo4jGraph(bolt).migrate()
            yield bolt


@contextlib.contextmanager
def _turn_on_neo4j() -> Iterator[None]:
    """Wait until no other process of these tests has the server's only database."""
    with (Path(tempfile.gettempdir()) / "neo4j-tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
