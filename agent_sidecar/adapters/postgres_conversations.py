"""Conversations in PostgreSQL, where no MongoDB is set: the same documents, kept as BSON.

Beside the document lie the columns that queries need, and a full-text index over the words.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

import asyncpg
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
from agent_sidecar.domain.examples import example_call, example_kinds
from agent_sidecar.domain.insights import ExampleCall
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.tally import KIND_FIELDS
from agent_sidecar.domain.types import CallId, StoreName
from agent_sidecar.errors import RecordRejected

_UPSERT = """
INSERT INTO conversations (id, lead_id, started_at, outcome, score, doc, search, example_kinds,
    qualified)
VALUES ($1, $2, $3, $4, $5, $6, to_tsvector('english', $7), $8, $9)
ON CONFLICT (id) DO UPDATE SET
    lead_id = excluded.lead_id, started_at = excluded.started_at, outcome = excluded.outcome,
    score = excluded.score, doc = excluded.doc, search = excluded.search,
    example_kinds = excluded.example_kinds, qualified = excluded.qualified, updated_at = now()
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

# of older versions, which did not tell for which kinds of lead a call is an example
_UNTOLD = "SELECT id, doc FROM conversations WHERE example_kinds IS NULL ORDER BY id LIMIT $1"
_TELL = "UPDATE conversations SET example_kinds = $2, qualified = $3 WHERE id = $1"
_TOLD_AT_ONCE = 200
# the best of each kind, which its index finds; by depth, since an index has one place in the list
_EXAMPLES = """
WITH found AS (
    (SELECT id, score, 4 AS depth FROM conversations
     WHERE qualified AND example_kinds[5] = $5 ORDER BY score DESC NULLS LAST, id LIMIT $6)
    UNION ALL (SELECT id, score, 3 FROM conversations
     WHERE qualified AND example_kinds[4] = $4 ORDER BY score DESC NULLS LAST, id LIMIT $6)
    UNION ALL (SELECT id, score, 2 FROM conversations
     WHERE qualified AND example_kinds[3] = $3 ORDER BY score DESC NULLS LAST, id LIMIT $6)
    UNION ALL (SELECT id, score, 1 FROM conversations
     WHERE qualified AND example_kinds[2] = $2 ORDER BY score DESC NULLS LAST, id LIMIT $6)
    UNION ALL (SELECT id, score, 0 FROM conversations
     WHERE qualified AND example_kinds[1] = $1 ORDER BY score DESC NULLS LAST, id LIMIT $6)
), best AS (
    SELECT id, max(depth) AS depth FROM found GROUP BY id, score
    ORDER BY 2 DESC, score DESC NULLS LAST, id LIMIT $6
)
SELECT best.id, best.depth, doc FROM best JOIN conversations USING (id)
ORDER BY best.depth DESC, conversations.score DESC NULLS LAST, id
"""
_NEWEST = """
SELECT id, doc FROM conversations WHERE id <> ALL($1::text[])
ORDER BY started_at DESC, id LIMIT $2
"""
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
        """Bring the table to the newest version, and what older ones wrote."""
        applied = await apply_schema(self._pool, "conversations")
        # in steps that stay done when the next is cut short
        while await self._pool.transact(_tell_kinds):
            pass
        return applied

    async def apply(self, record: CallRecord) -> None:
        """Store the whole conversation in place of an earlier version of it."""
        await self.apply_all([record])

    async def apply_all(self, records: Sequence[CallRecord]) -> None:
        """Do so for several in one transaction."""
        rows = []
        for record in records:
            rows.append(_row(record))
            # each takes a millisecond or two, and live calls come first
            await asyncio.sleep(0)

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

    async def newest(self, *, limit: int, without: Collection[CallId]) -> Sequence[CallRecord]:
        """Return the records of the calls that began last, newest first."""
        known = list(without)

        async def work(connection: Connection) -> Sequence[tuple[str, bytes]]:
            rows = await connection.fetch(_NEWEST, known, limit)
            return [(row["id"], row["doc"]) for row in rows]

        docs = await self._pool.transact(work, readonly=True)
        return list(readable_records(_documents(docs)))

    async def _since(
        self, since: datetime, after: tuple[datetime, str], without: list[CallId], limit: int
    ) -> Sequence[_Row]:
        async def work(connection: Connection) -> Sequence[_Row]:
            rows = await connection.fetch(_SINCE, since, *after, without, limit)
            return [(row["started_at"], row["id"], row["doc"]) for row in rows]

        return await self._pool.transact(work, readonly=True)

    async def examples(self, kinds: Sequence[str], *, most: int) -> Sequence[ExampleCall]:
        """Return the best calls of such leads, those of the narrowest kind first.

        `kinds` are those of `domain.tally.kinds`, in their order.
        """
        places = [*kinds, *([None] * KIND_FIELDS)][: KIND_FIELDS + 1]

        async def work(connection: Connection) -> Sequence[asyncpg.Record]:
            return await connection.fetch(_EXAMPLES, *places, most)

        rows = await self._pool.transact(work, readonly=True)
        return [
            example_call(document, kinds[row["depth"]])
            for row in rows
            for document in _documents([(row["id"], row["doc"])])
        ]

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
        *_as_example(record),
    )


def _as_example(record: CallRecord) -> tuple[list[str], bool | None]:
    return [storable(kind) for kind in example_kinds(record)], record.outcome.qualified


async def _tell_kinds(connection: Connection) -> int:
    """Tell of some conversations of older versions for whom they are examples; return how many."""
    rows = await connection.fetch(_UNTOLD, _TOLD_AT_ONCE)
    told: dict[str, tuple[list[str], bool | None]] = {row["id"]: ([], None) for row in rows}
    for record in readable_records(_documents((row["id"], row["doc"]) for row in rows)):
        told[record.call_id] = _as_example(record)
    await connection.executemany(_TELL, [(call_id, *said) for call_id, said in told.items()])
    return len(told)


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
