"""What the simulator can play to test ears: faulty lines, odd sockets, silent transcriptions."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from agent_sidecar.domain.types import Track
from agent_sidecar.simulator.closer import CloserScript, play_closer
from agent_sidecar.simulator.frames import FaultyLine, MediaFaults
from agent_sidecar.simulator.legs import TranscriptionOrder, agent_leg
from agent_sidecar.simulator.media import StreamRules
from agent_sidecar.simulator.pace import ConversationClock
from agent_sidecar.simulator.telephone import SimulatedCall
from agent_sidecar.simulator.transcript import HeardLine
from tests.flow.test_simulator_parts import AT, DIALLED, FakeFrontDoor, lane_to, leg


def carried(faults: MediaFaults) -> list[int]:
    line = FaultyLine(faults)
    return [int(arriving) for n in range(3000) for arriving in line.carry(str(n))]


def test_a_faulty_line_repeats_frames_and_has_gaps_the_same_for_a_seed():
    faults = MediaFaults(seed=5, repeat=0.1, gap=0.002)
    arrived = carried(faults)
    assert arrived == carried(faults)
    assert 200 < len(arrived) - len(set(arrived)) < 400
    gaps = [b - a for a, b in itertools.pairwise(arrived) if b - a > 1]
    assert gaps
    # half a second each, unless another begins within it
    assert all(gap >= 26 for gap in gaps)


@asynccontextmanager
async def talking(door: FakeFrontDoor, *, with_agent: bool = True) -> AsyncIterator[SimulatedCall]:
    lane = lane_to(door)
    clock = ConversationClock(AT, speed=10.0)
    async with asyncio.TaskGroup() as tasks:
        call = SimulatedCall(leg(), clock, lane, tasks, stream_rules=StreamRules())
        tasks.create_task(lane.run())
        clock.start()
        if with_agent:
            call.agent = agent_leg(call.prospect)
        for one in (call.prospect, call.agent):
            if one is not None:
                call.ring(one)
                call.answer(one)
        yield call
        await call.end(source="callee", within_s=60)
        lane.close()


def line(text: str, track: Track, at_s: float = 1.0) -> HeardLine:
    return HeardLine(at_s=at_s, segment=0, track=track, text=text, is_final=True, confidence=0.9)


def heard(door: FakeFrontDoor, call: SimulatedCall) -> list[tuple[str, str, str]]:
    """Return leg, track and words of every transcription."""
    names = {call.prospect.leg_id: "prospect", call.agent and call.agent.leg_id: "agent"}
    found = []
    for payload in door.payloads("call.transcription"):
        data = payload["transcription_data"]
        leg_name = names[payload["call_control_id"]]
        found.append((leg_name, data["transcription_track"], data["transcript"]))
    return found


async def test_the_agent_s_leg_hears_what_the_prospect_s_says_and_the_other_way_round():
    door = FakeFrontDoor()
    async with talking(door) as call:
        assert call.agent is not None
        assert call.agent.call_session_id == call.prospect.call_session_id
        both = TranscriptionOrder(tracks=("inbound", "outbound"), names_track=True)
        own = TranscriptionOrder(tracks=("inbound",), names_track=True)
        call.prospect.transcription, call.agent.transcription = both, own
        call.say(line("hello", "inbound"))
        call.say(line("good morning", "outbound"))
        call.audio = {"inbound": b"p", "outbound": b"a"}
        assert call._audio_of(call.agent) == {"inbound": b"a", "outbound": b"p"}
    assert heard(door, call) == [
        ("prospect", "inbound", "hello"),
        ("prospect", "outbound", "good morning"),
        ("agent", "inbound", "good morning"),
    ]


async def test_a_transcription_falls_silent_until_it_is_started_again():
    door = FakeFrontDoor()
    async with talking(door, with_agent=False) as call:
        call.mute_from_s = 2.0
        order = {"transcription_tracks": "both", "transcription_engine": "Telnyx"}
        call.start_transcription(call.prospect, order)
        assert call.say(line("one", "inbound", 1.0)) is not None
        await call.clock.sleep_until(2.5)
        assert call.say(line("two", "inbound", 2.5)) is None
        call.stop_transcription(call.prospect)
        call.start_transcription(call.prospect, order)
        assert call.say(line("three", "inbound", 3.0)) is not None
    assert [text for *_, text in heard(door, call)] == ["one", "three"]


async def test_a_closer_says_his_lines_after_the_bridge_and_leaves_when_he_is_to():
    door = FakeFrontDoor()
    script = CloserScript(ring_s=1.0, lines=("hi", "bye"), leaves_after_s=2.0)
    async with talking(door, with_agent=False) as call:
        call.recording_s = 100.0
        call.prospect.transcription = TranscriptionOrder(tracks=("outbound",), names_track=True)
        kevin = call.dial(DIALLED)
        playing = call.tasks.create_task(play_closer(call, kevin, DIALLED, script))
        await call.until(lambda: kevin.state == "answered", within_s=20)
        call.bridge(call.prospect, {"call_control_id": kevin.leg_id, "park_after_unbridge": "self"})
        await playing
        assert call.clock.now_s() == pytest.approx(6.5, abs=1.5)
        assert call.prospect.alive
        assert kevin.state == "ended"
    assert heard(door, call) == [("prospect", "outbound", "hi"), ("prospect", "outbound", "bye")]
