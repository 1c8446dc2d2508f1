"""Who is heard, by what leg and socket, and what becomes of a call that is heard by half."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent_sidecar.domain.recorded import RecordedCall, SpokenSegment
from agent_sidecar.domain.types import Lead
from agent_sidecar.simulator.closer import CloserScript
from agent_sidecar.simulator.control import ControlStub
from agent_sidecar.simulator.front_door import FrontDoor
from agent_sidecar.simulator.media import SocketTurn, StreamRules
from agent_sidecar.simulator.player import CallPlayer, PlayedCall, PlayRules
from agent_sidecar.simulator.signing import WebhookSigner
from tests.e2e.conftest import LATE_LINES_S, Shared, control_settings, free_port
from tests.e2e.front_door import Api, Listener, eventually
from tests.e2e.sidecar import Sidecar
from tests.voiced import write_wav

pytestmark = pytest.mark.e2e

KEVIN = "+12025550123"
# seconds of speech without words that this service bears
SILENCE_S = "5"


@pytest.fixture(scope="module")
def ears(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """Run a service that has a closer to call and little patience with silence."""
    signer, port = WebhookSigner.generate(), free_port()
    settings = {
        **control_settings(port, signer),
        "CLOSER_NUMBER": KEVIN,
        "TRANSCRIPTION_SILENCE_S": SILENCE_S,
        # a busy machine must not make it take calls by their text only
        "ADMISSION_LAG_MS": "5000",
    }
    folder = tmp_path_factory.mktemp("ears") / "data"
    with Sidecar(folder, models, LATE_LINES_S=LATE_LINES_S, **settings) as sidecar:
        yield Shared(sidecar=sidecar, url=sidecar.start(), signer=signer, control_port=port)
        assert sidecar.stop() == 0


def recorded(folder: Path, name: str, *said: tuple[str, str, float, float]) -> RecordedCall:
    """Return a call of these lines (speaker, text, from, to), with a voice for each."""
    length_s = max(end for *_, end in said) + 1.0
    pitches = {"agent": 110.0, "prospect": 190.0}
    audio = {
        party: write_wav(
            folder / f"{name}-{party}.wav",
            [(start, end) for speaker, _, start, end in said if speaker == party],
            length_s,
            pitch_hz=pitch,
        )
        for party, pitch in pitches.items()
    }
    segments = [
        SpokenSegment(speaker=speaker, text=text, start_s=start, end_s=end)  # type: ignore[arg-type]
        for speaker, text, start, end in said
        if text
    ]
    return RecordedCall(
        call_id=name,
        segments=tuple(segments),
        lead=Lead(phone="+12025550178"),
        audio=audio,  # type: ignore[arg-type]
    )


async def play(
    ears: Shared, call: RecordedCall, rules: PlayRules, stub: ControlStub | None = None
) -> tuple[PlayedCall, Mapping[str, Any]]:
    """Play a call to its end; return how it went, and the record."""
    async with FrontDoor(ears.url) as door, Api(ears.url) as api:
        played = await CallPlayer(call, door, ears.signer, rules, control=stub).play()
        assert played.error is None
        assert played.call_id is not None
        return played, await api.finished(played.call_id)


def lines(view: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(s["speaker"], s["text"]) for s in view["segments"] if s["text"]]


TALK = (
    ("agent", "Hello, this is Tom, how are you doing today?", 0.5, 3.0),
    ("prospect", "I am fine, thank you, what is it about?", 3.6, 6.0),
    ("agent", "I would like to show you how others work from home.", 6.6, 9.4),
    ("prospect", "Is that not far too expensive for me?", 10.0, 12.4),
)


@pytest.mark.parametrize("heard_on", ["each_leg", "prospect_leg"])
async def test_a_human_agent_s_second_leg_is_known_and_nobody_is_heard_twice(
    ears: Shared, tmp_path: Path, heard_on: Any
):
    rules = PlayRules(speed=4, agent="human", heard_on=heard_on)
    played, view = await play(ears, recorded(tmp_path, f"human-{heard_on}", *TALK), rules)
    assert lines(view) == [(speaker, text) for speaker, text, *_ in TALK]
    assert sorted(leg["role"] for leg in view["legs"]) == ["agent", "prospect"]
    assert played.stream == "stopped"
    # each line has the sound of its words, and there is no sound beside them
    assert all(s["acoustics"] is not None and s["text"] for s in view["segments"])
    scored = [s["engagement"] is not None for s in view["segments"]]
    assert scored == [False, True, False, True]


async def test_two_sockets_at_once_are_one_voice_and_a_late_stop_stops_nothing(
    ears: Shared, tmp_path: Path
):
    turns = (
        SocketTurn(at_s=2.0, what="complains"),
        SocketTurn(at_s=3.2, what="doubles"),
        SocketTurn(at_s=6.3, what="returns"),
        SocketTurn(at_s=9.6, what="dies"),
    )
    rules = PlayRules(speed=1, stream=StreamRules(turns=turns))
    played, view = await play(ears, recorded(tmp_path, "sockets", *TALK), rules)
    assert played.stream == "stopped"
    assert lines(view) == [(speaker, text) for speaker, text, *_ in TALK]
    # the loud frames of the old socket are nobody's words
    assert [s for s in view["segments"] if not s["text"]] == []
    sounds = [s["acoustics"] for s in view["segments"]]
    assert all(sounds), sounds
    async with Api(ears.url) as api:
        metrics = await api.get("/metrics")
    assert 'sidecar_media_errors_total{reason="invalid_media"} 1.0' in metrics


async def test_a_transcription_that_falls_silent_is_restarted_once_and_words_come_again(
    ears: Shared, tmp_path: Path
):
    said = (
        ("prospect", "Hello, who is there?", 0.5, 2.0),
        ("prospect", "these words nobody writes down", 3.0, 7.0),
        ("prospect", "and neither will be these", 8.0, 12.0),
        ("prospect", "", 13.0, 15.0),
        ("prospect", "But these are heard again.", 26.0, 29.0),
    )
    rules = PlayRules(speed=5, mode="telnyx", source="live", mute_from_s=2.5)
    call = recorded(tmp_path, "silence", *said)
    async with (
        ControlStub(port=ears.control_port) as stub,
        Api(ears.url) as api,
        Listener(api) as listener,
    ):
        _, view = await play(ears, call, rules, stub)
    actions = [c.action for c in stub.commands if c.action.startswith("transcription")]
    assert actions == ["transcription_start", "transcription_stop", "transcription_start"]
    assert len({c.body["command_id"] for c in stub.commands}) == len(stub.commands)
    assert [text for _, text in lines(view)] == [said[0][1], said[-1][1]]
    # what nobody wrote down is scored by its sound
    mute = [s for s in view["segments"] if not s["text"]]
    assert mute
    assert all(s["engagement"] is not None for s in mute)
    assert not [m for m in listener.messages if m.get("state") == "degraded"]


async def test_words_that_never_come_are_told_of_and_nothing_else_happens(
    ears: Shared, tmp_path: Path
):
    said = [("prospect", "never heard", 4.0 * n, 4.0 * n + 3.0) for n in range(4)]
    call = replace(recorded(tmp_path, "never", *said), segments=TALKED)
    rules = PlayRules(speed=5, mute_from_s=0.5)
    async with Api(ears.url) as api, Listener(api) as listener:
        _, view = await play(ears, call, rules)

        async def degraded() -> Any:
            told = [m for m in listener.messages if m.get("state") == "degraded"]
            return [m for m in told if m["call_id"] == view["call_id"]]

        (told,) = await eventually(degraded, within_s=5)
    assert told["degraded"] == ["transcript"]
    assert "no words came" in told["reason"]
    assert lines(view) == []


TALKED = (SpokenSegment(speaker="prospect", text="nobody hears this", start_s=1.0, end_s=16.0),)


async def test_the_closer_s_words_are_kept_and_never_scored_and_the_agent_s_are_his_again(
    ears: Shared, tmp_path: Path
):
    said = (
        ("agent", "Let me get my colleague Kevin on the line.", 0.5, 3.0),
        ("prospect", "Great, I would like that.", 3.5, 5.0),
        ("agent", "Welcome back, how did it go?", 31.0, 33.0),
        ("prospect", "Very well, thank you.", 33.5, 35.0),
    )
    closer = CloserScript(
        ring_s=1.0,
        detect_s=0.5,
        press_s=1.0,
        lines=("Hi, Kevin here.", "Shall we look at the starter package?"),
        leaves_after_s=1.0,
    )
    rules = PlayRules(speed=2, mode="telnyx", source="live", closer=closer)
    call = recorded(tmp_path, "closer", *said)
    async with ControlStub(port=ears.control_port) as stub, Api(ears.url) as api:
        async with FrontDoor(ears.url) as door:
            player = CallPlayer(call, door, ears.signer, rules, control=stub)
            playing = asyncio.create_task(player.play())

            async def has_spoken() -> Any:
                return player.played.call_id and len(await api.texts(player.played.call_id)) >= 2

            await eventually(has_spoken, within_s=15)
            status, _ = await api.post(f"/v1/calls/{player.played.call_id}/transfer", {"by": "e2e"})
            assert status == 202
            played = await playing
        assert played.call_id is not None
        view = await api.finished(played.call_id)
    assert lines(view) == [
        ("agent", said[0][1]),
        ("prospect", said[1][1]),
        *(("closer", text) for text in closer.lines),
        ("agent", said[2][1]),
        ("prospect", said[3][1]),
    ]
    closers = [s for s in view["segments"] if s["speaker"] == "closer"]
    assert [(s["engagement"], s["strategy"]) for s in closers] == [(None, None)] * 2
    (transfer,) = view["transfers"]
    assert transfer["outcome"] == "bridged"
