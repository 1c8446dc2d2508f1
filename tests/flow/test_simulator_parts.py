"""The simulator's parts, each against what Telnyx documents; time is virtual."""

import asyncio
import itertools
import json
import wave
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from telnyx.types import (
    CallAnswered,
    CallBridged,
    CallGatherEnded,
    CallHangup,
    CallInitiated,
    CallMachinePremiumDetectionEnded,
    CallStreamingFailed,
    CallStreamingStarted,
    Transcription,
)

from agent_sidecar.domain.recorded import RecordedCall, SpokenSegment
from agent_sidecar.errors import RecordedCallInvalid, ServiceUnreachable
from agent_sidecar.simulator import webhooks
from agent_sidecar.simulator.closer import CloserScript, play_closer
from agent_sidecar.simulator.commands import CommandFault, check_command
from agent_sidecar.simulator.delivery import Adversity, DeliveryRules, WebhookLane
from agent_sidecar.simulator.frames import FaultyLine, FrameWriter, MediaFaults, frame_audio
from agent_sidecar.simulator.front_door import Attached, FrontDoor
from agent_sidecar.simulator.legs import (
    OUR_NUMBER,
    WITHHELD,
    SimulatedLeg,
    TranscriptionOrder,
    prospect_leg,
)
from agent_sidecar.simulator.media import StreamRules
from agent_sidecar.simulator.pace import ConversationClock
from agent_sidecar.simulator.progress import HeardCall, ReplayedCall, ReplayReport, table_rows
from agent_sidecar.simulator.signing import SIGNATURE_HEADER, TIMESTAMP_HEADER, WebhookSigner
from agent_sidecar.simulator.telephone import SimulatedCall
from agent_sidecar.simulator.transcript import heard_lines
from agent_sidecar.simulator.wav import decode_ulaw, encode_ulaw, read_ulaw

AT = datetime(2026, 11, 2, 15, 30, 0, 250_000, tzinfo=UTC)
MARIA = "+18135550142"
KEVIN = "+13055550199"


@dataclass
class FakeFrontDoor(FrontDoor):
    """Answers webhooks with the statuses given, then 200; 0 means that nobody answers."""

    statuses: list[int] = field(default_factory=list)
    posted: list[tuple[float, dict[str, Any], Mapping[str, str], bytes]] = field(
        default_factory=list
    )

    def __post_init__(self) -> None:
        super().__init__("http://127.0.0.1:1")

    async def post_webhook(
        self, body: bytes, headers: Mapping[str, str], *, answer_s: float
    ) -> int:
        now = asyncio.get_running_loop().time()
        self.posted.append((now, json.loads(body), headers, body))
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 0:
            raise ServiceUnreachable("nobody there")
        return status

    @property
    def told(self) -> list[str]:
        return [body["data"]["event_type"] for _, body, _, _ in self.posted]

    def payloads(self, event_type: str) -> list[dict[str, Any]]:
        return [
            body["data"]["payload"]
            for _, body, _, _ in self.posted
            if body["data"]["event_type"] == event_type
        ]


def lane_to(door: FrontDoor, **rules: Any) -> WebhookLane:
    return WebhookLane(door, WebhookSigner.generate(), DeliveryRules(**rules), now=lambda: 1000.0)


def leg() -> SimulatedLeg:
    return prospect_leg(MARIA, started_at=AT)


# --- signing ------------------------------------------------------------------------------------


@given(body=st.binary(max_size=200), timestamp=st.integers(0, 2**33))
def test_a_signature_holds_for_exactly_these_bytes_and_this_time(body: bytes, timestamp: int):
    signer = WebhookSigner(b"k" * 32)
    headers = signer.headers(body, timestamp=timestamp)
    key = Ed25519PublicKey.from_public_bytes(b64decode(signer.public_key))
    signature = b64decode(headers[SIGNATURE_HEADER])
    assert len(signature) == 64
    key.verify(signature, headers[TIMESTAMP_HEADER].encode() + b"|" + body)
    with pytest.raises(InvalidSignature):
        key.verify(signature, headers[TIMESTAMP_HEADER].encode() + b"|" + body + b" ")


def test_a_key_file_is_made_once_and_kept_private(tmp_path: Path):
    path = tmp_path / "webhook.key"
    first = WebhookSigner.open(path)
    assert WebhookSigner.open(path).public_key == first.public_key
    assert path.stat().st_mode & 0o777 == 0o600


# --- webhooks -----------------------------------------------------------------------------------


def test_every_webhook_has_the_shape_of_the_sdk():
    one = leg()
    one.transcription = TranscriptionOrder(tracks=("inbound",), names_track=True)
    line = heard_lines(spoken("I am busy"))[-1]
    built: list[tuple[Any, webhooks.Webhook]] = [
        (CallInitiated, webhooks.call_initiated(one, AT)),
        (CallAnswered, webhooks.call_answered(one, AT)),
        (CallBridged, webhooks.call_bridged(one, AT)),
        (CallHangup, webhooks.call_hangup(one, AT, cause="normal_clearing", source="callee")),
        (Transcription, webhooks.call_transcription(one, AT, line)),
        (CallGatherEnded, webhooks.call_gather_ended(one, AT, status="valid", digits="1")),
        (
            CallMachinePremiumDetectionEnded,
            webhooks.call_machine_detected(one, AT, is_machine=False, premium=True),
        ),
        (CallStreamingStarted, webhooks.streaming_started(one, AT, url="wss://x/y")),
        (
            CallStreamingFailed,
            webhooks.streaming_failed(
                one,
                AT,
                stream_id="S",
                params={"stream_url": "wss://x/y", "track": "both_tracks"},
                reason="refused",
            ),
        ),
    ]
    for shape, webhook in built:
        document = json.loads(webhook.body(attempt=2, delivered_to="http://here"))
        assert document["meta"] == {"attempt": 2, "delivered_to": "http://here"}
        assert document["data"]["occurred_at"] == "2026-11-02T15:30:00.250000Z"
        parsed = shape.model_validate(document["data"], strict=False)
        assert not parsed.model_extra, f"{webhook.event_type} has keys that Telnyx has not"
        assert parsed.payload is not None
        assert not parsed.payload.model_extra, f"{webhook.event_type}: {parsed.payload.model_extra}"
        assert document["data"]["payload"]["call_control_id"] == one.leg_id


def test_only_an_engine_that_tells_tracks_names_one():
    one = leg()
    line = heard_lines(spoken("I am busy"))[-1]
    one.transcription = TranscriptionOrder(tracks=("inbound",), names_track=False)
    silent = webhooks.call_transcription(one, AT, line).payload["transcription_data"]
    assert isinstance(silent, dict)
    assert "transcription_track" not in silent


def test_a_prospect_without_a_number_calls_us_and_withholds_it():
    stranger = prospect_leg(None, started_at=AT)
    assert (stranger.direction, stranger.from_, stranger.to) == ("incoming", WITHHELD, OUR_NUMBER)
    known = leg()
    assert (known.direction, known.from_, known.to) == ("outgoing", OUR_NUMBER, MARIA)
    assert known.leg_id != leg().leg_id


# --- delivery -----------------------------------------------------------------------------------


async def test_a_webhook_is_repeated_with_its_id_until_it_is_taken():
    door = FakeFrontDoor(statuses=[503, 0, 429, 200])
    lane = lane_to(door)
    fate = lane.send(webhooks.call_answered(leg(), AT))
    lane.close()
    await lane.run()
    assert await fate == "acknowledged"
    assert [body["meta"]["attempt"] for _, body, _, _ in door.posted] == [1, 2, 3, 4]
    assert len({body["data"]["id"] for _, body, _, _ in door.posted}) == 1
    assert (lane.counts.acknowledged, lane.counts.retries) == (1, 3)


@pytest.mark.parametrize("status", [301, 400, 401, 404])
async def test_a_refusal_is_never_repeated(status: int):
    door = FakeFrontDoor(statuses=[status])
    lane = lane_to(door)
    fate = lane.send(webhooks.call_answered(leg(), AT))
    lane.close()
    await lane.run()
    assert await fate == "refused"
    assert len(door.posted) == lane.counts.refused == 1
    assert lane.last_refusal == f"call.answered was answered {status}"


async def test_an_event_is_given_up_after_its_minute_and_the_next_one_goes_on():
    door = FakeFrontDoor(statuses=[0] * 17)
    lane = lane_to(door)
    lost = lane.send(webhooks.call_answered(leg(), AT))
    lane.close()
    await lane.run()
    assert await lost == "lost"
    assert asyncio.get_running_loop().time() == pytest.approx(60, abs=6)
    door.statuses.clear()
    lane = lane_to(door)
    taken = lane.send(webhooks.call_answered(leg(), AT))
    lane.close()
    await lane.run()
    assert await taken == "acknowledged"


async def test_webhooks_of_a_call_keep_their_order():
    door = FakeFrontDoor(statuses=[200, 503, 503, 200])
    lane = lane_to(door)
    for second in range(4):
        lane.send(webhooks.call_answered(leg(), AT + timedelta(seconds=second)))
    lane.close()
    await lane.run()
    stamps = [body["data"]["occurred_at"][17:19] for _, body, _, _ in door.posted]
    assert stamps == ["00", "01", "01", "01", "02", "03"]


async def adverse(seed: int) -> list[str]:
    door = FakeFrontDoor()
    lane = lane_to(door, adversity=Adversity(seed=seed, repeat=0.3, late_s=3.0))
    for second in range(20):
        lane.send(webhooks.call_answered(leg(), AT + timedelta(seconds=second)))
    lane.close()
    await lane.run()
    return [body["data"]["occurred_at"][17:19] for _, body, _, _ in door.posted]


async def test_adversity_shuffles_and_repeats_the_same_for_a_seed():
    first = await adverse(7)
    assert first == await adverse(7)
    assert first != await adverse(8)
    assert set(first) == {f"{n:02d}" for n in range(20)}
    assert first != sorted(first)
    assert len(first) > 20


# --- transcript and audio -----------------------------------------------------------------------


def spoken(*texts: str) -> RecordedCall:
    segments = tuple(
        SpokenSegment(
            speaker="agent" if index % 2 else "prospect",
            text=text,
            start_s=3.0 * index,
            end_s=3.0 * index + 2.0,
        )
        for index, text in enumerate(texts)
    )
    return RecordedCall(call_id="c", segments=segments)


@given(
    texts=st.lists(
        st.lists(st.sampled_from(["a", "word", "now"]), min_size=1, max_size=30).map(" ".join),
        min_size=1,
        max_size=8,
    )
)
def test_interims_grow_into_one_final_line_per_segment(texts: list[str]):
    call = spoken(*texts)
    lines = heard_lines(call)
    assert [line.at_s for line in lines] == sorted(line.at_s for line in lines)
    for index, segment in enumerate(call.segments):
        of_it = [line for line in lines if line.segment == index]
        *interims, final = of_it
        assert final.is_final
        assert (final.text, final.at_s) == (segment.text, segment.end_s)
        assert final.track == ("outbound" if segment.speaker == "agent" else "inbound")
        assert len(interims) <= 3
        for earlier, later in itertools.pairwise(of_it):
            assert later.text.startswith(earlier.text)
            assert not earlier.is_final
    assert all(line.segment >= 0 for line in lines)


def test_a_clause_has_two_interims_and_a_sentence_three():
    assert len(heard_lines(spoken("I am busy now"))) == 3
    assert len(heard_lines(spoken("I am really very busy at the moment"))) == 4
    assert len(heard_lines(spoken("Yes."))) == 1


@given(st.lists(st.integers(-32000, 32000), min_size=1, max_size=400))
def test_mu_law_keeps_what_a_telephone_keeps(samples: list[int]):
    before = np.array(samples, np.int16)
    after = decode_ulaw(encode_ulaw(before))
    # a step is a sixteenth of its octave
    assert np.all(np.abs(after.astype(int) - before) <= np.maximum(np.abs(before) / 16, 8))


def test_mu_law_silence_and_known_bytes():
    known = np.array([0, 32635, -32635, 1000, -1000], np.int16)
    assert encode_ulaw(known).hex() == "ff8000ce4e"


def test_wav_files_are_brought_to_telephone_audio(tmp_path: Path):
    wide = (8000 * np.sin(np.arange(1600) / 8)).astype(np.int16)
    for rate_hz, length in ((8000, 1600), (16000, 800)):
        path = tmp_path / f"{rate_hz}.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate_hz)
            file.writeframes(wide.tobytes())
        assert len(read_ulaw(path)) == length
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(wide.tobytes())
    with pytest.raises(RecordedCallInvalid, match=r"2 channel.*make it mono"):
        read_ulaw(path)
    path.write_bytes(b"no audio at all")
    with pytest.raises(RecordedCallInvalid, match="is not a WAV file"):
        read_ulaw(path)


def test_frames_count_as_strings_over_all_and_per_track():
    writer = FrameWriter(leg(), {"customer": "7"})
    frames = [json.loads(writer.connected()), json.loads(writer.start())]
    frames += [json.loads(writer.media(track, b"\xff" * 160)) for track in ("inbound", "outbound")]
    frames += [json.loads(writer.media("inbound", b"\xff" * 160)), json.loads(writer.stop())]
    assert [frame["event"] for frame in frames] == [
        *("connected", "start", "media", "media", "media", "stop"),
    ]
    assert [frame["sequence_number"] for frame in frames[1:]] == ["1", "2", "3", "4", "5"]
    media = [frame["media"] for frame in frames[2:5]]
    assert [(m["track"], m["chunk"], m["timestamp"]) for m in media] == [
        ("inbound", "1", "20"),
        ("outbound", "1", "20"),
        ("inbound", "2", "40"),
    ]
    assert frames[1]["start"]["media_format"]["encoding"] == "PCMU"
    assert frames[1]["start"]["custom_parameters"] == {"customer": "7"}
    assert "stream_id" not in frames[1]["start"]
    assert len({frame["stream_id"] for frame in frames[1:]}) == 1


def test_where_nobody_speaks_there_is_silence():
    assert frame_audio(b"\x01" * 200, 0) == b"\x01" * 160
    assert frame_audio(b"\x01" * 200, 1) == b"\x01" * 40 + b"\xff" * 120
    assert frame_audio(b"", 99) == b"\xff" * 160


def test_a_faulty_line_loses_and_reorders_the_same_for_a_seed():
    def carried(faults: MediaFaults) -> list[str]:
        line = FaultyLine(faults)
        return [arriving for n in range(2000) for arriving in line.carry(str(n))]

    faults = MediaFaults(seed=3, loss=0.05, reorder=0.1)
    assert carried(faults) == carried(faults)
    arrived = [int(frame) for frame in carried(faults)]
    assert 1850 < len(arrived) < 1950
    assert len(set(arrived)) == len(arrived)
    late = [n for n, (a, b) in enumerate(itertools.pairwise(arrived)) if b < a]
    assert late
    assert carried(MediaFaults(seed=3)) == [str(n) for n in range(2000)]


async def test_the_conversation_runs_at_its_own_speed():
    clock = ConversationClock(AT, speed=20)
    assert clock.now() == AT
    clock.start()
    await clock.sleep_until(40)
    assert asyncio.get_running_loop().time() == pytest.approx(2)
    assert clock.now() == AT + timedelta(seconds=40)
    with pytest.raises(ValueError, match="above 0"):
        ConversationClock(AT, speed=0)


# --- commands -----------------------------------------------------------------------------------

DIAL = {"connection_id": "1", "from": OUR_NUMBER, "to": KEVIN, "link_to": "v3:a"}


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("dial", DIAL | {"answering_machine_detection": "premium", "timeout_secs": 25}),
        ("dial", DIAL | {"to": [KEVIN], "webhook_urls": {"call.hangup": ["https://x"]}}),
        ("streaming_start", {"stream_url": "wss://x", "stream_track": "both_tracks"}),
        (
            "streaming_start",
            {"stream_url": "wss://x", "custom_parameters": [{"name": "a", "value": "b"}]},
        ),
        ("transcription_start", {"transcription_engine": "B", "transcription_tracks": "both"}),
        (
            "transcription_start",
            {
                "transcription_engine_config": {
                    "transcription_engine": "Google",
                    "interim_results": True,
                }
            },
        ),
        ("gather_using_speak", {"payload": "Press 1", "voice": "x", "maximum_digits": 1}),
        ("bridge", {"call_control_id": "v3:b", "prevent_double_bridge": True}),
        ("hangup", {"client_state": "dHJhbnNmZXI="}),
    ],
)
def test_good_commands_pass(action: str, body: dict[str, Any]):
    check_command(action, body)


@pytest.mark.parametrize(
    ("action", "body", "code", "says"),
    [
        ("dial", {"to": KEVIN, "from": OUR_NUMBER}, "10015", "connection_id: is required"),
        ("dial", DIAL | {"to": 7}, "10015", "to: 7 fits none"),
        ("dial", DIAL | {"from_": "x"}, "10015", "from_: is not a parameter"),
        ("dial", DIAL | {"timeout_secs": 4}, "10015", "timeout_secs: must be 5 to 600"),
        (
            "dial",
            {"connection_id": "1", "from": OUR_NUMBER, "to": KEVIN, "bridge_on_answer": True},
            "10015",
            "bridge_on_answer: needs link_to",
        ),
        ("dial", DIAL | {"webhook_urls": {"a": "b"}}, "10015", "webhook_urls.a: must be a list"),
        ("dial", DIAL | {"supervisor_role": "boss"}, "10015", "supervisor_role: 'boss' is none of"),
        ("streaming_start", {"stream_track": "both"}, "10015", "'both' is none of inbound_track"),
        ("streaming_start", {"stream_url": "https://x"}, "10015", "stream_url: must be a ws://"),
        (
            "streaming_start",
            {"stream_url": "wss://x", "custom_parameters": {"a": "b"}},
            "10015",
            "custom_parameters: must be a list",
        ),
        (
            "streaming_start",
            {"stream_url": "wss://x", "custom_parameters": [{"key": "b"}]},
            "10015",
            "custom_parameters.0.key: is not a parameter",
        ),
        ("transcription_start", {"language": "en"}, "10015", "language: is not a parameter"),
        (
            "bridge",
            {"call_control_id_to_bridge_with": "v3:b"},
            "10015",
            "call_control_id: is required",
        ),
        ("hangup", {"client_state": "not base64!"}, "90017", "client_state: must be base64"),
        ("bridge", {"call_control_id": "a", "play_ringtone": 1}, "10015", "must be bool, not 1"),
        ("speak", {"payload": "x" * 3001, "voice": "y"}, "10015", "payload: must not be longer"),
    ],
)
def test_what_telnyx_would_refuse_is_named(action: str, body: dict[str, Any], code: str, says: str):
    with pytest.raises(CommandFault) as caught:
        check_command(action, body)
    fault = caught.value
    assert (fault.status, fault.code) == (422, code)
    assert says in fault.detail
    assert fault.document()["errors"]


# --- the closer ---------------------------------------------------------------------------------

GATHER = {"payload": "Press one to take the call", "voice": "x", "valid_digits": "12"}
DIALLED = DIAL | {"answering_machine_detection": "premium", "timeout_secs": 25}


@dataclass
class Ringing:
    """A call with Maria on the line and Kevin's telephone about to ring."""

    call: SimulatedCall
    kevin: SimulatedLeg
    door: FakeFrontDoor
    playing: "asyncio.Task[None]"


@asynccontextmanager
async def ringing(script: CloserScript, speed: float = 10.0) -> AsyncIterator[Ringing]:
    door = FakeFrontDoor()
    lane = lane_to(door)
    clock = ConversationClock(AT, speed=speed)
    async with asyncio.TaskGroup() as tasks:
        call = SimulatedCall(leg(), clock, lane, tasks, stream_rules=StreamRules())
        tasks.create_task(lane.run())
        clock.start()
        call.ring(call.prospect)
        call.answer(call.prospect)
        kevin = call.dial(DIALLED | {"client_state": "a2V2aW4="})
        playing = tasks.create_task(play_closer(call, kevin, DIALLED, script))
        yield Ringing(call=call, kevin=kevin, door=door, playing=playing)
        await playing
        await call.end(source="callee", within_s=60)
        lane.close()


ABOUT_KEVIN = ["call.initiated", "call.answered"]


async def test_he_accepts_is_bridged_and_leaves_when_all_is_said():
    async with ringing(CloserScript()) as at:
        at.call.recording_s = 30.0
        await at.call.until(lambda: "ended" in str(at.door.told), within_s=20)
        at.call.gather(at.kevin, GATHER)
        await at.call.until(lambda: "call.gather.ended" in at.door.told, within_s=20)
        at.call.bridge(
            at.call.prospect, {"call_control_id": at.kevin.leg_id, "park_after_unbridge": "self"}
        )
        await at.playing
        assert at.call.prospect.alive, "parked: she outlives the bridge"
        assert at.call.clock.now_s() == pytest.approx(38, abs=0.5)
    assert at.door.told == [
        *("call.initiated", "call.answered", "call.initiated", "call.answered"),
        *("call.machine.premium.detection.ended", "call.gather.ended"),
        *("call.bridged", "call.bridged", "call.hangup", "call.hangup"),
    ]
    (pressed,) = at.door.payloads("call.gather.ended")
    assert (pressed["status"], pressed["digits"]) == ("valid", "1")
    assert pressed["client_state"] == "a2V2aW4="
    assert pressed["call_session_id"] == at.call.prospect.call_session_id
    assert {p["call_control_id"] for p in at.door.payloads("call.bridged")} == set(at.call.legs)
    first, second = at.door.payloads("call.hangup")
    assert (first["call_control_id"], first["hangup_source"]) == (at.kevin.leg_id, "callee")
    assert second["call_control_id"] == at.call.prospect.leg_id


async def test_he_declines_with_the_other_digit():
    async with ringing(CloserScript(behaviour="declines")) as at:
        await at.call.until(lambda: at.kevin.state == "answered", within_s=20)
        at.call.gather(at.kevin, GATHER)
        await at.call.until(lambda: "call.gather.ended" in at.door.told, within_s=20)
        at.call.hang_up(at.kevin, cause="normal_clearing", source="caller")
    (pressed,) = at.door.payloads("call.gather.ended")
    assert (pressed["status"], pressed["digits"]) == ("valid", "2")


@pytest.mark.parametrize(
    ("script", "cause", "after_s"),
    [
        (CloserScript(behaviour="busy"), "user_busy", 0.5),
        (CloserScript(behaviour="no_answer"), "timeout", 25),
        (CloserScript(behaviour="voicemail"), "normal_clearing", 43.5),
        # nobody asks him anything: his patience ends, twice
        (CloserScript(patience_s=10), "normal_clearing", 24.5),
    ],
)
async def test_he_is_not_reached(script: CloserScript, cause: str, after_s: float):
    async with ringing(script) as at:
        await at.playing
        assert at.call.clock.now_s() == pytest.approx(after_s, abs=0.5)
    assert at.door.payloads("call.hangup")[0]["hangup_cause"] == cause
    results = [p["result"] for p in at.door.payloads("call.machine.premium.detection.ended")]
    assert results == {"voicemail": ["machine"], "accepts": ["human_residence"]}.get(
        script.behaviour, []
    )


async def test_a_cancelled_dial_stops_ringing_at_once():
    async with ringing(CloserScript()) as at:
        await at.call.until(lambda: "call.initiated" in at.door.told, within_s=1)
        at.call.hang_up(at.kevin, cause="originator_cancel", source="caller")
        with pytest.raises(CommandFault, match="has ended") as caught:
            at.call.hang_up(at.kevin, cause="originator_cancel", source="caller")
        assert caught.value.code == "90018"
        await at.playing
    assert at.door.payloads("call.answered") == at.door.payloads("call.answered")[:1]


async def test_a_leg_that_leaves_ends_its_gathering_and_its_unparked_peer():
    async with ringing(CloserScript()) as at:
        await at.call.until(lambda: at.kevin.state == "answered", within_s=20)
        at.call.gather(at.kevin, GATHER)
        at.call.bridge(at.call.prospect, {"call_control_id": at.kevin.leg_id})
        with pytest.raises(CommandFault, match="is bridged"):
            at.call.bridge(
                at.call.prospect,
                {"call_control_id": at.kevin.leg_id, "prevent_double_bridge": True},
            )
        at.call.hang_up(at.call.prospect, cause="normal_clearing", source="callee")
        assert not at.kevin.alive
        await at.playing
    assert at.door.payloads("call.gather.ended")[0]["status"] == "call_hangup"


async def test_what_a_ringing_or_ended_leg_cannot_do():
    async with ringing(CloserScript()) as at:
        await at.call.until(lambda: at.kevin.leg_id in at.call.legs, within_s=1)
        attempts: list[Callable[[], None]] = [
            lambda: at.call.bridge(at.call.prospect, {"call_control_id": at.kevin.leg_id}),
            lambda: at.call.gather(at.kevin, GATHER),
            lambda: at.call.start_transcription(at.kevin, {}),
        ]
        for attempt in attempts:
            with pytest.raises(CommandFault) as caught:
                attempt()
            assert caught.value.code == "90034"
        at.call.start_transcription(at.call.prospect, {"transcription_tracks": "both"})
        with pytest.raises(CommandFault) as caught:
            at.call.start_transcription(at.call.prospect, {})
        assert caught.value.code == "90054"
        at.call.hang_up(at.kevin, cause="originator_cancel", source="caller")


async def test_text_flows_only_for_the_tracks_that_were_asked_for():
    agent_line, prospect_line = heard_lines(spoken("Yes.", "Hello."))[::-1]
    async with ringing(CloserScript(behaviour="busy")) as at:
        assert at.call.say(prospect_line) is None
        at.call.start_transcription(at.call.prospect, {"transcription_engine": "Deepgram"})
        assert at.call.say(agent_line) is None, "inbound is the default"
        assert at.call.say(prospect_line) is not None
        at.call.stop_transcription(at.call.prospect)
        assert at.call.say(prospect_line) is None
        await at.playing
    (heard,) = at.door.payloads("call.transcription")
    assert "transcription_track" not in heard["transcription_data"]


# --- the account --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "token", "expected"),
    [
        ("ws://h/telnyx/media", "a+b", "ws://h/telnyx/media?token=a%2Bb"),
        ("ws://h/telnyx/media?x=1", "t", "ws://h/telnyx/media?x=1&token=t"),
        ("ws://h/telnyx/media?token=t", "t", "ws://h/telnyx/media?token=t"),
        ("ws://h/telnyx/media", None, "ws://h/telnyx/media"),
        (None, "t", None),
    ],
)
def test_the_token_is_in_the_media_url(url: str | None, token: str | None, expected: str | None):
    assert Attached(call_id="c", stream_url=url, token=token).media_url == expected


STORES = {"conversations": "delivered", "postgres": "delivered", "neo4j": "delivered"}
ROW = ReplayedCall(
    call_id="file-1",
    sidecar_call_id="0190",
    segments=3,
    acknowledged=3,
    hints=2,
    score_start=48.2,
    score_end=77.9,
    hint_p50_ms=31.0,
    hint_max_ms=44.4,
    outcome="hot_transfer",
    stores=STORES | {"chroma": "delivered"},
    refused=0,
    lost=0,
    retries=0,
    frames=0,
    stream=None,
    error=None,
)


def test_the_report_counts_each_hint_once_and_keeps_first_and_last_score():
    heard = HeardCall()
    hint = {"type": "hint", "hint_id": "h1", "latency_ms": 30.0}
    for message in (
        {"type": "score", "call_engagement": None},
        {"type": "score", "call_engagement": 50},
        hint,
        hint | {"hint_id": "h2", "latency_ms": 50.0},
        hint,
        {"type": "score", "call_engagement": 71.5},
        {"type": "call", "state": "ended"},
    ):
        heard.hear(message)
    assert heard.scores == [50.0, 71.5]
    assert heard.latencies_ms == [30.0, 50.0]
    assert heard.p50_ms == 40.0
    assert HeardCall().p50_ms is None


def test_the_report_is_clean_or_says_what_differs():
    report = ReplayReport(calls=(ROW,))
    document = json.loads(json.dumps(report.document()))
    assert document["verify"] == "clean"
    assert document["calls"][0]["call_id"] == "file-1"
    assert document["calls"][0]["stores"]["chroma"] == "delivered"
    differing = replace(report, differences=("neo4j: 0190 is missing",))
    assert differing.document()["verify"] == ["neo4j: 0190 is missing"]
    failed = replace(report, verify_error="no answer")
    assert failed.document()["verify"] == ["no answer"]
    assert not failed.clean


def test_the_table_says_which_store_is_late():
    late = replace(ROW, stores=STORES, hints=0, hint_p50_ms=None, hint_max_ms=None)
    assert ROW.complete
    assert not late.complete
    assert table_rows(ReplayReport(calls=(ROW, late))) == [
        ("file-1", "3", "48 → 78", "2", "31 / 44", "hot_transfer", "all 4", ""),
        ("file-1", "3", "48 → 78", "0", "- / -", "hot_transfer", "chroma unknown", ""),
    ]
