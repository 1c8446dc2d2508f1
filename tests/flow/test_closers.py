import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest
from structlog.testing import capture_logs

from agent_sidecar.domain.availability import Hold, Override, Schedule, Seen, Step
from agent_sidecar.domain.playbook import Closer, Window
from agent_sidecar.domain.types import TransferId
from agent_sidecar.errors import PlaybookInvalid, StoreUnavailable
from agent_sidecar.live.closers import ScheduledClosers
from tests.fakes import Adversity

ONE, TWO = TransferId("transfer-1"), TransferId("transfer-2")
MONDAY_NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
OFFICE = (Window(day_of_week=1, start=time(9), end=time(17)),)
KEVIN = Closer(name="Kevin", timezone="UTC", hours=OFFICE)
EVENINGS = replace(KEVIN, hours=(Window(day_of_week=1, start=time(18), end=time(22)),))
AWAY = Override(override_id="away", start_at=MONDAY_NOON, end_at=None, is_available=False)


def now_s() -> float:
    return asyncio.get_running_loop().time()


class Schedules(Adversity):
    def __init__(self) -> None:
        super().__init__()
        self.stored: dict[str, Schedule] = {}
        self.asked = 0

    async def load(self, closers: Sequence[Closer]) -> None:
        await self.strike()
        for closer in closers:
            self.stored.setdefault(closer.name, Schedule(closer=closer))

    async def schedule(self, name: str) -> Schedule | None:
        self.asked += 1
        await self.strike()
        return self.stored.get(name)

    async def set_schedule(self, closer: Closer) -> Schedule | None:
        known = self.stored.get(closer.name, Schedule(closer=closer))
        return await self._put(replace(known, closer=closer))

    async def add_override(self, name: str, override: Override) -> Schedule | None:
        if (known := self.stored.get(name)) is None:
            return None
        return await self._put(replace(known, overrides=(override, *known.overrides)))

    async def remove_override(self, name: str, override_id: str) -> Schedule | None:
        known = self.stored[name]
        kept = tuple(one for one in known.overrides if one.override_id != override_id)
        if len(kept) == len(known.overrides):
            return None
        return await self._put(replace(known, overrides=kept))

    async def end_absence(self, name: str, at: datetime) -> Schedule | None:
        known = self.stored[name]
        kept = tuple(one for one in known.overrides if one.is_available or not one.holds(at))
        return await self._put(replace(known, overrides=kept))

    async def _put(self, schedule: Schedule) -> Schedule:
        await self.strike()
        changed = replace(schedule, revision=schedule.revision + 1)
        self.stored[schedule.closer.name] = changed
        return changed


class Shared(Adversity):
    """What is shared expires in the loop's time."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        # name -> holder, step, until when
        self.held: dict[str, tuple[TransferId, Step, float]] = {}
        self.copies: dict[str, tuple[Schedule, float]] = {}

    async def lease(
        self, name: str, transfer_id: TransferId, ttl_s: float, step: Step | None = None
    ) -> bool:
        await self.strike()
        hold = self.hold(name)
        if hold is not None and (hold.transfer_id != transfer_id or hold.step == "wrapping_up"):
            return False
        known = "leased" if hold is None else hold.step
        self.held[name] = (transfer_id, step or known, now_s() + ttl_s)
        return True

    async def release(
        self,
        name: str,
        transfer_id: TransferId,
        *,
        step: Step | None = None,
        wrap_up_s: float = 0.0,
    ) -> None:
        await self.strike()
        hold = self.hold(name)
        if hold is None or hold.transfer_id != transfer_id or hold.step == "wrapping_up":
            return
        del self.held[name]
        if "on_call" in (step, hold.step) and wrap_up_s:
            self.held[name] = (transfer_id, "wrapping_up", now_s() + wrap_up_s)

    async def seen(self, names: Sequence[str]) -> Sequence[Seen]:
        self.asked += 1
        await self.strike()
        return [Seen(hold=self.hold(name), schedule=self._copy(name)) for name in names]

    async def tell(self, schedule: Schedule, ttl_s: float) -> None:
        await self.strike()
        known = self._copy(schedule.closer.name)
        if known is None or known.revision <= schedule.revision:
            self.copies[schedule.closer.name] = (schedule, now_s() + ttl_s)

    def hold(self, name: str) -> Hold | None:
        transfer_id, step, until_s = self.held.get(name, (ONE, "leased", 0.0))
        left_s = until_s - now_s()
        return Hold(transfer_id=transfer_id, step=step, left_s=left_s) if left_s > 0 else None

    def _copy(self, name: str) -> Schedule | None:
        copy = self.copies.get(name)
        return copy[0] if copy is not None and copy[1] > now_s() else None


@pytest.fixture
def schedules() -> Schedules:
    return Schedules()


@pytest.fixture
def shared() -> Shared:
    return Shared()


@pytest.fixture
async def closers(schedules, shared) -> ScheduledClosers:
    closers = ScheduledClosers(schedules, shared, wrap_up_s=30.0)
    await closers.load([KEVIN])
    return closers


@asynccontextmanager
async def running(closers: ScheduledClosers) -> AsyncIterator[None]:
    task = asyncio.create_task(closers.run())
    await asyncio.sleep(0)
    yield
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_he_is_available_within_his_hours_unless_leased(closers):
    assert await closers.is_available("Kevin", MONDAY_NOON)
    assert not await closers.is_available("Kevin", MONDAY_NOON.replace(hour=18))
    assert await closers.lease("Kevin", ONE)
    assert not await closers.is_available("Kevin", MONDAY_NOON)
    assert await closers.holder("Kevin") == ONE
    await closers.release("Kevin", ONE)
    assert await closers.is_available("Kevin", MONDAY_NOON)


async def test_a_stranger_is_never_available(closers):
    assert not await closers.is_available("Nobody", MONDAY_NOON)


async def test_hours_are_read_from_the_store_once_a_minute_by_all_together(
    closers, schedules, shared
):
    other = ScheduledClosers(schedules, shared)
    async with running(closers), running(other):
        for _ in range(100):
            await asyncio.sleep(0.5)
            assert await closers.is_available("Kevin", MONDAY_NOON)
            assert await other.is_available("Kevin", MONDAY_NOON)
        assert schedules.asked == 1
        await asyncio.sleep(20)
        assert await other.is_available("Kevin", MONDAY_NOON)
    assert schedules.asked == 2


async def test_a_warm_check_asks_nobody(closers, shared):
    async with running(closers):
        await closers.is_available("Kevin", MONDAY_NOON)
        await asyncio.sleep(10)
        asked = shared.asked
        shared.answers_after_s = 0.3
        for _ in range(1000):
            assert await closers.is_available("Kevin", MONDAY_NOON)
        assert shared.asked == asked


async def test_when_nobody_looks_a_check_asks_again_after_a_second(closers, shared):
    await closers.is_available("Kevin", MONDAY_NOON)
    shared.held["Kevin"] = (TWO, "leased", 100.0)
    await asyncio.sleep(1)
    assert not await closers.is_available("Kevin", MONDAY_NOON)


async def test_new_hours_hold_at_once(closers):
    assert await closers.is_available("Kevin", MONDAY_NOON)
    await closers.set_schedule(EVENINGS)
    assert not await closers.is_available("Kevin", MONDAY_NOON)


async def test_hours_that_make_no_sense_are_refused(closers, schedules):
    with pytest.raises(PlaybookInvalid, match="'Mars/Base' of Kevin does not exist"):
        await closers.set_schedule(Closer(name="Kevin", timezone="Mars/Base"))
    assert schedules.stored["Kevin"].closer == KEVIN


async def test_stored_hours_that_make_no_sense_are_not_taken_for_free(closers, schedules):
    schedules.stored["Kevin"] = Schedule(closer=replace(KEVIN, timezone="Mars/Base"))
    with pytest.raises(StoreUnavailable, match="stored hours of Kevin are wrong"):
        await closers.is_available("Kevin", MONDAY_NOON)


async def test_known_hours_serve_while_their_store_is_down(closers, schedules):
    assert await closers.is_available("Kevin", MONDAY_NOON)
    schedules.fails_with = StoreUnavailable("down")
    await asyncio.sleep(600)
    with capture_logs():
        assert await closers.is_available("Kevin", MONDAY_NOON)
    with pytest.raises(StoreUnavailable):
        await closers.is_available("Somebody else", MONDAY_NOON)


async def test_a_store_that_hangs_costs_a_quarter_of_a_second(closers, schedules):
    assert await closers.is_available("Kevin", MONDAY_NOON)
    schedules.answers_after_s = 3600.0
    await asyncio.sleep(600)
    began_s = now_s()
    with capture_logs():
        assert await closers.is_available("Kevin", MONDAY_NOON)
        # and not again at once
        assert await closers.is_available("Kevin", MONDAY_NOON)
    assert now_s() - began_s == pytest.approx(0.25)


async def test_nobody_is_leased_while_the_lease_store_is_down(closers, shared):
    shared.fails_with = StoreUnavailable("down")
    with pytest.raises(StoreUnavailable):
        await closers.lease("Kevin", ONE)
    with pytest.raises(StoreUnavailable):
        await closers.is_available("Kevin", MONDAY_NOON)


async def test_a_lease_outlasts_its_process_and_tells_that_nobody_looks_after_it(closers):
    async with running(closers):
        assert await closers.lease("Kevin", ONE)
        await asyncio.sleep(1800)
        assert await closers.holder("Kevin") == ONE
        assert not await closers.lease("Kevin", TWO)
        assert await closers.untended("Kevin") is None
    # whether his phone rings nobody knows
    await asyncio.sleep(81)
    assert not await closers.lease("Kevin", TWO)
    assert await closers.untended("Kevin") == ONE
    await closers.release("Kevin", ONE)
    assert await closers.untended("Kevin") is None


async def test_of_many_at_once_one_gets_him_and_one_asks_for_all(closers, shared):
    transfers = [TransferId(f"call-{number}:t1") for number in range(200)]
    shared.answers_after_s = 0.5
    began_s = now_s()
    taken = await asyncio.gather(*(closers.lease("Kevin", one) for one in transfers))
    assert taken == [True, *[False] * 199]
    assert now_s() - began_s == pytest.approx(0.5, abs=0.01)
    assert await closers.holder("Kevin") == transfers[0]


async def test_nobody_waits_for_another_s_answer_in_turn_when_there_is_none(closers, shared):
    shared.answers_after_s, shared.fails_with = 1.0, StoreUnavailable("no answer within 1 s")
    transfers = [TransferId(f"call-{number}:t1") for number in range(200)]
    began_s = now_s()
    told = await asyncio.gather(
        *(closers.lease("Kevin", one) for one in transfers), return_exceptions=True
    )
    assert all(isinstance(one, StoreUnavailable) for one in told)
    assert now_s() - began_s == pytest.approx(1.0, abs=0.01)


async def test_who_asks_for_all_may_be_cancelled(closers, shared):
    shared.answers_after_s = 1.0
    first = asyncio.create_task(closers.lease("Kevin", ONE))
    await asyncio.sleep(0.1)
    other = asyncio.create_task(closers.lease("Kevin", TWO))
    await asyncio.sleep(0.1)
    first.cancel()
    assert not await other
    # nothing is left of the question
    shared.answers_after_s = 0.0
    assert await closers.lease("Kevin", TWO)


async def test_a_released_lease_stays_released(closers, shared):
    async with running(closers):
        await closers.lease("Kevin", ONE)
        shared.answers_after_s = 1.0
        # in the middle of being prolonged
        await asyncio.sleep(20.5)
        await closers.release("Kevin", ONE)
        shared.answers_after_s = 0.0
        await asyncio.sleep(5)
        assert await closers.holder("Kevin") is None


async def test_a_short_absence_of_the_lease_store_loses_nothing(closers, shared):
    async with running(closers):
        await closers.lease("Kevin", ONE)
        shared.fails_with = StoreUnavailable("restarting")
        with capture_logs() as logs:
            await asyncio.sleep(30)
        shared.fails_with = None
        await asyncio.sleep(300)
        assert await closers.holder("Kevin") == ONE
    assert [entry["event"] for entry in logs] == ["closers_not_seen", "lease_not_prolonged"]


async def test_a_lease_that_another_took_is_given_up_loudly(closers, shared):
    async with running(closers):
        await closers.lease("Kevin", ONE)
        shared.held.clear()
        await shared.lease("Kevin", TWO, 10**6)
        with capture_logs() as logs:
            await asyncio.sleep(100)
    assert [entry["event"] for entry in logs] == ["lease_lost"]


async def test_a_lease_that_is_held_for_longer_than_a_call_can_last_is_not_looked_after(closers):
    async with running(closers):
        await closers.lease("Kevin", ONE)
        with capture_logs() as logs:
            await asyncio.sleep(5 * 3600)
        assert await closers.untended("Kevin") == ONE
    assert [entry["event"] for entry in logs] == ["lease_forgotten"]


async def test_a_release_that_fails_is_at_least_not_prolonged(closers, shared):
    async with running(closers):
        await closers.lease("Kevin", ONE)
        shared.fails_with = StoreUnavailable("down")
        with pytest.raises(StoreUnavailable):
            await closers.release("Kevin", ONE)
        shared.fails_with = None
        await asyncio.sleep(81)
        assert await closers.untended("Kevin") == ONE


async def test_who_wraps_up_is_not_left_behind(closers, shared):
    await shared.lease("Kevin", ONE, 10.0, "on_call")
    await shared.release("Kevin", ONE, wrap_up_s=10.0)
    assert await closers.holder("Kevin") == ONE
    assert await closers.untended("Kevin") is None


async def test_without_anybody_to_prolong_it_a_lease_is_long(closers):
    await closers.lease("Kevin", ONE)
    await asyncio.sleep(3600)
    assert await closers.holder("Kevin") == ONE
    await asyncio.sleep(4 * 3600)
    assert await closers.holder("Kevin") is None


# --- overrides ------------------------------------------------------------------------------------


async def test_an_override_holds_at_once_until_it_is_removed(closers):
    assert await closers.add_override("Kevin", AWAY)
    standing = await closers.standing("Kevin", MONDAY_NOON)
    assert (standing.state, standing.available_from) == ("away", None)
    assert await closers.remove_override("Kevin", "away")
    assert not await closers.remove_override("Kevin", "away")
    assert await closers.is_available("Kevin", MONDAY_NOON)
    assert not await closers.add_override("Nobody", AWAY)


async def test_he_is_back_when_he_says_so(closers):
    await closers.add_override("Kevin", AWAY)
    later = MONDAY_NOON + timedelta(hours=1)
    assert await closers.end_absence("Kevin", later)
    assert await closers.is_available("Kevin", later)


# --- several processes ----------------------------------------------------------------------------


@asynccontextmanager
async def two_processes(schedules, shared) -> AsyncIterator[tuple[ScheduledClosers, ...]]:
    both = tuple(ScheduledClosers(schedules, shared, wrap_up_s=30.0) for _ in range(2))
    await both[0].load([KEVIN])
    async with running(both[0]), running(both[1]):
        for process in both:
            assert await process.is_available("Kevin", MONDAY_NOON)
        # somewhere between two looks
        await asyncio.sleep(10.3)
        yield both


async def state(closers: ScheduledClosers) -> str:
    standing = await closers.standing("Kevin", MONDAY_NOON)
    assert standing is not None
    return standing.state


async def test_another_process_knows_of_every_change_within_a_second(schedules, shared):
    async with two_processes(schedules, shared) as (one, other):
        await one.set_schedule(EVENINGS)
        await asyncio.sleep(0.99)
        assert not await other.is_available("Kevin", MONDAY_NOON)
        await other.set_schedule(KEVIN)
        await asyncio.sleep(0.99)
        assert await one.is_available("Kevin", MONDAY_NOON)
        await one.add_override("Kevin", AWAY)
        await asyncio.sleep(0.99)
        assert await state(other) == "away"
        await other.end_absence("Kevin", MONDAY_NOON)
        await asyncio.sleep(0.99)
        assert await state(one) == "free"


async def test_every_step_of_a_transfer_is_seen_by_all_within_a_second(schedules, shared):
    async with two_processes(schedules, shared) as (one, other):
        await one.lease("Kevin", ONE)
        await asyncio.sleep(0.99)
        assert await state(other) == "leased"
        for step in ("ringing", "on_call"):
            one.note("Kevin", ONE, step)
            await asyncio.sleep(0.99)
            assert await state(other) == step
        await one.release("Kevin", ONE)
        assert await state(one) == "wrapping_up"
        await asyncio.sleep(0.99)
        assert await state(other) == "wrapping_up"
        assert not await other.lease("Kevin", TWO)
        # again, as a late hangup does: he does not begin anew
        await asyncio.sleep(20)
        await other.release("Kevin", ONE)
        await asyncio.sleep(10)
        assert await state(one) == await state(other) == "free"


async def test_who_was_only_rung_is_free_at_once(closers):
    async with running(closers):
        await closers.lease("Kevin", ONE)
        closers.note("Kevin", ONE, "ringing")
        await asyncio.sleep(5)
        await closers.release("Kevin", ONE)
        assert await state(closers) == "free"


async def test_a_talk_of_which_nobody_was_told_is_wrapped_up_all_the_same(closers):
    await closers.lease("Kevin", ONE)
    closers.note("Kevin", ONE, "on_call")
    await closers.release("Kevin", ONE)
    assert await state(closers) == "wrapping_up"


async def test_a_step_of_somebody_else_s_transfer_is_not_ours_to_tell(closers):
    async with running(closers):
        await closers.lease("Kevin", ONE)
        closers.note("Kevin", TWO, "on_call")
        await asyncio.sleep(1)
        assert await state(closers) == "leased"


async def test_a_step_outlives_a_process_that_takes_its_transfer_up_again(schedules, shared):
    async with two_processes(schedules, shared) as (one, other):
        await one.lease("Kevin", ONE)
        one.note("Kevin", ONE, "on_call")
        await asyncio.sleep(1)
        assert await other.lease("Kevin", ONE)
        await asyncio.sleep(60)
        assert await state(other) == "on_call"


async def test_a_step_is_told_as_soon_as_the_store_is_back(closers, shared):
    async with running(closers):
        await closers.lease("Kevin", ONE)
        shared.fails_with = StoreUnavailable("restarting")
        with capture_logs():
            closers.note("Kevin", ONE, "ringing")
            await asyncio.sleep(5)
        shared.fails_with = None
        await asyncio.sleep(1.1)
        assert await state(closers) == "ringing"


async def test_whoever_cannot_see_takes_nobody_for_free(schedules, shared):
    async with two_processes(schedules, shared) as (one, _):
        shared.fails_with = StoreUnavailable("down")
        with capture_logs() as logs:
            await asyncio.sleep(0.99)
            with pytest.raises(StoreUnavailable):
                await one.is_available("Kevin", MONDAY_NOON)
            await asyncio.sleep(60)
        # by each process once
        assert [entry["event"] for entry in logs] == ["closers_not_seen"] * 2


async def test_who_is_away_stays_away_when_redis_has_forgotten_everything(schedules, shared):
    async with two_processes(schedules, shared) as (one, other):
        await one.add_override("Kevin", AWAY)
        shared.copies.clear()
        shared.held.clear()
        for _ in range(10):
            await asyncio.sleep(0.5)
            assert await state(one) == "away"
        assert await state(other) == "away"
        newcomer = ScheduledClosers(schedules, shared)
        assert await state(newcomer) == "away"


async def test_a_look_that_breaks_ends_nobody_s_lease(closers, shared):
    async with running(closers):
        await closers.lease("Kevin", ONE)
        seen = shared.seen

        async def odd(names: Sequence[str]) -> Sequence[Seen]:
            raise KeyError(names[0])

        shared.seen = odd
        with capture_logs() as logs:
            await asyncio.sleep(300)
        shared.seen = seen
        assert await closers.holder("Kevin") == ONE
    assert {entry["event"] for entry in logs} == {"look_broke"}


async def test_a_change_that_the_others_could_not_be_told_is_told_later(schedules, shared):
    async with two_processes(schedules, shared) as (one, other):
        shared.fails_with = StoreUnavailable("down")
        with capture_logs():
            await one.set_schedule(EVENINGS)
            await asyncio.sleep(5)
        shared.fails_with = None
        await asyncio.sleep(1.1)
        assert not await other.is_available("Kevin", MONDAY_NOON)
        assert not await one.is_available("Kevin", MONDAY_NOON)


async def test_what_was_read_before_a_change_does_not_undo_it(closers, schedules, shared):
    schedules.answers_after_s = 1.0
    asking = asyncio.create_task(closers.is_available("Kevin", MONDAY_NOON))
    await asyncio.sleep(0.5)
    before = schedules.stored["Kevin"]
    schedules.answers_after_s = 0.0
    await closers.set_schedule(EVENINGS)
    schedules.stored["Kevin"], after = before, schedules.stored["Kevin"]
    await asking
    schedules.stored["Kevin"] = after
    assert not await closers.is_available("Kevin", MONDAY_NOON)
    assert shared.copies["Kevin"][0] == after


async def test_a_store_that_was_set_back_is_believed(closers, schedules):
    await closers.set_schedule(EVENINGS)
    await closers.set_schedule(replace(EVENINGS, number="+12125550142"))
    schedules.stored["Kevin"] = Schedule(closer=KEVIN)
    assert not await closers.is_available("Kevin", MONDAY_NOON)
    await asyncio.sleep(61)
    assert await closers.is_available("Kevin", MONDAY_NOON)
    del schedules.stored["Kevin"]
    await asyncio.sleep(61)
    assert not await closers.is_available("Kevin", MONDAY_NOON)
