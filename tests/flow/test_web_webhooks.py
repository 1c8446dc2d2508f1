"""Webhooks: signed, new or repeated, on disk before the answer, passed on after it."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent_sidecar.adapters.telnyx_signature import SignatureCheck
from agent_sidecar.errors import JournalFailed
from tests.flow.web_door import LEG, NOW, House, done, eventually, open_house

pytestmark = pytest.mark.real_time  # sockets of this machine

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
CHECK = SignatureCheck(
    base64.b64encode(KEY.public_key().public_bytes_raw()).decode(), tolerance_s=300
)


def body(event_id: str = "evt-1", leg_id: str = LEG) -> bytes:
    data = {
        "record_type": "event",
        "event_type": "call.answered",
        "id": event_id,
        "occurred_at": "2026-03-02T15:00:00.1Z",
        "payload": {"call_control_id": leg_id},
    }
    return msgspec.json.encode({"data": data})


def signed(raw: bytes) -> dict[str, str]:
    timestamp = str(int(NOW.timestamp()))
    signature = KEY.sign(timestamp.encode() + b"|" + raw)
    return {
        "telnyx-signature-ed25519": base64.b64encode(signature).decode(),
        "telnyx-timestamp": timestamp,
    }


async def post(house: House, raw: bytes, **headers: str) -> tuple[int, dict[str, object]]:
    status, said = await house.ask("POST", "/telnyx/webhooks", data=raw, headers=headers)
    return status, said


async def fails() -> None:
    raise JournalFailed("the disk is full")


# --- what is answered -----------------------------------------------------------------------------


async def test_a_webhook_is_fed_and_kept_as_it_came():
    async with open_house() as house:
        assert await post(house, body()) == (200, {"ok": True})
        [(event, kept)] = house.registry.webhooks
        assert (event.kind, event.leg_id) == ("answered", LEG)
        assert (kept.event_id, kept.event_type, kept.leg_id) == ("evt-1", "call.answered", LEG)
        assert (kept.body, kept.received_at) == (body(), NOW)
        assert house.counts.of["webhooks", "answered"] == 1


async def test_the_answer_waits_for_the_disk():
    async with open_house() as house:
        on_disk = asyncio.Event()
        house.registry.writing = on_disk.wait()  # type: ignore[assignment]  # True is no None
        answer = asyncio.create_task(post(house, body()))
        await eventually(lambda: bool(house.registry.webhooks))
        await asyncio.sleep(0.02)
        assert not answer.done()
        on_disk.set()
        assert await answer == (200, {"ok": True})


async def test_a_repeated_webhook_waits_for_the_first_and_is_not_fed_again():
    async with open_house() as house:
        on_disk = asyncio.Event()
        house.registry.writing = on_disk.wait()  # type: ignore[assignment]  # True is no None
        first = asyncio.create_task(post(house, body()))
        await eventually(lambda: bool(house.registry.webhooks))
        second = asyncio.create_task(post(house, body()))
        await asyncio.sleep(0.02)
        assert not second.done()
        on_disk.set()
        assert [await first, await second] == [(200, {"ok": True})] * 2
        assert len(house.registry.webhooks) == 1
        assert house.counts.of["webhooks", "repeated"] == 1


async def test_what_the_journal_cannot_keep_is_to_come_again():
    async with open_house() as house:
        house.registry.writing = fails()
        status, said = await post(house, body())
        assert (status, said["error"]) == (503, "JournalFailed")
        assert house.counts.of["webhooks", "not_kept"] == 1


async def test_a_slow_journal_is_not_waited_for_beyond_what_telnyx_waits():
    async with open_house(journal_s=0.05) as house:
        writing = asyncio.ensure_future(asyncio.sleep(0.5))
        house.registry.writing = writing
        began_at = time.monotonic()
        status, _ = await post(house, body())
        assert status == 503
        assert time.monotonic() - began_at < 0.4
        # the write itself goes on, and the webhook is known when it comes again
        await writing
        assert await post(house, body()) == (200, {"ok": True})
        assert len(house.registry.webhooks) == 1


@pytest.mark.parametrize(
    ("raw", "named"),
    [(b"{}", "data"), (b"no json", "unreadable"), (b'{"event_type":"x"}', "API version 1")],
)
async def test_a_malformed_webhook_is_refused_with_its_field(raw: bytes, named: str):
    async with open_house() as house:
        status, said = await post(house, raw)
        assert (status, said["error"]) == (400, "WebhookMalformed")
        assert named in str(said["message"])
        assert house.counts.of["webhooks", "malformed"] == 1


async def test_an_unknown_event_is_taken():
    async with open_house() as house:
        raw = body().replace(b"call.answered", b"call.of.the.wild")
        assert await post(house, raw) == (200, {"ok": True})
        assert house.counts.of["webhooks", "other"] == 1


async def test_a_body_without_end_is_refused():
    async with open_house(body_bytes=1000) as house:
        status, said = await post(house, b" " * 2000)
        assert (status, said["error"]) == (413, "RequestEntityTooLarge")


async def test_webhooks_by_get_are_told_what_to_set():
    async with open_house() as house:
        status, said = await house.ask("GET", "/telnyx/webhooks")
        assert status == 405
        assert "webhook_url_method" in said["message"]


async def test_a_signature_is_wanted_as_soon_as_there_is_a_key():
    async with open_house(signature=CHECK) as house:
        assert (await post(house, body(), **signed(body())))[0] == 200
        status, said = await post(house, body("evt-2"))
        assert (status, said["error"]) == (401, "SignatureInvalid")
        status, _ = await post(house, body("evt-2"), **signed(body("evt-3")))
        assert status == 401
        assert len(house.registry.webhooks) == 1
        assert house.counts.of["webhooks", "unsigned"] == 2


# --- passing on -----------------------------------------------------------------------------------


@dataclass
class Application:
    """The user's own: remembers what came, answers as told, else 200."""

    came: asyncio.Queue[tuple[bytes, dict[str, str]]] = field(default_factory=asyncio.Queue)
    statuses: list[int] = field(default_factory=list)
    hangs: bool = False
    url: str = ""

    async def take(self, request: web.Request) -> web.Response:
        raw = await request.read()
        self.came.put_nowait((raw, {k.lower(): v for k, v in request.headers.items()}))
        if self.hangs:
            await asyncio.sleep(60)
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)


@asynccontextmanager
async def open_application() -> AsyncIterator[Application]:
    application = Application()
    app = web.Application()
    app.router.add_post("/hooks", application.take)
    runner = web.AppRunner(app, shutdown_timeout=0.05, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    application.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hooks"
    try:
        yield application
    finally:
        await runner.cleanup()


async def test_webhooks_are_passed_on_raw_with_their_headers():
    async with (
        open_application() as application,
        open_house(signature=CHECK, forward_url=application.url) as house,
    ):
        headers = signed(body()) | {"Content-Type": "application/json", "X-Own": "1"}
        assert (await post(house, body(), **headers))[0] == 200
        raw, came_with = await asyncio.wait_for(application.came.get(), 2)
        assert raw == body()
        CHECK.verify(raw, came_with, NOW)
        assert came_with["content-type"] == "application/json"
        assert "x-own" not in came_with


async def test_a_repeated_webhook_is_passed_on_once_and_a_refused_one_never():
    async with (
        open_application() as application,
        open_house(signature=CHECK, forward_url=application.url) as house,
    ):
        for _ in range(2):
            await post(house, body(), **signed(body()))
        await post(house, body("evt-2"))
        house.registry.writing = fails()
        await post(house, body("evt-3"), **signed(body("evt-3")))
        house.registry.writing = done()
        await post(house, body("evt-4"), **signed(body("evt-4")))
        raws = [(await asyncio.wait_for(application.came.get(), 2))[0] for _ in range(2)]
        assert raws == [body(), body("evt-4")]
        assert application.came.empty()


async def test_what_telnyx_signed_but_we_cannot_read_is_passed_on():
    async with (
        open_application() as application,
        open_house(signature=CHECK, forward_url=application.url) as house,
    ):
        raw = b'{"event_type":"call_answered"}'
        assert (await post(house, raw, **signed(raw)))[0] == 400
        assert (await asyncio.wait_for(application.came.get(), 2))[0] == raw


async def test_one_legs_webhooks_keep_their_order_over_failures():
    async with (
        open_application() as application,
        open_house(forward_url=application.url, forward_again_s=(0.01, 0.01, 0.01)) as house,
    ):
        application.statuses = [503, 429, 200, 404, 200]
        for number in range(3):
            await post(house, body(f"evt-{number}"))
        raws = [(await asyncio.wait_for(application.came.get(), 2))[0] for _ in range(5)]
        # a 404 would be one the next time as well
        assert raws == [body("evt-0"), body("evt-0"), body("evt-0"), body("evt-1"), body("evt-2")]


async def test_an_application_that_never_takes_it_is_given_up():
    async with open_house(
        forward_url="http://127.0.0.1:1/", forward_again_s=(0.01,), forward_drain_s=2
    ) as house:
        assert (await post(house, body()))[0] == 200
        await house.door.aclose()
        assert house.counts.of["webhooks_forwarded", "failed"] == 1


async def test_a_hanging_application_delays_no_answer_and_no_stop():
    async with (
        open_application() as application,
        open_house(forward_url=application.url, forward_queue=2, forward_drain_s=0.1) as house,
    ):
        application.hangs = True
        began_at = time.monotonic()
        for number in range(10):
            assert (await post(house, body(f"evt-{number}")))[0] == 200
        await house.door.aclose()
        assert time.monotonic() - began_at < 2
        # one under way, two waiting
        assert house.counts.of["webhooks_forwarded", "dropped"] == 7
