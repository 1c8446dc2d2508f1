"""The journal as the book of what must leave every store (`ports.forgetting`)."""

import sqlite3
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Protocol, TypeVar, cast

import msgspec

from agent_sidecar.adapters.sqlite_rows import from_us, to_us
from agent_sidecar.adapters.sqlite_writer import Work
from agent_sidecar.domain.erasure import Person
from agent_sidecar.domain.types import STORES, CallId, StoreName
from agent_sidecar.ports.forgetting import OpenErasure, Reason

T = TypeVar("T")

# who was erased once stays erased
_MARK = (
    "INSERT INTO forgetting (call_id, reason, marked_at) SELECT value, ?2, ?3 FROM json_each(?1)"
    " WHERE true ON CONFLICT (call_id) DO UPDATE SET"
    " reason = CASE WHEN reason = 'erased' THEN reason ELSE excluded.reason END"
)
_MARK_STORES = (
    "INSERT OR IGNORE INTO forgetting_store (store, call_id)"
    " SELECT s.value, c.value FROM json_each(?1) s, json_each(?2) c"
)
_FORGET = (
    "DELETE FROM delivery WHERE call_id IN (SELECT value FROM json_each(?1))",
    "DELETE FROM record WHERE call_id IN (SELECT value FROM json_each(?1))",
    "DELETE FROM pruned WHERE call_id IN (SELECT value FROM json_each(?1))",
)
_FORGET_EVENTS = (
    "DELETE FROM event WHERE call_id IN (SELECT value FROM json_each(?1))"
    " AND call_id NOT IN (SELECT value FROM json_each(?2))"
)
_WAITING = "SELECT call_id FROM forgetting_store WHERE store = ? LIMIT ?"
_FORGOTTEN = (
    "DELETE FROM forgetting_store WHERE store = ? AND call_id IN (SELECT value FROM json_each(?))"
)
_LEFT = "SELECT store, count(*) FROM forgetting_store GROUP BY store"
_HELD = (
    "SELECT (SELECT count(*) FROM record WHERE call_id IN (SELECT value FROM json_each(?1)))"
    " + (SELECT count(*) FROM pruned WHERE call_id IN (SELECT value FROM json_each(?1)))"
    " + (SELECT count(*) FROM event WHERE call_id IN (SELECT value FROM json_each(?1)))"
)
_OLDEST = "SELECT min(received_at) FROM inbox"
_ABOUT = "SELECT event_id FROM inbox WHERE instr(body, ?) > 0"
# of a JSON object that says nothing
_BLANK = (
    "UPDATE inbox SET body = '{}', leg_id = NULL WHERE event_id IN (SELECT value FROM json_each(?))"
)
_PUT_ERASURE = (
    "INSERT INTO erasure (id, asked_at, person, traces, removed) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (id) DO UPDATE SET person = excluded.person, traces = excluded.traces,"
    " removed = excluded.removed"
)
_ERASED = "SELECT call_id FROM forgetting WHERE reason = 'erased'"
_ERASURES = "SELECT id, asked_at, person, traces, removed FROM erasure ORDER BY asked_at, id"
_CLOSE_ERASURE = "DELETE FROM erasure WHERE id = ?"


class Write(Protocol):
    """Does work in the journal's writing thread; `alone`: outside of any transaction."""

    def __call__(self, work: Work, *, alone: bool = False) -> Awaitable[object]: ...


class Read(Protocol):
    """Asks the journal's reading connection."""

    async def __call__(self, read: Callable[[sqlite3.Connection], T]) -> T: ...


class SqliteForgetting:
    """`ports.ForgettingBook` in the file of a journal."""

    def __init__(self, write: Write, read: Read, now: Callable[[], datetime]) -> None:
        self._write = write
        self._read = read
        self._now = now

    async def mark(
        self, call_ids: Collection[CallId], reason: Reason, *, live: Collection[CallId] = ()
    ) -> None:
        ids, at_us = _json(call_ids), to_us(self._now())

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_MARK, (ids, reason, at_us))
            connection.execute(_MARK_STORES, (_json(STORES), ids))
            for statement in _FORGET:
                connection.execute(statement, (ids,))
            connection.execute(_FORGET_EVENTS, (ids, _json(live)))

        await self._write(work)

    async def waiting(self, store: StoreName, *, limit: int) -> Sequence[CallId]:
        rows = await self._read(lambda c: c.execute(_WAITING, (store, limit)).fetchall())
        return [row[0] for row in rows]

    async def forgotten(self, store: StoreName, call_ids: Collection[CallId]) -> None:
        await self._execute(_FORGOTTEN, (store, _json(call_ids)))

    async def left(self) -> Mapping[StoreName, int]:
        return dict(await self._read(lambda c: c.execute(_LEFT).fetchall()))

    async def erased(self) -> frozenset[CallId]:
        rows = await self._read(lambda c: c.execute(_ERASED).fetchall())
        return frozenset(row[0] for row in rows)

    async def held(self, call_ids: Collection[CallId]) -> int:
        ids = _json(call_ids)
        return await self._read(lambda c: cast(int, c.execute(_HELD, (ids,)).fetchone()[0]))

    async def oldest_webhook_at(self) -> datetime | None:
        (us,) = await self._read(lambda c: c.execute(_OLDEST).fetchone())
        return None if us is None else from_us(us)

    async def webhooks_about(self, texts: Collection[str]) -> Sequence[str]:
        found: set[str] = set()
        for text in texts:
            found.update(await self._read(partial(_about, text=text)))
        return sorted(found)

    async def blank(self, event_ids: Collection[str]) -> None:
        await self._execute(_BLANK, (_json(event_ids),))

    async def open_erasure(self, erasure: OpenErasure) -> None:
        encode = msgspec.json.encode
        person, traces, removed = erasure.person, erasure.traces, erasure.removed
        told = (encode(person), encode(traces), encode(removed))
        row = (erasure.id, to_us(erasure.asked_at), *told)
        await self._execute(_PUT_ERASURE, row)

    async def erasures(self) -> Sequence[OpenErasure]:
        rows = await self._read(lambda c: c.execute(_ERASURES).fetchall())
        return [
            OpenErasure(
                id=row[0],
                asked_at=from_us(row[1]),
                person=msgspec.json.decode(row[2], type=Person),
                traces=msgspec.json.decode(row[3], type=frozenset[str]),
                removed=msgspec.json.decode(row[4], type=dict[str, int]),
            )
            for row in rows
        ]

    async def close_erasure(self, erasure_id: str) -> None:
        await self._execute(_CLOSE_ERASURE, (erasure_id,))

    async def compact(self) -> None:
        await self._write(_compact, alone=True)

    async def _execute(self, sql: str, row: tuple[object, ...]) -> None:
        await self._write(lambda connection: connection.execute(sql, row))


def _about(connection: sqlite3.Connection, text: str) -> Sequence[str]:
    # as bytes, as the bodies are
    return [row[0] for row in connection.execute(_ABOUT, (text.encode(),))]


def _compact(connection: sqlite3.Connection) -> None:
    connection.execute("VACUUM")
    # what was deleted is still in the log until it is begun anew
    (is_busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if is_busy:
        raise sqlite3.OperationalError("somebody reads it; what was deleted is still in its log")


def _json(values: Collection[str]) -> str:
    return msgspec.json.encode(list(values)).decode()
