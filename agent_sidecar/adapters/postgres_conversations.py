"""Conversations in PostgreSQL, where no MongoDB is set: the same documents, kept as BSON.

Beside the document lie the columns that queries need, and a full-text index over the words.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

import bson
from bson.codec_options import CodecOptions
from bson.errors import BSONError

from agent_sidecar.adapters.pg import Connection, PgPool, apply_schema
from agent_sidecar.adapters.pg.texts import storable
from agent_sidecar.adapters.stored_conversation import (
    readable_records,
    stored_differences,
    stored_document,
)
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.types import CallId, StoreName
from agent_sidecar.errors import RecordRejected

_UPSERT = """
INSERT INTO conversations (id, lead_id, started_at, outcome, score, doc, search)
VALUES ($1, $2, $3, $4, $5, $6, to_tsvector('english', $7))
ON CONFLICT (id) DO UPDATE SET
    lead_id = excluded.lead_id, started_at = excluded.started_at, outcome = excluded.outcome,
    score = excluded.score, doc = excluded.doc, search = excluded.search, updated_at = now()
"""
_GET = "SELECT doc, created_at, updated_at FROM conversations WHERE id = $1"
_FIND = "SELECT id, doc FROM conversations WHERE id = ANY($1::text[])"
# by time and id, so that a walk that is cut in batches misses none and repeats none
_SINCE = """
SELECT id, started_at, doc FROM conversations
WHERE started_at >= $1 AND (started_at, id) > ($2, $3) AND id <> ALL($4::text[])
ORDER BY started_at, id LIMIT $5
"""
_FORGET = "DELETE FROM conversations WHERE id = ANY($1::text[])"
_IDS = "SELECT id FROM conversations WHERE id > $1 ORDER BY id LIMIT $2"
_COUNT = "SELECT count(*) FROM conversations"
# a tsvector holds 1 MB; nobody searches for the tail of a call that long
_SEARCHED_CHARACTERS = 250_000
# started_at, id, doc
_Row: TypeAlias = tuple[datetime, str, bytes]
# documents removed in one transaction
_STEP = 500
_BEFORE_ALL = datetime(1970, 1, 1, tzinfo=UTC)
_AWARE: CodecOptions[Mapping[str, object]] = CodecOptions(tz_aware=True, tzinfo=UTC)


class PostgresConversations:
    """The projection `conversations` in a table of PostgreSQL."""

    def __init__(self, pool: PgPool) -> None:
        self._pool = pool

    @property
    def store(self) -> StoreName:
        return "conversations"

    @property
    def engine(self) -> str:
        return "PostgreSQL (embedded conversation store)"

    async def migrate(self) -> Sequence[str]:
        """Bring the table to the newest version."""
        return await apply_schema(self._pool, "conversations")

    async def apply(self, record: CallRecord) -> None:
        """Store the whole conversation in place of an earlier version of it."""
        await self.apply_all([record])

    async def apply_all(self, records: Sequence[CallRecord]) -> None:
        """Do so for several in one transaction."""
        rows = [_row(record) for record in records]

        async def work(connection: Connection) -> None:
            await connection.executemany(_UPSERT, rows)

        await self._pool.transact(work)

    async def differences(self, records: Sequence[CallRecord]) -> Mapping[CallId, Sequence[str]]:
        """Compare each stored document, and the record in it, with what the record makes."""
        ids = [record.call_id for record in records]

        async def work(connection: Connection) -> Mapping[str, bytes]:
            return {row["id"]: row["doc"] for row in await connection.fetch(_FIND, ids)}

        docs = await self._pool.transact(work, readonly=True)
        wrong = {
            record.call_id: _differences(docs.get(record.call_id), record) for record in records
        }
        return {call_id: texts for call_id, texts in wrong.items() if texts}

    async def forget(self, call_ids: Collection[CallId]) -> None:
        """Remove the documents of these calls."""

        async def work(connection: Connection) -> None:
            await connection.execute(_FORGET, list(call_ids))

        await self._pool.transact(work)

    async def clear(self) -> None:
        """Remove all documents."""
        async for ids in self.call_ids(batch=_STEP):
            await self.forget(ids)

    async def call_ids(self, *, batch: int = 500) -> AsyncIterator[Sequence[CallId]]:
        """Walk over the ids of all documents."""

        async def work(connection: Connection) -> list[CallId]:
            return [CallId(row["id"]) for row in await connection.fetch(_IDS, after, batch)]

        after = ""
        while ids := await self._pool.transact(work, readonly=True):
            after = ids[-1]
            yield ids

    async def get(self, call_id: CallId) -> Mapping[str, object] | None:
        """Return the document of a call."""

        async def work(connection: Connection) -> Mapping[str, object] | None:
            row = await connection.fetchrow(_GET, call_id)
            if row is None:
                return None
            stored_at = {"createdAt": row["created_at"], "updatedAt": row["updated_at"]}
            return {**bson.decode(row["doc"], _AWARE), **stored_at}

        return await self._pool.transact(work, readonly=True)

    async def records(
        self, *, since: datetime | None, without: Collection[CallId], batch: int = 100
    ) -> AsyncIterator[Sequence[CallRecord]]:
        """Walk over the records of calls started since then but those, oldest first."""
        from_at = since or _BEFORE_ALL
        after: tuple[datetime, str] = (_BEFORE_ALL, "")
        while rows := await self._since(from_at, after, list(without), batch):
            after = rows[-1][:2]
            yield list(readable_records(_documents((call_id, doc) for _, call_id, doc in rows)))

    async def find(self, call_ids: Collection[CallId]) -> Sequence[CallRecord]:
        """Return the records of these calls, as far as they are stored and can be read."""
        ids = list(call_ids)

        async def work(connection: Connection) -> Sequence[tuple[str, bytes]]:
            return [(row["id"], row["doc"]) for row in await connection.fetch(_FIND, ids)]

        docs = await self._pool.transact(work, readonly=True)
        return list(readable_records(_documents(docs)))

    async def _since(
        self, since: datetime, after: tuple[datetime, str], without: list[CallId], limit: int
    ) -> Sequence[_Row]:
        async def work(connection: Connection) -> Sequence[_Row]:
            rows = await connection.fetch(_SINCE, since, *after, without, limit)
            return [(row["started_at"], row["id"], row["doc"]) for row in rows]

        return await self._pool.transact(work, readonly=True)

    async def counts(self) -> Mapping[str, int]:
        """Count the conversations."""

        async def work(connection: Connection) -> int:
            return int(await connection.fetchval(_COUNT))

        return {"conversations": await self._pool.transact(work, readonly=True)}

    async def ping(self) -> None:
        """Ask the server something. Raises `StoreUnavailable`."""
        await self._pool.ping()

    async def aclose(self) -> None:
        """End the pool, for whoever else uses it too; more than once is as once."""
        await self._pool.aclose()


def _row(record: CallRecord) -> tuple[object, ...]:
    """Return the parameters of `_UPSERT`. Raises `RecordRejected`."""
    try:
        doc = bson.encode(stored_document(record))
    except (BSONError, UnicodeError, OverflowError) as exc:
        raise RecordRejected(f"call {record.call_id} cannot be written as BSON: {exc}") from exc
    return (
        record.call_id,
        record.lead.lead_id or None,
        record.started_at,
        record.outcome.final_status,
        record.engagement,
        doc,
        storable(record.full_text)[:_SEARCHED_CHARACTERS],
    )


def _documents(docs: Iterable[tuple[str, bytes]]) -> Iterator[Mapping[str, object]]:
    for call_id, doc in docs:
        try:
            yield bson.decode(doc, _AWARE)
        except BSONError:
            # `readable_records` says that nothing is in it
            yield {"_id": call_id}


def _differences(doc: bytes | None, record: CallRecord) -> Sequence[str]:
    if doc is None:
        return stored_differences(None, record)
    try:
        found = bson.decode(doc, _AWARE)
    except BSONError as exc:
        return (f"doc: is no BSON ({exc})",)
    return stored_differences(found, record)
