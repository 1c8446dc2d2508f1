import asyncio
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from agent_sidecar.domain.types import STORES, CallId
from agent_sidecar.errors import JournalFailed, StoreUnavailable
from agent_sidecar.telemetry import Metrics
from agent_sidecar.wrapup.journal_watch import JournalWatch, WatchLimits
from agent_sidecar.wrapup.pruning import Pruner
from tests.builders import stranger_record
from tests.fakes import FakeClock, FakeConversations, FakeJournal

WEEK = timedelta(days=7)
MB = 1_000_000


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def journal(clock: FakeClock) -> FakeJournal:
    return FakeJournal(clock)


async def deliver(journal: FakeJournal, conversations: FakeConversations, *call_ids: str) -> None:
    for call_id in call_ids:
        await journal.commit(stranger_record(call_id))
    for store in STORES:
        due = await journal.claim(store, limit=1000)
        if store == "conversations":
            await conversations.apply_all([delivery.record for delivery in due])
        await journal.ack(due)


class TestPruner:
    async def test_what_every_store_has_goes_when_it_is_old(self, journal, clock):
        conversations = FakeConversations()
        await deliver(journal, conversations, *(f"call-{n}" for n in range(70)))
        clock.advance(WEEK.total_seconds() - 60)
        await journal.commit(stranger_record("waits"))
        pruner = Pruner(journal, conversations, clock, keep=WEEK)
        assert await pruner.prune() == 0
        clock.advance(WEEK.total_seconds())
        assert await pruner.prune() == 70
        assert [c.record.call_id for c in await journal.recent(limit=9)] == ["waits"]
        # and what that leaves unused goes back to the disk
        assert journal.shrinks >= 3

    async def test_what_the_conversation_store_does_not_hold_so_stays(self, journal, clock):
        conversations = FakeConversations()
        await deliver(journal, conversations, *(f"call-{n}" for n in range(50)))
        del conversations.held[CallId("call-7")]
        other = stranger_record("call-30", hangup_cause="something else")
        conversations.held[CallId("call-30")] = other
        clock.advance(2 * WEEK.total_seconds())
        with capture_logs() as logs:
            assert await Pruner(journal, conversations, clock, keep=WEEK).prune() == 48
        left = {c.record.call_id for c in await journal.recent(limit=99)}
        assert left == {"call-7", "call-30"}
        (told,) = [entry for entry in logs if entry["event"] == "records_not_pruned"]
        assert told["records"] == 2

    async def test_a_store_that_is_down_or_hangs_only_puts_it_off(self, journal, clock):
        conversations = FakeConversations()
        await deliver(journal, conversations, "call-1")
        clock.advance(2 * WEEK.total_seconds())
        running = asyncio.create_task(Pruner(journal, conversations, clock, keep=WEEK).run())
        conversations.fails_with = StoreUnavailable("down")
        await asyncio.sleep(1)
        conversations.fails_with, conversations.answers_after_s = None, 10**6
        await asyncio.sleep(1000)
        assert await journal.record(CallId("call-1")) is not None
        conversations.answers_after_s = 0.0
        await asyncio.sleep(1300)
        assert await journal.record(CallId("call-1")) is None
        assert not running.done()
        running.cancel()


class TestWatch:
    def watch(self, journal: FakeJournal, metrics: Metrics | None = None) -> JournalWatch:
        limits = WatchLimits(alarm_mb=100, disk_low_mb=500)
        return JournalWatch(journal, limits, metrics or Metrics())

    async def test_a_journal_that_takes_writes_is_ready(self, journal):
        metrics = Metrics()
        journal.used_bytes, journal.disk_free_bytes = 7 * MB, 9000 * MB
        watch = self.watch(journal, metrics)
        assert watch.is_ready
        await watch.look()
        assert watch.is_ready
        assert watch.alarms == []
        assert watch.view() == {"writable": True, "error": None, "mb": 7.0, "disk_free_mb": 9000}
        rendered = metrics.render().decode()
        assert "sidecar_journal_bytes 7e+06" in rendered
        assert "sidecar_journal_writable 1.0" in rendered

    async def test_one_that_cannot_write_is_not_ready_until_it_can(self, journal):
        watch = self.watch(journal)
        with capture_logs() as logs:
            running = asyncio.create_task(watch.run())
            await asyncio.sleep(1)
            journal.fails_with = JournalFailed("the disk is full: make room")
            await asyncio.sleep(60)
            assert not watch.is_ready
            assert watch.view()["error"] == "the disk is full: make room"
            journal.fails_with = None
            await asyncio.sleep(11)
            assert watch.is_ready
            running.cancel()
        told = [e["event"] for e in logs if e["event"].startswith("journal_")]
        assert told == ["journal_not_writable", "journal_writable_again"]

    async def test_a_disk_that_hangs_counts_as_one_that_does_not_write(self, journal):
        journal.commits_after_s = 60
        watch = self.watch(journal)
        await watch.look()
        assert not watch.is_ready
        assert "did not write within 5 s" in str(watch.view()["error"])

    async def test_alarms_say_once_what_to_do_and_end(self, journal):
        watch = self.watch(journal)
        with capture_logs() as logs:
            for used_mb, free_mb in ((101, 499), (102, 480), (95, 520), (80, 600), (80, 90)):
                journal.used_bytes, journal.disk_free_bytes = used_mb * MB, free_mb * MB
                await watch.look()
                if used_mb == 95:
                    assert watch.alarms == ["disk_low", "journal_large"]
                    assert watch.is_ready
                if free_mb == 600:
                    assert watch.alarms == []
        assert [e["event"] for e in logs] == [
            "journal_large",
            "disk_low",
            "alarm_ended",
            "alarm_ended",
            "disk_low",
        ]
        assert all("what_to_do" in e for e in logs if e["event"] != "alarm_ended")
        # nothing is left for new calls
        assert not watch.is_ready
