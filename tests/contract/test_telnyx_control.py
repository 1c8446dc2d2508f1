"""What goes over the wire to Telnyx, and what its answers mean, on a stub that checks every key."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from telnyx.types import call_dial_params
from telnyx.types.calls import (
    action_add_ai_assistant_messages_params,
    action_bridge_params,
    action_gather_using_speak_params,
    action_hangup_params,
    action_speak_params,
    action_start_recording_params,
    action_start_streaming_params,
    action_start_transcription_params,
    action_stop_recording_params,
    action_stop_streaming_params,
    action_stop_transcription_params,
)

from agent_sidecar.adapters.telnyx_control import Account, TelnyxControl, Transcription
from agent_sidecar.adapters.telnyx_tries import Patience
from agent_sidecar.domain.types import CommandId, LegId
from agent_sidecar.errors import CommandRefused, CommandUncertain, LegGone, SettingsInvalid
from agent_sidecar.ports import CallControl, Dial

pytestmark = pytest.mark.contract

LEG, CLOSER = LegId("v3:prospect/+x"), LegId("v3:closer")
COMMAND = CommandId("7c1f3a52-9d3c-4c06-a5f1-3f34a2e7ab01")
TICKET = "se/c+ret"
PATIENCE = Patience(second_try_after_s=0.1, total_s=0.6)
DIAL = Dial(
    to="+13125550100", from_="+13125550199", link_to=LEG, client_state="transfer:t1", timeout_s=25
)
KEYS = {
    "dial": call_dial_params.CallDialParams,
    "streaming_start": action_start_streaming_params.ActionStartStreamingParams,
    "streaming_stop": action_stop_streaming_params.ActionStopStreamingParams,
    "transcription_start": action_start_transcription_params.ActionStartTranscriptionParams,
    "transcription_stop": action_stop_transcription_params.ActionStopTranscriptionParams,
    "gather_using_speak": action_gather_using_speak_params.ActionGatherUsingSpeakParams,
    "bridge": action_bridge_params.ActionBridgeParams,
    "hangup": action_hangup_params.ActionHangupParams,
    "speak": action_speak_params.ActionSpeakParams,
    "record_start": action_start_recording_params.ActionStartRecordingParams,
    "record_stop": action_stop_recording_params.ActionStopRecordingParams,
    "ai_assistant_add_messages": (
        action_add_ai_assistant_messages_params.ActionAddAIAssistantMessagesParams
    ),
}
# the SDK's Python names that are others on the wire
RENAMED = {"from_": "from", "call_control_id_to_bridge_with": "call_control_id"}

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Stub:
    """Call Control as far as we use it: records what came, answers as told, else well."""

    requests: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    url: str = ""

    def last(self) -> dict[str, Any]:
        return self.requests[-1][2]

    async def action(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info.get("action", "dial")
        body = await request.json()
        allowed = {RENAMED.get(key, key) for key in KEYS[name].__annotations__}
        unknown = set(body) - allowed
        assert not unknown, f"{name} knows no {unknown}"
        assert request.headers["Authorization"] == "Bearer KEY"
        self.requests.append((name, request.match_info.get("leg", ""), body))
        if self.answers:
            return await self.answers.pop(0)(request)
        return await well(request)

    async def status(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(("status", request.match_info["leg"], {}))
        if self.answers:
            return await self.answers.pop(0)(request)
        return web.json_response({"data": {"call_control_id": LEG, "is_alive": True}})


async def well(request: web.Request) -> web.StreamResponse:
    if "action" in request.match_info:
        return web.json_response({"data": {"result": "ok"}})
    return web.json_response(
        {
            "data": {
                "call_control_id": CLOSER,
                "call_leg_id": "leg-2",
                "call_session_id": "session-1",
                "is_alive": False,
                "record_type": "call",
            }
        }
    )


def fails(status: int, code: str | None = None) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        errors = [{"code": code, "title": "No", "detail": "not now"}] if code else []
        return web.json_response({"errors": errors}, status=status)

    return answer


def slow(answer_after_s: float, then: Answer = well) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(answer_after_s)
        return await then(request)

    return answer


async def cuts_the_line(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def answers_html(request: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>maintenance</html>", content_type="text/html")


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    stub = Stub()
    app = web.Application()
    app.router.add_post("/v2/calls", stub.action)
    app.router.add_post("/v2/calls/{leg}/actions/{action}", stub.action)
    app.router.add_get("/v2/calls/{leg}", stub.status)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stub.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v2"
    yield stub
    await runner.cleanup()


@pytest.fixture
async def control(stub: Stub) -> AsyncIterator[TelnyxControl]:
    account = Account(api_key="KEY", base_url=stub.url, connection_id="app-1")
    control = TelnyxControl(account, patience=PATIENCE)
    yield control
    await control.aclose()


async def test_it_is_the_port(control: TelnyxControl):
    port: CallControl = control
    assert await port.is_alive(LEG)


async def test_a_stream_is_both_tracks_in_pcmu_with_its_token_in_both_places(
    stub: Stub, control: TelnyxControl
):
    await control.start_stream(
        LEG, url="wss://us.example/telnyx/media?x=1", token=TICKET, command_id=COMMAND
    )
    assert stub.requests == [
        (
            "streaming_start",
            LEG,
            {
                "stream_url": "wss://us.example/telnyx/media?x=1&token=se%2Fc%2Bret",
                "stream_auth_token": TICKET,
                "stream_track": "both_tracks",
                "stream_codec": "PCMU",
                "command_id": COMMAND,
            },
        )
    ]


async def test_an_assistant_is_told_as_by_its_system_and_interrupts_nobody(
    stub: Stub, control: TelnyxControl
):
    await control.add_assistant_message(LEG, text="Try a story.", command_id=COMMAND)
    messages = [{"role": "system", "content": "Try a story."}]
    assert stub.requests == [
        ("ai_assistant_add_messages", LEG, {"messages": messages, "command_id": COMMAND})
    ]


async def test_what_is_spoken_into_a_leg_only_that_leg_hears(stub: Stub, control: TelnyxControl):
    await control.speak(CLOSER, text="Try a story.", command_id=COMMAND)
    assert stub.requests == [
        (
            "speak",
            CLOSER,
            {
                "payload": "Try a story.",
                "voice": "AWS.Polly.Joanna-Neural",
                "target_legs": "self",
                "command_id": COMMAND,
            },
        )
    ]


async def test_a_recording_has_a_channel_for_each_side(stub: Stub, control: TelnyxControl):
    await control.start_recording(LEG, command_id=COMMAND)
    await control.stop_recording(LEG, command_id=COMMAND)
    assert stub.requests == [
        ("record_start", LEG, {"channels": "dual", "format": "wav", "command_id": COMMAND}),
        ("record_stop", LEG, {"command_id": COMMAND}),
    ]


async def test_a_token_in_the_url_is_replaced(stub: Stub, control: TelnyxControl):
    await control.start_stream(
        LEG, url="wss://us.example/telnyx/media?token=old", token=TICKET, command_id=COMMAND
    )
    assert stub.last()["stream_url"] == "wss://us.example/telnyx/media?token=se%2Fc%2Bret"


async def test_transcription_goes_out_as_the_settings_have_it(stub: Stub):
    transcription = Transcription.read("Google", '{"language": "de"}', "inbound")
    control = TelnyxControl(
        Account(api_key="KEY", base_url=stub.url), transcription=transcription, patience=PATIENCE
    )
    await control.start_transcription(LEG, command_id=COMMAND)
    await control.aclose()
    assert stub.last() == {
        "transcription_engine": "Google",
        "transcription_engine_config": {"language": "de"},
        "transcription_tracks": "inbound",
        "command_id": COMMAND,
    }


async def test_without_options_the_engine_keeps_its_own(stub: Stub, control: TelnyxControl):
    await control.start_transcription(LEG, command_id=COMMAND)
    assert "transcription_engine_config" not in stub.last()


@pytest.mark.parametrize(
    ("engine", "config", "named"),
    [
        ("Siri", None, "SIDECAR_TRANSCRIPTION_ENGINE is 'Siri'"),
        ("Google", "{", "SIDECAR_TRANSCRIPTION_CONFIG must be a JSON object"),
        ("Google", "[1]", "SIDECAR_TRANSCRIPTION_CONFIG must be a JSON object"),
    ],
)
def test_wrong_transcription_settings_are_named(engine: str, config: str | None, named: str):
    with pytest.raises(SettingsInvalid, match=named):
        Transcription.read(engine, config, "both")


async def test_streams_and_transcriptions_are_stopped(stub: Stub, control: TelnyxControl):
    await control.stop_stream(LEG, command_id=COMMAND)
    await control.stop_transcription(LEG, command_id=COMMAND)
    assert [(name, body) for name, _, body in stub.requests] == [
        ("streaming_stop", {"command_id": COMMAND}),
        ("transcription_stop", {"command_id": COMMAND}),
    ]


async def test_a_dial_detects_machines_and_never_bridges_by_itself(
    stub: Stub, control: TelnyxControl
):
    leg = await control.dial(DIAL, command_id=COMMAND)
    assert (leg.leg_id, leg.call_leg_id, leg.call_session_id) == (CLOSER, "leg-2", "session-1")
    assert stub.last() == {
        "connection_id": "app-1",
        "to": "+13125550100",
        "from": "+13125550199",
        "link_to": LEG,
        "answering_machine_detection": "premium",
        "timeout_secs": 25,
        "client_state": base64.b64encode(b"transfer:t1").decode(),
        "park_after_unbridge": "self",
        "command_id": COMMAND,
    }


async def test_without_a_connection_nothing_is_dialled(stub: Stub):
    control = TelnyxControl(Account(api_key="KEY", base_url=stub.url), patience=PATIENCE)
    with pytest.raises(CommandRefused, match="SIDECAR_TELNYX_CONNECTION_ID"):
        await control.dial(DIAL, command_id=COMMAND)
    await control.aclose()
    assert stub.requests == []


async def test_a_bridge_keeps_the_prospect_and_never_takes_a_bridged_leg(
    stub: Stub, control: TelnyxControl
):
    await control.bridge(LEG, to=CLOSER, command_id=COMMAND)
    assert stub.requests == [
        (
            "bridge",
            LEG,
            {
                "call_control_id": CLOSER,
                "park_after_unbridge": "self",
                "prevent_double_bridge": True,
                "command_id": COMMAND,
            },
        )
    ]


async def test_a_digit_is_asked_for(stub: Stub, control: TelnyxControl):
    await control.ask_for_digit(CLOSER, text="Press 1", digits="12", command_id=COMMAND)
    body = stub.last()
    assert body["payload"] == "Press 1"
    assert body["voice"]
    assert (body["valid_digits"], body["minimum_digits"], body["maximum_digits"]) == ("12", 1, 1)


async def test_a_server_error_is_tried_again_with_the_same_command_id(
    stub: Stub, control: TelnyxControl
):
    stub.answers = [fails(500)]
    await control.hang_up(LEG, command_id=COMMAND)
    assert [body["command_id"] for _, _, body in stub.requests] == [COMMAND, COMMAND]


async def test_too_many_requests_are_tried_again_after_a_pause(stub: Stub, control: TelnyxControl):
    stub.answers = [fails(429, "10011")]
    began_at = time.monotonic()
    await control.hang_up(LEG, command_id=COMMAND)
    assert len(stub.requests) == 2
    assert time.monotonic() - began_at >= PATIENCE.second_try_after_s


async def test_a_slow_answer_is_not_waited_for_when_the_second_is_quick(
    stub: Stub, control: TelnyxControl
):
    stub.answers = [slow(5)]
    began_at = time.monotonic()
    await control.hang_up(LEG, command_id=COMMAND)
    assert time.monotonic() - began_at < 0.4
    assert len(stub.requests) == 2


async def test_the_leg_of_a_slow_dial_is_taken_from_whichever_answer_has_it(
    stub: Stub, control: TelnyxControl
):
    async def ignores_it(request: web.Request) -> web.StreamResponse:
        return web.json_response({"data": None})

    stub.answers = [slow(0.3), ignores_it]
    leg = await control.dial(DIAL, command_id=COMMAND)
    assert leg.leg_id == CLOSER


@pytest.mark.parametrize("answer", [fails(500), fails(408), cuts_the_line, slow(5)])
async def test_two_tries_without_an_answer_are_uncertain_in_bounded_time(
    stub: Stub, control: TelnyxControl, answer: Answer
):
    stub.answers = [answer, answer, answer]
    began_at = time.monotonic()
    with pytest.raises(CommandUncertain, match="nobody knows whether bridge was carried out"):
        await control.bridge(LEG, to=CLOSER, command_id=COMMAND)
    assert time.monotonic() - began_at < PATIENCE.total_s + 0.3
    assert len(stub.requests) == 2


async def test_what_never_left_us_was_certainly_not_carried_out(stub: Stub):
    account = Account(api_key="KEY", base_url="http://127.0.0.1:1/v2")
    control = TelnyxControl(account, patience=PATIENCE)
    with pytest.raises(CommandRefused, match="hangup was never carried out"):
        await control.hang_up(LEG, command_id=COMMAND)
    await control.aclose()


async def test_a_refusal_is_final_and_says_why(stub: Stub, control: TelnyxControl):
    stub.answers = [fails(422, "90034")]
    with pytest.raises(CommandRefused, match="Telnyx refused bridge, HTTP 422: No: not now") as e:
        await control.bridge(LEG, to=CLOSER, command_id=COMMAND)
    assert e.value.code == "90034"
    assert len(stub.requests) == 1


async def test_a_wrong_key_names_the_setting(stub: Stub, control: TelnyxControl):
    stub.answers = [fails(401)]
    with pytest.raises(CommandRefused, match="SIDECAR_TELNYX_API_KEY") as refused:
        await control.hang_up(LEG, command_id=COMMAND)
    assert refused.value.code is None


async def test_a_refused_repetition_of_an_unanswered_command_proves_nothing(
    stub: Stub, control: TelnyxControl
):
    stub.answers = [fails(502), fails(422, "90034")]
    with pytest.raises(CommandUncertain, match="HTTP 502; Telnyx refused bridge"):
        await control.bridge(LEG, to=CLOSER, command_id=COMMAND)


async def test_a_refused_repetition_of_a_throttled_command_is_a_refusal(
    stub: Stub, control: TelnyxControl
):
    stub.answers = [fails(429), fails(422, "90034")]
    with pytest.raises(CommandRefused):
        await control.bridge(LEG, to=CLOSER, command_id=COMMAND)


async def test_hanging_up_a_leg_that_has_ended_is_done(stub: Stub, control: TelnyxControl):
    stub.answers = [fails(422, "90018")]
    await control.hang_up(LEG, command_id=COMMAND)
    stub.answers = [fails(500), fails(422, "90018")]
    await control.hang_up(LEG, command_id=COMMAND)


async def test_transcribing_a_leg_that_is_transcribed_is_done(stub: Stub, control: TelnyxControl):
    stub.answers = [fails(422, "90054")]
    await control.start_transcription(LEG, command_id=COMMAND)


async def test_another_command_on_an_ended_leg_is_refused(stub: Stub, control: TelnyxControl):
    stub.answers = [fails(422, "90018")]
    with pytest.raises(LegGone) as refused:
        await control.start_transcription(LEG, command_id=COMMAND)
    assert (refused.value.code, refused.value.has_ended) == ("90018", True)


@pytest.mark.parametrize(("status", "code"), [(422, "90015"), (404, "10005")])
async def test_a_command_on_a_leg_that_is_none_says_so(
    stub: Stub, control: TelnyxControl, status: int, code: str
):
    stub.answers = [fails(status, code)]
    with pytest.raises(LegGone) as refused:
        await control.stop_stream(LEG, command_id=COMMAND)
    assert (refused.value.code, refused.value.has_ended) == (code, False)


async def test_an_unknown_leg_is_not_alive(stub: Stub, control: TelnyxControl):
    stub.answers = [fails(404, "10005")]
    assert not await control.is_alive(LEG)


@pytest.mark.parametrize("answer", [answers_html, fails(503)])
async def test_a_status_that_says_nothing_is_uncertain(
    stub: Stub, control: TelnyxControl, answer: Answer
):
    stub.answers = [answer, answer]
    with pytest.raises(CommandUncertain, match="retrieve_status"):
        await control.is_alive(LEG)


async def test_closing_ends_what_is_still_under_way(stub: Stub):
    control = TelnyxControl(Account(api_key="KEY", base_url=stub.url), patience=PATIENCE)
    came = asyncio.Event()

    async def never_answers(request: web.Request) -> web.StreamResponse:
        came.set()
        return await slow(5)(request)

    stub.answers = [never_answers]
    hangup = asyncio.create_task(control.hang_up(LEG, command_id=COMMAND))
    await came.wait()
    began_at = time.monotonic()
    hangup.cancel()
    await control.aclose()
    assert time.monotonic() - began_at < 0.3
    with pytest.raises(asyncio.CancelledError):
        await hangup


def test_the_key_is_not_in_the_text_of_an_account():
    assert "KEY" not in repr(Account(api_key="KEY"))
