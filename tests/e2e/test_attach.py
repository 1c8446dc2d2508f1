"""Attaching to a live call, both ways, against a stub of Telnyx's Call Control."""

import asyncio
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from agent_sidecar.domain.recorded import RecordedCall, SpokenSegment
from agent_sidecar.domain.types import Lead
from agent_sidecar.simulator.commands import CommandFault
from agent_sidecar.simulator.control import ControlStub
from agent_sidecar.simulator.front_door import FrontDoor
from agent_sidecar.simulator.player import CallPlayer, PlayedCall, PlayRules
from agent_sidecar.simulator.signing import WebhookSigner
from tests.e2e.conftest import LATE_LINES_S, Shared, control_settings, free_port
from tests.e2e.front_door import Api, eventually
from tests.e2e.phone import Phone
from tests.e2e.sidecar import Sidecar

pytestmark = pytest.mark.e2e

TOKEN = "a-token-of-the-tests"  # noqa: S105  # opens nothing outside of these tests
LINES = ("Hello, who is there?", "I am busy, is this one of those pyramid schemes?")


class FailingStub(ControlStub):
    """Refuses an action so many times before it does what it is told."""

    def __init__(self, port: int, **failures: int) -> None:
        super().__init__(port=port)
        self.tries: Counter[str] = Counter()
        self._failures = Counter(failures)

    async def _act(self, request: web.Request) -> web.Response:
        action = request.match_info["action"]
        self.tries[action] += 1
        if self._failures[action] > 0:
            self._failures[action] -= 1
            raise CommandFault("90046", "Media streaming failed", "the stub was told to fail")
        return await super()._act(request)


# only the prospect speaks
RECORDED = RecordedCall(
    call_id="attach-e2e",
    segments=tuple(
        SpokenSegment(speaker="prospect", text=text, start_s=4.0 * n, end_s=4.0 * n + 3)
        for n, text in enumerate(LINES)
    ),
    lead=Lead(phone="+12025550177"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A call that was attached to: what the attach answered, how it went, what is kept of it."""

    answer: dict[str, Any]
    play: PlayedCall
    view: dict[str, Any]


def player_of(stub: ControlStub, signer: WebhookSigner, door: FrontDoor) -> CallPlayer:
    """Return a player whose call waits for the service to attach."""
    rules = PlayRules(speed=20, mode="telnyx", source="live", attach=False, patience_s=15)
    return CallPlayer(RECORDED, door, signer, rules, control=stub)


async def attach_to(shared: Shared, api: Api, stub: ControlStub) -> Played:
    """Play a call and attach to it once it is up."""
    async with FrontDoor(shared.url) as door, asyncio.TaskGroup() as tasks:
        player = player_of(stub, shared.signer, door)
        playing = tasks.create_task(player.play())
        leg_id = player.played.leg_id
        await eventually(lambda: _is_up(stub, leg_id), within_s=10)
        answer = await api.attach(leg_id, lead={"first_name": "Maria"})
    view = await api.delivered(answer["call_id"])
    return Played(answer=answer, play=playing.result(), view=view)


async def _is_up(stub: ControlStub, leg_id: str) -> bool:
    known = [call for call, _ in stub._calls.values() if call.prospect.leg_id == leg_id]
    return any(call.prospect.state == "answered" for call in known)


async def test_a_posted_attach_starts_both_tracks_with_a_token_and_the_transcription(
    shared: Shared, api: Api
):
    async with ControlStub(port=shared.control_port) as stub:
        played = await attach_to(shared, api, stub)
    answer, view = played.answer, played.view
    assert (answer["streaming"], answer["transcribing"], answer["problems"]) == (True, True, [])
    commands = {command.action: command for command in stub.commands}
    assert {"streaming_start", "transcription_start"} <= set(commands)
    streaming = commands["streaming_start"].body
    assert streaming["stream_track"] == "both_tracks"
    assert commands["transcription_start"].body["transcription_tracks"] == "both"
    assert all(command.leg_id == answer["call_control_id"] for command in stub.commands)
    assert all(command.body.get("command_id") for command in stub.commands)
    # the hint on the second line, for the assistant's next turn
    [message] = commands["ai_assistant_add_messages"].body["messages"]
    assert message["role"] == "system"
    assert view["hints"][0]["strategy"].replace("-", " ") in message["content"]
    [token] = parse_qs(urlsplit(streaming["stream_url"]).query)["token"]
    assert token == answer["token"]
    assert played.play.stream == "stopped"
    assert view["lead"]["name"] == "Maria"
    assert [segment["text"] for segment in view["segments"]] == list(LINES)


async def test_a_stream_that_fails_once_is_started_again(shared: Shared, api: Api):
    async with FailingStub(shared.control_port, streaming_start=1) as stub:
        played = await attach_to(shared, api, stub)
    assert stub.tries["streaming_start"] == 2
    assert (played.answer["streaming"], played.answer["problems"]) == (True, [])
    assert played.play.stream == "stopped"


async def test_a_stream_that_fails_twice_is_named_and_the_call_goes_on_with_text(
    shared: Shared, api: Api
):
    async with FailingStub(shared.control_port, streaming_start=2) as stub:
        played = await attach_to(shared, api, stub)
    assert (played.answer["streaming"], played.answer["transcribing"]) == (False, True)
    [problem] = played.answer["problems"]
    assert "streaming_start" in problem
    assert "the stub was told to fail" in problem
    assert played.play.stream is None
    assert [segment["text"] for segment in played.view["segments"]] == list(LINES)


async def test_without_call_control_an_attach_says_what_does_not_work(shared: Shared, api: Api):
    # nobody listens where Call Control should be
    phone = Phone(api, shared.signer)
    answer = await api.attach(phone.leg_id)
    assert (answer["streaming"], answer["transcribing"]) == (False, False)
    assert len(answer["problems"]) == 2
    await phone.say("We can still talk.")
    await phone.hang_up()
    view = await api.delivered(answer["call_id"])
    assert [segment["text"] for segment in view["segments"]] == ["We can still talk."]


# --- a service with an API token that attaches by itself ------------------------------------------


@pytest.fixture(scope="module")
def forward_port() -> int:
    """Return the port on which the user's own application would take webhooks."""
    return free_port()


@pytest.fixture(scope="module")
def guarded(
    models: Path, tmp_path_factory: pytest.TempPathFactory, forward_port: int
) -> Iterator[Shared]:
    """Run a service that attaches and records by itself, wants a token, passes webhooks on."""
    signer, port = WebhookSigner.generate(), free_port()
    settings = {
        **control_settings(port, signer),
        "API_TOKEN": TOKEN,
        "AUTO_ATTACH": "true",
        "RECORD": "true",
        "FORWARD_URL": f"http://127.0.0.1:{forward_port}/theirs",
    }
    folder = tmp_path_factory.mktemp("guarded") / "data"
    with Sidecar(folder, models, LATE_LINES_S=LATE_LINES_S, **settings) as sidecar:
        yield Shared(sidecar=sidecar, url=sidecar.start(), signer=signer, control_port=port)
        assert sidecar.stop() == 0


async def test_it_attaches_by_itself_when_a_call_is_answered(guarded: Shared):
    async with ControlStub(port=guarded.control_port) as stub, Api(guarded.url, TOKEN) as api:
        async with FrontDoor(guarded.url, TOKEN) as door:
            played = await player_of(stub, guarded.signer, door).play()
        assert played.error is None
        actions = Counter(command.action for command in stub.commands)
        assert actions["streaming_start"] == actions["transcription_start"] == 1
        assert actions["record_start"] == 1

        async def ours() -> str | None:
            calls = await api.get("/v1/calls")
            both = [*calls["live"], *calls["finished"]]
            found = (c["call_id"] for c in both if c["call_control_id"] == played.leg_id)
            return next(found, None)

        view = await api.delivered(await eventually(ours))
        assert [segment["text"] for segment in view["segments"]] == list(LINES)
        # found or made by the number that was called
        assert view["lead"]["lead_id"]
        leads = await api.get("/v1/leads?q=%2B12025550177")
        assert [lead["lead_id"] for lead in leads["leads"]] == [view["lead"]["lead_id"]]
        copies = guarded.sidecar.folder / "recordings"

        async def copied() -> Any:
            return [file.name for file in copies.glob("*.wav")]

        (name,) = await eventually(copied)
        assert name.startswith(view["call_id"])
        assert (copies / name).read_bytes().startswith(b"RIFF")


ROUTES = (
    ("POST", "/v1/streams"),
    ("GET", "/v1/hints"),
    ("POST", "/v1/suggest"),
    ("GET", "/v1/calls"),
    ("GET", "/v1/calls/x"),
    ("POST", "/v1/calls/x/attach"),
    ("POST", "/v1/calls/x/detach"),
    ("POST", "/v1/calls/x/transfer"),
    ("POST", "/v1/calls/x/transcript"),
    ("POST", "/v1/calls/x/outcome"),
    ("POST", "/v1/transfers/x/result"),
    ("GET", "/v1/availability"),
    ("PUT", "/v1/availability/Kevin"),
    ("POST", "/v1/availability/Kevin/overrides"),
    ("DELETE", "/v1/availability/Kevin/overrides/x"),
    ("POST", "/v1/availability/Kevin/away"),
    ("POST", "/v1/availability/Kevin/back"),
    ("GET", "/v1/leads"),
    ("POST", "/v1/leads"),
    ("PUT", "/v1/leads/x"),
    ("POST", "/v1/import"),
    ("GET", "/v1/stores"),
    ("GET", "/v1/verify"),
    # whatever comes later is behind the same door
    ("GET", "/v1/nothing-here"),
    ("GET", "//v1/calls"),
    ("GET", "/%76%31/calls"),
)


async def test_every_route_of_the_api_wants_the_token(guarded: Shared):
    for token in (None, "wrong"):
        async with Api(guarded.url, token) as api:
            for method, path in ROUTES:
                status, answer = await api.send(method, path, body=b"")
                # what begins with two slashes is no path of ours
                assert status == (404 if path.startswith("//") else 401), (path, status, answer)
    async with Api(guarded.url, TOKEN) as api:
        for method, path in ROUTES:
            status, answer = await api.send(method, path, body=b"")
            assert status != 401, (method, path, answer)


async def test_the_hints_socket_wants_the_token(guarded: Shared):
    url = "ws" + guarded.url.removeprefix("http") + "/v1/hints"
    for wrong in (url, f"{url}?token=wrong"):
        with pytest.raises(InvalidStatus, match="401"):
            await connect(wrong, proxy=None)
    async with connect(f"{url}?token={TOKEN}", proxy=None) as socket:
        await socket.ping()
    header = {"Authorization": f"Bearer {TOKEN}"}
    async with connect(url, proxy=None, additional_headers=header) as socket:
        await socket.ping()


async def test_telnyx_and_machines_need_no_api_token(guarded: Shared):
    async with Api(guarded.url) as api:
        for path in ("/healthz", "/readyz", "/metrics"):
            assert await api.get(path)
        # not the API token is missing, but what Telnyx would have sent
        status, refusal = await api.send("POST", "/telnyx/webhooks", body=b"{}")
        assert (status, refusal["error"]) == (401, "SignatureInvalid")
        phone = Phone(api, guarded.signer)
        assert await phone.post(phone.webhook("call.something.new")) == (200, {"ok": True})


async def test_every_webhook_is_passed_on_as_it_came(guarded: Shared, forward_port: int):
    passed_on: asyncio.Queue[tuple[bytes, Mapping[str, str]]] = asyncio.Queue()

    async def take(request: web.Request) -> web.Response:
        passed_on.put_nowait((await request.read(), request.headers))
        return web.Response()

    app = web.Application()
    app.router.add_post("/theirs", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", forward_port).start()
        async with Api(guarded.url) as api:
            phone = Phone(api, guarded.signer)
            sent = phone.webhook("call.something.new", spaced="as  it was")
            assert await phone.post(sent) == (200, {"ok": True})
        # what earlier tests sent while nobody listened may come first
        async with asyncio.timeout(30):
            while (arrived := await passed_on.get())[0] != sent:
                pass
    finally:
        await runner.cleanup()
    _, headers = arrived
    public_key = Ed25519PublicKey.from_public_bytes(b64decode(guarded.signer.public_key))
    signature = b64decode(headers["telnyx-signature-ed25519"])
    public_key.verify(signature, headers["telnyx-timestamp"].encode() + b"|" + sent)
