"""What is wrong with what comes in is answered with its name; the service and the call go on."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from agent_sidecar.simulator.signing import WebhookSigner
from tests.e2e.conftest import Shared
from tests.e2e.front_door import Api
from tests.e2e.phone import CONNECTED, STOP, Phone, close_reason, media_frame, start_frame

pytestmark = pytest.mark.e2e


@asynccontextmanager
async def attached(api: Api, shared: Shared) -> AsyncIterator[tuple[Phone, dict[str, str]]]:
    """Open a call; at its end it must still take a line, and its record must come everywhere."""
    phone = Phone(api, shared.signer)
    answer = await api.attach(phone.leg_id, passive=True)
    await phone.answer()
    yield phone, answer
    await phone.say("We can go on talking.")
    await phone.hang_up()
    view = await api.delivered(answer["call_id"])
    assert view["segments"][-1]["text"] == "We can go on talking."
    assert (await api.get("/healthz")) == {"ok": True}


@asynccontextmanager
async def media_socket(
    api: Api, token: str | None = None
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    url = f"{api.url}/telnyx/media" + (f"?token={token}" if token else "")
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        await socket.send_str(CONNECTED)
        yield socket


# --- the media socket -----------------------------------------------------------------------------


async def test_malformed_frames_and_unknown_events_do_not_end_the_stream(shared: Shared, api: Api):
    async with attached(api, shared) as (phone, answer):
        async with media_socket(api, answer["token"]) as socket:
            await socket.send_str("this is no JSON")
            await socket.send_str(start_frame(phone.leg_id))
            for frame in (
                "{",
                '{"event":"media"}',
                '{"event":"media","media":{"track":"sideways","chunk":"1","payload":"/////w=="}}',
                '{"event":"media","media":{"track":"inbound","chunk":"x","payload":"/////w=="}}',
                '{"event":"media","media":{"track":"inbound","chunk":"1","payload":"not base64"}}',
                '{"event":"what-is-this","stream_id":"S1"}',
                "[]",
            ):
                await socket.send_str(frame)
            for chunk in range(1, 20):
                await socket.send_str(media_frame(chunk))
            await socket.send_str(STOP)
            code, _ = await close_reason(socket)
            # ended by its stop frame, not by us
            assert code == aiohttp.WSCloseCode.OK
        assert "frame_malformed" in shared.sidecar.log


async def test_a_codec_that_we_cannot_decode_is_refused_with_a_reason(shared: Shared, api: Api):
    async with attached(api, shared) as (phone, answer):
        async with media_socket(api, answer["token"]) as socket:
            await socket.send_str(start_frame(phone.leg_id, encoding="SPEEX", sample_rate=16000))
            for chunk in range(1, 5):
                await socket.send_str(media_frame(chunk))
            await socket.send_str(STOP)
            await close_reason(socket)
        refused = [line for line in shared.sidecar.log.splitlines() if "stream_refused" in line]
        assert any(
            answer["call_id"] in line and "SPEEX at 16000 Hz" in line and "PCMU" in line
            for line in refused
        )


@pytest.mark.parametrize("token", [None, "not-the-token"])
async def test_a_stream_without_the_right_token_is_not_let_in(
    shared: Shared, api: Api, token: str | None
):
    async with attached(api, shared) as (phone, _):
        async with media_socket(api, token) as socket:
            await socket.send_str(start_frame(phone.leg_id))
            code, reason = await close_reason(socket)
        assert code == aiohttp.WSCloseCode.POLICY_VIOLATION
        assert "token" in reason


async def test_a_token_opens_the_stream_of_its_own_call_only(shared: Shared, api: Api):
    async with attached(api, shared) as (_, mine), attached(api, shared) as (other, _):
        async with media_socket(api, mine["token"]) as socket:
            await socket.send_str(start_frame(other.leg_id))
            code, reason = await close_reason(socket)
        assert code == aiohttp.WSCloseCode.POLICY_VIOLATION
        assert "attach first" in reason


# --- webhooks -------------------------------------------------------------------------------------


async def test_a_webhook_that_somebody_else_signed_is_not_believed(shared: Shared, api: Api):
    async with attached(api, shared) as (phone, answer):
        line = phone.line("I never said this.")
        status, refusal = await phone.post(line, signed_with=WebhookSigner.generate())
        assert (status, refusal["error"]) == (401, "SignatureInvalid")
        assert "TELNYX_PUBLIC_KEY" in refusal["message"]
        status, refusal = await api.send("POST", "/telnyx/webhooks", body=line)
        assert (status, refusal["error"]) == (401, "SignatureInvalid")
        assert "the header telnyx-" in refusal["message"]
    assert await api.texts(answer["call_id"]) == ["We can go on talking."]


async def test_a_webhook_that_comes_again_counts_once(shared: Shared, api: Api):
    async with attached(api, shared) as (phone, answer):
        line = phone.line("I say this once.")
        for _ in range(3):
            assert await phone.post(line) == (200, {"ok": True})
    assert await api.texts(answer["call_id"]) == ["I say this once.", "We can go on talking."]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"this is no JSON", "webhook"),
        (b"{}", "data"),
        (b'{"data":{"event_type":"call.answered","payload":{}}}', "id"),
        (
            b'{"data":{"event_type":"call.answered","id":"1","occurred_at":"yesterday"}}',
            "data.occurred_at",
        ),
        (
            b'{"data":{"event_type":"call.answered","id":"1","occurred_at":"2026-01-01T00:00:00Z"}}',
            "data.payload.call_control_id",
        ),
        (b'{"event_type":"call_answered","record_type":"event"}', "version 1"),
    ],
)
async def test_a_malformed_webhook_is_refused_by_its_field(
    shared: Shared, api: Api, body: bytes, field: str
):
    status, refusal = await Phone(api, shared.signer).post(body)
    assert (status, refusal["error"]) == (400, "WebhookMalformed")
    assert field in refusal["message"]


async def test_an_event_that_we_do_not_know_is_taken(shared: Shared, api: Api):
    async with attached(api, shared) as (phone, _):
        await phone.tell("call.something.new", anything=[1, 2])


# --- the API --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/calls/x/attach", {"agent": "robot"}, "agent"),
        ("/v1/calls/x/attach", {"pasive": True}, "pasive"),
        ("/v1/calls/x/attach", {"lead": {"phone": 5}}, "lead.phone"),
        ("/v1/calls/x/attach", {"started_at": "2026-01-01T00:00:00"}, "started_at"),
        ("/v1/suggest", {}, "text"),
        ("/v1/suggest", {"text": " "}, "text"),
        ("/v1/suggest", {"text": "Too much!", "phase": 13}, "phase"),
        ("/v1/calls/x/outcome", {"final_status": "fine"}, "final_status"),
        ("/v1/import", {"call": {"call_id": "x"}}, "call.segments"),
    ],
)
async def test_a_wrong_request_is_refused_by_its_field(
    api: Api, path: str, body: dict[str, object], field: str
):
    status, refusal = await api.post(path, body)
    assert (status, refusal["field"]) == (400, field)
    assert refusal["message"]
    assert refusal["what_to_do"]


@pytest.mark.parametrize("path", ["/v1/calls/nobody", "/v1/nothing"])
async def test_what_is_not_there_is_said_to_be_not_there(api: Api, path: str):
    status, refusal = await api.send("GET", path)
    assert status == 404
    assert "there is no" in refusal["message"]


async def test_a_wrong_message_on_the_hints_socket_is_answered_and_not_fatal(
    shared: Shared, api: Api
):
    async with (
        attached(api, shared) as (_, answer),
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{api.url}/v1/hints?call={answer['call_id']}") as socket,
    ):
        for message, field in (
            ("no JSON", "(body)"),
            ('{"type":"feedback","hint_id":"x","action":"liked"}', "action"),
            ('{"type":"transcript","speaker":"prospect","text":"Hello?"}', "call_id"),
        ):
            await socket.send_str(message)
            refusal = json.loads(await socket.receive_str(timeout=5))
            assert (refusal["type"], refusal["field"]) == ("error", field)
        said = {
            "type": "transcript",
            "call_id": answer["call_id"],
            "speaker": "prospect",
            "text": "Hello?",
        }
        await socket.send_str(json.dumps(said))
        score = json.loads(await socket.receive_str(timeout=5))
        assert (score["type"], score["text"]) == ("score", "Hello?")
