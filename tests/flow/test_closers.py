import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, time

import pytest
from structlog.testing import capture_logs

from agent_sidecar.domain.playbook import Closer, Window
from agent_sidecar.domain.types import TransferId
from agent_sidecar.errors import PlaybookInvalid, StoreUnavailable
from agent_sidecar.live.closers import ScheduledClosers
from tests.fakes import Adversity

ONE, TWO = TransferId("transfer-1"), TransferId("transfer-2")
MONDAY_NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
OFFICE = (Window(day_of_week=1, start=time(9), end=time(17)),)
KEVIN = Closer(name="Kevin", timezone="UTC", hours=OFFICE)


class Schedules(Adversity):
    def __init__(self) -> None:
        super().__init__()
        self.stored: dict[str, Closer] = {}
        self.asked = 0

    async def load(self, closers: Sequence[Closer]) -> None:
        await self.strike()
        for closer in closers:
            self.stored.setdefault(closer.name, closer)

    async def schedule(self, name: str) -> Closer | None:
        self.asked += 1
        await self.strike()
        return self.stored.get(name)

    async def set_schedule(self, closer: Closer) -> None:
        await self.strike()
        self.stored[closer.name] = closer


class Leases(Adversity):
    """Leases that expire in the loop's time."""

    def __init__(self) -> None:
        super().__init__()
        self._held: dict[str, tuple[TransferId, float]] = {}

    async def lease(self, name: str, transfer_id: TransferId, ttl_s: float) -> bool:
        await self.strike()
        if self._holder(name) not in (None, transfer_id):
            return False
        self._held[name] = (transfer_id, asyncio.get_running_loop().time() + ttl_s)
        return True

    async def release(self, name: str, transfer_id: TransferId) -> None:
        await self.strike()
        if self._holder(name) == transfer_id:
            del self._held[name]

    async def holder(self, name: str) -> TransferId | None:
        await self.strike()
        return self._holder(name)

    def _holder(self, name: str) -> TransferId | None:
        held = self._held.get(name)
        if held is None or held[1] <= asyncio.get_running_loop().time():
            return None
        return held[0]


@pytest.fixture
def schedules() -> Schedules:
    return Schedules()


@pytest.fixture
def leases() -> Leases:
    return Leases()


@pytest.fixture
async def closers(schedules, leases) -> ScheduledClosers:
    closers = ScheduledClosers(schedules, leases)
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


async def test_hours_are_read_once_a_second(closers, schedules):
    for _ in range(100):
        await closers.is_available("Kevin", MONDAY_NOON)
    assert schedules.asked == 1
    await asyncio.sleep(1.1)
    await closers.is_available("Kevin", MONDAY_NOON)
    assert schedules.asked == 2


async def test_new_hours_hold_at_once(closers):
    assert await closers.is_available("Kevin", MONDAY_NOON)
    evenings = (Window(day_of_week=1, start=time(18), end=time(22)),)
    await closers.set_schedule(Closer(name="Kevin", timezone="UTC", hours=evenings))
    assert not await closers.is_available("Kevin", MONDAY_NOON)


async def test_hours_that_make_no_sense_are_refused(closers, schedules):
    with pytest.raises(PlaybookInvalid, match="'Mars/Base' of Kevin does not exist"):
        await closers.set_schedule(Closer(name="Kevin", timezone="Mars/Base"))
    assert schedules.stored["Kevin"] == KEVIN


async def test_stored_hours_that_make_no_sense_are_not_taken_for_free(closers, schedules):
    schedules.stored["Kevin"] = Closer(name="Kevin", timezone="Mars/Base", hours=OFFICE)
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


async def test_nobody_is_leased_while_the_lease_store_is_down(closers, leases):
    leases.fails_with = StoreUnavailable("down")
    with pytest.raises(StoreUnavailable):
        await closers.lease("Kevin", ONE)
    with pytest.raises(StoreUnavailable):
        await closers.is_available("Kevin", MONDAY_NOON)


async def test_a_lease_lasts_as_long_as_the_transfer_and_no_longer_than_the_process(closers):
    async with running(closers):
        assert await closers.lease("Kevin", ONE)
        await asyncio.sleep(1800)
        assert await closers.holder("Kevin") == ONE
        assert not await closers.lease("Kevin", TWO)
    await asyncio.sleep(61)
    assert await closers.holder("Kevin") is None


async def test_a_released_lease_stays_released(closers, leases):
    async with running(closers):
        await closers.lease("Kevin", ONE)
        leases.answers_after_s = 1.0
        # in the middle of being prolonged
        await asyncio.sleep(20.5)
        await closers.release("Kevin", ONE)
        leases.answers_after_s = 0.0
        await asyncio.sleep(5)
        assert await closers.holder("Kevin") is None


async def test_a_short_absence_of_the_lease_store_loses_nothing(closers, leases):
    async with running(closers):
        await closers.lease("Kevin", ONE)
        leases.fails_with = StoreUnavailable("restarting")
        with capture_logs() as logs:
            await asyncio.sleep(30)
        leases.fails_with = None
        await asyncio.sleep(300)
        assert await closers.holder("Kevin") == ONE
    assert [entry["event"] for entry in logs] == ["lease_not_prolonged"]


async def test_a_lease_that_another_took_is_given_up_loudly(closers, leases):
    async with running(closers):
        await closers.lease("Kevin", ONE)
        leases._held.clear()
        await leases.lease("Kevin", TWO, 10**6)
        with capture_logs() as logs:
            await asyncio.sleep(100)
    assert [entry["event"] for entry in logs] == ["lease_lost"]


async def test_a_forgotten_lease_ends(closers):
    async with running(closers):
        await closers.lease("Kevin", ONE)
        with capture_logs() as logs:
            await asyncio.sleep(5 * 3600)
        assert await closers.holder("Kevin") is None
    assert [entry["event"] for entry in logs] == ["lease_forgotten"]


async def test_a_release_that_fails_is_at_least_not_prolonged(closers, leases):
    async with running(closers):
        await closers.lease("Kevin", ONE)
        leases.fails_with = StoreUnavailable("down")
        with pytest.raises(StoreUnavailable):
            await closers.release("Kevin", ONE)
        leases.fails_with = None
        await asyncio.sleep(61)
        assert await closers.holder("Kevin") is None


async def test_without_anybody_to_prolong_it_a_lease_is_long(closers):
    await closers.lease("Kevin", ONE)
    await asyncio.sleep(3600)
    assert await closers.holder("Kevin") == ONE
    await asyncio.sleep(4 * 3600)
    assert await closers.holder("Kevin") is None
