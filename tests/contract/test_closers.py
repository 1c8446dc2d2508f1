"""One suite for `ports.Closers` and what the front door asks of it: on the fake and on servers."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import uuid4

import pytest
import pytest_asyncio

from agent_sidecar.adapters.pg import PgPool
from agent_sidecar.adapters.postgres_crm import PostgresCrm
from agent_sidecar.adapters.postgres_schedule import PostgresSchedule
from agent_sidecar.adapters.redis_live import RedisLive
from agent_sidecar.domain.availability import Override, State
from agent_sidecar.domain.playbook import Closer, Window
from agent_sidecar.domain.types import TransferId
from agent_sidecar.embedded import StackUrls
from agent_sidecar.live.closers import ScheduledClosers
from agent_sidecar.ports import Closers
from agent_sidecar.web.parts import Schedules
from tests.fakes import FakeClosers

pytestmark = pytest.mark.contract

ONE, TWO = TransferId("call:t1"), TransferId("call:t2")
WRAP_UP_S = 0.6


class Both(Closers, Schedules, Protocol):
    """What the service knows of its closers."""


class House:
    """Two views of the same closer: of two processes, or twice the fake."""

    def __init__(self, name: str, here: Both, there: Both) -> None:
        self.name = name
        self.here, self.there = here, there

    async def within_a_second(self, holds: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(1.0):
            while not await holds():  # noqa: ASYNC110  # real servers tell nobody
                await asyncio.sleep(0.01)

    async def becomes(self, state: State) -> None:
        """Wait until the other process says so, a second at most."""

        async def said() -> bool:
            standing = await self.there.standing(self.name, now())
            return standing is not None and standing.state == state

        await self.within_a_second(said)


def now() -> datetime:
    return datetime.now(UTC)


@pytest_asyncio.fixture
async def of_fakes() -> House:
    name = f"Kevin {uuid4()}"
    fake = FakeClosers(wrap_up_s=WRAP_UP_S)
    await fake.load([Closer(name=name)])
    return House(name, fake, fake)


@pytest_asyncio.fixture
async def of_servers(stack: StackUrls, postgres_url: str) -> AsyncIterator[House]:
    name = f"Kevin {uuid4()}"
    redis_url = os.environ.get("REDIS_TEST_URL") or stack.redis
    assert redis_url is not None
    async with AsyncExitStack() as exits:
        views = []
        for _ in range(2):
            pool = await exits.enter_async_context(PgPool(postgres_url))
            await PostgresCrm(pool).migrate()
            live = await RedisLive.open(redis_url)
            exits.push_async_callback(live.aclose)
            closers = ScheduledClosers(PostgresSchedule(pool), live, wrap_up_s=WRAP_UP_S)
            task = asyncio.create_task(closers.run())
            exits.push_async_callback(_end, task)
            await closers.load([Closer(name=name)])
            assert await closers.is_available(name, now())
            views.append(closers)
        yield House(name, *views)


@pytest.fixture(params=["of_fakes", "of_servers"])
def house(request: pytest.FixtureRequest) -> House:
    found: House = request.getfixturevalue(request.param)
    return found


async def _end(task: asyncio.Task[None]) -> None:
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def override(*, on: bool = False, hours: float | None = 1.0) -> Override:
    return Override(
        override_id=str(uuid4()),
        start_at=now(),
        end_at=None if hours is None else now() + timedelta(hours=hours),
        is_available=on,
        reason="said by a test",
    )


async def test_of_a_stranger_nothing_is_known(house: House):
    assert await house.here.standing("Nobody", now()) is None
    assert not await house.here.is_available("Nobody", now())
    assert not await house.here.add_override("Nobody", override())


async def test_one_transfer_has_him_until_it_releases_him(house: House):
    assert await house.here.lease(house.name, ONE)
    assert await house.here.lease(house.name, ONE)
    assert not await house.there.lease(house.name, TWO)
    assert await house.here.holder(house.name) == ONE
    assert not await house.here.is_available(house.name, now())
    await house.becomes("leased")
    await house.here.release(house.name, TWO)
    assert await house.here.holder(house.name) == ONE
    await house.here.release(house.name, ONE)
    assert await house.here.holder(house.name) is None
    await house.becomes("free")


async def test_every_step_of_a_talk_is_seen_and_then_he_wraps_up(house: House):
    await house.here.lease(house.name, ONE)
    for step in ("ringing", "on_call"):
        house.here.note(house.name, ONE, step)
        await house.becomes(step)
    house.here.note(house.name, TWO, "leased")
    await house.here.release(house.name, ONE)
    standing = await house.here.standing(house.name, now())
    assert standing is not None
    assert (standing.state, standing.is_available) == ("wrapping_up", False)
    assert standing.hold is not None
    assert 0 < standing.hold.left_s <= WRAP_UP_S
    assert not await house.there.lease(house.name, TWO)
    await asyncio.sleep(WRAP_UP_S)
    assert await house.there.lease(house.name, TWO)


async def test_who_was_only_rung_is_free_at_once(house: House):
    await house.here.lease(house.name, ONE)
    house.here.note(house.name, ONE, "ringing")
    await house.becomes("ringing")
    await house.here.release(house.name, ONE)
    assert await house.there.lease(house.name, TWO)


async def test_away_and_back_are_known_everywhere(house: House):
    assert await house.here.add_override(house.name, override(hours=None))
    assert not await house.here.is_available(house.name, now())
    await house.becomes("away")
    standing = await house.there.standing(house.name, now())
    assert standing is not None
    assert (standing.available_from, standing.is_working) == (None, False)
    assert await house.there.end_absence(house.name, now())
    assert await house.there.is_available(house.name, now())
    # also of somebody who was not away
    assert await house.there.end_absence(house.name, now())


async def test_the_override_made_last_wins_until_it_is_removed(house: House):
    on, off = override(on=True, hours=2), override()
    await house.here.set_schedule(Closer(name=house.name, timezone="UTC", hours=_never_now()))
    assert not await house.here.is_available(house.name, now())
    await house.here.add_override(house.name, on)
    assert await house.here.is_available(house.name, now())
    await house.here.add_override(house.name, off)
    await house.becomes("away")
    standing = await house.here.standing(house.name, now())
    assert standing is not None
    assert standing.schedule.overrides == (off, on)
    assert standing.available_from == off.end_at
    assert not await house.here.remove_override(house.name, str(uuid4()))
    assert await house.here.remove_override(house.name, off.override_id)
    assert not await house.here.remove_override(house.name, off.override_id)
    assert await house.here.is_available(house.name, now())


async def test_new_hours_are_known_everywhere_and_overrides_stay(house: House):
    on = override(on=True)
    await house.here.add_override(house.name, on)
    closer = Closer(name=house.name, number="+12125550142", timezone="UTC", hours=_never_now())
    await house.here.set_schedule(closer)

    async def known() -> bool:
        standing = await house.there.standing(house.name, now())
        return standing is not None and standing.schedule.closer == closer

    await house.within_a_second(known)
    assert await house.there.is_available(house.name, now())
    # what the playbook says is older
    await house.there.load([replace(closer, number=None)])
    assert await known()


def _never_now() -> tuple[Window, ...]:
    """Return an hour that is three days away."""
    then = now() + timedelta(days=3)
    day = then.isoweekday() % 7
    return (Window(day_of_week=day, start=then.time(), end=(then + timedelta(minutes=1)).time()),)
