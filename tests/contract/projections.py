"""Every store of finished calls, empty, for suites that hold for all of them."""

from collections.abc import AsyncIterator, Mapping
from typing import cast

import httpx
import pytest
import pytest_asyncio

from agent_sidecar.adapters.bolt import Bolt, BoltAddress
from agent_sidecar.adapters.chroma_client import ChromaServer
from agent_sidecar.adapters.chroma_index import ChromaIndex
from agent_sidecar.adapters.mongo_conversations import MongoConversations
from agent_sidecar.adapters.neo4j_graph import Neo4jGraph
from agent_sidecar.adapters.pg import PgPool
from agent_sidecar.adapters.postgres_conversations import PostgresConversations
from agent_sidecar.adapters.postgres_crm import PostgresCrm
from agent_sidecar.embedded import StackUrls
from agent_sidecar.ports import Projection
from tests.builders import DIMENSION
from tests.fakes import FakeProjection

MODEL = "all-MiniLM-L6-v2"
KINDS = (
    "fake",
    "postgres_conversations",
    "mongo_conversations",
    "postgres_crm",
    "neo4j_graph",
    "chroma_index",
)


@pytest_asyncio.fixture
async def emptied_postgres(postgres_url: str) -> AsyncIterator[PgPool]:
    async with PgPool(postgres_url) as pool:
        yield pool


@pytest_asyncio.fixture
async def emptied_graph(stack: StackUrls) -> AsyncIterator[Bolt]:
    """Give the graph server of the stack with nothing in it."""
    assert stack.neo4j
    assert stack.neo4j_user
    assert stack.neo4j_password
    address = BoltAddress(url=stack.neo4j, user=stack.neo4j_user, password=stack.neo4j_password)
    async with Bolt(address, serialize_writes=True) as bolt:
        await bolt.run("MATCH (n) DETACH DELETE n")
        yield bolt


@pytest_asyncio.fixture
async def emptied_chroma(stack: StackUrls) -> AsyncIterator[ChromaServer]:
    """Give the vector server of the stack with nothing in it."""
    assert stack.chroma
    await empty_chroma(stack.chroma)
    async with ChromaServer(stack.chroma, model=MODEL, dimension=DIMENSION) as server:
        yield server


@pytest_asyncio.fixture
async def emptied_mongo(mongodb_url: str) -> AsyncIterator[MongoConversations]:
    async with MongoConversations(mongodb_url) as store:
        yield store


@pytest.fixture(params=KINDS)
def unmigrated(request: pytest.FixtureRequest) -> Projection:
    """Give each store in turn."""
    match request.param:
        case "postgres_conversations":
            return PostgresConversations(request.getfixturevalue("emptied_postgres"))
        case "postgres_crm":
            return PostgresCrm(request.getfixturevalue("emptied_postgres"))
        case "mongo_conversations":
            return cast(MongoConversations, request.getfixturevalue("emptied_mongo"))
        case "neo4j_graph":
            return Neo4jGraph(request.getfixturevalue("emptied_graph"))
        case "chroma_index":
            return ChromaIndex(request.getfixturevalue("emptied_chroma"))
    return FakeProjection()


@pytest_asyncio.fixture
async def projection(unmigrated: Projection) -> Projection:
    """Give each store in turn, with its schema and nothing in it."""
    await unmigrated.migrate()
    return unmigrated


async def empty_chroma(url: str) -> None:
    """Remove every collection."""
    path = f"{url}/api/v2/tenants/default_tenant/databases/default_database/collections"
    async with httpx.AsyncClient(trust_env=False) as http:
        for found in (await http.get(path)).json():
            await http.delete(f"{path}/{found['name']}")


async def graph_content(bolt: Bolt) -> tuple[Mapping[str, object], ...]:
    """Return every node and edge as sorted rows, less what is only bookkeeping."""
    nodes = await bolt.read("MATCH (n) RETURN labels(n) AS labels, properties(n) AS properties")
    edges = await bolt.read(
        "MATCH (a)-[r]->(b) RETURN type(r) AS type, properties(r) AS properties,"
        " coalesce(a.id, a.scope, a.name, a.type, a.number) AS from,"
        " coalesce(b.id, b.scope, b.name, b.type, b.number) AS to"
    )
    rows = []
    for row in [*nodes, *edges]:
        properties = row["properties"]
        assert isinstance(properties, dict)
        # sums keep a rounding and the newest time they ever had
        kept = {k: v for k, v in properties.items() if k not in {"revision", "at", "sums"}}
        labels = row.get("labels")
        if isinstance(labels, list):
            row = {**row, "labels": sorted(labels)}
        rows.append({**row, "properties": sorted(kept.items(), key=lambda item: item[0])})
    return tuple(sorted(rows, key=repr))
