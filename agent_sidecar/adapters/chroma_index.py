"""Vectors in Chroma: every call's lines and answers, and the playbook's strategies and objections.

What is stored of a call, and why it is split by outcome, is `domain.vector_rows`. Ids are made of
the call's, so writing twice is as once; a correction writes the new rows first and then removes
what the call has elsewhere, so that nothing is lost if it is interrupted, and again mends it.

Whether a call is there already is asked of `conversation_patterns` alone, by id: that row is
written first and removed last, so a call without it has no others. Looking for rows of new calls
in every collection, by a filter, took longer than writing them.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from typing import cast

import numpy as np
from chromadb.api.models.AsyncCollection import AsyncCollection
from chromadb.api.types import GetResult, Where

from agent_sidecar.adapters.chroma_client import ChromaServer
from agent_sidecar.domain.audit import property_differences
from agent_sidecar.domain.playbook import Playbook
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.types import CallId, StoreName, Vector
from agent_sidecar.domain.vector_rows import (
    CALL_FAMILIES,
    OUTCOMES,
    PLAYBOOK_FAMILIES,
    Metadata,
    PlaybookText,
    VectorRow,
    call_rows,
    collection,
    pattern_id,
    playbook_texts,
)
from agent_sidecar.errors import RecordRejected, SettingsInvalid, StoreUnavailable

_DESCRIPTIONS: Mapping[str, str] = {
    "conversation_embeddings": "What agents said, line by line, in calls that ended like this",
    "conversation_patterns": "Whole calls that ended like this, as what their prospects said",
    "objection_responses": "Answers that lifted the prospect, found by the objection they answered",
    "strategy_embeddings": "The playbook's strategies: the moment each is for, and its words",
    "objection_embeddings": "The playbook's objections, as they usually sound",
}
_CALL_COLLECTIONS = tuple(collection(f, o) for f in CALL_FAMILIES for o in OUTCOMES)
_PATTERN_COLLECTIONS = tuple(collection("conversation_patterns", o) for o in OUTCOMES)
# calls named in one filter
_CALLS_PER_FILTER = 100
# an audit reads whole rows: so many calls at once keep an answer at a few megabytes
_CALLS_PER_AUDIT = 25


class ChromaIndex:
    """The projection of records into vectors, and the index of the playbook."""

    store: StoreName = "chroma"
    engine = "Chroma"

    def __init__(self, server: ChromaServer) -> None:
        self._server = server

    async def ping(self) -> None:
        await self._server.ping()

    async def migrate(self) -> Sequence[str]:
        """Create the collections; raises `SettingsInvalid` when they are of another model."""
        await self._server.check_model()
        return [
            f"collection {name}"
            for name in (*PLAYBOOK_FAMILIES, *_CALL_COLLECTIONS)
            if await self._server.create(name, description=_DESCRIPTIONS[name.partition(".")[0]])
        ]

    async def apply(self, record: CallRecord) -> None:
        await self.apply_all([record])

    async def apply_all(self, records: Sequence[CallRecord]) -> None:
        """Write the rows of several calls with one request a collection."""
        # the newest version of a call is all that counts
        newest = {record.call_id: record for record in records}
        rows: dict[str, dict[str, VectorRow]] = {}
        for record in newest.values():
            for name, by_id in self._wanted(record).items():
                self._check(by_id.values())
                rows.setdefault(name, {}).update(by_id)
            # each takes a millisecond, and live calls come first
            await asyncio.sleep(0)
        stored = await self._ids_of(await self._perhaps_stored(list(newest), rows))
        for name in sorted(rows, key=_patterns_first):
            if rows[name]:
                await self._upsert(name, tuple(rows[name].values()))
        for name in sorted(stored, key=_patterns_first, reverse=True):
            stale = sorted(stored[name] - rows.get(name, {}).keys())
            if stale:
                await self._delete(name, stale)

    def _check(self, rows: Iterable[VectorRow]) -> None:
        for row in rows:
            if row.vector.shape != (self._server.dimension,):
                raise RecordRejected(
                    f"the vector {row.id} has {row.vector.size} numbers, but the model"
                    f" {self._server.model} makes {self._server.dimension}"
                )

    async def load(self, playbook: Playbook, vectors: Mapping[str, Vector]) -> None:
        """Store the texts of `playbook_texts` that changed, and forget those that are gone.

        A text without a vector keeps the one that is stored, if there is one.
        """
        for family, texts in playbook_texts(playbook).items():
            stored = await self._server.ask(family, lambda c: c.get(include=[]))
            if stored is None:
                raise _no_collection(family)
            known = set(stored["ids"])
            new = [t for t in texts if t.id not in known and t.text in vectors]
            if new:
                await self._upsert(family, [_playbook_row(text, vectors) for text in new])
            stale = sorted(known - {text.id for text in texts})
            if stale:
                await self._delete(family, stale)

    async def forget(self, call_ids: Collection[CallId]) -> None:
        """Remove the rows of these calls, in whatever collection they lie."""
        ids = sorted(call_ids)
        for start in range(0, len(ids), _CALLS_PER_FILTER):
            stored = await self._ids_of(ids[start : start + _CALLS_PER_FILTER])
            for name in sorted(stored, key=_patterns_first, reverse=True):
                if stored[name]:
                    await self._delete(name, sorted(stored[name]))

    async def clear(self) -> None:
        """Make the collections of calls anew; those of the playbook stay, if of this model."""
        for name in _CALL_COLLECTIONS:
            await self._server.drop(name)
        try:
            await self._server.check_model()
        except SettingsInvalid:
            for name in PLAYBOOK_FAMILIES:
                await self._server.drop(name)
        await self.migrate()

    async def call_ids(self, *, batch: int = 500) -> AsyncIterator[Sequence[CallId]]:
        """Walk over the calls that have rows."""
        seen: set[CallId] = set()
        for name in _CALL_COLLECTIONS:
            offset = 0
            while rows := await self._metadata_of(name, batch, offset):
                offset += len(rows)
                found = {CallId(str(row["call_id"])) for row in rows if "call_id" in row} - seen
                seen |= found
                if found:
                    yield sorted(found)

    async def _metadata_of(self, name: str, limit: int, offset: int) -> Sequence[Metadata]:
        got = await self._server.ask(
            name, lambda c: c.get(limit=limit, offset=offset, include=["metadatas"])
        )
        if got is None:
            raise _no_collection(name)
        return cast(Sequence[Metadata], [row or {} for row in got["metadatas"] or ()])

    async def counts(self) -> Mapping[str, int]:
        sums: dict[str, int] = {}
        names = [*_CALL_COLLECTIONS, *PLAYBOOK_FAMILIES]
        for name, rows in (await self._server.ask_each(names, lambda c: c.count())).items():
            family = name.partition(".")[0]
            sums[family] = sums.get(family, 0) + (rows or 0)
        return sums

    async def differences(self, records: Sequence[CallRecord]) -> Mapping[CallId, Sequence[str]]:
        found: dict[CallId, Sequence[str]] = {}
        for start in range(0, len(records), _CALLS_PER_AUDIT):
            batch = records[start : start + _CALLS_PER_AUDIT]
            stored = await self._rows_of([record.call_id for record in batch])
            for record in batch:
                sentences = list(_differences(self._wanted(record), stored[record.call_id]))
                if sentences:
                    found[record.call_id] = sentences
        return found

    def _wanted(self, record: CallRecord) -> Mapping[str, Mapping[str, VectorRow]]:
        """Return the rows that the record makes, by collection and id."""
        rows = call_rows(record)
        return {
            collection(family, record.outcome.final_status): {row.id: row for row in of_family}
            for family, of_family in rows.items()
        }

    async def _perhaps_stored(
        self, call_ids: Sequence[CallId], rows: Mapping[str, Mapping[str, VectorRow]]
    ) -> Sequence[CallId]:
        """Return the calls that may have rows: new ones of which that can be told are left out."""
        pattern = {pattern_id(call_id): call_id for call_id in call_ids}
        written = {row for name in _PATTERN_COLLECTIONS for row in rows.get(name, ())}
        found = await self._server.ask_each(
            _PATTERN_COLLECTIONS, lambda c: c.get(ids=list(pattern), include=[])
        )
        stored: set[str] = set()
        for name, got in found.items():
            if got is None:
                raise _no_collection(name)
            stored.update(got["ids"])
        # whoever said nothing has no such row now, and may have had none before
        return [i for row, i in pattern.items() if row in stored or row not in written]

    async def _ids_of(self, call_ids: Sequence[CallId]) -> Mapping[str, set[str]]:
        """Return what is stored of calls, by collection, wherever it lies."""
        stored: dict[str, set[str]] = {}
        if not call_ids:
            return stored
        of_these = _of_calls(call_ids)
        found = await self._server.ask_each(
            _CALL_COLLECTIONS, lambda c: c.get(where=of_these, include=[])
        )
        for name, got in found.items():
            if got is None:
                raise _no_collection(name)
            stored[name] = set(got["ids"])
        return stored

    async def _rows_of(
        self, call_ids: Sequence[CallId]
    ) -> Mapping[CallId, Mapping[tuple[str, str], VectorRow]]:
        rows: dict[CallId, dict[tuple[str, str], VectorRow]] = {i: {} for i in call_ids}
        of_these = _of_calls(call_ids)
        found = await self._server.ask_each(
            _CALL_COLLECTIONS,
            lambda c: c.get(where=of_these, include=["embeddings", "metadatas", "documents"]),
        )
        for name, got in found.items():
            for row in _read_rows(got):
                rows[CallId(str(row.metadata["call_id"]))][name, row.id] = row
        return rows

    async def _upsert(self, name: str, rows: Sequence[VectorRow]) -> None:
        async def upsert(there: AsyncCollection) -> bool:
            await there.upsert(
                ids=[row.id for row in rows],
                embeddings=np.stack([row.vector for row in rows]),
                documents=[row.document for row in rows],
                metadatas=[dict(row.metadata) for row in rows],
            )
            return True

        if not await self._server.ask(name, upsert):
            raise _no_collection(name)

    async def _delete(self, name: str, ids: Sequence[str]) -> None:
        await self._server.ask(name, lambda c: c.delete(ids=list(ids)))


def _patterns_first(name: str) -> tuple[bool, str]:
    return name not in _PATTERN_COLLECTIONS, name


def _of_calls(call_ids: Sequence[CallId]) -> Where:
    # the library's own type of a filter does not allow the filter that its pages show
    return cast(Where, {"call_id": {"$in": [*call_ids]}})


def _playbook_row(text: PlaybookText, vectors: Mapping[str, Vector]) -> VectorRow:
    vector = np.asarray(vectors[text.text], dtype=np.float32)
    return VectorRow(id=text.id, vector=vector, document=text.text, metadata=text.metadata)


def _read_rows(got: GetResult | None) -> Iterable[VectorRow]:
    if got is None:
        return
    embeddings, documents, metadatas = got["embeddings"], got["documents"], got["metadatas"]
    if embeddings is None or documents is None or metadatas is None:
        return
    for identity, vector, document, metadata in zip(
        got["ids"], embeddings, documents, metadatas, strict=True
    ):
        yield VectorRow(
            id=identity,
            vector=np.asarray(vector, dtype=np.float32),
            document=document or "",
            metadata={k: v for k, v in metadata.items() if isinstance(v, str | int | float)},
        )


def _differences(
    wanted: Mapping[str, Mapping[str, VectorRow]], stored: Mapping[tuple[str, str], VectorRow]
) -> Iterable[str]:
    expected = {(name, i): row for name, by_id in wanted.items() for i, row in by_id.items()}
    for (name, identity), row in sorted(expected.items()):
        found = stored.get((name, identity))
        if found is None:
            yield f"{name}: {identity} is missing"
            continue
        if row.document != found.document:
            yield f"{name}: {identity} has other words"
        if row.vector.shape != found.vector.shape or not np.allclose(
            row.vector, found.vector, atol=1e-6
        ):
            yield f"{name}: {identity} has another vector"
        for sentence in property_differences(row.metadata, found.metadata):
            yield f"{name}: {identity}: {sentence}"
    for name, identity in sorted(stored.keys() - expected.keys()):
        yield f"{name}: {identity} is too many"


def _no_collection(name: str) -> StoreUnavailable:
    return StoreUnavailable(f"Chroma has no collection {name!r}: run `agent-sidecar migrate`")
