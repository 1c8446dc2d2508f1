import asyncio
import time

import pytest

from tests.fakes import FakeClock
from tests.virtual_time import VirtualTimeLoop


async def test_a_year_passes_at_once_and_exactly():
    loop, began = asyncio.get_running_loop(), time.monotonic()
    assert isinstance(loop, VirtualTimeLoop)
    await asyncio.sleep(365 * 86400)
    assert loop.time() == pytest.approx(365 * 86400)
    assert time.monotonic() - began < 5


async def test_timers_fire_in_the_order_of_their_time():
    order: list[str] = []

    async def note(name: str, after_s: float) -> None:
        await asyncio.sleep(after_s)
        order.append(name)

    await asyncio.gather(note("late", 3600), note("early", 0.001), note("middle", 2))
    assert order == ["early", "middle", "late"]


async def test_work_that_is_ready_costs_no_time():
    loop = asyncio.get_running_loop()
    for _ in range(1000):
        await asyncio.sleep(0)
    assert loop.time() == 0.0


async def test_a_timeout_ends_at_its_deadline():
    loop = asyncio.get_running_loop()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await asyncio.Event().wait()
    assert loop.time() == pytest.approx(0.5)


async def test_the_fake_clock_goes_with_the_loop():
    clock = FakeClock()
    before = clock.now()
    await asyncio.sleep(90)
    clock.advance(10)
    assert (clock.now() - before).total_seconds() == pytest.approx(100)


def test_a_deadlock_is_an_error_instead_of_a_hang():
    async def wait_for_nobody() -> None:
        await asyncio.Event().wait()

    loop = VirtualTimeLoop()
    task = loop.create_task(wait_for_nobody())
    with pytest.raises(RuntimeError, match="no timer is set"):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


@pytest.mark.real_time
async def test_a_marked_test_may_use_threads():
    assert not isinstance(asyncio.get_running_loop(), VirtualTimeLoop)
    assert await asyncio.to_thread(lambda: 7) == 7
