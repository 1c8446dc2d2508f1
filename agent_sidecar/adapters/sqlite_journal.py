"""The journal in one SQLite file: the first durable write of everything we acknowledge.

WAL with `synchronous=FULL`: what a write's future reports as done survives a power cut. One thread
writes (`sqlite_writer`), one reads, so that a long walk over all records never holds up a commit.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import IO, Self, TypeVar, cast

import msgspec
import structlog

from agent_sidecar.adapters import sqlite_again as again
from agent_sidecar.adapters import sqlite_care as care
from agent_sidecar.adapters import sqlite_rows as rows
from agent_sidecar.adapters.sqlite_codec import encode_and_read, encode_event
from agent_sidecar.adapters.sqlite_file import (
    journal_failed,
    note_damage,
    open_reader,
    open_writer,
    take_ownership,
)
from agent_sidecar.adapters.sqlite_forgetting import SqliteForgetting
from agent_sidecar.adapters.sqlite_repair import open_sound
from agent_sidecar.adapters.sqlite_writer import GroupWriter, Work, failed, quiet
from agent_sidecar.domain.events import CallEvent
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.types import STORES, CallId, DeliveryState, StoreName
from agent_sidecar.errors import JournalFailed
from agent_sidecar.ports import (
    Clock,
    CommittedRecord,
    Delivery,
    JournalRoom,
    ListedDelivery,
    OpenCall,
    Pruned,
    RebuildStep,
    ReceivedWebhook,
)

log = structlog.get_logger()

T = TypeVar("T")

_STORES = msgspec.json.encode(STORES).decode()
# How long webhooks are kept and known; Telnyx repeats one for minutes.
_INBOX = timedelta(hours=24)
# Bounds the memory for their ids: about 60 MB.
_KNOWN_IDS = 500_000
# Records that stay decoded until every store has them, if none lags: about 20 MB.
_FRESH = 100
# One in so many webhooks also removes up to so many old ones: faster than they come.
_PRUNE_EVERY, _PRUNE_ROWS = 500, 2_000


class SqliteJournal:
    """`ports.Journal` and its care on a file that this process owns until `aclose`."""

    def __init__(
        self, path: Path, *, reader: sqlite3.Connection, writer: GroupWriter | None, clock: Clock
    ) -> None:
        self._path = path
        self._reader = reader
        self._reading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal-read")
        self._writer = writer
        self._lock: IO[bytes] | None = None
        self._clock = clock
        self._closed = False
        self._received = 0
        # event id -> when it came, oldest first
        self._kept: dict[str, int] = {}
        # by call and version, oldest first; the reading thread looks things up in it
        self._fresh: dict[tuple[CallId, int], CallRecord] = {}
        self._being_kept: dict[str, asyncio.Future[object]] = {}

    @classmethod
    async def open(cls, path: Path, *, clock: Clock | None = None, read_only: bool = False) -> Self:
        """Open the file, made if missing. Raises `JournalFailed`.

        `read_only` works beside the service that owns the file, and refuses every write.
        """
        clock = clock or _SystemClock()
        if read_only:
            reader = await asyncio.to_thread(_translated, path, lambda: open_reader(path))
            return cls(path, reader=reader, writer=None, clock=clock)
        lock = await asyncio.to_thread(take_ownership, path)
        try:
            connection, reader = await asyncio.to_thread(
                _translated,
                path,
                lambda: (open_sound(path, open_writer, _STORES), open_reader(path)),
            )
        except BaseException:
            lock.close()
            raise
        journal = cls(path, reader=reader, writer=GroupWriter(connection, path), clock=clock)
        journal._lock = lock
        try:
            await journal._remember_webhooks()
        except BaseException:
            await journal.aclose()
            raise
        return journal

    async def aclose(self) -> None:
        """Finish what is queued and give the file free; later calls fail."""
        self._closed = True
        await asyncio.to_thread(self._reading.shutdown)
        self._reader.close()
        if self._writer is not None:
            await self._writer.aclose()
        if self._lock is not None:
            self._lock.close()

    # --- webhooks and events ---

    def seen(self, event_id: str) -> Awaitable[None] | None:
        being_kept = self._being_kept.get(event_id)
        if being_kept is not None:
            # Shielded: one waiter that gives up must not take the result from the others.
            return cast(Awaitable[None], quiet(asyncio.shield(being_kept)))
        if event_id in self._kept:
            done = asyncio.get_running_loop().create_future()
            done.set_result(None)
            return done
        return None

    def receive(self, webhook: ReceivedWebhook) -> Awaitable[None]:
        kept = self._write(lambda connection: rows.keep_webhook(connection, webhook))
        self._being_kept[webhook.event_id] = kept
        kept.add_done_callback(partial(self._end_keeping, webhook))
        self._received += 1
        if self._received % _PRUNE_EVERY == 0:
            self._prune()
        # Shielded: an impatient caller must not make it look as if it had not been kept.
        return cast(Awaitable[None], quiet(asyncio.shield(kept)))

    def append(self, call_id: CallId, event: CallEvent) -> Awaitable[None]:
        try:
            row = (call_id, encode_event(event))
        except ValueError as exc:
            return cast(Awaitable[None], failed(self._unwritable(f"an event of {call_id}", exc)))
        written = self._write(_statement(rows.KEEP_EVENT, row))
        return cast(Awaitable[None], written)

    async def open_calls(self) -> Sequence[OpenCall]:
        calls, unreadable = await self._read(rows.open_calls)
        for call_id, reason in unreadable:
            log.error(
                "journal_event_unreadable",
                call_id=call_id,
                reason=reason,
                todo="the call goes on without this event; keep the journal file and report it",
            )
        return calls

    async def discard(self, call_id: CallId) -> None:
        await self._write(_statement(rows.FORGET_EVENTS, (call_id,)))

    # --- records and deliveries ---

    async def commit(self, record: CallRecord) -> int:
        raw, as_read = self._encoded(record)
        row = (record.call_id, record.source, record.external_id, self._now_us(), raw)
        version = cast(int, await self._write(lambda connection: rows.put_record(connection, row)))
        self._keep_fresh(as_read, version)
        return version

    async def claim(self, store: StoreName, *, limit: int) -> Sequence[Delivery]:
        now_us = self._now_us()
        due = await self._read(
            lambda connection: rows.due(connection, store, now_us, limit, self._fresh)
        )
        for delivery in due.deliveries:
            self._keep_fresh(delivery.record, delivery.version)
        for call_id, version, reason in due.unreadable:
            log.error(
                "journal_record_unreadable",
                call_id=call_id,
                store=store,
                reason=reason,
                todo="it is parked; keep the journal file and report it",
            )
            await self._write(_statement(rows.PARK, (reason, call_id, store, version)))
        return due.deliveries

    async def next_due_at(self, store: StoreName) -> datetime | None:
        return await self._read(lambda connection: rows.next_due_at(connection, store))

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        now_us = self._now_us()
        await self._write(lambda connection: rows.ack(connection, deliveries, now_us))

    async def postpone(self, delivery: Delivery, *, next_try_at: datetime, error: str) -> None:
        next_us = rows.to_us(next_try_at)
        await self._write(_statement(rows.POSTPONE, (next_us, error, *_key(delivery))))

    async def park(self, delivery: Delivery, *, error: str) -> None:
        await self._write(_statement(rows.PARK, (error, *_key(delivery))))

    async def leaving(self) -> Collection[CallId]:
        return await self._read(again.leaving)

    async def redeliver(self, records: Sequence[CallRecord], stores: Collection[StoreName]) -> None:
        now_us = self._now_us()
        # one that the journal had forgotten begins with its first version again
        told = {record.call_id for record in records}
        self._fresh = {key: kept for key, kept in self._fresh.items() if key[0] not in told}
        given = [(r.call_id, r.source, r.external_id, now_us, self._encoded(r)[0]) for r in records]
        await self._write(lambda connection: again.redeliver(connection, given, stores))

    async def put_rebuild(self, store: StoreName, step: RebuildStep | None) -> None:
        await self._write(lambda connection: again.put_rebuild(connection, store, step))

    async def rebuilds(self) -> Mapping[StoreName, RebuildStep]:
        return await self._read(again.rebuilds)

    # --- questions ---

    async def record(self, call_id: CallId) -> CommittedRecord | None:
        return await self._read(lambda connection: rows.record(connection, call_id))

    async def records(self, *, batch: int = 100) -> AsyncIterator[Sequence[CommittedRecord]]:
        after = 0
        while found := await self._read(partial(rows.records_after, after=after, limit=batch)):
            after = found[-1][0]
            yield [committed for _, committed in found]

    async def recent(self, *, limit: int) -> Sequence[CommittedRecord]:
        return await self._read(lambda connection: rows.recent(connection, limit))

    async def pruned(self, call_id: CallId) -> Pruned | None:
        return await self._read(lambda connection: rows.pruned(connection, call_id))

    async def knows(self, call_id: CallId) -> bool:
        return await self._read(lambda connection: rows.knows(connection, call_id))

    async def find_external(self, external_id: str) -> CallId | None:
        return await self._read(lambda connection: rows.find_external(connection, external_id))

    async def waiting_since(self) -> Mapping[StoreName, datetime]:
        return await self._read(rows.waiting_since)

    async def backlog(self) -> Mapping[StoreName, Mapping[DeliveryState, int]]:
        return await self._read(rows.backlog)

    # --- for people and upkeep ---

    @property
    def forgetting(self) -> SqliteForgetting:
        """The book of what must leave every store."""
        return SqliteForgetting(self._write, self._read, self._clock.now)

    async def deliveries(
        self, *, store: StoreName | None, states: Collection[DeliveryState], limit: int
    ) -> Sequence[ListedDelivery]:
        return await self._read(lambda c: care.listed(c, store, states, limit))

    async def retry(self, *, call_id: CallId | None, store: StoreName | None) -> int:
        row = (self._now_us(), call_id, store)
        return cast(int, await self._write(lambda c: c.execute(care.RETRY, row).rowcount))

    async def drop(self, call_id: CallId, store: StoreName, *, by: str, reason: str | None) -> bool:
        row = (self._now_us(), by, reason, call_id, store)
        return bool(await self._write(lambda c: c.execute(care.DROP, row).rowcount))

    async def prunable(
        self, *, before: datetime, after: int, limit: int
    ) -> Sequence[tuple[int, CommittedRecord]]:
        return await self._read(lambda c: care.prunable(c, before, after, limit))

    async def prune(self, records: Sequence[CommittedRecord]) -> int:
        calls = [(committed.record.call_id, committed.version) for committed in records]
        return cast(int, await self._write(lambda c: care.prune(c, calls)))

    async def shrink(self) -> bool:
        return bool(await self._write(care.shrink))

    async def probe(self) -> None:
        await self._write(_statement(care.PROBE, (str(self._now_us()),)))

    async def room(self) -> JournalRoom:
        return await self._read(lambda connection: care.room(connection, self._path))

    # --- below ---

    def _write(self, work: Work, *, alone: bool = False) -> asyncio.Future[object]:
        if self._writer is None:
            return failed(JournalFailed(f"journal {self._path}: it was opened to read only"))
        return self._writer.submit(work, alone=alone)

    async def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise JournalFailed(f"journal {self._path}: it is closed")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._reading, _translated, self._path, lambda: self._read_now(read)
        )

    def _read_now(self, read: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return read(self._reader)
        except sqlite3.Error as exc:
            if self._writer is not None:
                note_damage(exc, self._path)
            raise

    async def _remember_webhooks(self) -> None:
        since_us = self._now_us() - _INBOX // timedelta(microseconds=1)
        self._kept = dict(await self._read(lambda c: rows.recent_webhooks(c, since_us, _KNOWN_IDS)))

    def _end_keeping(self, webhook: ReceivedWebhook, done: asyncio.Future[object]) -> None:
        self._being_kept.pop(webhook.event_id, None)
        if done.exception() is not None:
            return  # not kept: when it is repeated, it is new
        received_us = rows.to_us(webhook.received_at)
        self._kept[webhook.event_id] = received_us
        oldest_us = received_us - _INBOX // timedelta(microseconds=1)
        while len(self._kept) > _KNOWN_IDS or next(iter(self._kept.values())) < oldest_us:
            del self._kept[next(iter(self._kept))]

    def _keep_fresh(self, record: CallRecord, version: int) -> None:
        """Remember a record for the other stores: each would read and decode it anew."""
        self._fresh[record.call_id, version] = record
        while len(self._fresh) > _FRESH:
            del self._fresh[next(iter(self._fresh))]

    def _prune(self) -> None:
        before_us = self._now_us() - _INBOX // timedelta(microseconds=1)
        self._write(_statement(rows.PRUNE_INBOX, (before_us, _PRUNE_ROWS)))

    def _now_us(self) -> int:
        return rows.to_us(self._clock.now())

    def _encoded(self, record: CallRecord) -> tuple[bytes, CallRecord]:
        try:
            return encode_and_read(record)
        except ValueError as exc:
            raise self._unwritable(f"the record of {record.call_id}", exc) from exc

    def _unwritable(self, what: str, exc: ValueError) -> JournalFailed:
        return JournalFailed(f"journal {self._path}: {what} cannot be written: {exc}")


class _SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


def _statement(sql: str, row: tuple[object, ...]) -> Work:
    def work(connection: sqlite3.Connection) -> None:
        connection.execute(sql, row)

    return work


def _key(delivery: Delivery) -> tuple[CallId, StoreName, int]:
    return delivery.record.call_id, delivery.store, delivery.version


def _translated(path: Path, act: Callable[[], T]) -> T:
    try:
        return act()
    except sqlite3.Error as exc:
        raise journal_failed(exc, path) from exc
    except OSError as exc:
        raise JournalFailed(f"journal {path}: {exc.strerror}: check the disk") from exc
    except ValueError as exc:
        raise JournalFailed(f"journal {path}: something in it cannot be read: {exc}") from exc
