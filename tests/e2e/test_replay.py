"""`replay`: recorded calls through the front door, into every store, and what it says of them."""

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from agent_sidecar.simulator.sample import CALL as SAMPLE
from tests.e2e.conftest import Shared
from tests.e2e.front_door import STORES, Api, eventually
from tests.e2e.recordings import talk, write_calls
from tests.e2e.sidecar import ROOT, Sidecar, finish

pytestmark = pytest.mark.e2e

PERSUASION = ROOT.parent / "shared" / "data" / "persuasion-dev.jsonl"


def assert_complete(report: Any, file_ids: list[str]) -> None:
    """Check the contract of `replay --json`: one entry a call, everything delivered."""
    assert set(report) == {"calls", "verify"}
    assert report["verify"] == "clean"
    assert [call["call_id"] for call in report["calls"]] == file_ids
    for call in report["calls"]:
        assert call["error"] is None
        assert call["stores"] == dict.fromkeys(STORES, "delivered")
        assert call["acknowledged"] == call["segments"] > 0
        for key in ("score_start", "score_end"):
            assert 0 <= call[key] <= 100
        assert isinstance(call["hints"], int)
        assert call["outcome"]


def test_a_replay_starts_the_service_it_needs_and_prints_one_json_object(
    sidecar: Sidecar, tmp_path: Path
):
    ids = write_calls(tmp_path / "calls.jsonl", calls=4, lines=10)
    replay = sidecar.run("replay", str(tmp_path / "calls.jsonl"), "--speed", "50", "--json")
    assert replay.code == 0, replay.err
    report = replay.json()
    assert_complete(report, ids)
    assert all(call["segments"] == 10 for call in report["calls"])
    # two objections in each
    assert all(call["hints"] > 0 for call in report["calls"])
    assert all(call["hint_max_ms"] <= 500 for call in report["calls"])
    assert not sidecar.processes_left()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
async def test_a_replay_that_is_ended_takes_its_service_with_it(
    sidecar: Sidecar, tmp_path: Path, signum: signal.Signals
):
    write_calls(tmp_path / "calls.jsonl", calls=2, lines=30)
    replay = sidecar.open("replay", str(tmp_path / "calls.jsonl"))

    async def is_playing() -> bool:
        url = sidecar.announced()
        if url is None:
            return False
        async with Api(url) as api:
            return bool((await api.get("/v1/calls"))["live"])

    await eventually(is_playing, within_s=60)
    replay.send_signal(signum)
    finished = await asyncio.to_thread(finish, replay)
    assert finished.code == (130 if signum == signal.SIGTERM else -signum)
    assert not sidecar.processes_left()


async def test_replaying_twice_makes_two_sets_of_calls_that_are_both_kept(
    shared: Shared, api: Api, tmp_path: Path
):
    ids = write_calls(tmp_path / "calls.jsonl", calls=2, lines=6, name="twice")
    command = ("replay", str(tmp_path / "calls.jsonl"), "--speed", "50")
    for_people = shared.sidecar.run(*command)
    assert for_people.code == 0, for_people.err
    assert all(file_id in for_people.out for file_id in ids)
    assert "2 of 2 calls complete in all stores" in for_people.out
    assert "verify: clean" in for_people.out
    for_programs = shared.sidecar.run(*command, "--json")
    assert_complete(for_programs.json(), ids)

    finished = (await api.get("/v1/calls"))["finished"]
    kept = [call for call in finished if call["external_id"] in ids]
    assert len({call["call_id"] for call in kept}) == 4
    for call in kept:
        said = [text for _, text in talk(ids.index(call["external_id"]), 6)]
        assert await api.texts(call["call_id"]) == said
    assert await api.is_clean()


async def test_a_call_with_audio_plays_both_tracks(shared: Shared, api: Api):
    replay = shared.sidecar.run("replay", str(SAMPLE), "--speed", "20", "--json")
    assert replay.code == 0, replay.err
    [call] = replay.json()["calls"]
    length_s = max(s["end_s"] for s in json.loads(SAMPLE.read_text())["segments"])
    # two tracks of 50 frames a second
    assert call["frames"] >= 2 * 50 * length_s * 0.95
    assert call["stream"] == "stopped"
    view = await api.call(call["sidecar_call_id"])
    heard = {s["speaker"] for s in view["segments"] if s["acoustics"] is not None}
    assert heard == {"prospect", "agent"}


@pytest.mark.parametrize("codec", ["PCMA", "L16", "G722", "OPUS"])
async def test_a_call_is_heard_in_whatever_codec_it_comes(shared: Shared, api: Api, codec: str):
    replay = shared.sidecar.run("replay", str(SAMPLE), "--speed", "20", "--json", "--codec", codec)
    assert replay.code == 0, replay.err
    [call] = replay.json()["calls"]
    assert call["stream"] == "stopped"
    view = await api.call(call["sidecar_call_id"])
    by_ear = [s for s in view["segments"] if s["acoustics"] is not None]
    assert {s["speaker"] for s in by_ear} == {"prospect", "agent"}
    # most lines find the sound of their words
    assert len(by_ear) > 0.6 * len(view["segments"])
    # and it is a voice that was decoded, no noise
    levels = [s["acoustics"]["volume_dbfs"] for s in by_ear]
    assert all(-50 < level < -5 for level in levels)


@pytest.mark.skipif(not PERSUASION.exists(), reason=f"there is no {PERSUASION.name} beside us")
def test_real_conversations_end_in_all_stores(shared: Shared):
    command = ("replay", str(PERSUASION), "--limit", "20", "--speed", "20", "--json")
    replay = shared.sidecar.run(*command)
    assert replay.code == 0, replay.err
    with PERSUASION.open() as file:
        ids = [json.loads(next(file))["call_id"] for _ in range(20)]
    assert_complete(replay.json(), ids)
