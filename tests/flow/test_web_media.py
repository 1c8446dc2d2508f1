"""The media socket: who gets in, what is heard, and how it ends."""

import asyncio
import base64
import time

import aiohttp
import msgspec
import pytest

from agent_sidecar.domain.media import MediaFrame
from tests.flow.web_door import LEG, OPENS, House, MadeUpStream, open_house

pytestmark = pytest.mark.real_time  # sockets of this machine

PAYLOAD = bytes(range(160))
CONNECTED = b'{"event":"connected","version":"1.0.0"}'
STOP = b'{"event":"stop","stream_id":"S1","stop":{}}'


def start(**more: object) -> str:
    body = {
        "call_control_id": LEG,
        "media_format": {"encoding": "PCMU", "sample_rate": 8000},
        **more,
    }
    return msgspec.json.encode({"event": "start", "stream_id": "S1", "start": body}).decode()


def media(chunk: int, stream_id: str | None = "S1") -> str:
    frame = {
        "event": "media",
        "stream_id": stream_id,
        "media": {
            "track": "inbound",
            "chunk": str(chunk),
            "payload": base64.b64encode(PAYLOAD).decode(),
        },
    }
    if stream_id is None:
        del frame["stream_id"]
    return msgspec.json.encode(frame).decode()


async def admitted(house: House, socket: aiohttp.ClientWebSocketResponse) -> MadeUpStream:
    await socket.send_str(CONNECTED.decode())
    await socket.send_str(start())
    await asyncio.wait_for(house.registry.admitted.wait(), 2)
    return house.registry.streams[-1]


async def closed(socket: aiohttp.ClientWebSocketResponse) -> tuple[int | None, str]:
    message = await socket.receive(2)
    assert message.type is aiohttp.WSMsgType.CLOSE
    return message.data, str(message.extra)


URL = f"/telnyx/media?token={OPENS}"


async def test_frames_are_heard_in_the_order_they_came():
    async with open_house() as house, house.client.ws_connect(URL) as socket:
        stream = await admitted(house, socket)
        for chunk in (2, 1, 3):
            await socket.send_str(media(chunk))
        await socket.send_str(STOP.decode())
        await asyncio.wait_for(stream.has_ended.wait(), 2)
        assert stream.start.leg_id == LEG
        assert stream.frames == [MediaFrame("inbound", chunk, PAYLOAD, "S1") for chunk in (2, 1, 3)]
        assert stream.ended == ["stopped"]
        assert await closed(socket) == (1000, "stopped")


@pytest.mark.parametrize(
    ("path", "headers", "parameters"),
    [
        (URL, {}, {}),
        ("/telnyx/media", {"Authorization": f"Bearer {OPENS}"}, {}),
        ("/telnyx/media", {"Authorization": OPENS}, {}),
        ("/telnyx/media", {}, {"token": OPENS}),
        ("/telnyx/media", {}, [{"name": "token", "value": OPENS}]),
        ("/telnyx/media?token=stale", {"Authorization": "Basic eA=="}, {"token": OPENS}),
    ],
)
async def test_a_token_opens_wherever_it_is(path: str, headers: dict[str, str], parameters: object):
    async with open_house() as house, house.client.ws_connect(path, headers=headers) as socket:
        await socket.send_str(start(custom_parameters=parameters))
        await asyncio.wait_for(house.registry.admitted.wait(), 2)


@pytest.mark.parametrize("path", ["/telnyx/media", "/telnyx/media?token=wrong"])
async def test_without_a_right_token_nobody_gets_in(path: str):
    async with open_house() as house, house.client.ws_connect(path) as socket:
        await socket.send_str(start())
        code, reason = await closed(socket)
        assert code == 1008
        assert "token" in reason
        assert house.counts.of["media_refused", "token"] == 1
        assert house.registry.streams == []


async def test_a_stranger_who_says_nothing_is_shown_out():
    async with (
        open_house(start_s=0.05) as house,
        house.client.ws_connect("/telnyx/media") as socket,
    ):
        await socket.send_str(CONNECTED.decode())
        began_at = time.monotonic()
        assert await closed(socket) == (1008, "no start frame within 0.05 s")
        assert time.monotonic() - began_at < 1
        assert house.counts.of["media_refused", "no_start"] == 1


async def test_who_has_a_token_may_wait_longer():
    async with open_house(start_s=0.05) as house, house.client.ws_connect(URL) as socket:
        await asyncio.sleep(0.15)
        await admitted(house, socket)


async def test_only_so_many_may_wait_at_once():
    async with (
        open_house(waiting_sockets=1) as house,
        house.client.ws_connect("/telnyx/media") as first,
    ):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await house.client.ws_connect("/telnyx/media")
        assert refused.value.status == 503
        await first.send_str(start(custom_parameters={"token": OPENS}))
        await asyncio.wait_for(house.registry.admitted.wait(), 2)
        async with house.client.ws_connect("/telnyx/media"):
            pass


async def test_malformed_frames_are_counted_and_the_stream_goes_on():
    async with open_house() as house, house.client.ws_connect(URL) as socket:
        await socket.send_str("{")
        await socket.send_str(media(0))  # before the start
        stream = await admitted(house, socket)
        for bad in ("nonsense", "{}", '{"event":"media"}', '{"event":"error","payload":{}}'):
            await socket.send_str(bad)
        await socket.send_str('{"event":"of_a_later_protocol"}')
        await socket.send_str(start())
        await socket.send_str(media(1))
        await socket.send_str(STOP.decode())
        await asyncio.wait_for(stream.has_ended.wait(), 2)
        assert len(stream.frames) == 1
        assert house.counts.of["media_frames_malformed", "frame"] == 4
        assert house.counts.of["media_frames_malformed", "before_start"] == 1
        assert house.counts.of["media_frames_malformed", "second_start"] == 1
        assert house.counts.of["media_frames_unknown", ""] == 1
        assert house.counts.of["media_errors", "unlisted"] == 1


async def test_frames_of_another_stream_are_not_mixed_in():
    async with open_house() as house, house.client.ws_connect(URL) as socket:
        stream = await admitted(house, socket)
        await socket.send_str(media(1))
        await socket.send_str(media(2, "another"))
        await socket.send_str('{"event":"stop","stream_id":"another"}')
        # which says nothing of its stream is of this one
        await socket.send_str(media(3, None))
        await socket.send_str('{"event":"dtmf","stream_id":"S1","dtmf":{"digit":"5"}}')
        await socket.send_str('{"event":"stop"}')
        assert await closed(socket) == (1000, "stopped")
        assert [frame.chunk for frame in stream.frames] == [1, 3]
        assert house.counts.of["media_frames_malformed", "other_stream"] == 2
        assert house.counts.of["media_digits", ""] == 1


async def test_nothing_but_malformed_frames_ends_the_socket():
    async with open_house(malformed_frames=5) as house, house.client.ws_connect(URL) as socket:
        stream = await admitted(house, socket)
        for _ in range(4):
            await socket.send_str("nonsense")
        await socket.send_str(media(1))
        for _ in range(5):
            await socket.send_str("nonsense")
        assert await closed(socket) == (1007, "5 malformed frames in a row")
        assert len(stream.frames) == 1


async def test_binary_frames_are_refused():
    async with open_house() as house, house.client.ws_connect(URL) as socket:
        stream = await admitted(house, socket)
        await socket.send_bytes(PAYLOAD)
        code, reason = await closed(socket)
        assert code == 1003
        assert stream.ended == [reason]


async def test_a_message_that_is_too_big_ends_the_socket():
    async with open_house(frame_bytes=2000) as house, house.client.ws_connect(URL) as socket:
        stream = await admitted(house, socket)
        await socket.send_str(" " * 3000)
        assert (await closed(socket))[0] == 1009
        await asyncio.wait_for(stream.has_ended.wait(), 2)


async def test_a_newer_stream_closes_the_older_socket():
    async with open_house() as house, house.client.ws_connect(URL) as socket:
        stream = await admitted(house, socket)
        stream.superseded.set()
        assert await closed(socket) == (1000, "superseded by a newer stream")
        await asyncio.wait_for(stream.has_ended.wait(), 2)
        assert len(stream.ended) == 1


async def test_a_socket_that_breaks_off_says_so():
    async with open_house() as house:
        socket = await house.client.ws_connect(URL)
        stream = await admitted(house, socket)
        assert socket._response.connection is not None
        assert socket._response.connection.transport is not None
        socket._response.connection.transport.abort()
        await asyncio.wait_for(stream.has_ended.wait(), 2)
        assert stream.ended == ["socket closed (1006)"]
        await socket.close()


async def test_a_defect_behind_the_door_closes_this_socket_only():
    async with open_house() as house, house.client.ws_connect(URL) as socket:
        house.registry.breaks_streams = True
        stream = await admitted(house, socket)
        await socket.send_str(media(1))
        assert await closed(socket) == (1011, "internal error")
        assert stream.ended == ["internal error"]
        status, _ = await house.ask("GET", "/healthz")
        assert status == 200


async def test_a_stop_tells_the_socket_to_come_again_elsewhere():
    async with open_house() as house, house.client.ws_connect(URL) as socket:
        stream = await admitted(house, socket)
        closing = asyncio.create_task(house.door.aclose())
        assert await closed(socket) == (1001, "the sidecar is stopping")
        await closing
        assert len(stream.ended) == 1


async def test_what_is_no_socket_is_told_so():
    async with open_house() as house:
        status, body = await house.ask("GET", URL)
        assert status == 426
        assert "stream_url" in body["message"]
