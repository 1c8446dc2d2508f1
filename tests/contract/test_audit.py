"""All four stores on real servers: each damage is named, mended, and gone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import bson
import numpy as np
import pytest
import pytest_asyncio
from bson.codec_options import CodecOptions

from agent_sidecar.adapters.bolt import Bolt
from agent_sidecar.adapters.chroma_client import ChromaServer
from agent_sidecar.adapters.chroma_index import ChromaIndex
from agent_sidecar.adapters.neo4j_audit import Neo4jAudit
from agent_sidecar.adapters.neo4j_graph import Neo4jGraph
from agent_sidecar.adapters.pg import Connection, PgPool
from agent_sidecar.adapters.postgres_conversations import PostgresConversations
from agent_sidecar.adapters.postgres_crm import PostgresCrm
from agent_sidecar.adapters.sqlite_journal import SqliteJournal
from agent_sidecar.clock import SystemClock
from agent_sidecar.domain.types import STORES, CallId
from agent_sidecar.domain.vector_rows import CALL_FAMILIES, OUTCOMES, collection
from agent_sidecar.learning.renewal import renewed
from agent_sidecar.wrapup.mend import Mender
from agent_sidecar.wrapup.rebuild import Anew, Rebuilder
from agent_sidecar.wrapup.relay import Relay
from agent_sidecar.wrapup.report import Report
from agent_sidecar.wrapup.sources import Sources
from agent_sidecar.wrapup.verify import Audited, verify
from tests.builders import DIMENSION, stranger_record
from tests.contract.test_forgetting import LOST, rich
from tests.fakes import FakeEmbedder

pytestmark = pytest.mark.contract

CALLS = [rich("a"), rich("b", hour=1, outcome=LOST), stranger_record("c")]


@dataclass
class Place:
    """A journal, the four stores, and ways past them."""

    audited: Audited
    relay: Relay
    postgres: PgPool
    graph: Bolt
    chroma: ChromaServer
    mender: Mender

    async def sql(self, statement: str, *values: object) -> None:
        async def work(connection: Connection) -> None:
            await connection.execute(statement, *values)

        await self.postgres.transact(work)

    async def settle(self) -> None:
        assert await self.relay.drain(asyncio.get_running_loop().time() + 30)

    async def mended(self) -> Report:
        """Mend calls, then counts, as the command does; return what is found after that."""
        for _ in range(2):
            report = await verify(self.audited)
            await self.mender.mend(report.differences)
            await self.settle()
        return await verify(self.audited)


@pytest_asyncio.fixture
async def place(
    tmp_path: Path, emptied_postgres: PgPool, emptied_graph: Bolt, emptied_chroma: ChromaServer
) -> AsyncIterator[Place]:
    journal = await SqliteJournal.open(tmp_path / "journal.sqlite3")
    conversations = PostgresConversations(emptied_postgres)
    counts = Neo4jAudit(emptied_graph)
    stores = (
        conversations,
        PostgresCrm(emptied_postgres),
        Neo4jGraph(emptied_graph),
        ChromaIndex(emptied_chroma),
    )
    for store in stores:
        await store.migrate()
    audited = Audited(
        journal=journal, projections=stores, conversations=conversations, counts=counts
    )
    relay = Relay(journal, stores, SystemClock())
    place = Place(
        audited=audited,
        relay=relay,
        postgres=emptied_postgres,
        graph=emptied_graph,
        chroma=emptied_chroma,
        mender=Mender(audited, counts, relay),
    )
    for record in CALLS:
        await journal.commit(record)
    running = asyncio.create_task(relay.run())
    await place.settle()
    try:
        yield place
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await journal.aclose()


Damage = Callable[[Place], Awaitable[None]]


async def a_column(place: Place) -> None:
    await place.sql("UPDATE calls SET engagement_score = 1.5 WHERE call_id = 'a'")


async def a_row(place: Place) -> None:
    await place.sql("DELETE FROM calls WHERE call_id = 'b'")


async def a_ghost_row(place: Place) -> None:
    await place.sql(
        "INSERT INTO calls (call_id, start_time, kevin_available) VALUES ('ghost', now(), true)"
    )


async def a_field_of_a_document(place: Place) -> None:
    await _edit(place, lambda document: {**document, "callId": "x", "leadId": "nobody"})


async def a_record(place: Place) -> None:
    await _edit(place, lambda document: {**document, "record": b"{}"})


async def _edit(place: Place, change: Callable[[dict[str, object]], dict[str, object]]) -> None:
    aware: CodecOptions[dict[str, object]] = CodecOptions(tz_aware=True)

    async def work(connection: Connection) -> None:
        doc = await connection.fetchval("SELECT doc FROM conversations WHERE id = 'a'")
        edited = bson.encode(change(bson.decode(doc, aware)))
        await connection.execute("UPDATE conversations SET doc = $1 WHERE id = 'a'", edited)

    await place.postgres.transact(work)


async def a_node(place: Place) -> None:
    await place.graph.run("MATCH (c:Call {id: 'a'}) DETACH DELETE c")


async def a_ghost_node(place: Place) -> None:
    await place.graph.run(
        "CREATE (c:Conversation:Call {id: 'ghost-node', callId: 'ghost-node',"
        """ contribution: '[{"counter":"calls","key":["all","all"],"amounts":[1,0]}]'})"""
    )


async def a_count(place: Place) -> None:
    await place.graph.run("MATCH (:Phase)-[r:ANSWERED_BY]->() SET r.tried = r.tried + 5")


async def a_vector(place: Place) -> None:
    name = "conversation_embeddings.hot_transfer"
    await place.chroma.ask(name, lambda c: c.delete(ids=["a_segment_1"]))


async def a_ghost_vector(place: Place) -> None:
    await place.chroma.ask(
        "conversation_embeddings.no_answer",
        lambda c: c.upsert(
            ids=["ghost_segment_0"],
            embeddings=np.ones((1, DIMENSION), np.float32),
            documents=["who?"],
            metadatas=[{"call_id": "ghost-vector"}],
        ),
    )


# all at once, since four empty stores take seconds to make
DAMAGES: Mapping[Damage, str] = {
    a_column: "postgres: call a: calls.engagement_score: found 1.50, expected 82.25",
    a_row: "postgres: call b: missing",
    a_ghost_row: "postgres: call ghost: no source knows this call",
    a_field_of_a_document: "conversations: call a: leadId",
    a_record: "conversations: call a: record",
    a_node: "neo4j: call a: the call is missing",
    a_ghost_node: "neo4j: call ghost-node: no source knows this call",
    a_count: "tried is 7 instead of 1",
    a_vector: "chroma: call a: conversation_embeddings.hot_transfer: a_segment_1 is missing",
    a_ghost_vector: "chroma: call ghost-vector: no source knows this call",
}


async def test_each_damage_is_named_and_all_are_mended(place: Place):
    assert (await verify(place.audited)).clean
    for damage in DAMAGES:
        await damage(place)
    found = [str(d) for d in (await verify(place.audited)).differences]
    unnamed = [s for s in DAMAGES.values() if not any(s in text for text in found)]
    assert unnamed == [], found
    mended = await place.mended()
    assert mended.clean, mended.summary()


async def test_each_store_is_made_anew_even_on_a_new_server(place: Place):
    await place.graph.run("MATCH (n) DETACH DELETE n")
    for family in CALL_FAMILIES:
        for outcome in OUTCOMES:
            await place.chroma.drop(collection(family, outcome))
    await a_column(place)
    await a_ghost_row(place)
    rebuilds = Rebuilder(
        Sources(place.audited.journal, place.audited.conversations),
        place.audited.projections,
        place.relay,
    )
    for store in STORES:
        if store != "conversations":
            await rebuilds.begin(store)
            await rebuilds.finish(store)
    report = await verify(place.audited)
    assert report.clean, report.summary()


async def test_another_model_makes_all_vectors_anew(place: Place, emptied_graph: Bolt):
    embedder = FakeEmbedder(dimension=DIMENSION + 8)
    journal, conversations = place.audited.journal, place.audited.conversations
    url = place.chroma.url
    async with ChromaServer(url, model=embedder.name, dimension=embedder.dimension) as server:
        index = ChromaIndex(server)
        stores = (*place.audited.projections[:3], index)
        relay = Relay(journal, stores, SystemClock())
        running = asyncio.create_task(relay.run())
        rebuilds = Rebuilder(
            Sources(journal, conversations),
            stores,
            relay,
            anew={"chroma": Anew(renew=lambda records: renewed(records, embedder))},
        )
        await rebuilds.begin("chroma")
        await rebuilds.finish("chroma")
        # the other stores get the new version of each record
        assert await relay.drain(asyncio.get_running_loop().time() + 30)
        audited = Audited(
            journal=journal,
            projections=stores,
            conversations=conversations,
            counts=Neo4jAudit(emptied_graph),
        )
        report = await verify(audited)
        assert report.clean, report.summary()
        committed = await journal.record(CallId("a"))
        assert committed is not None
        assert committed.record.configuration.model == embedder.name
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
