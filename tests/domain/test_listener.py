from collections.abc import Sequence
from importlib import import_module
from itertools import chain, zip_longest
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_sidecar.domain.audio import G711, Decoder
from agent_sidecar.domain.dialogue import Dialogue
from agent_sidecar.domain.events import SpeechHeard
from agent_sidecar.domain.listener import Listener, warm_up
from agent_sidecar.domain.media import MediaFrame
from agent_sidecar.domain.types import Party, Samples, Track
from bench._line import echo_of, lose, music, shuffle
from bench._spoken import Voice
from tests.domain.sounds import FRAME, frames, noise, track, voice

PARTIES: dict[Track, Party] = {"inbound": "prospect", "outbound": "agent"}
Stretches = Sequence[tuple[float, float]]


def a_listener(
    *,
    start_s: float = 0.0,
    phase: float = 0.5,
    encoding: str = "PCMU",
    dialogue: Dialogue | None = None,
) -> Listener:
    new = G711.ulaw if encoding == "PCMU" else G711.alaw
    decoders: dict[Track, Decoder] = {"inbound": new(), "outbound": new()}
    return Listener(decoders, start_s=start_s, parties=PARTIES, phase=phase, dialogue=dialogue)


def both(prospect: Samples, agent: Samples) -> list[MediaFrame]:
    """Return the frames of both tracks as they come, turn by turn."""
    pairs = zip_longest(frames("inbound", prospect), frames("outbound", agent))
    return [frame for frame in chain.from_iterable(pairs) if frame is not None]


def hear(listener: Listener, arriving: Sequence[MediaFrame]) -> list[SpeechHeard]:
    out = [speech for frame in arriving for speech in listener.receive(frame)]
    return [*out, *listener.flush()]


def talk(prospect: Stretches, agent: Stretches, length_s: float = 10.0) -> list[SpeechHeard]:
    return hear(a_listener(), both(track(prospect, length_s), track(agent, length_s)))


def of(heard: list[SpeechHeard], party: Party) -> list[SpeechHeard]:
    return [speech for speech in heard if speech.party == party]


@pytest.mark.parametrize("phase", [0.0, 0.3, 1.0])
def test_each_party_is_heard_on_its_track_in_call_time(phase):
    listener = a_listener(start_s=60.0, phase=phase)
    heard = hear(listener, both(track([(4.0, 6.0)], 8.0), track([(1.0, 3.0)], 8.0)))
    assert [speech.party for speech in heard] == ["agent", "prospect"]
    assert [speech.start_s for speech in heard] == pytest.approx([61.0, 64.0], abs=0.12)
    assert [speech.end_s for speech in heard] == pytest.approx([63.0, 66.0], abs=0.12)
    assert listener.heard_s == pytest.approx(68.0)
    assert listener.frames_lost == 0


def test_the_words_of_a_party_end_its_speech_and_nobody_else_s():
    listener = a_listener()
    arriving = both(track([(1.0, 3.06)], 3.06), track([(0.0, 3.06)], 3.06))
    assert [speech for frame in arriving for speech in listener.receive(frame)] == []
    (said,) = listener.end_speech("prospect")
    assert said.party == "prospect"
    assert said.start_s == pytest.approx(1.0, abs=0.12)
    assert said.end_s == pytest.approx(3.06, abs=0.02)
    assert not listener.end_speech("prospect")
    assert [speech.party for speech in listener.flush()] == ["agent"]


def test_words_before_the_first_frame_do_not_say_when_a_track_began():
    listener = a_listener()
    assert not listener.end_speech("agent")
    for frame in frames("inbound", track([], 5.0)):
        listener.receive(frame)
    assert not listener.end_speech("agent")
    (said,) = hear(listener, [*frames("outbound", track([(0.0, 1.0)], 2.0))])
    assert said.start_s == pytest.approx(5.0, abs=0.45)


def test_an_answer_is_as_late_as_the_silence_before_it():
    (answer,) = of(talk([(4.5, 6.0)], [(1.0, 3.0)]), "prospect")
    assert answer.acoustics.response_latency_s == pytest.approx(1.5, abs=0.12)
    assert answer.acoustics.pause_s == pytest.approx(1.5, abs=0.12)
    assert answer.acoustics.overtalk_s == 0.0


def test_who_goes_on_after_a_pause_of_his_own_answers_nobody():
    heard = of(talk([(2.0, 3.0), (5.0, 6.0)], [(0.0, 1.0)]), "prospect")
    assert heard[0].acoustics.response_latency_s == pytest.approx(1.0, abs=0.12)
    assert heard[1].acoustics.response_latency_s is None
    assert heard[1].acoustics.pause_s == pytest.approx(2.0, abs=0.12)


def test_who_speaks_first_answers_nobody_and_has_no_pause():
    (first,) = of(talk([(1.0, 2.0)], []), "prospect")
    assert first.acoustics.response_latency_s is None
    assert first.acoustics.pause_s is None


def test_who_breaks_in_talks_over_and_does_not_hesitate_and_the_other_is_not_blamed():
    heard = talk([(4.0, 6.0)], [(0.5, 1.5), (3.0, 5.0)])
    (broke_in,) = of(heard, "prospect")
    assert broke_in.acoustics.overtalk_s == pytest.approx(1.0, abs=0.12)
    assert broke_in.acoustics.response_latency_s == 0.0
    assert broke_in.acoustics.pause_s == 0.0
    assert [speech.acoustics.overtalk_s for speech in of(heard, "agent")] == [0.0, 0.0]


def test_talking_into_speech_that_still_goes_on_is_overtalk():
    (broke_in,) = of(talk([(3.0, 4.0)], [(1.0, 9.0)]), "prospect")
    assert broke_in.acoustics.overtalk_s == pytest.approx(1.0, abs=0.12)
    assert broke_in.acoustics.response_latency_s == 0.0


def test_a_voice_is_compared_with_its_own_median_so_far():
    parts = [voice(1.0, pitch_hz=pitch) for pitch in (100.0, 100.0, 200.0)]
    prospect = np.concatenate([part for one in parts for part in (one, noise(1.0))])
    shifts = [s.acoustics.tonal_shift_st for s in hear(a_listener(), both(prospect, noise(6.0)))]
    assert shifts == pytest.approx([0.0, 0.0, 12.0], abs=0.3)


def test_speech_without_a_pitch_has_no_shift():
    hiss = np.concatenate([*(noise(0.1, level=one) for one in (0.1, 0.02, 0.15)), noise(1.0)])
    (speech,) = hear(a_listener(), both(hiss, noise(2.0)))
    assert speech.acoustics.tonal_shift_st is None


@pytest.mark.parametrize("encoding", ["PCMU", "PCMA"])
def test_lost_frames_are_silence_of_the_same_length(encoding):
    listener = a_listener(encoding=encoding)
    quiet = b"\xff" if encoding == "PCMU" else b"\xd5"
    for chunk in (1, *range(3, 200)):
        assert not listener.receive(MediaFrame("inbound", chunk, quiet * FRAME))
    assert listener.frames_lost == 1
    assert listener.heard_s == pytest.approx(199 * 0.02, abs=0.41)
    assert not listener.flush()
    assert listener.heard_s == pytest.approx(199 * 0.02)


def test_frames_that_wait_behind_a_gap_are_heard_when_the_stream_ends():
    listener = a_listener()
    arriving = list(frames("inbound", track([(0.0, 1.0)], 2.0)))
    del arriving[-3]
    assert len(hear(listener, arriving)) == 1
    assert listener.frames_lost == 1
    assert listener.heard_s == pytest.approx(2.0)


def test_after_the_bridge_the_other_voice_is_the_closer_with_a_baseline_of_his_own():
    listener = a_listener()
    agent = [*frames("outbound", track([(0.5, 1.5)], 3.0, pitch_hz=200.0))]
    closer = [*frames("outbound", track([(0.5, 1.5)], 3.0, pitch_hz=100.0), first=151)]
    first = [speech for frame in agent for speech in listener.receive(frame)]
    listener.set_party("outbound", "closer")
    second = hear(listener, closer)
    assert [speech.party for speech in (*first, *second)] == ["agent", "closer"]
    assert second[0].acoustics.tonal_shift_st == 0.0


def test_the_voices_of_an_earlier_stream_of_the_leg_are_known():
    dialogue = Dialogue()
    agent = track([(1.0, 3.0)], 6.0, pitch_hz=100.0)
    hear(a_listener(dialogue=dialogue), both(track([(4.0, 5.0)], 6.0, pitch_hz=120.0), agent))
    later = a_listener(start_s=10.0, dialogue=dialogue)
    (said,) = hear(later, both(track([(1.0, 2.0)], 4.0, pitch_hz=160.0), noise(4.0)))
    assert said.acoustics.tonal_shift_st == pytest.approx(5.0, abs=0.3)
    assert said.acoustics.pause_s == pytest.approx(6.0, abs=0.15)
    assert said.acoustics.response_latency_s is None
    assert said.acoustics.talk_ratio == pytest.approx(0.5, abs=0.05)


def test_what_was_wrong_with_frames_is_counted_by_its_kind():
    listener = a_listener()
    arriving = list(frames("inbound", track([(0.5, 1.0)], 2.0)))
    late, again = arriving[20], arriving[50]
    arriving[60:60] = [late, again]
    del arriving[20]
    hear(listener, [*arriving[:80], *arriving[81:83], arriving[82], *arriving[83:]])
    assert listener.faults == {"lost": 2, "late": 2, "repeated": 1, "garbled": 0}
    assert listener.frames_lost == 2


@pytest.mark.parametrize(
    "step", ["listener.conceal", "segmenter.magnitudes", "segmenter.pitches_hz", "echo._leaked"]
)
def test_all_that_measures_is_tried_before_the_first_call(
    step: str, monkeypatch: pytest.MonkeyPatch
):
    place = f"agent_sidecar.domain.{step}"
    module, name = place.rsplit(".", 1)
    spy = Mock(wraps=getattr(import_module(module), name))
    monkeypatch.setattr(place, spy)
    warm_up()
    assert spy.called


def test_a_track_that_begins_later_is_put_where_it_belongs():
    listener = a_listener(start_s=10.0)
    early = list(frames("inbound", track([(6.0, 7.0)], 8.0)))
    late = list(frames("outbound", track([(0.5, 1.5)], 4.0)))
    together = list(chain.from_iterable(zip(early[200:], late, strict=True)))
    heard = hear(listener, [*early[:200], *together])
    assert [speech.party for speech in heard] == ["agent", "prospect"]
    assert heard[0].start_s == pytest.approx(14.5, abs=0.15)
    assert heard[1].acoustics.response_latency_s == pytest.approx(0.5, abs=0.2)


def test_speech_heard_together_at_the_end_comes_in_its_order():
    heard = hear(a_listener(), both(track([(1.0, 2.0)], 2.0), track([(0.2, 2.0)], 2.0)))
    assert [speech.party for speech in heard] == ["agent", "prospect"]


def test_a_voice_goes_on_over_lost_frames_which_are_counted():
    arriving = [f for f in frames("inbound", track([(1.0, 3.0)], 5.0)) if f.chunk % 17]
    listener = a_listener()
    (said,) = hear(listener, arriving)
    assert (said.start_s, said.end_s) == pytest.approx((1.0, 3.0), abs=0.12)
    assert said.acoustics.talk_s == pytest.approx(2.0, abs=0.12)
    assert said.acoustics.inner_pause_s == 0.0
    assert listener.frames_lost == 250 // 17


def test_frames_of_a_few_samples_are_concealed_as_well():
    listener = a_listener()
    said = track([(0.5, 1.5)], 3.0)
    small = [
        MediaFrame("inbound", number, frame.payload[half : half + FRAME // 2])
        for number, (frame, half) in enumerate(
            ((frame, half) for frame in frames("inbound", said) for half in (0, FRAME // 2)), 1
        )
        if number % 23
    ]
    (heard,) = hear(listener, small)
    assert (heard.start_s, heard.end_s) == pytest.approx((0.5, 1.5), abs=0.12)


def test_what_leaks_from_the_other_track_and_what_is_music_is_counted():
    agent = Voice(3, pitch_hz=110).turn(4.0).samples
    leak = echo_of(agent, delay_s=0.1, loss_db=10)
    listener = a_listener()
    heard = hear(listener, both(leak, agent))
    assert {speech.party for speech in heard} == {"agent"}
    assert listener.echo_s > 1.0
    assert listener.masked_s == 0.0
    held = a_listener()
    assert hear(held, both(noise(8.0), music(8.0, "band"))) == []
    assert held.masked_s == pytest.approx(8.0, abs=0.5)


@settings(max_examples=10)
@given(seed=st.integers(0, 1000), places=st.integers(1, 3), phase=st.floats(0, 1))
def test_any_order_within_the_window_gives_the_same_speech(seed, places, phase):
    arriving = both(track([(1.0, 2.0), (3.5, 4.5)], 6.0), track([(1.8, 3.0)], 6.0))
    expected = {(s.party, s.start_s, s.end_s) for s in hear(a_listener(), arriving)}
    listener = a_listener(phase=phase)
    found = hear(listener, shuffle(arriving, places, seed))
    assert {(s.party, s.start_s, s.end_s) for s in found} == expected
    assert listener.frames_lost == 0


@settings(max_examples=15)
@given(
    seed=st.integers(0, 1000),
    share=st.floats(0, 0.9),
    burst=st.integers(1, 60),
    sizes=st.lists(st.integers(0, 400), min_size=1, max_size=5),
)
def test_whatever_is_lost_or_cut_nothing_breaks_and_time_adds_up(seed, share, burst, sizes):
    arriving = lose(both(track([(0.5, 2.0)], 3.0), voice(3.0)), share, seed, burst=burst)
    for place, frame in enumerate(arriving):
        frame.payload = frame.payload[: sizes[place % len(sizes)]]
    listener = a_listener()
    heard = hear(listener, arriving)
    for speech in heard:
        assert 0.0 <= speech.start_s < speech.end_s <= listener.heard_s + 1e-3
        assert 0.0 < speech.acoustics.talk_s <= speech.end_s - speech.start_s + 1e-3
    assert listener.frames_lost <= 300
