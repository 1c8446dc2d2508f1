"""The same writes by the drivers alone, as somebody writes them who has nothing else to keep.

What is stored is worked out before the clock starts; a batch is one transaction a store, one
request a collection, all four at once. There is no journal, no second try, no look at what was
there before (the calls are new), and nothing is checked: only the counts of the graph are read, as
whoever adds to them must.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg
import bson
import chromadb
import numpy as np
from chromadb.api import AsyncClientAPI
from chromadb.api.models.AsyncCollection import AsyncCollection
from chromadb.config import Settings
from neo4j import AsyncDriver, AsyncGraphDatabase

from agent_sidecar.adapters.pg.call_rows import call_values, result_values, transfer_values
from agent_sidecar.adapters.stored_conversation import stored_document
from agent_sidecar.domain.facts import GraphFacts, graph_facts
from agent_sidecar.domain.lead_progress import PastCall, lead_progress
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.vector_rows import VectorRow, call_rows, collection
from agent_sidecar.embedded import StackUrls
from bench._raw_graph import write_counts, write_facts

_CONVERSATION = """
INSERT INTO conversations (id, lead_id, started_at, outcome, score, doc, search)
VALUES ($1, $2, $3, $4, $5, $6, to_tsvector('english', $7))
ON CONFLICT (id) DO UPDATE SET doc = excluded.doc, search = excluded.search
"""
_LEAD = """
INSERT INTO leads (id, external_id, first_name, last_name, source, timezone, country,
    current_income_range, experience_level, status, calls_status, last_contacted, next_followup,
    qualification_score, relationship_strength)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11, $12, $13, $14)
ON CONFLICT (id) DO UPDATE SET status = excluded.status
"""
_CALL = """
INSERT INTO calls (call_id, source, external_id, start_time, answered_at, end_time, duration,
    telnyx_call_control_id, telnyx_leg_id, telnyx_session_id, recording_url, phases_completed,
    phase_reached, final_status, outcome, qualified, booked, next_followup, engagement_score,
    transfer_attempted, transfer_successful, kevin_available, conversation_mongodb_id,
    hints_judged, hints_came_true, lead_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
    $21, $22, $23, $24, $25, $26)
ON CONFLICT (call_id) DO UPDATE SET final_status = excluded.final_status
"""
_TRANSFER = """
INSERT INTO transfers (transfer_id, closer, initiated_at, answered_at, bridged_at, completed_at,
    duration, transfer_accepted, outcome_type, outcome_reason, engagement_score_at_transfer,
    conversation_phase, key_indicators, kevin_rating, conversion_result, notes, result_at, lead_id,
    call_id)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, id
FROM calls WHERE call_id = $19
ON CONFLICT (transfer_id) DO UPDATE SET outcome_type = excluded.outcome_type
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What is written together, worked out to the last value."""

    # of the conversation store: the document that becomes BSON, and the words that are searched
    documents: list[tuple[tuple[object, ...], Mapping[str, object], str]]
    leads: list[tuple[object, ...]]
    calls: list[tuple[object, ...]]
    transfers: list[tuple[object, ...]]
    facts: list[GraphFacts]
    vectors: Mapping[str, list[VectorRow]]


def batches(records: Sequence[CallRecord], size: int) -> list[Batch]:
    """Cut records into batches."""
    return [_batch(records[start : start + size]) for start in range(0, len(records), size)]


class RawStores:
    """The drivers, connected."""

    def __init__(
        self, pool: "asyncpg.Pool[asyncpg.Record]", graph: AsyncDriver, chroma: AsyncClientAPI
    ) -> None:
        self._pool = pool
        self._graph = graph
        self._chroma = chroma
        self._collections: dict[str, AsyncCollection] = {}

    @classmethod
    async def connect(cls, urls: StackUrls) -> "RawStores":
        """Connect to servers whose schema is there."""
        pool = await asyncpg.create_pool(urls.postgres, min_size=2, max_size=4)
        login = (urls.neo4j_user or "", urls.neo4j_password or "")
        graph = AsyncGraphDatabase.driver(
            urls.neo4j or "",
            auth=login,
            notifications_min_severity="OFF",
            telemetry_disabled=True,
        )
        host, port = (urls.chroma or "").removeprefix("http://").split(":")
        chroma = await chromadb.AsyncHttpClient(
            host=host, port=int(port), settings=Settings(anonymized_telemetry=False)
        )
        return cls(pool, graph, chroma)

    async def aclose(self) -> None:
        await self._pool.close()
        await self._graph.close()

    async def write(self, made: Sequence[Batch]) -> None:
        """Write all batches: each store one after the other, the stores side by side."""
        await asyncio.gather(
            *(self.write_to(store, made) for store in ("conversations", "postgres", "neo4j")),
            self.write_to("chroma", made),
        )

    async def write_to(self, store: str, made: Sequence[Batch]) -> None:
        """Write all batches to one store."""
        write = {
            "conversations": self._conversations,
            "postgres": self._rows,
            "neo4j": self._nodes,
            "chroma": self._vectors,
        }[store]
        for batch in made:
            await write(batch)

    async def _conversations(self, batch: Batch) -> None:
        rows = [(*columns, bson.encode(doc), words) for columns, doc, words in batch.documents]
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.executemany(_CONVERSATION, rows)

    async def _rows(self, batch: Batch) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.executemany(_LEAD, batch.leads)
            await connection.executemany(_CALL, batch.calls)
            if batch.transfers:
                await connection.executemany(_TRANSFER, batch.transfers)

    async def _vectors(self, batch: Batch) -> None:
        for name, rows in batch.vectors.items():
            if name not in self._collections:
                found = await self._chroma.get_collection(name, embedding_function=None)
                self._collections[name] = found
            await self._collections[name].upsert(
                ids=[row.id for row in rows],
                embeddings=np.stack([row.vector for row in rows]),
                documents=[row.document for row in rows],
                metadatas=[dict(row.metadata) for row in rows],
            )

    async def _nodes(self, batch: Batch) -> None:
        async with self._graph.session() as session, await session.begin_transaction() as opened:
            await write_facts(opened, batch.facts)
            await write_counts(opened, batch.facts)
            await opened.commit()


# --- what is written ----------------------------------------------------------------------------


def _batch(records: Sequence[CallRecord]) -> Batch:
    vectors: dict[str, list[VectorRow]] = defaultdict(list)
    for record in records:
        for family, rows in call_rows(record).items():
            if rows:
                vectors[collection(family, record.outcome.final_status)] += rows
    return Batch(
        documents=[(_columns(r), stored_document(r), r.full_text) for r in records],
        leads=[_lead_row(record) for record in records],
        calls=[(*call_values(r).values(), r.lead.lead_id) for r in records],
        transfers=[
            (
                *transfer_values(attempt).values(),
                *result_values(attempt).values(),
                record.lead.lead_id,
                record.call_id,
            )
            for record in records
            for attempt in record.transfers
        ],
        facts=[graph_facts(record) for record in records],
        vectors=vectors,
    )


def _columns(record: CallRecord) -> tuple[object, ...]:
    status = record.outcome.final_status
    return record.call_id, record.lead.lead_id, record.started_at, status, record.engagement


def _lead_row(record: CallRecord) -> tuple[object, ...]:
    lead, outcome = record.lead, record.outcome
    stored = PastCall(
        call_id=record.call_id,
        ended_at=record.ended_at,
        final_status=outcome.final_status,
        booked=outcome.booked,
        transferred=record.transfer_successful,
        engagement=record.engagement,
        follow_up_at=outcome.follow_up_at,
    )
    after = lead_progress([stored])
    return (
        lead.lead_id,
        lead.external_id,
        lead.first_name,
        lead.last_name,
        lead.source,
        lead.timezone,
        lead.country,
        lead.current_income_range,
        lead.experience_level,
        after.status,
        after.last_contacted_at,
        after.next_followup_at,
        after.qualification_score,
        after.relationship,
    )
