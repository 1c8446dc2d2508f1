"""What only MongoDB has: a validator, views in place of collections, and others who write."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from agent_sidecar.adapters.mongo_conversations import MongoConversations
from agent_sidecar.errors import RecordRejected, SettingsInvalid
from tests.builders import rich_record

pytestmark = pytest.mark.contract


@pytest_asyncio.fixture
async def mongodb(mongodb_url: str) -> AsyncIterator[AsyncDatabase[dict[str, Any]]]:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongodb_url, tz_aware=True)
    async with client:
        yield client.get_default_database()


async def test_a_first_migration_says_what_it_made(mongodb_url: str):
    async with MongoConversations(mongodb_url) as store:
        made = await store.migrate()
    assert made[0] == "collection conversations"
    assert made[-2:] == ["view transcripts", "view outcomes"]
    assert "index keywords" in made


async def test_transcripts_and_outcomes_are_views_in_the_shape_of_the_second_schema(
    mongodb_url: str, mongodb: AsyncDatabase[dict[str, Any]]
):
    async with MongoConversations(mongodb_url) as store:
        await store.migrate()
        await store.apply(rich_record())
    transcript = await mongodb["transcripts"].find_one({"leadId": rich_record().lead.lead_id})
    assert transcript is not None
    assert set(transcript) == {"_id", "callId", "leadId", "messages", "analysis", "timestamp"}
    assert transcript["messages"][0]["speaker"] == "prospect"
    assert transcript["timestamp"] == rich_record().started_at.replace(microsecond=123_000)
    outcome = await mongodb["outcomes"].find_one({"callId": "call-rich"})
    assert outcome is not None
    assert outcome["outcome"] == "transferred"
    assert outcome["factors"]["dayOfWeek"] == 1
    assert outcome["learningPatterns"] == ["objection:price>reframe_price_as_investment>rise"]


async def test_what_others_added_to_a_document_stays(
    mongodb_url: str, mongodb: AsyncDatabase[dict[str, Any]]
):
    async with MongoConversations(mongodb_url) as store:
        await store.migrate()
        await store.apply(rich_record())
        await mongodb["conversations"].update_one({}, {"$set": {"review": "good"}})
        await store.apply(rich_record())
        assert await store.differences([rich_record()]) == {}
    document = await mongodb["conversations"].find_one({})
    assert document is not None
    assert document["review"] == "good"


async def test_the_validator_refuses_a_broken_document_by_field(mongodb_url: str):
    async with MongoConversations(mongodb_url) as store:
        await store.migrate()
        with pytest.raises(RecordRejected, match="validator") as refusal:
            await store.apply(rich_record(engagement=900.0))
    assert "overallScore" in str(refusal.value)


async def test_an_older_validator_and_view_are_brought_up_to_date(
    mongodb_url: str, mongodb: AsyncDatabase[dict[str, Any]]
):
    await mongodb.command("create", "conversations", validator={"callId": {"$type": "string"}})
    await mongodb.command("create", "outcomes", viewOn="conversations", pipeline=[])
    async with MongoConversations(mongodb_url) as store:
        applied = await store.migrate()
        assert {"collection conversations", "view outcomes"} <= set(applied)
        assert list(await store.migrate()) == []


async def test_a_real_collection_in_the_place_of_a_view_is_not_touched(
    mongodb_url: str, mongodb: AsyncDatabase[dict[str, Any]]
):
    await mongodb["transcripts"].insert_one({"callId": "theirs"})
    async with MongoConversations(mongodb_url) as store:
        with pytest.raises(SettingsInvalid, match="has a collection transcripts"):
            await store.migrate()
    assert await mongodb["transcripts"].count_documents({}) == 1
