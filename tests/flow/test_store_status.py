import asyncio
from collections.abc import Awaitable, Callable

import pytest

from agent_sidecar.errors import StoreUnavailable
from agent_sidecar.store_status import Row, ask_all
from agent_sidecar.telemetry import ResponseTimes


def answering(
    after_s: float = 0.0, error: Exception | None = None, dies_after_s: float = 0.0
) -> Callable[[], Awaitable[Row]]:
    async def ask() -> Row:
        try:
            await asyncio.sleep(after_s)
        except asyncio.CancelledError:
            await asyncio.sleep(dies_after_s)
            raise
        if error is not None:
            raise error
        return {"counts": {"calls": 3}}

    return ask


async def test_one_that_hangs_holds_up_nobody():
    began = asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as orphans:
        rows = await ask_all(
            {
                "postgres": answering(0.1),
                "neo4j": answering(3600.0, dies_after_s=60.0),
                "chroma": answering(error=StoreUnavailable("start it")),
                "redis": answering(error=ZeroDivisionError()),
            },
            within_s=2.0,
            orphans=orphans,
        )
        took_s = asyncio.get_running_loop().time() - began
    assert took_s == pytest.approx(2.0)
    assert rows["postgres"] == {"answering": True, "counts": {"calls": 3}}
    assert rows["neo4j"] == {"answering": False, "error": "no answer within 2 s"}
    assert rows["chroma"] == {"answering": False, "error": "start it"}
    assert rows["redis"]["answering"] is False


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


async def answer(times: ResponseTimes, clock: Clock, took_s: float, *, fails: bool = False) -> None:
    with times.measured():
        clock.now_s += took_s
        if fails:
            raise StoreUnavailable("gone")


async def test_response_times_are_of_what_was_asked_lately():
    clock = Clock()
    times = ResponseTimes(now=clock)
    assert times.summary() == {
        "within_s": 300.0,
        "questions": 0,
        "avg_ms": None,
        "p99_ms": None,
        "failed": 0,
    }
    await answer(times, clock, 9.0)
    clock.now_s += ResponseTimes.WITHIN_S
    for ms in range(1, 101):
        await answer(times, clock, ms / 1000)
    with pytest.raises(StoreUnavailable):
        await answer(times, clock, 5.0, fails=True)
    found = times.summary()
    assert (found["questions"], found["failed"]) == (100, 1)
    assert (found["avg_ms"], found["p99_ms"]) == (50.5, 99.0)


@pytest.mark.parametrize("error", [asyncio.CancelledError, TimeoutError])
def test_what_was_given_up_took_as_long_as_somebody_waited(error: type[BaseException]):
    clock = Clock()
    times = ResponseTimes(now=clock)

    def give_up() -> None:
        with times.measured():
            clock.now_s += 0.25
            raise error

    with pytest.raises(error):
        give_up()
    found = times.summary()
    assert (found["questions"], found["p99_ms"], found["failed"]) == (1, 250.0, 0)


def test_only_so_many_are_kept():
    times = ResponseTimes(now=Clock())
    for _ in range(ResponseTimes.KEPT + 10):
        with times.measured():
            pass
    assert times.summary()["questions"] == ResponseTimes.KEPT
