import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random

import pytest
from structlog.testing import capture_logs

from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.types import STORES, CallId, StoreName
from agent_sidecar.errors import JournalFailed, RecordRejected, StoreUnavailable
from agent_sidecar.wrapup.relay import Relay, RelayLimits, Settled, pause_before_try_s
from tests.builders import stranger_record
from tests.fakes import FakeClock, FakeJournal, FakeProjection

CALL = CallId("call-1")
HOUR_S = 3600.0
LIMITS = RelayLimits(random=Random(7))  # noqa: S311 - the same pauses in every run


@pytest.fixture
def journal() -> FakeJournal:
    return FakeJournal()


@asynccontextmanager
async def running(relay: Relay) -> AsyncIterator[None]:
    task = asyncio.create_task(relay.run())
    yield
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def a_relay(
    journal: FakeJournal,
    *projections: FakeProjection,
    limits: RelayLimits = LIMITS,
    on_settled: Callable[[Settled], None] = lambda settled: None,
) -> Relay:
    return Relay(journal, projections, FakeClock(), limits=limits, on_settled=on_settled)


async def commit(journal: FakeJournal, *call_ids: str) -> None:
    for call_id in call_ids:
        await journal.commit(stranger_record(call_id))


async def state_of(journal: FakeJournal, call_id: str = CALL, store: str = "postgres") -> str:
    committed = await journal.record(CallId(call_id))
    assert committed is not None
    return {str(name): status.state for name, status in committed.deliveries.items()}[store]


def loop_time() -> float:
    return asyncio.get_running_loop().time()


async def test_a_committed_record_reaches_every_store_at_once(journal):
    stores = [FakeProjection(store) for store in STORES]
    relay = a_relay(journal, *stores)
    async with running(relay):
        await asyncio.sleep(5)
        began = loop_time()
        await commit(journal, CALL)
        relay.wake()
        assert await relay.drain(began + 10)
        assert loop_time() == began
    assert all(store.held == {CALL: stranger_record(CALL)} for store in stores)
    assert await state_of(journal) == "delivered"


async def test_what_was_committed_before_the_start_is_delivered_too(journal):
    store = FakeProjection("postgres")
    await commit(journal, *(f"call-{n}" for n in range(45)))
    async with running(a_relay(journal, store)):
        await asyncio.sleep(0.1)
    assert len(store.held) == 45


async def test_a_store_that_is_down_for_an_hour_holds_up_nobody_and_is_not_hammered(journal):
    down = FakeProjection("neo4j", fails_with=StoreUnavailable("connection refused"))
    fine = FakeProjection("postgres")
    await commit(journal, *(f"call-{n}" for n in range(30)))
    with capture_logs() as logs:
        async with running(a_relay(journal, down, fine)):
            await asyncio.sleep(1)
            assert len(fine.held) == 30
            await asyncio.sleep(HOUR_S)
            # the first batch side by side, then one record a try: 7 doublings and one a minute
            assert 60 <= down.asked <= 4 + 7 + 2 * 60 + 5
            down.fails_with = None
            await asyncio.sleep(61)
    assert len(down.held) == 30
    paused = [entry["store"] for entry in logs if entry["event"] == "deliveries_paused"]
    assert paused == ["neo4j"]
    assert [e["event"] for e in logs].count("deliveries_resumed") == 1


async def test_waking_does_not_shorten_the_pause_of_a_store_that_is_down(journal):
    down = FakeProjection("neo4j", fails_with=StoreUnavailable("connection refused"))
    await commit(journal, CALL)
    relay = a_relay(journal, down)
    async with running(relay):
        await asyncio.sleep(600)
        asked = down.asked
        for n in range(10):
            await commit(journal, f"more-{n}")
            relay.wake()
            await asyncio.sleep(0.1)
        assert down.asked <= asked + 1


async def test_the_journal_shows_why_a_record_waits(journal):
    down = FakeProjection("neo4j", fails_with=StoreUnavailable("connection refused"))
    await commit(journal, CALL)
    async with running(a_relay(journal, down)):
        await asyncio.sleep(10)
    committed = await journal.record(CALL)
    status = committed.deliveries["neo4j"]
    assert (status.state, status.last_error) == ("pending", "connection refused")
    assert status.attempts >= 3
    assert status.next_try_at is not None


async def test_a_clock_that_was_set_back_holds_up_nothing():
    clock = FakeClock()
    journal, store = FakeJournal(clock), FakeProjection("neo4j")
    store.fails_with = StoreUnavailable("connection refused")
    await commit(journal, CALL, "call-2")
    async with running(Relay(journal, [store], clock, limits=LIMITS)):
        await asyncio.sleep(5)
        clock.advance(-86_400)
        store.fails_with = None
        await asyncio.sleep(120)
    assert sorted(store.held) == [CALL, "call-2"]


async def test_a_store_that_hangs_is_given_up_at_the_deadline_and_tried_again(journal):
    hung = FakeProjection("chroma", answers_after_s=10**6, dies_after_s=2)
    fine = FakeProjection("postgres")
    await commit(journal, CALL)
    async with running(a_relay(journal, hung, fine)):
        await asyncio.sleep(31)
        assert len(fine.held) == 1
        assert hung.asked == 1
        hung.answers_after_s = 0.0
        await asyncio.sleep(5)
    assert len(hung.held) == 1


async def test_a_refused_record_is_parked_and_the_others_go_on(journal):
    picky = FakeProjection("postgres")
    picky.fails_for["call-2"] = RecordRejected("column score: 101 is above 100")
    await commit(journal, "call-1", "call-2", "call-3")
    settled: list[Settled] = []
    with capture_logs() as logs:
        async with running(a_relay(journal, picky, on_settled=settled.append)):
            await asyncio.sleep(HOUR_S)
    assert sorted(picky.held) == ["call-1", "call-3"]
    # together, and then each alone
    assert picky.asked == 1 + 3
    assert await state_of(journal, "call-2") == "parked"
    (parked,) = [entry for entry in logs if entry["event"] == "record_parked"]
    assert parked["call_id"] == "call-2"
    assert "101 is above 100" in parked["error"]
    assert "agent-sidecar deliveries retry call-2 --store postgres" in parked["todo"]
    assert {(s.call_id, s.state) for s in settled} == {
        ("call-1", "delivered"),
        ("call-2", "parked"),
        ("call-3", "delivered"),
    }


async def test_a_record_that_fails_for_no_known_reason_is_parked_in_the_end(journal):
    odd = FakeProjection("postgres")
    odd.fails_for["call-1"] = KeyError("a bug of ours")
    await commit(journal, "call-1", "call-2")
    with capture_logs() as logs:
        async with running(a_relay(journal, odd)):
            await asyncio.sleep(1)
            assert list(odd.held) == ["call-2"]
            assert await state_of(journal, "call-1") == "pending"
            await asyncio.sleep(HOUR_S)
    tries = [entry["tries"] for entry in logs if entry["event"] == "delivery_failed"]
    assert tries == list(range(1, LIMITS.tries + 1))
    assert await state_of(journal, "call-1") == "parked"
    assert odd.asked == 1 + 1 + LIMITS.tries


async def test_an_absent_store_parks_nothing_however_long(journal):
    down = FakeProjection("neo4j", fails_with=StoreUnavailable("no route"))
    await commit(journal, CALL)
    async with running(a_relay(journal, down)):
        await asyncio.sleep(7 * 24 * HOUR_S)
        down.fails_with = None
        await asyncio.sleep(61)
    assert await state_of(journal, store="neo4j") == "delivered"


async def test_a_record_that_brings_its_store_down_does_not_hold_up_the_others(journal):
    store = FakeProjection("neo4j")
    store.fails_for["call-0"] = StoreUnavailable("out of memory")
    await commit(journal, *(f"call-{n}" for n in range(10)))
    async with running(a_relay(journal, store)):
        await asyncio.sleep(10)
        assert len(store.held) == 9
        asked = store.asked
        await asyncio.sleep(HOUR_S)
    assert store.asked - asked <= 2 * 60 + 10
    assert await state_of(journal, "call-0", "neo4j") == "pending"


async def test_cancelled_in_the_middle_it_is_delivered_by_the_next_process(journal):
    store = FakeProjection("postgres", answers_after_s=5)
    await commit(journal, CALL)
    async with running(a_relay(journal, store)):
        await asyncio.sleep(2)
    assert store.held == {}
    assert await state_of(journal) == "pending"
    async with running(a_relay(journal.crash(), store)):
        await asyncio.sleep(6)
    assert list(store.held) == [CALL]


async def test_a_crash_between_apply_and_ack_applies_twice_with_the_effect_of_once(journal):
    store = FakeProjection("postgres")
    await commit(journal, CALL)
    journal.commits_after_s = 10.0
    async with running(a_relay(journal, store)):
        await asyncio.sleep(1)
    assert len(store.applied) == 1
    reopened = journal.crash()
    async with running(a_relay(reopened, store)):
        await asyncio.sleep(1)
    assert len(store.applied) == 2
    assert store.held == {CALL: stranger_record(CALL)}
    assert await state_of(reopened) == "delivered"


async def test_a_version_committed_while_the_former_is_applied_is_delivered_after_it(journal):
    store = FakeProjection("postgres", answers_after_s=5)
    first, second = stranger_record(CALL), stranger_record(CALL, hangup_cause="corrected")
    await journal.commit(first)
    relay = a_relay(journal, store)
    async with running(relay):
        await asyncio.sleep(1)
        await journal.commit(second)
        relay.wake()
        await asyncio.sleep(20)
    assert store.applied == [first, second]
    assert store.held[CALL] == second
    committed = await journal.record(CALL)
    assert committed.version == 2
    assert committed.deliveries["postgres"].state == "delivered"


async def test_a_parked_record_that_is_corrected_is_delivered(journal):
    store = FakeProjection("postgres")
    store.fails_for[CALL] = RecordRejected("bad outcome")
    await commit(journal, CALL)
    relay = a_relay(journal, store)
    async with running(relay):
        await asyncio.sleep(1)
        del store.fails_for[CALL]
        await journal.commit(stranger_record(CALL, hangup_cause="corrected"))
        relay.wake()
        await asyncio.sleep(0.1)
    assert await state_of(journal) == "delivered"


async def test_a_retry_wakes_what_is_parked_and_cuts_the_pause_of_a_dead_store_short(journal):
    picky, down = FakeProjection("postgres"), FakeProjection("neo4j")
    picky.fails_for[CALL] = RecordRejected("bad outcome")
    down.fails_with = StoreUnavailable("connection refused")
    await commit(journal, CALL)
    relay = a_relay(journal, picky, down)
    async with running(relay):
        await asyncio.sleep(600)
        del picky.fails_for[CALL]
        down.fails_with = None
        assert await journal.retry(call_id=CALL, store=None) == len(STORES)
        relay.hurry()
        await asyncio.sleep(0.1)
        assert await state_of(journal) == "delivered"
        assert await state_of(journal, store="neo4j") == "delivered"


async def test_what_was_dropped_is_left_alone(journal):
    down = FakeProjection("neo4j", fails_with=StoreUnavailable("connection refused"))
    await commit(journal, "call-1", "call-2")
    async with running(a_relay(journal, down)):
        await asyncio.sleep(10)
        assert await journal.drop(CALL, "neo4j", by="Ann", reason=None)
        down.fails_with = None
        await asyncio.sleep(HOUR_S)
    assert list(down.held) == ["call-2"]
    assert await state_of(journal, store="neo4j") == "dropped"


class SlowToDie(FakeProjection):
    """A server that hangs now and then, and later does what nobody waits for any more."""

    def __init__(self, store: StoreName = "chroma") -> None:
        super().__init__(store)
        self.hangs = False
        self._left_behind: list[CallRecord] = []

    async def apply_all(self, records):
        if self.hangs:
            self.asked += 1
            self._left_behind += records
            await asyncio.sleep(10**9)
        await super().apply_all(records)

    async def ping(self):
        if self.hangs:
            await asyncio.sleep(10**9)

    def go_on(self, after_s: float) -> None:
        """Answer again; what was left behind is carried out a little later, newest first."""
        self.hangs = False
        left, self._left_behind = self._left_behind[::-1], []
        asyncio.get_running_loop().call_later(after_s, self._carry_out, left)

    def _carry_out(self, records: Sequence[CallRecord]) -> None:
        for record in records:
            self.held[record.call_id] = record
            self.applied.append(record)

    def told(self, call_id: str) -> list[str]:
        return [r.hangup_cause or "" for r in self.applied if r.call_id == call_id]


class TestOrder:
    """A newer version of a call is never overtaken by an older one; other calls never wait."""

    async def test_a_version_waits_for_what_a_hung_server_may_still_do(self, journal):
        store = SlowToDie()
        store.hangs = True
        await journal.commit(stranger_record(CALL, hangup_cause="1"))
        relay = a_relay(journal, store)
        async with running(relay):
            await asyncio.sleep(300)
            await journal.commit(stranger_record(CALL, hangup_cause="2"))
            await commit(journal, "other")
            relay.wake()
            await asyncio.sleep(100)
            store.go_on(after_s=3)
            # a try that has begun gets its 30 s, and the pause after it may be a minute
            await asyncio.sleep(95)
            assert "other" in store.held
            await asyncio.sleep(10)
        assert store.told(CALL)[-1] == "2"
        assert "2" not in store.told(CALL)[:-1]
        assert await state_of(journal, store="chroma") == "delivered"

    async def test_a_version_waits_for_what_a_process_left_behind_that_died(self, journal):
        store = SlowToDie()
        store.hangs = True
        await journal.commit(stranger_record(CALL, hangup_cause="1"))
        async with running(a_relay(journal, store)):
            await asyncio.sleep(1)
            await journal.commit(stranger_record(CALL, hangup_cause="2"))
        journal = journal.crash()
        await asyncio.sleep(1)
        async with running(a_relay(journal, store)):
            store.go_on(after_s=3)
            await asyncio.sleep(20)
        assert store.told(CALL) == ["1", "2"]

    async def test_so_does_one_that_is_committed_after_the_start(self, journal):
        store = SlowToDie()
        store.hangs = True
        await journal.commit(stranger_record(CALL, hangup_cause="1"))
        async with running(a_relay(journal, store)):
            await asyncio.sleep(1)
        journal = journal.crash()
        relay = a_relay(journal, store)
        async with running(relay):
            store.go_on(after_s=3)
            await asyncio.sleep(1)
            assert store.told(CALL) == ["1"]
            await journal.commit(stranger_record(CALL, hangup_cause="2"))
            relay.wake()
            await asyncio.sleep(20)
        assert store.told(CALL) == ["1", "1", "2"]

    async def test_where_nothing_is_unsure_a_correction_is_delivered_at_once(self, journal):
        store = SlowToDie()
        relay = a_relay(journal, store)
        async with running(relay):
            for cause in "123":
                await journal.commit(stranger_record(CALL, hangup_cause=cause))
                relay.wake()
                await asyncio.sleep(0.1)
                assert store.held[CALL].hangup_cause == cause

    async def test_a_drain_waits_for_those_that_wait(self, journal):
        store = SlowToDie()
        await journal.commit(stranger_record(CALL, hangup_cause="1"))
        await journal.commit(stranger_record(CALL, hangup_cause="2"))
        await asyncio.sleep(1)
        relay = a_relay(journal.crash(), store)
        async with running(relay):
            assert await relay.drain(loop_time() + 30)
        assert store.told(CALL) == ["2"]

    @pytest.mark.parametrize("seed", range(20))
    async def test_whatever_happens_versions_come_in_order(self, seed):
        random = Random(seed)  # noqa: S311 - the same in every run
        journal, store = FakeJournal(), SlowToDie()
        newest: dict[str, int] = {}
        for _ in range(6):
            relay = a_relay(journal, store, limits=replace(LIMITS, random=random))
            async with running(relay):
                for _ in range(random.randrange(1, 12)):
                    call_id = f"call-{random.randrange(3)}"
                    match random.randrange(4):
                        case 0 | 1:
                            newest[call_id] = newest.get(call_id, 0) + 1
                            cause = str(newest[call_id])
                            await journal.commit(stranger_record(call_id, hangup_cause=cause))
                            relay.wake()
                        case 2:
                            store.hangs = True
                        case 3 if store.hangs:
                            store.go_on(after_s=random.uniform(0, LIMITS.settle_s * 0.9))
                    await asyncio.sleep(random.choice([0.01, 1.0, 20.0, 100.0]))
            journal = journal.crash()
        store.go_on(after_s=1)
        async with running(a_relay(journal, store)):
            await asyncio.sleep(200)
        for call_id, version in newest.items():
            told = [int(cause) for cause in store.told(call_id)]
            assert told[-1] == version
            assert store.held[CallId(call_id)].hangup_cause == str(version)


class TestBacklog:
    """A store that was down for an hour is caught up with; live calls come first."""

    async def caught_up(self, journal, relay: Relay) -> float:
        """Return how long 1,000 records take after an hour without the store."""
        async with running(relay):
            began = loop_time()
            assert await relay.drain(began + HOUR_S)
            return loop_time() - began

    async def test_while_live_calls_suffer_it_comes_in_small_batches_with_pauses(self, journal):
        strained = [True]
        store = FakeProjection("postgres", answers_after_s=0.1)
        await commit(journal, *(f"call-{n}" for n in range(1000)))
        relay = Relay(journal, [store], FakeClock(), limits=LIMITS, is_strained=lambda: strained[0])
        async with running(relay):
            await asyncio.sleep(20)
            # 50, 25, 12 and 6, then 4 and a pause, again and again
            assert len(store.held) == pytest.approx(4 * 20 / 0.35 + 93 - 16, abs=12)
            assert store.most_at_once == 1
            strained[0] = False
            assert await relay.drain(loop_time() + 10)
        assert len(store.held) == 1000

    async def test_otherwise_it_comes_at_full_speed(self, journal):
        store = FakeProjection("postgres", answers_after_s=0.1)
        await commit(journal, *(f"call-{n}" for n in range(1000)))
        assert await self.caught_up(journal, a_relay(journal, store)) == pytest.approx(2.0)

    async def test_a_single_new_record_never_pauses(self, journal):
        store = FakeProjection("postgres")
        relay = Relay(journal, [store], FakeClock(), limits=LIMITS, is_strained=lambda: True)
        async with running(relay):
            for n in range(20):
                await commit(journal, f"call-{n}")
                relay.wake()
                await asyncio.sleep(0.01)
                assert len(store.held) == n + 1


async def test_a_batch_is_applied_in_one_go(journal):
    store = FakeProjection("postgres", answers_after_s=1)
    await commit(journal, *(f"call-{n}" for n in range(120)))
    relay = a_relay(journal, store)
    async with running(relay):
        assert await relay.drain(loop_time() + 60)
        # 50, 50 and 20
        assert loop_time() == pytest.approx(3)
    assert len(store.held) == 120
    assert store.asked == 3


async def test_where_a_batch_is_taken_apart_few_records_are_applied_side_by_side(journal):
    store = FakeProjection("postgres", answers_after_s=1)
    store.fails_for["call-0"] = RecordRejected("refused")
    await commit(journal, *(f"call-{n}" for n in range(20)))
    relay = a_relay(journal, store)
    async with running(relay):
        assert await relay.drain(loop_time() + 60)
        assert loop_time() == pytest.approx(1 + 5)
    assert (store.most_at_once, len(store.held)) == (4, 19)


async def test_a_batch_that_takes_too_long_is_made_smaller_and_nothing_is_lost(journal):
    class Slow(FakeProjection):
        """One second a record."""

        async def apply_all(self, records):
            self.answers_after_s = float(len(records))
            await super().apply_all(records)

    store = Slow("postgres")
    await commit(journal, *(f"call-{n}" for n in range(50)))
    async with running(a_relay(journal, store)):
        # 30 s for all together in vain, then one alone, then 12 at a time, 24 at most
        await asyncio.sleep(30 + 1 + 50 + 5)
    assert len(store.held) == 50


async def test_a_journal_that_fails_stops_nothing_for_good(journal):
    store = FakeProjection("postgres")
    journal.reads_fail_with = JournalFailed("disk I/O error")
    async with running(a_relay(journal, store)):
        await asyncio.sleep(60)
        journal.reads_fail_with = None
        await commit(journal, CALL)
        journal.fails_with = JournalFailed("disk full")
        await asyncio.sleep(120)
        journal.fails_with = None
        await asyncio.sleep(121)
    assert await state_of(journal) == "delivered"


async def test_a_listener_that_fails_does_not_stop_deliveries(journal):
    def fail(settled: Settled) -> None:
        raise ValueError("nobody is at home")

    store = FakeProjection("postgres")
    await commit(journal, "call-1", "call-2")
    with capture_logs() as logs:
        async with running(a_relay(journal, store, on_settled=fail)):
            await asyncio.sleep(1)
    assert await state_of(journal, "call-2") == "delivered"
    assert [entry["event"] for entry in logs].count("delivery_not_told") == 2


class TestDrain:
    async def test_it_waits_for_what_is_under_way(self, journal):
        store = FakeProjection("postgres", answers_after_s=3)
        relay = a_relay(journal, store)
        async with running(relay):
            await commit(journal, CALL)
            assert await relay.drain(loop_time() + 15)
            assert loop_time() == pytest.approx(3)

    async def test_it_gives_up_at_its_deadline(self, journal):
        slow = FakeProjection("postgres", answers_after_s=20)
        await commit(journal, CALL)
        relay = a_relay(journal, slow)
        async with running(relay):
            assert not await relay.drain(loop_time() + 15)
            assert loop_time() == pytest.approx(15)

    async def test_it_does_not_wait_for_a_store_that_is_down(self, journal):
        down = FakeProjection("neo4j", fails_with=StoreUnavailable("down"))
        await commit(journal, CALL)
        relay = a_relay(journal, down)
        async with running(relay):
            await asyncio.sleep(60)
            began = loop_time()
            assert not await relay.drain(began + 15)
            assert loop_time() == began

    async def test_with_nothing_to_do_it_is_done(self, journal):
        relay = a_relay(journal, FakeProjection("neo4j"))
        async with running(relay):
            assert await relay.drain(loop_time() + 15)
            assert loop_time() == 0

    async def test_it_needs_no_running_relay(self, journal):
        relay = a_relay(journal, FakeProjection("neo4j"))
        await commit(journal, CALL)
        assert not await relay.drain(loop_time() + 1)


@pytest.mark.parametrize(
    ("failures", "whole_s"), [(1, 0.5), (2, 1.0), (5, 8.0), (8, 60.0), (500, 60.0)]
)
def test_pauses_grow_to_a_minute_and_are_at_least_half_sure(failures, whole_s):
    pauses = [pause_before_try_s(failures, LIMITS) for _ in range(200)]
    assert whole_s / 2 <= min(pauses)
    assert max(pauses) <= whole_s
    assert max(pauses) - min(pauses) > whole_s / 4
