"""The examples that came with the original schemas, corrected where they could not run.

What was corrected: engagement is 0..100 (8.5 is 85), a lead's id is what the CRM made of the user's
own, documents are found in views, Chroma takes vectors of ours and joins conditions by `$and`, and
collections are split by outcome. The learning queries of the graph are in `test_graph.py`, the
beast-mode function in `test_learning_metrics.py`; times are promised by `bench/`.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, cast

import asyncpg
import msgspec
import numpy as np
import pytest
import pytest_asyncio
from chromadb.api.types import Where
from pymongo import AsyncMongoClient

from agent_sidecar.adapters.bolt import Bolt
from agent_sidecar.adapters.chroma_client import ChromaServer
from agent_sidecar.adapters.chroma_index import ChromaIndex
from agent_sidecar.adapters.mongo_conversations import MongoConversations
from agent_sidecar.adapters.neo4j_graph import Neo4jGraph
from agent_sidecar.adapters.pg import PgPool
from agent_sidecar.adapters.postgres_crm import PostgresCrm
from agent_sidecar.adapters.postgres_leads import PostgresLeads
from agent_sidecar.domain.record import CallRecord, FinalStatus, Outcome
from agent_sidecar.domain.types import Lead
from agent_sidecar.domain.vector_rows import call_rows
from tests.builders import REFRAME, at, rich_record, unit_vector

pytestmark = pytest.mark.contract

CALL_DATA = {
    "leadId": "test-lead-001",
    "outcome": "qualified",
    "engagementScore": 85.0,
    "kevinAvailable": True,
}


@pytest_asyncio.fixture
async def index(emptied_chroma: ChromaServer) -> ChromaIndex:
    index = ChromaIndex(emptied_chroma)
    await index.migrate()
    return index


@pytest_asyncio.fixture
async def mongo(emptied_mongo: MongoConversations) -> MongoConversations:
    await emptied_mongo.migrate()
    return emptied_mongo


@pytest_asyncio.fixture
async def pool(postgres_url: str) -> AsyncIterator[PgPool]:
    async with PgPool(postgres_url) as pool:
        await PostgresCrm(pool).migrate()
        yield pool


def ended(call_id: str, status: FinalStatus, result: str, **changes: object) -> CallRecord:
    outcome = Outcome(final_status=status, result=cast(Any, result), qualified=True)
    return rich_record(call_id, outcome=outcome, **changes)


# --- "Graph RAG Multi-Database Integration" -------------------------------------------------------


async def test_should_coordinate_data_across_all_databases(
    pool: PgPool,
    bolt: Bolt,
    emptied_chroma: ChromaServer,
    index: ChromaIndex,
    mongo: MongoConversations,
    mongodb_url: str,
    postgres_url: str,
):
    lead = await PostgresLeads(pool).find_or_create(Lead(lead_id=str(CALL_DATA["leadId"])))
    # a call that is qualified and was not handed over is one after which a video was sent
    record = ended(
        "call-data",
        "video_sent",
        "qualified",
        lead=lead,
        engagement=CALL_DATA["engagementScore"],
        closer_available=CALL_DATA["kevinAvailable"],
        transfers=(),
    )
    for store in (PostgresCrm(pool), mongo, Neo4jGraph(bolt), index):
        await store.apply(record)

    # PostgreSQL
    connection = await asyncpg.connect(postgres_url)
    (call,) = await connection.fetch(
        "SELECT calls.* FROM calls JOIN leads ON leads.id = calls.lead_id"
        " WHERE leads.external_id = $1",
        CALL_DATA["leadId"],
    )
    assert [call] == await connection.fetch(
        "SELECT * FROM calls WHERE lead_id = $1::text::uuid", lead.lead_id
    )
    await connection.close()
    assert (call["outcome"], float(call["engagement_score"])) == ("qualified", 85.0)

    # MongoDB
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongodb_url)
    async with client:
        transcript = await client.get_default_database()["transcripts"].find_one(
            {"leadId": lead.lead_id}
        )
    assert transcript is not None
    assert transcript["callId"] == "call-data"

    # Neo4j
    (found,) = await bolt.read(
        "MATCH (l:Lead {id: $leadId})-[:HAD_CALL]->(c) RETURN c.id AS id, c.result AS outcome",
        leadId=lead.lead_id,
    )
    assert found == {"id": "call-data", "outcome": "qualified"}

    # Chroma
    (pattern,) = call_rows(record)["conversation_patterns"]
    nearest = await emptied_chroma.ask(
        "conversation_patterns.video_sent",
        lambda c: c.query(query_embeddings=np.stack([pattern.vector]), n_results=1),
    )
    assert nearest is not None
    assert nearest["ids"] == [["pattern_call-data"]]


async def test_should_achieve_qualification_lookups_by_an_index(pool: PgPool, postgres_url: str):
    # the planner takes an index only where there is something to skip
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(
        "INSERT INTO leads (phone, first_name) SELECT '+1212' || n, 'lead ' || n"
        " FROM generate_series(5550000, 5552999) AS n"
    )
    await PostgresLeads(pool).find_or_create(Lead(phone="+1234567890", first_name="Ada"))
    await connection.execute("ANALYZE leads")
    query = "SELECT * FROM leads WHERE phone = $1"
    (row,) = await connection.fetch(query, "+1234567890")
    plan = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {query}", "+1234567890")
    await connection.close()
    assert (row["first_name"], row["status"]) == ("Ada", "new")
    node = msgspec.json.decode(plan)[0]["Plan"]
    assert (node["Node Type"], node["Index Name"]) == ("Index Scan", "leads_phone_key")
    (lead,) = await PostgresLeads(pool).find(phone="+1234567890")
    assert lead.first_name == "Ada"


# --- semantic search ------------------------------------------------------------------------------


async def find_similar_successful_strategies(server: ChromaServer, near: bytes) -> list[str]:
    """Ask each collection of successful calls; a second condition wants `$and`."""
    query = np.stack([np.frombuffer(near, "<f4")])
    where = {
        "$and": [
            {"successful_transfer": True},
            {"final_outcome": {"$in": ["hot_transfer", "video_sent"]}},
        ]
    }
    found: list[tuple[float, str]] = []
    for outcome in ("hot_transfer", "video_sent"):
        rows = await server.ask(
            f"conversation_embeddings.{outcome}",
            lambda c: c.query(query_embeddings=query, n_results=10, where=cast(Where, where)),
        )
        assert rows is not None
        distances = rows["distances"] or [[]]
        found += zip(distances[0], rows["ids"][0], strict=True)
    return [identity for _, identity in sorted(found)]


async def test_find_similar_successful_strategies(emptied_chroma: ChromaServer, index: ChromaIndex):
    (_, answer, *_) = rich_record().segments
    far = replace(answer, vector=unit_vector(77))
    for record in (
        rich_record("won"),
        rich_record("far", segments=(far,)),
        # a person says that a video was sent after all
        ended("video", "video_sent", "qualified"),
        ended("lost", "disqualified", "not_qualified", transfers=()),
        ended("not-handed-over", "video_sent", "qualified", transfers=()),
    ):
        await index.apply(record)
    assert answer.vector is not None
    similar = await find_similar_successful_strategies(emptied_chroma, answer.vector)
    assert sorted(similar[:2]) == ["video_segment_1", "won_segment_1"]
    assert similar[2:] == ["far_segment_1"]


async def test_semantic_search_for_similar_successful_patterns(
    emptied_chroma: ChromaServer, index: ChromaIndex
):
    for record in (
        ended("keen", "video_sent", "qualified", engagement=71.0, transfers=()),
        ended("cool", "video_sent", "qualified", engagement=69.0, transfers=()),
        rich_record("transferred"),
    ):
        await index.apply(record)
    (now,) = call_rows(rich_record())["conversation_patterns"]
    where = {"$and": [{"outcome": "qualified"}, {"engagement_score": {"$gte": 70.0}}]}
    results = await emptied_chroma.ask(
        "conversation_patterns.video_sent",
        lambda c: c.query(
            query_embeddings=np.stack([now.vector]), n_results=5, where=cast(Where, where)
        ),
    )
    assert results is not None
    assert results["ids"] == [["pattern_keen"]]
    assert results["metadatas"] is not None
    (found,) = results["metadatas"][0]
    assert {name: found[name] for name in ("call_id", "phase", "kevin_available")} == {
        "call_id": "keen",
        "phase": 7,
        "kevin_available": True,
    }


# --- documents ------------------------------------------------------------------------------------


async def test_transcripts_are_found_as_their_indexes_were_meant(
    mongo: MongoConversations, mongodb_url: str
):
    await mongo.apply(rich_record("first"))
    await mongo.apply(rich_record("second", started_at=at(3600), ended_at=at(3700)))
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongodb_url, tz_aware=True)
    async with client:
        database = client.get_default_database()
        newest = database["transcripts"].find({"messages.keywords": "start"}).sort("timestamp", -1)
        found = [document async for document in newest]
        indexes = await database["conversations"].index_information()
    assert [document["callId"] for document in found] == ["second", "first"]
    message = found[0]["messages"][0]
    assert {"speaker", "text", "timestamp", "phase", "sentiment", "keywords"} <= set(message)
    assert found[0]["analysis"]["totalWords"] > 0
    fields = {field for index in indexes.values() for field, _ in index["key"]}
    assert fields >= {
        "callId",
        "leadId",
        "metadata.startTime",
        "outcome.finalStatus",
        "engagement.overallScore",
        "transcript.keyPhrases.phrase",
        "transcript.segments.keywords",
    }


async def test_outcomes_are_found_by_what_led_to_them(mongo: MongoConversations, mongodb_url: str):
    await mongo.apply(rich_record("handed-over"))
    await mongo.apply(ended("cool", "abandoned", "not_qualified", engagement=20.0))
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongodb_url, tz_aware=True)
    async with client:
        outcomes = client.get_default_database()["outcomes"]
        keen = {"outcome": "transferred", "factors.engagementLevel": {"$gte": 70}}
        (found,) = [document async for document in outcomes.find(keen)]
    assert found["callId"] == "handed-over"
    assert found["learningPatterns"] == [f"objection:price>{REFRAME}>rise"]
    assert (found["factors"]["phaseCompleted"], found["factors"]["dayOfWeek"]) == (7, 1)
