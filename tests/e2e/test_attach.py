"""Attaching to a live call, both ways, against a stub of Telnyx's Call Control."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web

from agent_sidecar.domain.recorded import RecordedCall, SpokenSegment
from agent_sidecar.domain.types import Lead
from agent_sidecar.simulator.commands import CommandFault
from agent_sidecar.simulator.control import ControlStub
from agent_sidecar.simulator.front_door import FrontDoor
from agent_sidecar.simulator.player import CallPlayer, PlayRules
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


def recorded(*, audio: dict[str, str] | None = None) -> RecordedCall:
    """Return a call in which only the prospect speaks."""
    segments = tuple(
        SpokenSegment(speaker="prospect", text=text, start_s=4.0 * n, end_s=4.0 * n + 3)
        for n, text in enumerate(LINES)
    )
    return RecordedCall(
        call_id="attach-e2e",
        segments=segments,
        lead=Lead(phone="+12025550177"),
        audio=audio or {},  # type: ignore[arg-type]  # the keys are parties
    )


@asynccontextmanager
async def answered_leg(stub: ControlStub, api: Api, player: CallPlayer) -> AsyncIterator[str]:
    """Play a call that waits to be attached to; yields its leg."""
    playing = asyncio.create_task(player.play(), name="play")
    try:
        yield player.played.leg_id
    finally:
        await asyncio.wait({playing}, timeout=30)
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)


def player_of(
    stub: ControlStub, url: str, signer: WebhookSigner, door: FrontDoor
) -> CallPlayer:
    rules = PlayRules(speed=20, mode="telnyx", source="live", attach=False, patience_s=15)
    return CallPlayer(recorded(), door, signer, rules, control=stub)


async def attach_to(shared: Shared, api: Api, stub: ControlStub):
    """Play a call, attach to it while it is up; return the answer, and its record."""
    async with FrontDoor(shared.url) as door:
        player = player_of(stub, shared.url, shared.signer, door)
        async with answered_leg(stub, api, player) as leg_id:
            # the webhooks of an answered call have come when the service could be told to attach
            await eventually(lambda: _is_up(stub, leg_id), within_s=10)
            answer = await api.attach(leg_id, lead={"first_name": "Maria"})
    return answer, player.played, await api.delivered(answer["call_id"])


async def _is_up(stub: ControlStub, leg_id: str) -> bool:
    known = [call for call, _ in stub._calls.values() if call.prospect.leg_id == leg_id]
    return any(call.prospect.state == "answered" for call in known)


async def test_a_posted_attach_starts_both_tracks_with_a_token_and_the_transcription(
    shared: Shared, api: Api
):
    async with ControlStub(port=shared.control_port) as stub:
        answer, _, view = await attach_to(shared, api, stub)
    assert (answer["streaming"], answer["transcribing"], answer["problems"]) == (True, True, [])
    commands = {command.action: command for command in stub.commands}
    assert {"streaming_start", "transcription_start"} <= set(commands)
    streaming = commands["streaming_start"].body
    assert streaming["stream_track"] == "both_tracks"
    assert commands["transcription_start"].body["transcription_tracks"] == "both"
    assert all(command.leg_id == answer["call_control_id"] for command in stub.commands)
    assert all(command.body.get("command_id") for command in stub.commands)
    [token] = parse_qs(urlsplit(streaming["stream_url"]).query)["token"]
    assert token == answer["token"]
    assert view["lead"]["name"] == "Maria"
    assert [segment["text"] for segment in view["segments"]] == list(LINES)


async def test_a_stream_that_fails_once_is_started_again(shared: Shared, api: Api):
    async with FailingStub(shared.control_port, streaming_start=1) as stub:
        answer, _, _ = await attach_to(shared, api, stub)
    assert stub.tries["streaming_start"] == 2
    assert (answer["streaming"], answer["problems"]) == (True, [])


async def test_a_stream_that_fails_twice_is_named_and_the_call_goes_on_with_text(
    shared: Shared, api: Api
):
    async with FailingStub(shared.control_port, streaming_start=2) as stub:
        answer, played, view = await attach_to(shared, api, stub)
    assert (answer["streaming"], answer["transcribing"]) == (False, True)
    [problem] = answer["problems"]
    assert "streaming_start" in problem
    assert "the stub was told to fail" in problem
    assert played.stream is None
    assert [segment["text"] for segment in view["segments"]] == list(LINES)


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
def guarded(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """Run a service that attaches by itself and wants a token."""
    signer, port = WebhookSigner.generate(), free_port()
    settings = {**control_settings(port, signer), "API_TOKEN": TOKEN, "AUTO_ATTACH": "true"}
    folder = tmp_path_factory.mktemp("guarded") / "data"
    with Sidecar(folder, models, LATE_LINES_S=LATE_LINES_S, **settings) as sidecar:
        yield Shared(sidecar=sidecar, url=sidecar.start(), signer=signer, control_port=port)
        assert sidecar.stop() == 0


async def test_it_attaches_by_itself_when_a_call_is_answered(guarded: Shared):
    async with ControlStub(port=guarded.control_port) as stub, Api(guarded.url, TOKEN) as api:
        async with FrontDoor(guarded.url, TOKEN) as door:
            played = await player_of(stub, guarded.url, guarded.signer, door).play()
        assert played.error is None
        actions = Counter(command.action for command in stub.commands)
        assert actions["streaming_start"] == actions["transcription_start"] == 1

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
    ("GET", "/v1/availability"),
    ("PUT", "/v1/availability/Kevin"),
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
                assert status in (401, 404), (method, path, status, answer)
                assert status == 401 or path.startswith("//"), (method, path)
    async with Api(guarded.url, TOKEN) as api:
        for method, path in ROUTES:
            status, answer = await api.send(method, path, body=b"")
            assert status != 401, (method, path, answer)
