"""Small real implementations of the ports, for tests: in memory, and as bad as a test wants.

`answers_after_s` is how long an answer takes, `dies_after_s` how long a cancelled question goes on
all the same, `fails_with` what it raises instead; all can be changed while a test runs.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import cast

import numpy as np

from agent_sidecar.domain.availability import Hold, Override, Schedule, Standing, Step
from agent_sidecar.domain.events import CallEvent
from agent_sidecar.domain.hints import Candidate, Evidence, Question, Retrieved
from agent_sidecar.domain.playbook import Closer
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.types import (
    DELIVERY_STATES,
    STORES,
    CallId,
    CommandId,
    DeliveryState,
    Lead,
    LegId,
    StoreName,
    TransferId,
    Vector,
)
from agent_sidecar.errors import CommandRefused, JournalFailed
from agent_sidecar.ports import (
    LONGEST_PAUSE,
    CommittedRecord,
    Delivery,
    DeliveryStatus,
    Dial,
    DialedLeg,
    Drop,
    JournalRoom,
    ListedDelivery,
    MessageType,
    OpenCall,
    Pruned,
    RebuildStep,
    ReceivedWebhook,
)


class FakeClock:
    """The wall's clock, in step with the running loop's time."""

    def __init__(self, start: datetime = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)) -> None:
        self._start = start

    def now(self) -> datetime:
        try:
            passed_s = asyncio.get_running_loop().time()
        except RuntimeError:
            passed_s = 0.0
        return self._start + timedelta(seconds=passed_s)

    def advance(self, seconds: float) -> None:
        self._start += timedelta(seconds=seconds)


@dataclass(slots=True, kw_only=True)
class Adversity:
    """How badly a fake behaves."""

    answers_after_s: float = 0.0
    dies_after_s: float = 0.0
    fails_with: Exception | None = None

    async def strike(self) -> None:
        """Wait, be stubborn, fail: whatever is due."""
        try:
            await asyncio.sleep(self.answers_after_s)
        except asyncio.CancelledError:
            if self.dies_after_s:
                await asyncio.sleep(self.dies_after_s)
            raise
        if self.fails_with is not None:
            raise self.fails_with


@dataclass(slots=True)
class _Row:
    """A delivery."""

    version: int
    state: DeliveryState
    next_try_at: datetime | None
    attempts: int = 0
    delivered_at: datetime | None = None
    last_error: str | None = None
    dropped: Drop | None = None

    def status(self) -> DeliveryStatus:
        return DeliveryStatus(
            state=self.state,
            attempts=self.attempts,
            next_try_at=self.next_try_at,
            delivered_at=self.delivered_at,
            last_error=self.last_error,
            dropped=self.dropped,
        )


@dataclass(slots=True)
class _Disk:
    """What survives a crash."""

    inbox: dict[str, ReceivedWebhook] = field(default_factory=dict)
    events: list[tuple[CallId, CallEvent]] = field(default_factory=list)
    records: dict[CallId, tuple[CallRecord, int, datetime]] = field(default_factory=dict)
    deliveries: dict[tuple[CallId, StoreName], _Row] = field(default_factory=dict)
    rebuilds: dict[StoreName, RebuildStep] = field(default_factory=dict)
    # version and time of the last commit, and the external id of an imported one
    pruned: dict[CallId, tuple[int, datetime, str | None]] = field(default_factory=dict)
    # in the order of the first commit
    places: dict[CallId, int] = field(default_factory=dict)
    numbers: "count[int]" = field(default_factory=lambda: count(1))


class FakeJournal:
    """A journal in memory; a write is durable `commits_after_s` after it was asked for."""

    def __init__(self, clock: FakeClock | None = None, *, disk: _Disk | None = None) -> None:
        self.commits_after_s = 0.0
        # raised by every write, which is then not made
        self.fails_with: Exception | None = None
        # raised by every read
        self.reads_fail_with: Exception | None = None
        self.used_bytes, self.disk_free_bytes = 1_000_000, 10**12
        # steps made to give room back to the disk; every third finds nothing more
        self.shrinks = 0
        self._clock = clock or FakeClock()
        self._disk = disk or _Disk()
        self._queue: deque[tuple[Callable[[], object], asyncio.Future[object]]] = deque()
        self._being_kept: dict[str, asyncio.Future[object]] = {}
        self._crashed = False

    def crash(self) -> "FakeJournal":
        """Lose what is not durable yet; return the journal of the next process."""
        self._crashed = True
        return FakeJournal(self._clock, disk=self._disk)

    @property
    def webhooks(self) -> Sequence[ReceivedWebhook]:
        """The webhooks that are durable."""
        return list(self._disk.inbox.values())

    def events(self, call_id: str) -> Sequence[CallEvent]:
        """Return the durable events of an open call."""
        return [event for of, event in self._disk.events if of == call_id]

    def seen(self, event_id: str) -> Awaitable[None] | None:
        being_kept = self._being_kept.get(event_id)
        if being_kept is not None:
            return cast(Awaitable[None], _quiet(asyncio.shield(being_kept)))
        if event_id in self._disk.inbox:
            return _done()
        return None

    def receive(self, webhook: ReceivedWebhook) -> Awaitable[None]:
        kept = self._write(lambda: self._disk.inbox.update({webhook.event_id: webhook}))
        self._being_kept[webhook.event_id] = kept
        kept.add_done_callback(lambda _: self._being_kept.pop(webhook.event_id, None))
        return cast(Awaitable[None], _quiet(asyncio.shield(kept)))

    def append(self, call_id: CallId, event: CallEvent) -> Awaitable[None]:
        return cast(
            Awaitable[None], self._write(lambda: self._disk.events.append((call_id, event)))
        )

    async def commit(self, record: CallRecord) -> int:
        return cast(int, await self._write(lambda: self._put(record)))

    async def discard(self, call_id: CallId) -> None:
        await self._write(lambda: self._forget(call_id))

    async def open_calls(self) -> Sequence[OpenCall]:
        self._check_read()
        calls: dict[CallId, list[CallEvent]] = {}
        for call_id, event in self._disk.events:
            if call_id not in {*self._disk.records, *self._disk.pruned}:
                calls.setdefault(call_id, []).append(event)
        return [OpenCall(call_id=c, events=tuple(events)) for c, events in calls.items()]

    async def claim(self, store: StoreName, *, limit: int) -> Sequence[Delivery]:
        self._check_read()
        now = self._clock.now()
        due = [
            (row.next_try_at, call_id, row)
            for (call_id, of), row in self._disk.deliveries.items()
            if of == store
            and row.next_try_at is not None
            # that far ahead was written before the clock was set back
            and not now < row.next_try_at <= now + LONGEST_PAUSE
        ]
        return [
            Delivery(
                store=store,
                record=self._disk.records[call_id][0],
                version=row.version,
                committed_at=self._disk.records[call_id][2],
                attempts=row.attempts,
            )
            for _, call_id, row in sorted(due, key=lambda found: (found[0] > now, found[0]))[:limit]
        ]

    async def next_due_at(self, store: StoreName) -> datetime | None:
        self._check_read()
        times = [
            row.next_try_at
            for (_, of), row in self._disk.deliveries.items()
            if of == store and row.next_try_at is not None
        ]
        return min(times, default=None)

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        now = self._clock.now()
        for delivery in deliveries:
            await self._settle(delivery, state="delivered", delivered_at=now, last_error=None)

    async def postpone(self, delivery: Delivery, *, next_try_at: datetime, error: str) -> None:
        await self._settle(delivery, state="pending", next_try_at=next_try_at, last_error=error)

    async def park(self, delivery: Delivery, *, error: str) -> None:
        await self._settle(delivery, state="parked", last_error=error)

    def lose(self, call_id: CallId) -> None:
        """Forget a delivered record, and that it ever was here."""
        del self._disk.records[call_id]
        del self._disk.places[call_id]
        for store in STORES:
            del self._disk.deliveries[call_id, store]

    async def leaving(self) -> Collection[CallId]:
        return ()

    async def redeliver(self, records: Sequence[CallRecord], stores: Collection[StoreName]) -> None:
        now = self._clock.now()

        def write() -> None:
            for record in records:
                if record.call_id not in self._disk.records:
                    former, _, _ = self._disk.pruned.pop(record.call_id, (0, now, None))
                    self._disk.records[record.call_id] = (record, former + 1, now)
                    self._disk.places[record.call_id] = next(self._disk.numbers)
                    for store in STORES:
                        row = _Row(former + 1, "delivered", None, delivered_at=now)
                        self._disk.deliveries[record.call_id, store] = row
                _, version, _ = self._disk.records[record.call_id]
                for store in stores:
                    self._disk.deliveries[record.call_id, store] = _Row(version, "pending", now)

        await self._write(write)

    async def put_rebuild(self, store: StoreName, step: RebuildStep | None) -> None:
        def write() -> None:
            if step is None:
                self._disk.rebuilds.pop(store, None)
            else:
                self._disk.rebuilds[store] = step

        await self._write(write)

    async def rebuilds(self) -> Mapping[StoreName, RebuildStep]:
        self._check_read()
        return dict(self._disk.rebuilds)

    async def record(self, call_id: CallId) -> CommittedRecord | None:
        self._check_read()
        return self._committed(call_id) if call_id in self._disk.records else None

    async def records(self, *, batch: int = 100) -> AsyncIterator[Sequence[CommittedRecord]]:
        done = 0
        while call_ids := list(self._disk.records)[done : done + batch]:
            self._check_read()
            done += len(call_ids)
            yield [self._committed(call_id) for call_id in call_ids]

    async def recent(self, *, limit: int) -> Sequence[CommittedRecord]:
        self._check_read()
        return [self._committed(call_id) for call_id in list(self._disk.records)[::-1][:limit]]

    async def pruned(self, call_id: CallId) -> Pruned | None:
        self._check_read()
        found = self._disk.pruned.get(call_id)
        return found and Pruned(call_id=call_id, version=found[0], committed_at=found[1])

    async def knows(self, call_id: CallId) -> bool:
        self._check_read()
        return call_id in self._disk.records or call_id in self._disk.pruned

    async def find_external(self, external_id: str) -> CallId | None:
        self._check_read()
        for call_id, (_, _, imported_as) in self._disk.pruned.items():
            if imported_as == external_id:
                return call_id
        for call_id, (record, _, _) in self._disk.records.items():
            if record.external_id == external_id and record.source == "import":
                return call_id
        return None

    async def waiting_since(self) -> Mapping[StoreName, datetime]:
        self._check_read()
        since: dict[StoreName, datetime] = {}
        for (call_id, store), row in self._disk.deliveries.items():
            if row.state == "pending":
                committed_at = self._disk.records[call_id][2]
                since[store] = min(committed_at, since.get(store, committed_at))
        return since

    async def backlog(self) -> Mapping[StoreName, Mapping[DeliveryState, int]]:
        self._check_read()
        counts: dict[StoreName, dict[DeliveryState, int]] = {
            store: dict.fromkeys(DELIVERY_STATES, 0) for store in STORES
        }
        for (_, store), row in self._disk.deliveries.items():
            counts[store][row.state] += 1
        return counts

    async def deliveries(
        self, *, store: StoreName | None, states: Collection[DeliveryState], limit: int
    ) -> Sequence[ListedDelivery]:
        self._check_read()
        found = [
            ListedDelivery(
                call_id=call_id,
                store=of,
                version=row.version,
                committed_at=self._disk.records[call_id][2],
                status=row.status(),
            )
            for (call_id, of), row in self._disk.deliveries.items()
            if row.state in states and store in (None, of)
        ]
        return sorted(found, key=lambda d: (d.committed_at, d.call_id, d.store))[:limit]

    async def retry(self, *, call_id: CallId | None, store: StoreName | None) -> int:
        def write() -> int:
            retried = 0
            for (of, to), row in self._disk.deliveries.items():
                states = (
                    ("pending", "parked") if call_id is None else ("pending", "parked", "dropped")
                )
                if call_id in (None, of) and store in (None, to) and row.state in states:
                    row.state, row.attempts, row.next_try_at = "pending", 0, self._clock.now()
                    row.dropped = None
                    retried += 1
            return retried

        return cast(int, await self._write(write))

    async def drop(self, call_id: CallId, store: StoreName, *, by: str, reason: str | None) -> bool:
        def write() -> bool:
            row = self._disk.deliveries.get((call_id, store))
            if row is None or row.state not in {"pending", "parked"}:
                return False
            row.state, row.next_try_at = "dropped", None
            row.dropped = Drop(by=by, at=self._clock.now(), reason=reason)
            return True

        return cast(bool, await self._write(write))

    async def prunable(
        self, *, before: datetime, after: int, limit: int
    ) -> Sequence[tuple[int, CommittedRecord]]:
        self._check_read()
        found = [
            (place, self._committed(call_id))
            for call_id, place in self._disk.places.items()
            if place > after and self._disk.records[call_id][2] < before and self._all_have(call_id)
        ]
        return found[:limit]

    async def prune(self, records: Sequence[CommittedRecord]) -> int:
        def write() -> int:
            gone = [c for c in records if self._is_as_given(c)]
            for committed in gone:
                record = committed.record
                imported_as = record.external_id if record.source == "import" else None
                self._disk.pruned[record.call_id] = (
                    committed.version,
                    committed.committed_at,
                    imported_as,
                )
                del self._disk.records[record.call_id]
                del self._disk.places[record.call_id]
                for store in STORES:
                    del self._disk.deliveries[record.call_id, store]
                self._forget(record.call_id)
            return len(gone)

        return cast(int, await self._write(write))

    async def shrink(self) -> bool:
        self.shrinks += 1
        return self.shrinks % 3 != 0

    async def probe(self) -> None:
        await self._write(lambda: None)

    async def room(self) -> JournalRoom:
        self._check_read()
        return JournalRoom(used=self.used_bytes, unused=0, disk_free=self.disk_free_bytes)

    def _all_have(self, call_id: CallId) -> bool:
        return all(self._disk.deliveries[call_id, store].state == "delivered" for store in STORES)

    def _is_as_given(self, committed: CommittedRecord) -> bool:
        call_id = committed.record.call_id
        now = self._disk.records.get(call_id)
        return now is not None and now[1] == committed.version and self._all_have(call_id)

    def _write(self, work: Callable[[], object]) -> asyncio.Future[object]:
        loop = asyncio.get_running_loop()
        done = _quiet(loop.create_future())
        self._queue.append((work, done))
        # the oldest write is made, not "this one": equal timers have no order
        loop.call_later(self.commits_after_s, self._write_oldest)
        return done

    def _write_oldest(self) -> None:
        work, done = self._queue.popleft()
        if self._crashed:
            return
        failure, result = self.fails_with, None
        if failure is None:
            result = work()
        if done.done():
            return
        if failure is None:
            done.set_result(result)
        else:
            done.set_exception(failure)

    def _check_read(self) -> None:
        if self._crashed:
            raise JournalFailed("this process has crashed")
        if self.reads_fail_with is not None:
            raise self.reads_fail_with

    def _put(self, record: CallRecord) -> int:
        now = self._clock.now()
        forgotten, _, _ = self._disk.pruned.pop(record.call_id, (0, now, None))
        _, former, _ = self._disk.records.get(record.call_id, (record, forgotten, now))
        self._disk.records[record.call_id] = (record, former + 1, now)
        if record.call_id not in self._disk.places:
            self._disk.places[record.call_id] = next(self._disk.numbers)
        for store in STORES:
            self._disk.deliveries[record.call_id, store] = _Row(former + 1, "pending", now)
        self._forget(record.call_id)
        return former + 1

    def _forget(self, call_id: CallId) -> None:
        self._disk.events = [kept for kept in self._disk.events if kept[0] != call_id]

    async def _settle(
        self,
        delivery: Delivery,
        *,
        state: DeliveryState,
        last_error: str | None,
        next_try_at: datetime | None = None,
        delivered_at: datetime | None = None,
    ) -> None:
        def write() -> None:
            row = self._disk.deliveries.get((delivery.record.call_id, delivery.store))
            if row is None or row.version != delivery.version:
                return
            if state != "delivered" and row.state != "pending":
                return
            row.state, row.last_error, row.next_try_at = state, last_error, next_try_at
            row.delivered_at, row.dropped = delivered_at, None
            row.attempts += 1

        await self._write(write)

    def _committed(self, call_id: CallId) -> CommittedRecord:
        record, version, committed_at = self._disk.records[call_id]
        return CommittedRecord(
            record=record,
            version=version,
            committed_at=committed_at,
            deliveries={s: self._disk.deliveries[call_id, s].status() for s in STORES},
        )


class FakeProjection(Adversity):
    """A store that keeps records; `fails_for` names single calls."""

    def __init__(self, store: StoreName = "postgres", **adversity: object) -> None:
        super().__init__(**adversity)  # type: ignore[arg-type]  # Adversity checks the names
        self._store = store
        # what is stored
        self.held: dict[CallId, CallRecord] = {}
        # every finished write, in order
        self.applied: list[CallRecord] = []
        # how often a write was begun
        self.asked = 0
        self.fails_for: dict[str, Exception] = {}
        # at most so many at once were seen
        self.most_at_once = 0
        self._at_once = 0

    @property
    def store(self) -> StoreName:
        return self._store

    @property
    def engine(self) -> str:
        return f"Fake {self._store}"

    async def migrate(self) -> Sequence[str]:
        await self.strike()
        return ()

    async def apply(self, record: CallRecord) -> None:
        await self.apply_all([record])

    async def apply_all(self, records: Sequence[CallRecord]) -> None:
        self.asked += 1
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await self.strike()
        finally:
            self._at_once -= 1
        for record in records:
            if record.call_id in self.fails_for:
                raise self.fails_for[record.call_id]
            self.held[record.call_id] = record
            self.applied.append(record)

    async def differences(self, records: Sequence[CallRecord]) -> Mapping[CallId, Sequence[str]]:
        await self.strike()
        found: dict[CallId, Sequence[str]] = {}
        for record in records:
            held = self.held.get(record.call_id)
            if held is None:
                found[record.call_id] = ["missing"]
            elif held != record:
                found[record.call_id] = [
                    f"{f.name} differs"
                    for f in fields(record)
                    if getattr(held, f.name) != getattr(record, f.name)
                ]
        return found

    async def forget(self, call_ids: Collection[CallId]) -> None:
        await self.strike()
        for call_id in call_ids:
            self.held.pop(call_id, None)

    async def clear(self) -> None:
        await self.strike()
        self.held.clear()

    async def call_ids(self, *, batch: int = 500) -> AsyncIterator[Sequence[CallId]]:
        held = list(self.held)
        for start in range(0, len(held), batch):
            await self.strike()
            yield held[start : start + batch]

    async def counts(self) -> Mapping[str, int]:
        await self.strike()
        return {"calls": len(self.held)}

    async def ping(self) -> None:
        await self.strike()


class FakeConversations(FakeProjection):
    """The store of whole conversations, which can be read back."""

    def __init__(self, **adversity: object) -> None:
        super().__init__("conversations", **adversity)
        # their documents are there, and cannot be read
        self.broken: set[CallId] = set()

    async def records(
        self, *, since: datetime | None, without: Collection[CallId], batch: int = 100
    ) -> AsyncIterator[Sequence[CallRecord]]:
        await self.strike()
        wanted = [
            record
            for record in sorted(self.held.values(), key=lambda record: record.started_at)
            if record.call_id not in without and (since is None or record.started_at >= since)
        ]
        for start in range(0, len(wanted), batch):
            yield wanted[start : start + batch]

    async def find(self, call_ids: Collection[CallId]) -> Sequence[CallRecord]:
        await self.strike()
        readable = self.held.keys() - self.broken
        return [self.held[call_id] for call_id in call_ids if call_id in readable]

    async def newest(self, *, limit: int, without: Collection[CallId]) -> Sequence[CallRecord]:
        await self.strike()
        wanted = [record for record in self.held.values() if record.call_id not in without]
        return sorted(wanted, key=lambda record: record.started_at, reverse=True)[:limit]


class FakeCounts(Adversity):
    """Sums over calls; `wrong` names those that are not right."""

    def __init__(self, **adversity: object) -> None:
        super().__init__(**adversity)  # type: ignore[arg-type]  # Adversity checks the names
        self.wrong: tuple[str, ...] = ()
        # calls come all the time
        self.moves = False

    async def differences(self) -> Sequence[str] | None:
        await self.strike()
        return None if self.moves else self.wrong

    async def mend(self) -> Sequence[str] | None:
        wrong = await self.differences()
        if wrong is not None:
            self.wrong = ()
        return wrong


class FakeEmbedder(Adversity):
    """Texts that share words get vectors that are close; the same text always the same vector."""

    def __init__(self, dimension: int = 64, **adversity: object) -> None:
        super().__init__(**adversity)  # type: ignore[arg-type]  # Adversity checks the names
        self._dimension = dimension
        # every text that was embedded
        self.embedded: list[str] = []

    @property
    def name(self) -> str:
        return "fake"

    @property
    def dimension(self) -> int:
        return self._dimension

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        await self.strike()
        self.embedded.extend(texts)
        return [self.vector(text) for text in texts]

    def vector(self, text: str) -> Vector:
        """Return what `embed` returns for this text."""
        total = np.zeros(self._dimension, dtype=np.float32)
        for word in text.lower().split() or [""]:
            seed = hashlib.sha256(word.strip(".,?!").encode()).digest()[:8]
            random = np.random.default_rng(int.from_bytes(seed, "little"))
            total += random.standard_normal(self._dimension, dtype=np.float32)
        return cast(Vector, total / np.linalg.norm(total))


class FakeRetriever(Adversity):
    """Gives the same answer to every question."""

    def __init__(
        self,
        name: str,
        candidates: Sequence[Candidate] = (),
        evidence: Sequence[Evidence] = (),
        **adversity: object,
    ) -> None:
        super().__init__(**adversity)  # type: ignore[arg-type]  # Adversity checks the names
        self._name = name
        self.answer = Retrieved(candidates=tuple(candidates), evidence=tuple(evidence))
        self.questions: list[Question] = []

    @property
    def name(self) -> str:
        return self._name

    async def retrieve(self, question: Question) -> Retrieved:
        self.questions.append(question)
        await self.strike()
        return self.answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One telephony command as it was sent."""

    name: str
    leg_id: LegId
    command_id: CommandId
    said: Mapping[str, object]


class FakeCallControl(Adversity):
    """Takes every command; `refuses` holds what the named ones raise."""

    def __init__(self, alive: Sequence[str] = (), **adversity: object) -> None:
        super().__init__(**adversity)  # type: ignore[arg-type]  # Adversity checks the names
        self.alive = {LegId(leg) for leg in alive}
        self.commands: list[Command] = []
        # method name -> what it raises
        self.refuses: dict[str, Exception] = {}
        # client state -> the leg that was dialled with it
        self.states: dict[str, LegId] = {}
        self._command_ids: dict[CommandId, DialedLeg] = {}

    def sent(self, name: str) -> Sequence[Command]:
        """Return the commands of one method, in order."""
        return [command for command in self.commands if command.name == name]

    async def start_stream(
        self, leg_id: LegId, *, url: str, token: str, command_id: CommandId
    ) -> None:
        await self._send("start_stream", leg_id, command_id, url=url, token=token)

    async def start_transcription(self, leg_id: LegId, *, command_id: CommandId) -> None:
        await self._send("start_transcription", leg_id, command_id)

    async def start_recording(self, leg_id: LegId, *, command_id: CommandId) -> None:
        await self._send("start_recording", leg_id, command_id)

    async def stop_recording(self, leg_id: LegId, *, command_id: CommandId) -> None:
        await self._send("stop_recording", leg_id, command_id)

    async def stop_stream(self, leg_id: LegId, *, command_id: CommandId) -> None:
        await self._send("stop_stream", leg_id, command_id)

    async def stop_transcription(self, leg_id: LegId, *, command_id: CommandId) -> None:
        await self._send("stop_transcription", leg_id, command_id)

    async def dial(self, dial: Dial, *, command_id: CommandId) -> DialedLeg:
        await self._send("dial", dial.link_to, command_id, dial=dial)
        if command_id not in self._command_ids:
            number = len(self._command_ids) + 1
            leg_id = LegId(f"v3:closer-{number}")
            self.alive.add(leg_id)
            self.states[dial.client_state] = leg_id
            self._command_ids[command_id] = DialedLeg(
                leg_id=leg_id, call_leg_id=f"leg-{number}", call_session_id=f"session-{number}"
            )
        return self._command_ids[command_id]

    async def ask_for_digit(
        self, leg_id: LegId, *, text: str, digits: str, command_id: CommandId
    ) -> None:
        await self._send("ask_for_digit", leg_id, command_id, text=text, digits=digits)
        self._check_alive(leg_id)

    async def add_assistant_message(
        self, leg_id: LegId, *, text: str, command_id: CommandId
    ) -> None:
        await self._send("add_assistant_message", leg_id, command_id, text=text)

    async def speak(self, leg_id: LegId, *, text: str, command_id: CommandId) -> None:
        await self._send("speak", leg_id, command_id, text=text)

    async def bridge(self, leg_id: LegId, *, to: LegId, command_id: CommandId) -> None:
        await self._send("bridge", leg_id, command_id, to=to)
        self._check_alive(leg_id)
        self._check_alive(to)

    async def hang_up(self, leg_id: LegId, *, command_id: CommandId) -> None:
        await self._send("hang_up", leg_id, command_id)
        self.alive.discard(leg_id)

    async def is_alive(self, leg_id: LegId) -> bool:
        await self.strike()
        if "is_alive" in self.refuses:
            raise self.refuses["is_alive"]
        return leg_id in self.alive

    async def live_legs(self) -> Mapping[str, LegId]:
        await self.strike()
        if "live_legs" in self.refuses:
            raise self.refuses["live_legs"]
        return {state: leg for state, leg in self.states.items() if leg in self.alive}

    async def _send(self, name: str, leg_id: LegId, command_id: CommandId, **said: object) -> None:
        self.commands.append(Command(name=name, leg_id=leg_id, command_id=command_id, said=said))
        await self.strike()
        if name in self.refuses:
            raise self.refuses[name]

    def _check_alive(self, leg_id: LegId) -> None:
        if leg_id not in self.alive:
            raise CommandRefused(f"the call {leg_id} is no longer active", code="90018")


class FakeRecordings(Adversity):
    """Copies that are only remembered."""

    def __init__(self, **adversity: object) -> None:
        super().__init__(**adversity)  # type: ignore[arg-type]  # Adversity checks the names
        # name -> link
        self.kept: dict[str, str] = {}
        # every try, and its loop time
        self.tried_s: list[float] = []

    async def keep(self, url: str, name: str) -> str:
        self.tried_s.append(asyncio.get_running_loop().time())
        await self.strike()
        self.kept[name] = url
        return f"recordings/{name}.wav"


class FakeLeads(Adversity):
    """Leads in memory."""

    def __init__(self, leads: Sequence[Lead] = (), **adversity: object) -> None:
        super().__init__(**adversity)  # type: ignore[arg-type]  # Adversity checks the names
        self.stored: dict[str, Lead] = {lead.lead_id: lead for lead in leads}

    async def find_or_create(self, lead: Lead) -> Lead:
        await self.strike()
        for name in ("lead_id", "external_id", "phone"):
            value = getattr(lead, name)
            found = [s for s in self.stored.values() if value and getattr(s, name) == value]
            if found:
                return self._keep(_completed(found[0], lead))
        lead_id = lead.lead_id or f"lead-{len(self.stored) + 1}"
        return self._keep(replace(lead, lead_id=lead_id))

    async def get(self, lead_id: str) -> Lead | None:
        await self.strike()
        return self.stored.get(lead_id)

    async def put(self, lead: Lead) -> Lead:
        await self.strike()
        stored = self.stored.get(lead.lead_id)
        return self._keep(_completed(stored, lead) if stored else lead)

    async def find(self, *, phone: str | None = None, limit: int = 50) -> Sequence[Lead]:
        await self.strike()
        leads = [lead for lead in self.stored.values() if phone is None or lead.phone == phone]
        return leads[:limit]

    def _keep(self, lead: Lead) -> Lead:
        self.stored[lead.lead_id] = lead
        return lead


class FakeClosers(Adversity):
    """Closers in memory; a lease lasts until it is released, and `wrap_up_s` more after a talk."""

    def __init__(
        self, closers: Sequence[Closer] = (), *, wrap_up_s: float = 0.0, **adversity: object
    ) -> None:
        super().__init__(**adversity)  # type: ignore[arg-type]  # Adversity checks the names
        self.schedules = {closer.name: closer for closer in closers}
        # the newest first
        self.overrides: dict[str, list[Override]] = {}
        self.leases: dict[str, TransferId] = {}
        # whoever held leases is gone
        self.is_untended = False
        self.steps: dict[str, Step] = {}
        self._wrap_up_s = wrap_up_s
        # name -> who has talked with him, and until when he wraps up (loop time)
        self._wrapping_up: dict[str, tuple[TransferId, float]] = {}

    async def load(self, closers: Sequence[Closer]) -> None:
        await self.strike()
        for closer in closers:
            self.schedules.setdefault(closer.name, closer)

    async def set_schedule(self, closer: Closer) -> None:
        await self.strike()
        self.schedules[closer.name] = closer

    async def add_override(self, name: str, override: Override) -> bool:
        await self.strike()
        if name in self.schedules:
            self.overrides.setdefault(name, []).insert(0, override)
        return name in self.schedules

    async def remove_override(self, name: str, override_id: str) -> bool:
        await self.strike()
        stored = self.overrides.get(name, [])
        self.overrides[name] = [one for one in stored if one.override_id != override_id]
        return len(self.overrides[name]) < len(stored)

    async def end_absence(self, name: str, at: datetime) -> bool:
        await self.strike()
        self.overrides[name] = [
            one if one.is_available or not one.holds(at) else replace(one, end_at=at)
            for one in self.overrides.get(name, [])
            if one.is_available or one.start_at != at
        ]
        return name in self.schedules

    async def standing(self, name: str, at: datetime) -> Standing | None:
        await self.strike()
        if (closer := self.schedules.get(name)) is None:
            return None
        overrides = tuple(self.overrides.get(name, ()))
        schedule = Schedule(closer=closer, overrides=overrides)
        return Standing(schedule=schedule, hold=self._hold(name), at=at)

    async def is_available(self, name: str, at: datetime) -> bool:
        standing = await self.standing(name, at)
        return standing is not None and standing.is_available

    async def lease(self, name: str, transfer_id: TransferId) -> bool:
        await self.strike()
        hold = self._hold(name)
        if hold is None:
            self.leases[name], self.steps[name] = transfer_id, "leased"
        return self.leases.get(name) == transfer_id

    def note(self, name: str, transfer_id: TransferId, step: Step) -> None:
        if self.leases.get(name) == transfer_id:
            self.steps[name] = step

    async def release(self, name: str, transfer_id: TransferId) -> None:
        await self.strike()
        if self.leases.get(name) != transfer_id:
            return
        del self.leases[name]
        if self.steps.pop(name, None) == "on_call" and self._wrap_up_s:
            until_s = asyncio.get_running_loop().time() + self._wrap_up_s
            self._wrapping_up[name] = (transfer_id, until_s)

    async def holder(self, name: str) -> TransferId | None:
        await self.strike()
        hold = self._hold(name)
        return None if hold is None else hold.transfer_id

    async def untended(self, name: str) -> TransferId | None:
        await self.strike()
        return self.leases.get(name) if self.is_untended else None

    def _hold(self, name: str) -> Hold | None:
        if name in self.leases:
            step = self.steps.get(name, "leased")
            return Hold(transfer_id=self.leases[name], step=step, left_s=60.0)
        transfer_id, until_s = self._wrapping_up.get(name, (TransferId(""), 0.0))
        left_s = until_s - asyncio.get_running_loop().time()
        if left_s <= 0:
            return None
        return Hold(transfer_id=transfer_id, step="wrapping_up", left_s=left_s)


class FakePublisher:
    """Remembers what was told."""

    def __init__(self) -> None:
        self.messages: list[tuple[CallId, Mapping[str, object]]] = []

    def publish(self, call_id: CallId, message: Mapping[str, object]) -> None:
        self.messages.append((call_id, message))

    def of_type(self, kind: MessageType) -> Sequence[Mapping[str, object]]:
        """Return the messages of one type, in order."""
        return [message for _, message in self.messages if message.get("type") == kind]


def _completed(stored: Lead, given: Lead) -> Lead:
    """Return the stored lead with every field that was given."""
    blank = Lead()
    known = {
        f.name: getattr(given, f.name)
        for f in fields(given)
        if f.name not in ("lead_id", "extra") and getattr(given, f.name) != getattr(blank, f.name)
    }
    return replace(stored, **known, extra=stored.extra | given.extra)


def _quiet(future: asyncio.Future[object]) -> asyncio.Future[object]:
    """Nobody needs to await a write: its failure is not logged as never retrieved."""
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future


def _done() -> Awaitable[None]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future
