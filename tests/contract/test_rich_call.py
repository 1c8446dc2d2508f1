"""No field of the data model stays empty after a call in which everything happened.

The calls come out of the domain by their events (`rich_call`). Two are all it takes: the rich one,
and the stranger's, without whom a strategy's correlation with transfers has nothing to compare.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from importlib import resources
from typing import Any

import asyncpg
import msgspec
import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient

from agent_sidecar.adapters.bolt import Bolt
from agent_sidecar.adapters.chroma_client import ChromaServer
from agent_sidecar.adapters.chroma_index import ChromaIndex
from agent_sidecar.adapters.mongo_conversations import MongoConversations
from agent_sidecar.adapters.neo4j_graph import Neo4jGraph
from agent_sidecar.adapters.neo4j_leads import Neo4jLeads
from agent_sidecar.adapters.pg import PgPool
from agent_sidecar.adapters.postgres_conversations import PostgresConversations
from agent_sidecar.adapters.postgres_crm import PostgresCrm
from agent_sidecar.adapters.postgres_lead_changes import PostgresLeadChanges
from agent_sidecar.adapters.postgres_leads import PostgresLeads
from agent_sidecar.adapters.postgres_schedule import PostgresSchedule
from agent_sidecar.domain.availability import Override
from agent_sidecar.domain.playbook import Closer, Window
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.vector_rows import CALL_FAMILIES
from agent_sidecar.embedded import StackUrls
from tests.builders import rich_lead
from tests.contract.projections import empty_chroma
from tests.contract.rich_call import PLAYBOOK, STRANGER, hang_up_at_once, rich_call
from tests.domain.playbooks import DIMENSION, VECTORS, at
from tests.held_fields import EDGES, GRAPH, METADATA

pytestmark = pytest.mark.contract

SCHEMA = resources.files("agent_sidecar.adapters") / "schema"
MODEL = "axes"


@pytest.fixture(scope="module")
def rich() -> CallRecord:
    return rich_call()


@pytest.fixture(scope="module")
def stranger() -> CallRecord:
    return hang_up_at_once()


# --- conversations --------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def mongo(mongodb_url: str) -> AsyncIterator[MongoConversations]:
    async with MongoConversations(mongodb_url) as store:
        await store.migrate()
        yield store


async def test_no_field_of_the_document_is_empty_in_mongodb(
    mongo: MongoConversations, mongodb_url: str, rich: CallRecord
):
    await mongo.apply(rich)
    document = await mongo.get(rich.call_id)
    assert list(_empty(document, _schema("conversations"))) == []
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongodb_url)
    async with client:
        database = client.get_default_database()
        for view in ("transcripts", "outcomes"):
            shown = await database[view].find_one({"callId": rich.call_id})
            fields = _pipeline(view)
            assert shown is not None
            assert {name for name in fields if shown.get(name) in (None, [], {})} == set()
            assert set(shown) == fields


async def test_no_field_of_the_document_is_empty_in_the_embedded_store(
    postgres_url: str, rich: CallRecord
):
    async with PgPool(postgres_url) as pool:
        store = PostgresConversations(pool)
        await store.migrate()
        await store.apply(rich)
        document = await store.get(rich.call_id)
    assert list(_empty(document, _schema("conversations"))) == []
    assert await _empty_columns(postgres_url, "conversations") == []


# --- PostgreSQL -----------------------------------------------------------------------------------


async def test_no_column_is_empty(gated_postgres_url: str, postgres_url: str, rich: CallRecord):
    async with PgPool(gated_postgres_url) as pool:
        crm, schedule = PostgresCrm(pool), PostgresSchedule(pool)
        await crm.migrate()
        # a person has said something of the lead; the other facts come from the call's own
        await PostgresLeads(pool).put(rich_lead(status="qualified"))
        await crm.apply(rich)
        await schedule.load([_closer()])
        await schedule.add_override("Kevin", _override())
        assert await crm.differences([rich]) == {}
    tables = ("leads", "calls", "transfers", "closers", "kevin_availability", "lead_changes")
    assert {name: await _empty_columns(postgres_url, name) for name in tables} == {
        name: [] for name in tables
    }


# --- the graph ------------------------------------------------------------------------------------


async def test_no_property_is_empty_in_the_graph(
    bolt: Bolt, postgres_url: str, rich: CallRecord, stranger: CallRecord
):
    graph = Neo4jGraph(bolt)
    for record in (rich, stranger):
        await graph.apply(record)
    async with PgPool(postgres_url) as pool:
        crm = PostgresCrm(pool)
        await crm.migrate()
        await crm.apply(rich)
        await PostgresLeadChanges(pool).tell(Neo4jLeads(bolt).write, most=100)
    assert await graph.differences([rich, stranger]) == {}
    nodes, edges = await _found(bolt)
    assert _missing(GRAPH, nodes) == []
    assert _missing(EDGES, edges) == []
    # and nothing is there that nobody wrote down
    assert {label: sorted(found) for label, found in nodes.items()} == _listed(GRAPH)
    assert {kind: sorted(found) for kind, found in edges.items()} == _listed(EDGES)


# --- vectors --------------------------------------------------------------------------------------


async def test_no_metadata_is_missing_beside_the_vectors(stack: StackUrls, rich: CallRecord):
    assert stack.chroma
    await empty_chroma(stack.chroma)
    async with ChromaServer(stack.chroma, model=MODEL, dimension=DIMENSION) as server:
        index = ChromaIndex(server)
        await index.migrate()
        await index.apply(rich)
        await index.load(PLAYBOOK, VECTORS)
        assert await index.differences([rich]) == {}
        found = {}
        for family in METADATA:
            name = family
            if family in CALL_FAMILIES:
                name = f"{family}.{rich.outcome.final_status}"
            rows = await server.ask(name, lambda c: c.get())
            assert rows is not None
            assert all(rows["documents"] or [None])
            found[family] = sorted({key for row in rows["metadatas"] or () for key in row})
            await server.ask(name, _is_of_the_model)
    assert found == _listed(METADATA)
    await empty_chroma(stack.chroma)


# --- a stranger who hangs up at once --------------------------------------------------------------


async def test_a_stranger_who_hangs_up_at_once_is_refused_nowhere(
    mongo: MongoConversations,
    bolt: Bolt,
    stack: StackUrls,
    postgres_url: str,
    stranger: CallRecord,
):
    assert stack.chroma
    await empty_chroma(stack.chroma)
    async with (
        PgPool(postgres_url) as pool,
        ChromaServer(stack.chroma, model=MODEL, dimension=DIMENSION) as server,
    ):
        stores = (
            mongo,
            PostgresConversations(pool),
            PostgresCrm(pool),
            Neo4jGraph(bolt),
            ChromaIndex(server),
        )
        for store in stores:
            await store.migrate()
            await store.apply(stranger)
            await store.apply(stranger)
            assert await store.differences([stranger]) == {}, store.engine
        await PostgresLeadChanges(pool).tell(Neo4jLeads(bolt).write, most=100)
    call, lead = await _row(postgres_url, "calls"), await _row(postgres_url, "leads")
    assert (call["kevin_available"], call["final_status"]) == (False, "abandoned")
    assert (call["lead_id"], lead["phone"], lead["extra"]) == (lead["id"], None, "{}")
    assert (lead["status"], lead["relationship_strength"]) == ("contacted", "new")
    document: Any = await mongo.get(STRANGER)
    assert document["metadata"]["kevinAvailability"] is False
    assert document["transcript"]["fullText"] == ""
    await empty_chroma(stack.chroma)


# --- what is looked at ----------------------------------------------------------------------------


def _empty(found: object, wanted: Mapping[str, Any], place: str = "") -> Iterator[str]:
    """Yield where a part of the schema has no value; one of a list's entries is enough."""
    if found is None or found in ([], {}, "", b""):
        yield place
    elif "properties" in wanted:
        assert isinstance(found, Mapping)
        for name, part in wanted["properties"].items():
            yield from _empty(found.get(name), part, f"{place}.{name}".lstrip("."))
    elif "properties" in wanted.get("items", {}):
        assert isinstance(found, list)
        for name, part in wanted["items"]["properties"].items():
            values = [entry.get(name) for entry in found]
            if all(list(_empty(value, part)) for value in values):
                yield f"{place}[].{name}"


def _schema(name: str) -> Mapping[str, Any]:
    file = SCHEMA / "mongo" / f"{name}.json"
    wanted = msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
    schema: Mapping[str, Any] = wanted["validator"]["$jsonSchema"]
    return schema


def _pipeline(view: str) -> set[str]:
    (stage,) = msgspec.json.decode((SCHEMA / "mongo" / f"{view}.json").read_bytes())["pipeline"]
    return set(stage["$project"])


async def _empty_columns(url: str, table: str) -> list[str]:
    """Return the columns that have no value in any row of a table, which has some."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(f"SELECT * FROM {table}")  # noqa: S608  # of this test
        columns = await connection.fetch(
            "SELECT column_name FROM information_schema.columns WHERE table_name = $1", table
        )
    finally:
        await connection.close()
    assert rows, table
    names = [str(column["column_name"]) for column in columns]
    assert names
    return [name for name in names if all(row[name] in (None, "", [], "{}") for row in rows)]


async def _row(url: str, table: str) -> Mapping[str, Any]:
    connection = await asyncpg.connect(url)
    try:
        (row,) = await connection.fetch(f"SELECT * FROM {table}")  # noqa: S608  # of this test
    finally:
        await connection.close()
    return dict(row)


def _closer() -> Closer:
    hours = tuple(Window(day_of_week=1, start=at(0).time(), end=at(60).time()) for _ in range(1))
    return Closer(name="Kevin", number="+12125550100", timezone="America/New_York", hours=hours)


def _override() -> Override:
    return Override(
        override_id="0196f3c2-7c1e-7d2a-9f64-5d0c6b1e2a09",
        start_at=at(0),
        end_at=at(3600),
        is_available=False,
        reason="at the dentist's",
    )


async def _found(bolt: Bolt) -> tuple[Mapping[str, set[str]], Mapping[str, set[str]]]:
    """Return the names of all properties with a value, by label and by type of edge."""
    nodes: dict[str, set[str]] = {}
    for row in await bolt.read("MATCH (n) RETURN labels(n) AS labels, properties(n) AS has"):
        labels: Any = row["labels"]
        name = "Call" if "Call" in labels else labels[0]
        nodes.setdefault(name, set()).update(_valued(row["has"]))
    edges: dict[str, set[str]] = {}
    for row in await bolt.read("MATCH ()-[r]->() RETURN type(r) AS type, properties(r) AS has"):
        edges.setdefault(str(row["type"]), set()).update(_valued(row["has"]))
    return nodes, edges


def _valued(properties: Any) -> set[str]:
    return {name for name, value in (properties or {}).items() if value not in (None, [], "")}


def _missing(listed: Mapping[str, str], found: Mapping[str, set[str]]) -> list[str]:
    return [
        f"{name}.{field}"
        for name, fields in listed.items()
        for field in fields.split()
        if field not in found.get(name, set())
    ] + [name for name in listed if name not in found]


def _listed(listed: Mapping[str, str]) -> Mapping[str, list[str]]:
    return {name: sorted(fields.split()) for name, fields in listed.items()}


async def _is_of_the_model(there: Any) -> None:
    assert there.metadata["embedding_model"] == MODEL
    assert there.metadata["embedding_dimension"] == DIMENSION
    assert there.metadata["description"]
