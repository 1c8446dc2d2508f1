"""The hints socket: what goes out, what comes in, and who is told what is wrong."""

import asyncio
import time
from typing import Any

import aiohttp
import pytest

from agent_sidecar.domain.events import HintJudged, LineHeard, TransferWanted
from agent_sidecar.errors import JournalFailed
from tests.flow.web_door import CALL, CALL_NOW, LEG, NOW, House, eventually, open_house

pytestmark = pytest.mark.real_time  # sockets of this machine

Socket = aiohttp.ClientWebSocketResponse


async def said(socket: Socket) -> Any:
    return await socket.receive_json(timeout=2)


async def fed(house: House) -> Any:
    await asyncio.wait_for(house.registry.call.arrived.wait(), 2)
    return house.registry.call.events[-1]


async def test_messages_go_out_as_text():
    async with open_house() as house, house.client.ws_connect("/v1/hints") as socket:
        house.hub.publish(CALL, {"type": "hint", "call_id": CALL, "at": NOW})
        message = await socket.receive(2)
        assert message.type is aiohttp.WSMsgType.TEXT
        assert message.json() == {"type": "hint", "call_id": CALL, "at": "2026-03-02T15:00:00Z"}


@pytest.mark.parametrize("call", [CALL, "v3:prospect%2F%2Bx=="])
async def test_one_may_hear_one_call_only(call: str):
    async with (
        open_house() as house,
        house.client.ws_connect(f"/v1/hints?call={call}") as socket,
    ):
        house.hub.publish(CALL, {"type": "hint", "call_id": "another"})
        house.hub.publish(CALL, {"type": "score", "call_id": CALL, "call_control_id": LEG})
        assert (await said(socket))["type"] == "score"


async def test_who_leaves_is_forgotten():
    async with open_house() as house:
        async with house.client.ws_connect("/v1/hints"):
            assert len(house.hub._subscriptions) == 1
        await eventually(lambda: not house.hub._subscriptions)


async def test_a_listener_who_does_not_read_is_told_what_he_missed():
    async with open_house() as house, house.client.ws_connect("/v1/hints") as socket:
        for number in range(3000):
            house.hub.publish(CALL, {"type": "score", "call_id": CALL, "number": number})
        assert (await said(socket)) == {"type": "dropped", "count": 2000}
        assert (await said(socket))["number"] == 2000


async def test_a_message_without_json_ends_the_socket_loudly():
    async with open_house() as house, house.client.ws_connect("/v1/hints") as socket:
        house.hub.publish(CALL, {"type": "hint", "call_id": CALL, "oops": object()})
        message = await socket.receive(2)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1011)


@pytest.mark.parametrize("action", ["used", "dismissed"])
async def test_feedback_reaches_its_call(action: str):
    async with open_house() as house, house.client.ws_connect("/v1/hints") as socket:
        await socket.send_json({"type": "feedback", "hint_id": "hint-1", "action": action})
        assert await fed(house) == HintJudged(
            hint_id="hint-1",  # type: ignore[arg-type]
            at=CALL_NOW,
            action=action,  # type: ignore[arg-type]
        )


@pytest.mark.parametrize("named", [{"call_id": CALL}, {"call_control_id": LEG}])
async def test_lines_reach_their_call(named: dict[str, str]):
    async with open_house() as house, house.client.ws_connect("/v1/hints") as socket:
        line = {"speaker": "agent", "text": "Hello.", "is_final": False, "confidence": 0.9}
        await socket.send_json(
            {"type": "transcript", "at": "2026-03-02T16:00:00+01:00", **line, **named}
        )
        event = await fed(house)
        assert isinstance(event, LineHeard)
        assert (event.party, event.text, event.is_final, event.confidence, event.at) == (
            "agent",
            "Hello.",
            False,
            0.9,
            NOW,
        )


@pytest.mark.parametrize("veto", [False, True])
@pytest.mark.parametrize("named", [{"call_id": CALL}, {"call_control_id": LEG}])
async def test_a_transfer_is_wanted_or_forbidden_on_the_socket(named: dict[str, str], veto: bool):
    async with open_house() as house, house.client.ws_connect("/v1/hints") as socket:
        await socket.send_json({"type": "transfer", "veto": veto, **named})
        assert await fed(house) == TransferWanted(at=CALL_NOW, by="agent", veto=veto)


LINE = {"type": "transcript", "call_id": CALL, "speaker": "agent", "text": "Hello."}


@pytest.mark.parametrize(
    ("message", "error", "named"),
    [
        ({"type": "feedback", "action": "used"}, "RequestInvalid", "hint_id"),
        ({"type": "feedback", "hint_id": "h", "action": "loved"}, "RequestInvalid", "action"),
        ({"type": "feedback", "hint_id": "h", "action": "used"}, "CallUnknown", "the hint h"),
        ({"type": "transfer"}, "RequestInvalid", "call_id"),
        ({"type": "transfer", "call_id": "nobody-s"}, "CallUnknown", "nobody-s"),
        ({"type": "gossip"}, "RequestInvalid", "type"),
        ({}, "RequestInvalid", "type"),
        ([], "RequestInvalid", "(body)"),
        (LINE | {"speaker": "dog"}, "RequestInvalid", "speaker"),
        (LINE | {"text": "  "}, "RequestInvalid", "text"),
        (LINE | {"confidence": 2}, "RequestInvalid", "confidence"),
        (LINE | {"at": "2026-03-02T16:00:00"}, "RequestInvalid", "at"),
        (LINE | {"tone": "warm"}, "RequestInvalid", "tone"),
        (LINE | {"call_id": None}, "RequestInvalid", "call_id"),
        (LINE | {"call_id": "call-9"}, "CallUnknown", "call-9"),
    ],
)
async def test_a_bad_message_is_answered_and_the_socket_stays(
    message: object, error: str, named: str
):
    async with open_house() as house, house.client.ws_connect("/v1/hints") as socket:
        await socket.send_json(message)
        answer = await said(socket)
        assert (answer["type"], answer["error"]) == ("error", error)
        assert named in answer.get("field", answer["message"])
        await socket.send_json(LINE)
        assert isinstance(await fed(house), LineHeard)


async def test_what_is_no_json_is_answered_too():
    async with open_house() as house, house.client.ws_connect("/v1/hints") as socket:
        await socket.send_str("hello")
        assert (await said(socket))["field"] == "(body)"
        await socket.send_bytes(b"{}")
        assert (await said(socket))["what_to_do"] == "send text frames"


async def test_who_sends_a_line_that_is_not_kept_is_told():
    async def fails() -> None:
        raise JournalFailed("the disk is full")

    async with open_house() as house, house.client.ws_connect("/v1/hints") as socket:
        house.registry.call.kept = fails()
        await socket.send_json(LINE)
        assert (await said(socket))["error"] == "JournalFailed"


async def test_the_next_line_does_not_wait_for_the_disk_of_the_first():
    async with open_house() as house, house.client.ws_connect("/v1/hints") as socket:
        house.registry.call.kept = asyncio.get_running_loop().create_future()
        await socket.send_json(LINE)
        await socket.send_json(LINE)
        await eventually(lambda: len(house.registry.call.events) == 2)
        writing = house.registry.call.kept
    # leaving does not take back what was said
    assert isinstance(writing, asyncio.Future)
    assert not writing.cancelled()


async def test_a_silent_client_is_given_up():
    async with (
        open_house(heartbeat_s=0.1) as house,
        house.client.ws_connect("/v1/hints", autoping=False) as socket,
    ):
        assert (await socket.receive(2)).type is aiohttp.WSMsgType.PING
        await eventually(lambda: not house.hub._subscriptions)


async def test_a_stop_says_goodbye():
    async with open_house() as house, house.client.ws_connect("/v1/hints") as socket:
        closing = asyncio.create_task(house.door.aclose())
        message = await socket.receive(2)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1001)
        await closing


async def test_a_client_that_does_not_read_holds_up_no_stop():
    async with open_house() as house:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port, limit=1)
        writer.write(
            b"GET /v1/hints HTTP/1.1\r\nHost: localhost\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        await eventually(lambda: bool(house.hub._subscriptions))
        for _ in range(1000):
            house.hub.publish(CALL, {"type": "score", "call_id": CALL, "text": "x" * 20_000})
        await asyncio.sleep(0.2)
        began_at = time.monotonic()
        await house.door.aclose()
        assert time.monotonic() - began_at < 4
        writer.close()
        assert not reader.at_eof()


async def test_what_is_no_socket_is_told_so():
    async with open_house() as house:
        status, body = await house.ask("GET", "/v1/hints")
        assert (status, body["error"]) == (426, "UpgradeRequired")
