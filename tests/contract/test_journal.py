"""One suite for every journal: the file and the fake promise the same."""

import asyncio
import gc
import os
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_sidecar.adapters import sqlite_rows as rows
from agent_sidecar.adapters.sqlite_codec import (
    decode_event,
    decode_record,
    encode_event,
    encode_record,
)
from agent_sidecar.adapters.sqlite_journal import SqliteJournal
from agent_sidecar.domain.events import (
    CallEvent,
    CallOpened,
    LineEmbedded,
    LineHeard,
    SpeechHeard,
)
from agent_sidecar.domain.record import Acoustics, CallRecord
from agent_sidecar.domain.types import DELIVERY_STATES, STORES, CallId, Lead, LegId, StoreName
from agent_sidecar.errors import JournalFailed
from agent_sidecar.ports import Drop, Journal, Pruned, ReceivedWebhook
from tests.builders import rich_record, stranger_record
from tests.fakes import FakeClock, FakeJournal

CALL = CallId("call-1")
START = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


class SetClock(FakeClock):
    """Stands still until it is moved: what is due must not depend on the test's own speed."""

    def now(self) -> datetime:
        return self._start


@pytest.fixture
def clock() -> SetClock:
    return SetClock(START)


@pytest.fixture(params=["sqlite", "fake"])
async def journal(
    request: pytest.FixtureRequest, tmp_path: Path, clock: SetClock
) -> AsyncIterator[Journal]:
    if request.param == "fake":
        yield FakeJournal(clock)
        return
    opened = await SqliteJournal.open(tmp_path / "journal.sqlite", clock=clock)
    yield opened
    await opened.aclose()


@pytest.fixture
async def sqlite(tmp_path: Path, clock: SetClock) -> AsyncIterator[SqliteJournal]:
    opened = await SqliteJournal.open(tmp_path / "journal.sqlite", clock=clock)
    yield opened
    await opened.aclose()


def a_line(number: int = 1, text: str = "hello") -> LineHeard:
    return LineHeard(line_id=f"line-{number}", at=START, party="prospect", text=text, is_final=True)


def opening(call_id: str = CALL) -> CallOpened:
    return CallOpened(call_id=CallId(call_id), at=START, source="live", agent="assistant")


def a_webhook(event_id: str = "event-1", received_at: datetime = START) -> ReceivedWebhook:
    return ReceivedWebhook(
        event_id=event_id,
        event_type="call.transcription",
        leg_id=LegId("v3:leg"),
        received_at=received_at,
        body=b'{"data": {}}',
    )


async def drop_future(journal: Journal) -> None:
    """Wait until everything that was asked for before is on disk."""
    await journal.discard(CallId("nobody"))


class TestWebhooks:
    async def test_a_new_one_has_not_been_seen(self, journal):
        assert journal.seen("event-1") is None

    async def test_a_repeated_one_waits_for_the_first_to_be_kept(self, journal):
        kept = journal.receive(a_webhook())
        again = journal.seen("event-1")
        assert again is not None
        assert await again is None
        await kept
        assert journal.seen("event-2") is None

    async def test_a_kept_one_stays_known(self, journal):
        await journal.receive(a_webhook())
        again = journal.seen("event-1")
        assert again is not None
        await again

    async def test_a_waiter_that_gives_up_takes_nothing_from_the_others(self, journal):
        kept = journal.receive(a_webhook())

        async def wait_for_first() -> None:
            again = journal.seen("event-1")
            assert again is not None
            await again

        impatient = asyncio.create_task(wait_for_first())
        await asyncio.sleep(0)
        impatient.cancel()
        patient = asyncio.create_task(wait_for_first())
        await patient
        await kept
        with pytest.raises(asyncio.CancelledError):
            await impatient


class TestOpenCalls:
    async def test_events_come_back_in_order_and_calls_oldest_first(self, journal):
        first = [opening("call-1"), a_line(1), LineEmbedded(line_id="line-1", vector=b"\x00\xff")]
        second = [opening("call-2"), a_line(2)]
        for one, two in zip(first, [*second, None], strict=True):
            journal.append(CallId("call-1"), one)
            if two is not None:
                journal.append(CallId("call-2"), two)
        await drop_future(journal)
        calls = await journal.open_calls()
        assert [(call.call_id, list(call.events)) for call in calls] == [
            ("call-1", first),
            ("call-2", second),
        ]

    async def test_the_order_is_that_of_the_calls_not_of_the_waiting(self, journal):
        waiting = [journal.append(CALL, a_line(n)) for n in range(20)]
        for written in reversed(waiting):
            await written
        (call,) = await journal.open_calls()
        assert [e.line_id for e in call.events] == [f"line-{n}" for n in range(20)]

    async def test_a_discarded_call_is_forgotten(self, journal):
        journal.append(CALL, opening())
        await journal.discard(CALL)
        assert await journal.open_calls() == []

    async def test_committing_a_record_closes_the_call(self, journal):
        journal.append(CALL, opening())
        journal.append(CallId("call-2"), opening("call-2"))
        await journal.commit(rich_record(CALL))
        assert [call.call_id for call in await journal.open_calls()] == ["call-2"]

    async def test_what_comes_after_the_record_does_not_open_the_call_again(self, journal):
        await journal.commit(rich_record(CALL))
        await journal.append(CALL, a_line())
        assert await journal.open_calls() == []


class TestRecords:
    async def test_a_record_comes_back_as_it_was(self, journal):
        for record in (rich_record(CALL), stranger_record("call-2")):
            assert await journal.commit(record) == 1
            found = await journal.record(record.call_id)
            assert found.record == record
            assert found.version == 1
            assert found.committed_at == START

    async def test_an_unknown_call_has_no_record(self, journal):
        assert await journal.record(CALL) is None

    async def test_every_store_gets_a_pending_delivery(self, journal):
        await journal.commit(rich_record(CALL))
        found = await journal.record(CALL)
        assert set(found.deliveries) == set(STORES)
        for status in found.deliveries.values():
            assert (status.state, status.attempts) == ("pending", 0)
            assert status.next_try_at == START
            assert status.delivered_at is None
            assert status.last_error is None

    async def test_again_makes_a_new_version_that_is_delivered_anew(self, journal, clock):
        await journal.commit(rich_record(CALL))
        await journal.ack(await journal.claim("neo4j", limit=1))
        clock.advance(60)
        corrected = rich_record(CALL, engagement=12.5)
        assert await journal.commit(corrected) == 2
        (delivery,) = await journal.claim("neo4j", limit=9)
        assert (delivery.version, delivery.attempts) == (2, 0)
        assert delivery.record == corrected
        found = await journal.record(CALL)
        assert found.deliveries["neo4j"].delivered_at is None
        assert found.committed_at == START + timedelta(seconds=60)

    async def test_a_walk_meets_every_record_once_oldest_first(self, journal):
        call_ids = [f"call-{n}" for n in range(7)]
        for call_id in call_ids:
            await journal.commit(stranger_record(call_id))
        await journal.commit(stranger_record("call-0"))
        batches = [batch async for batch in journal.records(batch=3)]
        assert [len(batch) for batch in batches] == [3, 3, 1]
        assert [c.record.call_id for batch in batches for c in batch] == call_ids
        assert batches[0][0].version == 2

    async def test_a_walk_over_nothing_ends(self, journal):
        assert [batch async for batch in journal.records()] == []

    async def test_recent_ones_come_newest_first(self, journal):
        for n in range(3):
            await journal.commit(stranger_record(f"call-{n}"))
        found = await journal.recent(limit=2)
        assert [committed.record.call_id for committed in found] == ["call-2", "call-1"]

    async def test_an_imported_call_is_found_by_the_id_of_its_file(self, journal):
        await journal.commit(rich_record("call-1", source="import", external_id="row-7"))
        await journal.commit(rich_record("call-2", source="replay", external_id="row-8"))
        assert await journal.find_external("row-7") == "call-1"
        assert await journal.find_external("row-8") is None
        assert await journal.find_external("row-9") is None


class TestDeliveries:
    async def test_what_is_due_comes_oldest_first_up_to_the_limit(self, journal, clock):
        for n in range(3):
            await journal.commit(stranger_record(f"call-{n}"))
            clock.advance(1)
        due = await journal.claim("chroma", limit=2)
        assert [d.record.call_id for d in due] == ["call-0", "call-1"]
        assert {(d.store, d.version, d.attempts) for d in due} == {("chroma", 1, 0)}

    async def test_an_acknowledged_one_is_delivered_here_and_pending_elsewhere(
        self, journal, clock
    ):
        await journal.commit(rich_record(CALL))
        clock.advance(5)
        await journal.ack(await journal.claim("postgres", limit=1))
        assert not await journal.claim("postgres", limit=1)
        assert len(await journal.claim("neo4j", limit=1)) == 1
        status = (await journal.record(CALL)).deliveries["postgres"]
        assert (status.state, status.attempts) == ("delivered", 1)
        assert status.delivered_at == START + timedelta(seconds=5)
        assert status.next_try_at is None

    async def test_an_ack_of_an_old_version_leaves_the_new_one_pending(self, journal):
        await journal.commit(rich_record(CALL))
        old = await journal.claim("postgres", limit=1)
        await journal.commit(rich_record(CALL, engagement=3.0))
        await journal.ack(old)
        (delivery,) = await journal.claim("postgres", limit=1)
        assert delivery.version == 2

    async def test_parking_or_postponing_an_old_version_leaves_the_new_one_alone(self, journal):
        await journal.commit(rich_record(CALL))
        (old,) = await journal.claim("postgres", limit=1)
        await journal.commit(rich_record(CALL, engagement=3.0))
        await journal.park(old, error="too old")
        await journal.postpone(old, next_try_at=START + timedelta(days=1), error="too old")
        (delivery,) = await journal.claim("postgres", limit=1)
        assert (delivery.version, delivery.attempts) == (2, 0)

    async def test_a_postponed_one_is_due_again_at_its_time(self, journal, clock):
        await journal.commit(rich_record(CALL))
        (delivery,) = await journal.claim("neo4j", limit=1)
        later = START + timedelta(seconds=30)
        await journal.postpone(delivery, next_try_at=later, error="down")
        assert not await journal.claim("neo4j", limit=1)
        assert await journal.next_due_at("neo4j") == later
        status = (await journal.record(CALL)).deliveries["neo4j"]
        assert (status.state, status.attempts, status.last_error) == ("pending", 1, "down")
        clock.advance(30)
        (again,) = await journal.claim("neo4j", limit=1)
        assert again.attempts == 1

    async def test_what_waits_is_due_at_once_when_the_clock_was_set_back(self, journal, clock):
        for call_id in ("first", "second", "third"):
            await journal.commit(rich_record(call_id))
            clock.advance(1)
        (first,) = await journal.claim("neo4j", limit=1)
        await journal.postpone(first, next_try_at=clock.now() + timedelta(seconds=60), error="down")
        clock.advance(-3600)
        await journal.commit(rich_record("new"))
        due = await journal.claim("neo4j", limit=10)
        assert [d.record.call_id for d in due] == ["new", "second", "third", "first"]
        assert len(await journal.claim("neo4j", limit=2)) == 2

    async def test_a_postponed_one_lets_the_others_go_first(self, journal, clock):
        for n in range(2):
            await journal.commit(stranger_record(f"call-{n}"))
            clock.advance(1)
        (first,) = await journal.claim("neo4j", limit=1)
        await journal.postpone(first, next_try_at=START + timedelta(seconds=10), error="down")
        clock.advance(60)
        (next_one,) = await journal.claim("neo4j", limit=1)
        assert next_one.record.call_id == "call-1"

    async def test_a_parked_one_is_never_due(self, journal, clock):
        await journal.commit(rich_record(CALL))
        (delivery,) = await journal.claim("neo4j", limit=1)
        await journal.park(delivery, error="refused: score is no number")
        clock.advance(10**6)
        assert not await journal.claim("neo4j", limit=1)
        assert await journal.next_due_at("neo4j") is None
        status = (await journal.record(CALL)).deliveries["neo4j"]
        assert (status.state, status.last_error) == ("parked", "refused: score is no number")

    async def test_the_backlog_counts_by_store_and_state(self, journal):
        for n in range(3):
            await journal.commit(stranger_record(f"call-{n}"))
        first, second, _ = await journal.claim("chroma", limit=3)
        await journal.ack([first])
        await journal.park(second, error="no")
        backlog = await journal.backlog()
        assert backlog["chroma"] == {"pending": 1, "delivered": 1, "parked": 1, "dropped": 0}
        assert backlog["postgres"] == {"pending": 3, "delivered": 0, "parked": 0, "dropped": 0}

    async def test_the_oldest_record_that_waits_is_told_by_store(self, journal, clock):
        for number in range(3):
            await journal.commit(stranger_record(f"call-{number}"))
            clock.advance(60)
        first, second, _ = await journal.claim("chroma", limit=3)
        await journal.ack([first])
        await journal.park(second, error="refused")
        for delivery in await journal.claim("neo4j", limit=3):
            await journal.ack([delivery])
        assert await journal.waiting_since() == {
            "conversations": START,
            "postgres": START,
            "chroma": START + timedelta(seconds=120),
        }

    async def test_an_empty_journal_owes_nothing(self, journal):
        assert not await journal.claim("neo4j", limit=1)
        assert await journal.next_due_at("neo4j") is None
        assert set(await journal.backlog()) == set(STORES)
        assert await journal.waiting_since() == {}


async def deliver(journal: Journal, *stores: StoreName) -> None:
    for store in stores or STORES:
        await journal.ack(await journal.claim(store, limit=100))


async def listed(journal, **asked: object) -> list[tuple[str, str, str]]:
    asked = {"store": None, "states": DELIVERY_STATES, "limit": 100, **asked}
    return [(d.call_id, d.store, d.status.state) for d in await journal.deliveries(**asked)]


class TestPeopleSettleDeliveries:
    async def test_they_are_listed_by_store_and_state_oldest_first(self, journal, clock):
        for n in range(3):
            await journal.commit(stranger_record(f"call-{n}"))
            clock.advance(1)
        await deliver(journal, "conversations", "postgres", "chroma")
        (first, _, _) = await journal.claim("neo4j", limit=3)
        await journal.park(first, error="refused: no")
        assert await listed(journal, states=["parked", "pending"]) == [
            ("call-0", "neo4j", "parked"),
            ("call-1", "neo4j", "pending"),
            ("call-2", "neo4j", "pending"),
        ]
        assert len(await listed(journal, store="chroma")) == 3
        assert await listed(journal, states=["pending"], limit=1) == [
            ("call-1", "neo4j", "pending")
        ]
        (parked,) = await journal.deliveries(store=None, states=["parked"], limit=9)
        assert (parked.version, parked.committed_at) == (1, START)
        assert (parked.status.attempts, parked.status.last_error) == (1, "refused: no")

    async def test_a_parked_one_is_retried_at_once_as_if_never_tried(self, journal, clock):
        await journal.commit(rich_record(CALL))
        (delivery,) = await journal.claim("neo4j", limit=1)
        await journal.park(delivery, error="refused: no")
        clock.advance(60)
        assert await journal.retry(call_id=CALL, store="neo4j") == 1
        (again,) = await journal.claim("neo4j", limit=1)
        assert (again.version, again.attempts) == (1, 0)
        assert await journal.retry(call_id=CallId("nobody"), store=None) == 0

    async def test_all_of_a_store_are_retried_but_the_delivered_and_the_dropped(self, journal):
        for n in range(4):
            await journal.commit(stranger_record(f"call-{n}"))
        delivered, parked, dropped, waiting = await journal.claim("neo4j", limit=4)
        await journal.ack([delivered])
        await journal.park(parked, error="refused: no")
        await journal.drop(dropped.record.call_id, "neo4j", by="Ann", reason=None)
        later = START + timedelta(days=1)
        await journal.postpone(waiting, next_try_at=later, error="down")
        assert await journal.retry(call_id=None, store="neo4j") == 2
        due = await journal.claim("neo4j", limit=9)
        assert {d.record.call_id for d in due} == {"call-1", "call-3"}

    async def test_a_dropped_one_says_by_whom_and_is_never_due(self, journal, clock):
        await journal.commit(rich_record(CALL))
        clock.advance(5)
        assert await journal.drop(CALL, "neo4j", by="Ann", reason="a test call")
        clock.advance(10**6)
        assert not await journal.claim("neo4j", limit=1)
        assert await journal.next_due_at("neo4j") is None
        status = (await journal.record(CALL)).deliveries["neo4j"]
        assert status.state == "dropped"
        at = START + timedelta(seconds=5)
        assert status.dropped == Drop(by="Ann", at=at, reason="a test call")
        assert (await journal.backlog())["neo4j"]["dropped"] == 1

    async def test_only_what_is_open_can_be_dropped(self, journal):
        await journal.commit(rich_record(CALL))
        await deliver(journal, "neo4j")
        assert not await journal.drop(CALL, "neo4j", by="Ann", reason=None)
        assert not await journal.drop(CallId("nobody"), "neo4j", by="Ann", reason=None)
        assert await journal.drop(CALL, "chroma", by="Ann", reason=None)
        assert not await journal.drop(CALL, "chroma", by="Bob", reason=None)
        assert (await journal.record(CALL)).deliveries["chroma"].dropped.by == "Ann"

    async def test_a_dropped_one_comes_back_by_its_name_or_by_a_correction(self, journal):
        await journal.commit(rich_record(CALL))
        await journal.drop(CALL, "neo4j", by="Ann", reason=None)
        assert await journal.retry(call_id=CALL, store=None) == len(STORES)
        assert (await journal.record(CALL)).deliveries["neo4j"].dropped is None
        await journal.drop(CALL, "neo4j", by="Ann", reason=None)
        await journal.commit(rich_record(CALL, engagement=3.0))
        (delivery,) = await journal.claim("neo4j", limit=1)
        assert delivery.version == 2
        assert (await journal.record(CALL)).deliveries["neo4j"].dropped is None

    async def test_what_a_store_took_meanwhile_is_delivered_not_dropped(self, journal):
        await journal.commit(rich_record(CALL))
        (on_its_way,) = await journal.claim("neo4j", limit=1)
        await journal.drop(CALL, "neo4j", by="Ann", reason=None)
        await journal.park(on_its_way, error="refused: no")
        assert (await journal.record(CALL)).deliveries["neo4j"].state == "dropped"
        await journal.ack([on_its_way])
        status = (await journal.record(CALL)).deliveries["neo4j"]
        assert (status.state, status.dropped) == ("delivered", None)


class TestPruning:
    async def prunable(self, journal, clock, **asked: object) -> list[str]:
        asked = {"before": clock.now(), "after": 0, "limit": 9, **asked}
        found = await journal.prunable(**asked)
        return [committed.record.call_id for _, committed in found]

    async def test_only_old_ones_that_every_store_has_may_go(self, journal, clock):
        for n in range(5):
            await journal.commit(stranger_record(f"call-{n}"))
        due = await journal.claim("neo4j", limit=9)
        await deliver(journal, "conversations", "postgres", "chroma")
        await journal.park(due[1], error="refused: no")
        await journal.drop(CallId("call-2"), "neo4j", by="Ann", reason=None)
        await journal.ack([due[0], due[4]])
        assert await self.prunable(journal, clock) == []
        clock.advance(1)
        assert await self.prunable(journal, clock) == ["call-0", "call-4"]
        ((place, _),) = await journal.prunable(before=clock.now(), after=0, limit=1)
        assert await self.prunable(journal, clock, after=place) == ["call-4"]

    async def test_a_pruned_one_leaves_its_version_and_ids(self, journal, clock):
        record = rich_record(CALL, source="import", external_id="row-7")
        await journal.commit(record)
        await journal.commit(record)
        await deliver(journal)
        await journal.append(CALL, a_line())
        found = await journal.record(CALL)
        assert await journal.pruned(CALL) is None
        assert await journal.prune([found]) == 1
        assert await journal.record(CALL) is None
        assert await journal.knows(CALL)
        assert not await journal.knows(CallId("nobody"))
        assert await journal.find_external("row-7") == CALL
        assert await journal.pruned(CALL) == Pruned(call_id=CALL, version=2, committed_at=START)
        assert await journal.open_calls() == []
        assert await journal.recent(limit=5) == []
        assert sum((await journal.backlog())["neo4j"].values()) == 0
        # what comes late opens no call that is over
        await journal.append(CALL, a_line())
        assert await journal.open_calls() == []

    async def test_the_next_version_goes_on_from_there(self, journal):
        await journal.commit(rich_record(CALL))
        await journal.commit(rich_record(CALL))
        await deliver(journal)
        await journal.prune([await journal.record(CALL)])
        assert await journal.commit(rich_record(CALL, engagement=3.0)) == 3
        assert await journal.pruned(CALL) is None
        (delivery,) = await journal.claim("neo4j", limit=1)
        assert delivery.version == 3
        assert await journal.commit(rich_record(CALL)) == 4

    async def test_what_has_changed_since_it_was_looked_at_stays(self, journal):
        for call_id in ("call-1", "call-2"):
            await journal.commit(rich_record(call_id))
        await deliver(journal)
        before = [await journal.record(CallId(name)) for name in ("call-1", "call-2")]
        await journal.commit(rich_record("call-1"))
        await deliver(journal)
        await journal.commit(rich_record("call-2"))
        assert await journal.prune(before) == 0
        assert await journal.prune([await journal.record(CallId("call-1"))]) == 1

    async def test_it_is_measured_and_probed(self, journal):
        await journal.probe()
        room = await journal.room()
        assert room.used > 0
        assert room.disk_free > 0
        while await journal.shrink():
            pass


WRITE_FOR_EVER = """
import asyncio, sys
from pathlib import Path
from tests.contract.test_journal import (
    CALL, SqliteJournal, a_line, a_webhook, opening, rich_record
)

async def main():
    journal = await SqliteJournal.open(Path(sys.argv[1]))
    await journal.commit(rich_record("call-0"))
    await journal.append(CALL, opening())
    n = 0
    while True:
        n += 1
        webhook, line = journal.receive(a_webhook(f"event-{n}")), journal.append(CALL, a_line(n))
        await asyncio.gather(webhook, line)
        print(n, flush=True)

asyncio.run(main())
"""


class TestFile:
    """What only the file can promise."""

    async def test_everything_acknowledged_survives_a_kill(self, tmp_path):
        path = tmp_path / "journal.sqlite"
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            WRITE_FOR_EVER,
            str(path),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert child.stdout is not None
        told = 0
        while told < 200:
            told = int(await child.stdout.readline())
        child.kill()
        rest = (await child.stdout.read()).split()
        await child.wait()
        told = int(rest[-1]) if rest else told
        journal = await SqliteJournal.open(path, clock=SetClock(START))
        (call,) = await journal.open_calls()
        lines = [e.line_id for e in call.events if isinstance(e, LineHeard)]
        assert lines[:told] == [f"line-{n}" for n in range(1, told + 1)]
        assert len(lines) <= told + 1
        assert all(journal.seen(f"event-{n}") is not None for n in range(1, told + 1))
        found = await journal.record(CallId("call-0"))
        assert found is not None
        assert found.record == rich_record("call-0")
        await journal.aclose()

    async def test_a_second_owner_is_refused_by_name(self, sqlite, tmp_path):
        with pytest.raises(JournalFailed, match=r"journal\.sqlite: another process owns it"):
            await SqliteJournal.open(tmp_path / "journal.sqlite")

    async def test_a_closed_one_can_be_opened_again_and_refuses_by_itself(self, tmp_path):
        path = tmp_path / "journal.sqlite"
        first = await SqliteJournal.open(path)
        first.append(CALL, opening())
        await first.aclose()
        await first.aclose()
        with pytest.raises(JournalFailed, match="it is closed"):
            await first.append(CALL, opening())
        with pytest.raises(JournalFailed, match="it is closed"):
            await first.open_calls()
        second = await SqliteJournal.open(path)
        assert [call.call_id for call in await second.open_calls()] == [CALL]
        await second.aclose()

    async def test_it_can_be_read_beside_its_owner_and_without(self, sqlite, tmp_path, clock):
        path = tmp_path / "journal.sqlite"
        await sqlite.commit(rich_record(CALL))
        reader = await SqliteJournal.open(path, clock=clock, read_only=True)
        found = await reader.record(CALL)
        assert found is not None
        assert found.record == rich_record(CALL)
        await sqlite.commit(rich_record("call-2"))
        assert (await reader.record(CallId("call-2"))) is not None
        with pytest.raises(JournalFailed, match="opened to read only"):
            await reader.commit(rich_record("call-3"))
        await reader.aclose()
        await sqlite.aclose()
        alone = await SqliteJournal.open(path, clock=clock, read_only=True)
        assert [committed.version for committed in await alone.recent(limit=5)] == [1, 1]
        await alone.aclose()

    async def test_reading_one_that_is_not_there_says_so_and_makes_nothing(self, tmp_path):
        with pytest.raises(JournalFailed, match="there is none yet"):
            await SqliteJournal.open(tmp_path / "journal.sqlite", read_only=True)
        assert list(tmp_path.iterdir()) == []

    async def test_webhooks_are_known_after_a_restart_for_a_day(self, tmp_path, clock):
        path = tmp_path / "journal.sqlite"
        first = await SqliteJournal.open(path, clock=clock)
        await first.receive(a_webhook("old", START - timedelta(hours=23)))
        await first.receive(a_webhook("new", START))
        await first.aclose()
        clock.advance(7200)
        second = await SqliteJournal.open(path, clock=clock)
        assert second.seen("new") is not None
        assert second.seen("old") is None
        await second.aclose()

    async def test_old_webhooks_are_pruned_and_forgotten(self, sqlite, clock, monkeypatch):
        monkeypatch.setattr("agent_sidecar.adapters.sqlite_journal._PRUNE_EVERY", 2)
        await sqlite.receive(a_webhook("old"))
        clock.advance(25 * 3600)
        await sqlite.receive(a_webhook("new", clock.now()))
        await drop_future(sqlite)
        assert sqlite.seen("old") is None
        count = sqlite3.connect(sqlite._path).execute("SELECT count(*) FROM inbox").fetchone()
        assert count == (1,)

    async def test_the_ids_in_memory_are_bounded(self, sqlite, monkeypatch):
        monkeypatch.setattr("agent_sidecar.adapters.sqlite_journal._KNOWN_IDS", 3)
        for n in range(5):
            await sqlite.receive(a_webhook(f"event-{n}"))
        assert [sqlite.seen(f"event-{n}") is not None for n in range(5)] == [
            False,
            False,
            True,
            True,
            True,
        ]

    async def test_a_full_disk_fails_the_write_and_ends_nothing(self, sqlite):
        """`max_page_count` makes SQLite itself report a full disk."""
        await sqlite._write(lambda c: c.execute("PRAGMA max_page_count = 40"))
        writes = [sqlite.append(CALL, a_line(n, "x" * 4000)) for n in range(100)]
        results = await asyncio.gather(*writes, return_exceptions=True)
        failures = [result for result in results if result is not None]
        assert 0 < len(failures) < 100
        assert all("disk is full: make room" in str(failure) for failure in failures)
        # forgetting the call frees pages: room again
        await sqlite.discard(CALL)
        await sqlite.append(CALL, opening())
        assert await sqlite.commit(rich_record("call-2")) == 1

    async def test_a_webhook_that_was_not_kept_is_new_when_it_is_repeated(self, sqlite):
        await sqlite._write(lambda c: c.execute("PRAGMA max_page_count = 20"))
        huge = replace(a_webhook(), body=b"x" * 1_000_000)
        kept = sqlite.receive(huge)
        assert sqlite.seen("event-1") is not None
        with pytest.raises(JournalFailed):
            await kept
        assert sqlite.seen("event-1") is None
        await sqlite.receive(a_webhook())
        assert sqlite.seen("event-1") is not None

    async def test_one_bad_write_does_not_spoil_its_group(self, sqlite):
        good = [sqlite.append(CALL, a_line(n)) for n in range(5)]
        bad = sqlite._write(lambda c: c.execute("INSERT INTO event (call_id) VALUES (NULL)"))
        good += [sqlite.append(CALL, a_line(n)) for n in range(5, 10)]
        await asyncio.gather(*good)
        with pytest.raises(JournalFailed, match="NOT NULL"):
            await bad
        (call,) = await sqlite.open_calls()
        assert [e.line_id for e in call.events] == [f"line-{n}" for n in range(10)]

    async def test_a_failure_that_nobody_awaits_is_not_reported_as_lost(self, sqlite, caplog):
        sqlite.append(
            CALL, SpeechHeard(party="agent", start_s=float("nan"), end_s=1.0, acoustics=Acoustics())
        )
        sqlite._write(lambda c: c.execute("INSERT INTO event (call_id) VALUES (NULL)"))
        await drop_future(sqlite)
        gc.collect()
        assert "never retrieved" not in caplog.text

    async def test_an_event_that_could_not_be_read_again_is_refused_with_its_field(self, sqlite):
        nan = SpeechHeard(party="agent", start_s=float("nan"), end_s=1.0, acoustics=Acoustics())
        with pytest.raises(JournalFailed, match=r"event of call-1 .*SpeechHeard.*start_s"):
            await sqlite.append(CALL, nan)
        with pytest.raises(JournalFailed, match=r"record of call-1 .*type object"):
            await sqlite.commit(rich_record(CALL, lead=Lead(extra={"x": object()})))
        await sqlite.append(CALL, opening())

    async def test_a_stranger_s_lock_fails_the_write_and_ends_nothing(self, sqlite):
        await sqlite._write(lambda c: c.execute("PRAGMA busy_timeout = 50"))
        stranger = sqlite3.connect(sqlite._path, isolation_level=None)
        stranger.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalFailed, match="another process keeps it locked"):
            await asyncio.gather(*(sqlite.append(CALL, a_line(n)) for n in range(50)))
        stranger.execute("ROLLBACK")
        stranger.close()
        await sqlite.append(CALL, opening())

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"not a database at all" * 100, "it is not a journal"),
            (b"SQLite format 3\x00" + b"\xff" * 4096, "it is not a journal|it is damaged"),
        ],
    )
    async def test_a_file_that_is_no_journal_is_set_aside_as_it_is(self, tmp_path, content, words):
        path = tmp_path / "journal.sqlite"
        path.write_bytes(content)
        with pytest.raises(JournalFailed, match=words):
            await SqliteJournal.open(path, read_only=True)
        assert path.read_bytes() == content
        journal = await SqliteJournal.open(path)
        await journal.append(CALL, opening())
        await journal.aclose()
        (aside,) = tmp_path.glob("journal.sqlite.damaged-*")
        assert aside.read_bytes() == content

    async def test_another_database_is_left_alone(self, tmp_path):
        path = tmp_path / "journal.sqlite"
        other = sqlite3.connect(path)
        other.execute("CREATE TABLE mine (x)")
        other.commit()
        other.close()
        with pytest.raises(JournalFailed, match="it is some other database"):
            await SqliteJournal.open(path)
        with pytest.raises(JournalFailed, match="not a journal of agent_sidecar"):
            await SqliteJournal.open(path, read_only=True)

    async def test_unused_room_goes_back_to_the_disk(self, sqlite):
        for n in range(200):
            await sqlite.append(CALL, a_line(n, "x" * 50_000))
        await sqlite.discard(CALL)
        assert (await sqlite.room()).unused > 9_000_000
        steps = 1
        while await sqlite.shrink():
            steps += 1
        assert 10 < steps < 30
        assert (await sqlite.room()).unused <= 2_200_000
        await sqlite.aclose()
        assert sqlite._path.stat().st_size < 3_000_000

    async def test_one_of_before_keeps_everything_and_learns_to_shrink(self, tmp_path, clock):
        path = tmp_path / "journal.sqlite"
        schema = files("agent_sidecar.adapters") / "schema" / "journal" / "001_journal.sql"
        old = sqlite3.connect(path, isolation_level=None)
        old.execute("PRAGMA journal_mode = WAL")
        old.executescript(schema.read_text("utf-8"))
        old.execute("INSERT INTO meta VALUES ('schema_version', '1')")
        record = (CALL, 3, "live", None, rows.to_us(START), encode_record(rich_record(CALL)))
        old.execute("INSERT INTO record VALUES (7, ?, ?, ?, ?, ?, ?)", record)
        for store, state in zip(STORES, ("pending", "parked", "delivered", "pending"), strict=True):
            due = rows.to_us(START) if state == "pending" else None
            status = (CALL, store, 3, state, 2, due, None, "why")
            old.execute("INSERT INTO delivery VALUES (?, ?, ?, ?, ?, ?, ?, ?)", status)
        old.close()
        with pytest.raises(JournalFailed, match="older agent_sidecar: start the service once"):
            await SqliteJournal.open(path, read_only=True)
        journal = await SqliteJournal.open(path, clock=clock)
        found = await journal.record(CALL)
        assert found is not None
        assert (found.record, found.version) == (rich_record(CALL), 3)
        states = [found.deliveries[store].state for store in STORES]
        assert states == ["pending", "parked", "delivered", "pending"]
        assert found.deliveries["postgres"].last_error == "why"
        assert sqlite3.connect(path).execute("PRAGMA auto_vacuum").fetchone() == (2,)
        await journal.aclose()

    async def test_one_of_a_newer_version_is_refused(self, sqlite, tmp_path):
        await sqlite._write(
            lambda c: c.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
        )
        await sqlite.aclose()
        with pytest.raises(JournalFailed, match="written by a newer agent_sidecar"):
            await SqliteJournal.open(tmp_path / "journal.sqlite")

    async def test_a_missing_folder_is_said_so(self, tmp_path):
        with pytest.raises(JournalFailed, match="check that the folder exists"):
            await SqliteJournal.open(tmp_path / "none" / "journal.sqlite")

    async def test_a_record_that_cannot_be_read_is_parked_and_stops_nobody(
        self, sqlite, clock, tmp_path
    ):
        await sqlite.commit(stranger_record("call-1"))
        clock.advance(1)
        await sqlite.commit(stranger_record("call-2"))
        await sqlite._write(
            lambda c: c.execute("UPDATE record SET record = '{}' WHERE call_id = 'call-1'")
        )
        # it is still known here, and the stores had better get it
        assert [d.record for d in await sqlite.claim("neo4j", limit=5)] == [
            stranger_record("call-1"),
            stranger_record("call-2"),
        ]
        await sqlite.aclose()
        later = await SqliteJournal.open(tmp_path / "journal.sqlite", clock=clock)
        try:
            (delivery,) = await later.claim("neo4j", limit=5)
            assert delivery.record.call_id == "call-2"
            assert (await later.backlog())["neo4j"]["parked"] == 1
            with pytest.raises(JournalFailed, match="row 1 of table record"):
                await later.record(CallId("call-1"))
        finally:
            await later.aclose()

    async def test_records_are_kept_decoded_for_a_while_only(self, sqlite):
        many = [stranger_record(f"call-{n}") for n in range(120)]
        for record in many:
            await sqlite.commit(record)
        assert len(sqlite._fresh) == 100
        assert [d.record for d in await sqlite.claim("neo4j", limit=200)] == many
        corrected = replace(many[0], hangup_cause="call_rejected")
        await sqlite.commit(corrected)
        claimed = {d.record.call_id: d for d in await sqlite.claim("chroma", limit=200)}
        assert (claimed[many[0].call_id].record, claimed[many[0].call_id].version) == (corrected, 2)

    async def test_an_event_of_an_unknown_kind_is_left_out(self, sqlite):
        await sqlite.append(CALL, opening())
        await sqlite._write(
            lambda c: c.execute(
                "INSERT INTO event (call_id, event) VALUES (?, ?)",
                (CALL, b'{"kind": "FromTheFuture", "body": {}}'),
            )
        )
        (call,) = await sqlite.open_calls()
        assert call.events == (opening(),)

    async def test_many_writers_share_few_commits(self, sqlite):
        began = time.perf_counter()
        await asyncio.gather(*(sqlite.append(CALL, a_line(n)) for n in range(2000)))
        assert time.perf_counter() - began < 2.0
        (call,) = await sqlite.open_calls()
        assert len(call.events) == 2000

    async def test_a_caller_that_gives_up_has_still_written(self, sqlite):
        task = asyncio.ensure_future(sqlite.commit(rich_record(CALL)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await drop_future(sqlite)
        assert (await sqlite.record(CALL)).version == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=3,
)
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
st.register_type_strategy(int, st.integers(-(2**63), 2**63 - 1))
st.register_type_strategy(datetime, st.datetimes(timezones=st.just(UTC)))
st.register_type_strategy(object, json_values)

ROUND_TRIP = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("kind", get_args(CallEvent), ids=lambda kind: kind.__name__)
def test_every_event_comes_back_as_it_was(kind: type[CallEvent]):
    @ROUND_TRIP
    @given(event=st.from_type(kind))
    def check(event: CallEvent) -> None:
        assert decode_event(encode_event(event)) == event

    check()


@settings(ROUND_TRIP, max_examples=15)
@given(record=st.from_type(CallRecord))
def test_every_record_comes_back_as_it_was(record: CallRecord):
    assert decode_record(encode_record(record)) == record


def test_a_field_of_a_later_version_is_skipped_and_a_missing_one_is_named():
    raw = encode_event(a_line()).replace(b'"text"', b'"mood": 1, "text"')
    assert decode_event(raw) == a_line()
    with pytest.raises(ValueError, match=r"LineHeard.*text"):
        decode_event(encode_event(a_line()).replace(b'"text"', b'"words"'))
    with pytest.raises(ValueError, match="not an event"):
        decode_event(b"{")
