"""Whole plays over real sockets, against a small service written here: not ours, so not in league.

Its telephony commands go through the official SDK, so the stub is spoken to as in production.
"""

import asyncio
import json
import time
import wave
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import numpy as np
import pytest
import telnyx
from aiohttp import WSMsgType, web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from telnyx.types.call_recording_saved import Payload

from agent_sidecar.adapters.recorded_calls import read_recorded_calls
from agent_sidecar.domain.recorded import RecordedCall, RecordedOutcome, SpokenSegment
from agent_sidecar.domain.types import STORES, Lead
from agent_sidecar.errors import ServiceRefused, ServiceUnreachable
from agent_sidecar.simulator.closer import CloserScript
from agent_sidecar.simulator.control import ControlStub, Trouble
from agent_sidecar.simulator.delivery import Adversity, DeliveryRules
from agent_sidecar.simulator.front_door import FrontDoor
from agent_sidecar.simulator.legs import CONNECTION_ID
from agent_sidecar.simulator.media import StreamRules
from agent_sidecar.simulator.player import CallPlayer, PlayRules
from agent_sidecar.simulator.progress import PlayEnded, PlayStarted, Progress, StoresReached
from agent_sidecar.simulator.replay import ReplayRules, replay
from agent_sidecar.simulator.sample import CALL
from agent_sidecar.simulator.signing import WebhookSigner

pytestmark = pytest.mark.contract

BEARER = "api-token"
TICKET = "let-me-in"
SPEED = 20.0


@dataclass
class Heard:
    """What outlives the service when it is killed: as if it were on disk."""

    webhooks: list[dict[str, Any]] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)
    attached: list[dict[str, Any]] = field(default_factory=list)
    # one list of frames per socket
    sockets: list[list[dict[str, Any]]] = field(default_factory=list)
    tickets: list[str | None] = field(default_factory=list)

    def types(self) -> list[str]:
        return [webhook["data"]["event_type"] for webhook in self.webhooks]

    def finals(self) -> list[str]:
        """Return the final lines in the order of their arrival."""
        lines = [w["data"]["payload"].get("transcription_data", {}) for w in self.webhooks]
        return [line["transcript"] for line in lines if line.get("is_final")]


class TinySidecar:
    """As much of the front door as a play touches."""

    def __init__(self, public_key: str, heard: Heard, *, port: int = 0) -> None:
        self.heard = heard
        self.port = port
        # statuses that the next webhooks get
        self.answers: list[int] = []
        self.refuses_media = False
        self.on_webhook: Callable[[dict[str, Any]], Any] = lambda _: None
        self.on_attach: Callable[[str], Any] = lambda _: None
        self._key = Ed25519PublicKey.from_public_bytes(b64decode(public_key))
        self._hints: set[web.WebSocketResponse] = set()
        self._runner: web.AppRunner | None = None
        self._polls: dict[str, int] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        app = web.Application()
        app.add_routes(
            [
                web.post("/telnyx/webhooks", self._webhook),
                web.get("/telnyx/media", self._media),
                web.get("/v1/hints", self._listen),
                web.post("/v1/calls/{leg}/attach", self._attach),
                web.get("/v1/calls/{call}", self._show),
                web.get("/v1/verify", self._verify),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _webhook(self, request: web.Request) -> web.Response:
        raw = await request.read()
        stamp = request.headers["telnyx-timestamp"]
        signature = b64decode(request.headers["telnyx-signature-ed25519"])
        self._key.verify(signature, stamp.encode() + b"|" + raw)
        assert abs(time.time() - int(stamp)) < 5
        webhook = json.loads(raw)
        self.heard.attempts.append(webhook["meta"]["attempt"])
        if self.answers and (status := self.answers.pop(0)) != 200:
            return web.Response(status=status)
        self.heard.webhooks.append(webhook)
        await self._publish(webhook["data"]["payload"])
        outcome = self.on_webhook(webhook)
        if outcome is not None:
            await outcome
        return web.Response()

    async def _publish(self, payload: dict[str, Any]) -> None:
        line = payload.get("transcription_data", {})
        if not line.get("is_final"):
            return
        about = {"call_id": "c", "call_control_id": payload["call_control_id"]}
        score = about | {"type": "score", "call_engagement": len(line["transcript"])}
        hint = about | {"type": "hint", "hint_id": str(uuid4()), "latency_ms": 12.5}
        for socket in self._hints:
            await socket.send_json(score)
            await socket.send_json(hint)

    async def _media(self, request: web.Request) -> web.StreamResponse:
        self.heard.tickets.append(request.query.get("token"))
        if self.refuses_media:
            return web.Response(status=403)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        frames: list[dict[str, Any]] = []
        self.heard.sockets.append(frames)
        while (message := await socket.receive()).type is WSMsgType.TEXT:
            frames.append(json.loads(message.data))
        return socket

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {BEARER}":
            return web.Response(status=401)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._hints.add(socket)
        async for _ in socket:
            pass
        self._hints.discard(socket)
        return socket

    async def _attach(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Bearer {BEARER}"
        leg_id = request.match_info["leg"]
        self.heard.attached.append(await request.json() | {"leg": leg_id})
        outcome = self.on_attach(leg_id)
        if outcome is not None:
            await outcome
        return web.json_response(
            {
                "call_id": f"ours-{leg_id}",
                "call_control_id": leg_id,
                "token": TICKET,
                "stream_url": f"ws://127.0.0.1:{self.port}/telnyx/media",
            }
        )

    async def _show(self, request: web.Request) -> web.Response:
        call_id = request.match_info["call"]
        asked = self._polls[call_id] = self._polls.get(call_id, 0) + 1
        state = "delivered" if asked > 2 else "pending"
        return web.json_response(
            {
                "call_id": call_id,
                "stores": dict.fromkeys(STORES, state),
                "outcome": {"final_status": "follow_up"},
            }
        )

    async def _verify(self, _: web.Request) -> web.Response:
        return web.json_response({"clean": True, "summary": ["all there"], "differences": []})


@dataclass
class Scene:
    sidecar: TinySidecar
    door: FrontDoor
    signer: WebhookSigner
    heard: Heard

    async def again(self) -> None:
        """Let the service come back at its old address, as after a crash."""
        self.sidecar = TinySidecar(self.signer.public_key, self.heard, port=self.sidecar.port)
        await self.sidecar.start()


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    signer = WebhookSigner.generate()
    heard = Heard()
    sidecar = TinySidecar(signer.public_key, heard)
    await sidecar.start()
    async with FrontDoor(sidecar.url, BEARER) as door:
        made = Scene(sidecar, door, signer, heard)
        yield made
        await made.sidecar.stop()


TEXTS = ("Hi Maria, did I catch you at a bad time?", "No, go on.", "What brings you here?", "Rent.")


def recorded(call_id: str = "file-1", **fields: Any) -> RecordedCall:
    segments = tuple(
        SpokenSegment(
            speaker="prospect" if n % 2 else "agent",
            text=text,
            start_s=2.0 * n,
            end_s=2.0 * n + 1.5,
        )
        for n, text in enumerate(TEXTS)
    )
    return RecordedCall(call_id=call_id, segments=segments, **fields)


@pytest.fixture
def with_audio(tmp_path: Path) -> RecordedCall:
    path = tmp_path / "tone.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((9000 * np.sin(np.arange(16000) / 5)).astype(np.int16).tobytes())
    return recorded(audio={"agent": str(path), "prospect": str(path)}, lead=Lead(phone="+1813"))


RULES = PlayRules(speed=SPEED)


# --- passive ------------------------------------------------------------------------------------


async def test_a_passive_play_announces_speaks_and_hangs_up_in_order(scene: Scene):
    call = recorded(
        lead=Lead(first_name="Maria", phone="+18135550142", extra={"age": 41}),
        outcome=RecordedOutcome(success=False, final_status="abandoned"),
    )
    played = await CallPlayer(call, scene.door, scene.signer, RULES).play()
    assert played.error is None
    assert (played.lines_sent, played.acknowledged, played.refused) == (4, 4, 0)
    assert played.call_id == f"ours-{played.leg_id}"
    (attached,) = scene.heard.attached
    assert attached["leg"] == played.leg_id, "the colon in the id survives the path"
    assert attached["passive"] is True
    assert (attached["source"], attached["external_id"]) == ("replay", "file-1")
    assert attached["lead"]["first_name"] == "Maria"
    assert attached["lead"]["age"] == 41
    types = scene.heard.types()
    assert types[:2] == ["call.initiated", "call.answered"]
    assert set(types[2:-1]) == {"call.transcription"}
    assert types[-1] == "call.hangup"
    assert scene.heard.finals() == list(TEXTS)
    assert scene.heard.webhooks[-1]["data"]["payload"]["hangup_source"] == "callee"
    assert scene.heard.sockets == []


async def test_events_lie_as_far_apart_as_in_the_recording_at_any_speed(scene: Scene):
    call = next(iter(read_recorded_calls(CALL, limit=1)))
    call = replace(call, audio={}, segments=call.segments[:6])
    played = await CallPlayer(call, scene.door, scene.signer, RULES).play()
    finals = [
        webhook["data"]
        for webhook in scene.heard.webhooks
        if webhook["data"]["payload"].get("transcription_data", {}).get("is_final")
    ]
    begun = scene.heard.attached[0]["started_at"]
    for final, segment in zip(finals, call.segments, strict=True):
        assert _seconds(begun, final["occurred_at"]) == pytest.approx(segment.end_s, abs=0.001)
        track = "outbound" if segment.speaker == "agent" else "inbound"
        assert final["payload"]["transcription_data"]["transcription_track"] == track
    assert played.acknowledged == 6


def _seconds(begin: str, end: str) -> float:
    stamps = [np.datetime64(stamp.removesuffix("Z")) for stamp in (begin, end)]
    return float((stamps[1] - stamps[0]) / np.timedelta64(1, "s"))


async def test_both_tracks_are_streamed_frame_by_frame(scene: Scene, with_audio: RecordedCall):
    played = await CallPlayer(with_audio, scene.door, scene.signer, RULES).play()
    (frames,) = scene.heard.sockets
    assert scene.heard.tickets == [TICKET]
    assert [frame["event"] for frame in frames[:2]] == ["connected", "start"]
    assert frames[-1]["event"] == "stop"
    assert frames[1]["start"]["call_control_id"] == played.leg_id
    numbers = [int(frame["sequence_number"]) for frame in frames[1:]]
    assert numbers == list(range(1, len(numbers) + 1))
    for track in ("inbound", "outbound"):
        media = [f["media"] for f in frames if f["event"] == "media"]
        chunks = [int(m["chunk"]) for m in media if m["track"] == track]
        assert chunks == list(range(1, len(chunks) + 1))
        # 50 a second of the conversation, which is 8.3 s long
        assert len(chunks) == pytest.approx(50 * 8.3, rel=0.1)
        payloads = [b64decode(m["payload"]) for m in media if m["track"] == track]
        assert {len(payload) for payload in payloads} == {160}
        assert payloads[0] != payloads[-1] == b"\xff" * 160
    assert played.frames_sent == 2 * len(chunks)
    assert played.stream == "stopped"
    types = scene.heard.types()
    assert "streaming.started" in types
    assert types.index("streaming.stopped") < types.index("call.hangup")


async def test_a_refused_media_socket_leaves_the_call_its_text(
    scene: Scene, with_audio: RecordedCall
):
    scene.sidecar.refuses_media = True
    played = await CallPlayer(with_audio, scene.door, scene.signer, RULES).play()
    assert played.error is None
    assert played.stream == "refused: the service answered the media socket with HTTP 403"
    assert played.acknowledged == 4
    assert "streaming.failed" in scene.heard.types()
    assert len(scene.heard.tickets) == 1


async def test_a_busy_service_gets_every_line_once(scene: Scene):
    scene.sidecar.answers = [200, 200, 503, 503, 200, 429, 503, 200, 500]
    played = await CallPlayer(recorded(), scene.door, scene.signer, RULES).play()
    assert played.retries == 5
    assert (played.acknowledged, played.lost) == (4, 0)
    assert scene.heard.finals() == list(TEXTS)
    assert max(scene.heard.attempts) == 3


async def test_a_line_that_is_refused_is_counted_and_the_call_goes_on(scene: Scene):
    scene.sidecar.answers = [200, 200, 400]
    rules = replace(RULES, interims=False)
    played = await CallPlayer(recorded(), scene.door, scene.signer, rules).play()
    assert (played.lines_sent, played.acknowledged, played.refused) == (4, 3, 1)
    assert played.error == "1 webhooks were refused: call.transcription was answered 400"
    assert scene.heard.finals() == list(TEXTS[1:])


async def test_adversity_reaches_the_service_shuffled_and_repeated(scene: Scene):
    rules = replace(
        RULES, delivery=DeliveryRules(adversity=Adversity(seed=5, repeat=0.5, late_s=0.3))
    )
    played = await CallPlayer(recorded(), scene.door, scene.signer, rules).play()
    assert played.acknowledged == 4
    ids = [webhook["data"]["id"] for webhook in scene.heard.webhooks]
    assert len(set(ids)) < len(ids)
    stamps = [webhook["data"]["occurred_at"] for webhook in scene.heard.webhooks]
    assert stamps != sorted(stamps)


async def test_the_service_dies_and_comes_back_and_no_line_is_lost(
    scene: Scene, with_audio: RecordedCall
):
    # at this speed several reconnects fit between the restart and the hangup
    player = CallPlayer(with_audio, scene.door, scene.signer, replace(RULES, speed=2))
    playing = asyncio.create_task(player.play())
    while len(scene.heard.finals()) < 2:  # noqa: ASYNC110 - the other side has no event for it
        await asyncio.sleep(0.01)
    await scene.sidecar.stop()
    await asyncio.sleep(0.5)
    await scene.again()
    played = await playing
    assert played.error is None
    assert (played.lines_sent, played.acknowledged) == (4, 4)
    assert played.retries > 0
    assert sorted(set(scene.heard.finals())) == sorted(TEXTS)
    assert len(scene.heard.sockets) >= 2, "the media socket was opened again"
    assert scene.heard.sockets[-1][1]["event"] == "start"
    assert len(set(scene.heard.tickets)) == 1
    assert played.stream == "stopped"


async def test_a_service_that_never_comes_is_given_up_with_a_reason():
    rules = replace(
        RULES,
        patience_s=0.3,
        delivery=DeliveryRules(window_s=0.2),
        stream=StreamRules(window_s=0.2),
    )
    async with FrontDoor("http://127.0.0.1:9", BEARER) as door:
        played = await CallPlayer(recorded(), door, WebhookSigner.generate(), rules).play()
    assert played.call_id is None
    assert played.error is not None
    assert "start it with `agent-sidecar serve`" in played.error


# --- telnyx -------------------------------------------------------------------------------------


@dataclass
class Telephony:
    """What a service would do on its side, in the shortest way that works."""

    client: telnyx.AsyncTelnyx
    to_kevin: str = "+13055550199"
    kevin: str | None = None
    hangs_up_kevin: bool = False

    async def attach(self, leg_id: str, url: str) -> None:
        actions = self.client.calls.actions
        await actions.start_streaming(
            leg_id, stream_url=f"{url}?token={TICKET}", stream_track="both_tracks"
        )
        await actions.start_transcription(
            leg_id, transcription_engine="Telnyx", transcription_tracks="both"
        )

    async def dial(self, leg_id: str, command_id: str) -> str:
        answer = await self.client.calls.dial(
            connection_id=CONNECTION_ID,
            to=self.to_kevin,
            from_="+12025550100",
            link_to=leg_id,
            answering_machine_detection="premium",
            timeout_secs=20,
            command_id=command_id,
        )
        assert answer.data is not None
        self.kevin = answer.data.call_control_id
        return self.kevin

    async def hear(self, webhook: dict[str, Any], prospect: str) -> None:
        """Answer what Kevin's leg tells, as a transfer would."""
        payload = webhook["data"]["payload"]
        actions = self.client.calls.actions
        match webhook["data"]["event_type"], payload:
            case "call.transcription", {"transcription_data": {"transcript": "No, go on."}}:
                await self.dial(prospect, "dial-once")
                # the answer came too late: the same again
                await self.dial(prospect, "dial-once")
            case "call.machine.premium.detection.ended", {"result": "human_residence"}:
                await actions.gather_using_speak(
                    payload["call_control_id"], payload="One?", voice="x", valid_digits="12"
                )
            case "call.machine.premium.detection.ended", _:
                await actions.hangup(payload["call_control_id"])
            case "call.gather.ended", {"digits": "1"}:
                await actions.bridge(
                    prospect,
                    call_control_id_to_bridge_with=payload["call_control_id"],
                    park_after_unbridge="self",
                    prevent_double_bridge=True,
                )
            case "call.gather.ended", {"status": "call_hangup"}:
                pass
            case "call.gather.ended", _:
                await actions.hangup(payload["call_control_id"])


@asynccontextmanager
async def telephony(scene: Scene) -> AsyncIterator[tuple[ControlStub, Telephony]]:
    async with (
        ControlStub() as stub,
        telnyx.AsyncTelnyx(api_key="KEY", base_url=stub.url, max_retries=0) as client,
    ):
        phone = Telephony(client)
        prospects: list[str] = []

        async def attach(leg_id: str) -> None:
            prospects.append(leg_id)
            url = f"ws://127.0.0.1:{scene.sidecar.port}/telnyx/media"
            await phone.attach(leg_id, url)

        scene.sidecar.on_attach = attach
        scene.sidecar.on_webhook = lambda webhook: (
            phone.hear(webhook, prospects[0]) if prospects else None
        )
        yield stub, phone


def telnyx_rules(script: CloserScript) -> PlayRules:
    return replace(RULES, mode="telnyx", source="demo", closer=script, speed=40.0, patience_s=5.0)


async def test_a_hot_transfer_from_attach_to_bridge(scene: Scene, with_audio: RecordedCall):
    async with telephony(scene) as (stub, phone):
        player = CallPlayer(
            with_audio, scene.door, scene.signer, telnyx_rules(CloserScript()), control=stub
        )
        played = await player.play()
        assert phone.kevin is not None
        status = await phone.client.calls.retrieve_status(phone.kevin)
        listed = [call async for call in phone.client.connections.list_active_calls(CONNECTION_ID)]
    assert played.error is None
    assert played.acknowledged == 4
    assert scene.heard.attached[0]["passive"] is False
    assert [command.action for command in stub.commands] == [
        *("streaming_start", "transcription_start", "dial", "gather_using_speak", "bridge"),
    ], "the repeated dial was carried out once"
    assert status.data is not None
    assert (status.data.is_alive, listed) == (False, [])
    told = [
        (webhook["data"]["event_type"], webhook["data"]["payload"]["call_control_id"])
        for webhook in scene.heard.webhooks
        if webhook["data"]["event_type"] not in ("call.transcription", "call.answered")
    ]
    prospect, kevin = played.leg_id, phone.kevin
    assert [item for item in told if item[1] == kevin] == [
        ("call.initiated", kevin),
        ("call.machine.premium.detection.ended", kevin),
        ("call.gather.ended", kevin),
        ("call.bridged", kevin),
        ("call.hangup", kevin),
    ]
    assert ("call.bridged", prospect) in told
    assert told[-1] == ("call.hangup", prospect), "parked, she stays until the end"
    assert len(scene.heard.sockets) == 1
    assert played.stream == "stopped"


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        ("declines", ["call.answered", "call.gather.ended"]),
        ("voicemail", ["call.answered", "call.machine.premium.detection.ended"]),
        ("presses_nothing", ["call.answered", "call.gather.ended"]),
        ("hangs_up", ["call.answered", "call.gather.ended"]),
        ("no_answer", []),
        ("busy", []),
        ("rejects", []),
        ("invalid_number", []),
    ],
)
async def test_a_transfer_that_does_not_come_about(scene: Scene, behaviour: Any, told: list[str]):
    async with telephony(scene) as (stub, phone):
        script = CloserScript(behaviour=behaviour)
        player = CallPlayer(
            recorded(), scene.door, scene.signer, telnyx_rules(script), control=stub
        )
        played = await player.play()
    assert played.error is None
    types = [
        webhook["data"]["event_type"]
        for webhook in scene.heard.webhooks
        if webhook["data"]["payload"]["call_control_id"] == phone.kevin
    ]
    # where the service hangs up, the machine's greeting may still end first
    types = [type_ for type_ in types if type_ != "call.machine.premium.greeting.ended"]
    assert types[0] == "call.initiated"
    # deliveries are made at the same time: the last two may change places
    assert "call.hangup" in types[-2:]
    assert set(told) <= set(types)
    assert "call.bridged" not in scene.heard.types()
    assert scene.heard.finals() == list(TEXTS)


async def test_without_a_transcription_nothing_is_heard_and_the_play_says_so(scene: Scene):
    async with ControlStub() as stub:
        rules = replace(telnyx_rules(CloserScript()), patience_s=0.3)
        played = await CallPlayer(recorded(), scene.door, scene.signer, rules, control=stub).play()
    assert played.error is not None
    assert f"is its TELNYX_API_BASE {stub.url}?" in played.error
    assert played.lines_sent == 0
    assert scene.heard.types() == ["call.initiated", "call.answered", "call.hangup"]


async def test_the_stub_answers_mistakes_as_telnyx_does(scene: Scene):
    async with telephony(scene) as (stub, phone):
        actions = phone.client.calls.actions
        with pytest.raises(telnyx.UnprocessableEntityError) as unknown:
            await actions.hangup("v3:nobody")
        assert unknown.value.body["errors"][0]["code"] == "90015"  # type: ignore[index]
        with pytest.raises(telnyx.NotFoundError):
            await phone.client.calls.retrieve_status("v3:nobody")
        player = CallPlayer(
            recorded(), scene.door, scene.signer, telnyx_rules(CloserScript()), control=stub
        )
        playing = asyncio.create_task(player.play())
        while not stub.commands:  # noqa: ASYNC110 - the stub has no event for it
            await asyncio.sleep(0.01)
        leg_id = player.played.leg_id
        with pytest.raises(telnyx.UnprocessableEntityError, match="language: is not a parameter"):
            await actions.start_transcription(leg_id, extra_body={"language": "en"})
        for messages in ([{"role": "system"}], [{"role": "nobody", "content": "x"}], "x"):
            with pytest.raises(telnyx.UnprocessableEntityError, match="messages"):
                await actions.add_ai_assistant_messages(leg_id, extra_body={"messages": messages})
        with pytest.raises(telnyx.UnprocessableEntityError, match="voice: is required"):
            await actions.speak(leg_id, payload="x", voice=telnyx.omit)  # type: ignore[arg-type]
        with pytest.raises(telnyx.UnprocessableEntityError, match="3000"):
            await actions.speak(leg_id, payload="x" * 3001, voice="y")
        await actions.hangup(leg_id, command_id="bye")
        await actions.hangup(leg_id, command_id="bye")
        with pytest.raises(telnyx.UnprocessableEntityError, match="90018"):
            await actions.hangup(leg_id, command_id="bye again")
        played = await playing
    assert played.lines_sent < 4, "the service ended the call"


async def test_an_assistant_and_an_ear_are_told_once_each_and_the_stub_shows_what(scene: Scene):
    async with telephony(scene) as (stub, phone):
        actions = phone.client.calls.actions
        player = CallPlayer(
            recorded(), scene.door, scene.signer, telnyx_rules(CloserScript()), control=stub
        )
        playing = asyncio.create_task(player.play())
        while not stub.commands:  # noqa: ASYNC110 - the stub has no event for it
            await asyncio.sleep(0.01)
        leg_id = player.played.leg_id
        for _ in range(2):
            await actions.add_ai_assistant_messages(
                leg_id, messages=[{"role": "system", "content": "Try a story."}], command_id="m1"
            )
            await actions.speak(
                leg_id, payload="Story", voice="x", target_legs="self", command_id="s1"
            )
        ((call, _),) = stub._calls.values()
        leg = call.prospect
        await playing
    assert leg.assistant_told == [("system", "Try a story.")]
    assert leg.heard == ["Story"]
    assert {"ai_assistant_add_messages", "speak"} <= {c.action for c in stub.commands}


async def test_a_recording_is_told_of_after_the_hangup_by_its_leg_and_can_be_fetched(
    scene: Scene, with_audio: RecordedCall
):
    async with telephony(scene) as (stub, phone):
        actions = phone.client.calls.actions
        player = CallPlayer(
            with_audio, scene.door, scene.signer, telnyx_rules(CloserScript()), control=stub
        )
        playing = asyncio.create_task(player.play())
        while not stub.commands:  # noqa: ASYNC110 - the stub has no event for it
            await asyncio.sleep(0.01)
        leg_id = player.played.leg_id
        with pytest.raises(telnyx.UnprocessableEntityError, match="channels: is required"):
            await actions.start_recording(
                leg_id,
                channels=telnyx.omit,  # type: ignore[arg-type]
                format="wav",
            )
        await actions.start_recording(leg_id, channels="dual", format="wav", command_id="r1")
        with pytest.raises(telnyx.UnprocessableEntityError, match="recorded already"):
            await actions.start_recording(leg_id, channels="dual", format="wav", command_id="r2")
        await playing
        ((call, _),) = stub._calls.values()
        at = scene.heard.types().index("call.recording.saved")
        payload = scene.heard.webhooks[at]["data"]["payload"]
        assert "call.hangup" in scene.heard.types()[:at]
        assert "call_control_id" not in payload
        assert payload.keys() <= Payload.model_fields.keys()
        assert (payload["call_leg_id"], payload["channels"]) == (call.prospect.call_leg_id, "dual")
        async with (
            aiohttp.ClientSession() as client,
            client.get(payload["recording_urls"]["wav"]) as answer,
        ):
            sound = await answer.read()
    with wave.open(BytesIO(sound)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (2, 8000, 16000)


# --- replay -------------------------------------------------------------------------------------


async def test_a_replay_reports_every_call_in_the_order_of_the_file(scene: Scene):
    seen: list[Progress] = []
    rules = ReplayRules(play=replace(RULES, interims=False), concurrency=2, signer=scene.signer)
    calls = (recorded(f"file-{n}") for n in range(5))
    report = await replay(calls, scene.door, rules, on_progress=seen.append)
    document = json.loads(json.dumps(report.document()))
    assert document["verify"] == "clean"
    assert [call["call_id"] for call in document["calls"]] == [f"file-{n}" for n in range(5)]
    first = document["calls"][0]
    assert first["segments"] == first["acknowledged"] == first["hints"] == 4
    assert (first["score_start"], first["score_end"]) == (len(TEXTS[0]), len(TEXTS[-1]))
    assert (first["hint_p50_ms"], first["hint_max_ms"]) == (12.5, 12.5)
    assert first["stores"] == dict.fromkeys(STORES, "delivered")
    assert first["outcome"] == "follow_up"
    assert first["sidecar_call_id"].startswith("ours-v3:sim-")
    assert all(call.complete for call in report.calls)
    assert sum(isinstance(event, PlayStarted) for event in seen) == 5
    assert sum(isinstance(event, PlayEnded) for event in seen) == 5
    assert any(
        isinstance(event, StoresReached) and event.stores["neo4j"] == "delivered" for event in seen
    )
    # never more at once than allowed
    running = peak = 0
    for event in seen:
        running += isinstance(event, PlayStarted) - isinstance(event, PlayEnded)
        peak = max(peak, running)
    assert peak == 2


async def test_a_replay_says_who_keeps_it_out(scene: Scene):
    rules = ReplayRules(play=RULES, signer=scene.signer, open_s=0.5)
    async with FrontDoor(scene.sidecar.url, "wrong") as door:
        with pytest.raises(ServiceRefused, match="is the API token"):
            await replay([recorded()], door, rules)
    async with FrontDoor("http://127.0.0.1:9", BEARER) as door:
        with pytest.raises(ServiceUnreachable, match="agent-sidecar serve"):
            await replay([recorded()], door, rules)


async def test_commands_go_wrong_as_they_were_told_to():
    trouble: dict[str, tuple[Trouble, ...]] = {"bridge": ("race", "throttled", "undone")}
    async with (
        ControlStub(trouble=trouble) as stub,
        telnyx.AsyncTelnyx(api_key="KEY", base_url=stub.url, max_retries=0) as client,
    ):
        statuses = []
        for _ in range(4):
            with pytest.raises(telnyx.APIStatusError) as refused:
                await client.calls.actions.bridge("v3:x", call_control_id_to_bridge_with="v3:y")
            statuses.append(refused.value.status_code)
    # the last one is judged as always: there is no such leg
    assert statuses == [422, 429, 503, 422]
    assert stub.commands == []
