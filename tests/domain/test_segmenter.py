import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_sidecar.domain.segmenter import (
    HANGOVER_S,
    LONGEST_S,
    SHORTEST_S,
    STEP_S,
    Segmenter,
    Speech,
)
from agent_sidecar.domain.types import Samples
from tests.domain.sounds import RATE_HZ, noise, track, voice


def hear(samples: Samples, *, batch: int = 1600, start_s: float = 0.0) -> list[Speech]:
    segmenter = Segmenter(RATE_HZ, start_s=start_s)
    out = []
    for start in range(0, samples.size, batch):
        out += segmenter.receive(samples[start : start + batch])
    assert segmenter.heard_s == pytest.approx(start_s + samples.size / RATE_HZ)
    return out + segmenter.flush()


@st.composite
def conversations(draw: st.DrawFn) -> list[tuple[float, float]]:
    """Draw stretches of speech with pauses that end them, the first perhaps at once."""
    at_s, out = draw(st.sampled_from([0.0, 0.5])), []
    for _ in range(draw(st.integers(1, 4))):
        length_s = draw(st.floats(0.3, 3.0))
        out.append((at_s, at_s + length_s))
        at_s += length_s + draw(st.floats(HANGOVER_S + 0.1, 2.0))
    return out


@settings(max_examples=30)
@given(stretches=conversations(), level=st.floats(0.03, 0.3), pitch=st.floats(80, 300))
def test_known_speech_is_found_where_it_is(stretches, level, pitch):
    length_s = stretches[-1][1] + 1.0
    found = hear(track(stretches, length_s, level=level, pitch_hz=pitch))
    assert len(found) == len(stretches)
    for speech, (start_s, end_s) in zip(found, stretches, strict=True):
        assert speech.start_s == pytest.approx(start_s, abs=0.12)
        assert speech.end_s == pytest.approx(end_s, abs=0.12)
        assert speech.talk_s == pytest.approx(end_s - start_s, abs=0.12)
        assert speech.pitch_hz == pytest.approx(pitch, rel=0.02)


@settings(max_examples=20)
@given(
    bursts=st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 0.4)), min_size=1, max_size=8),
    cuts=st.lists(st.integers(1, 4000), min_size=1, max_size=40),
)
def test_speech_is_ordered_apart_inside_the_audio_and_the_same_however_it_was_cut(bursts, cuts):
    parts = [
        part
        for seed, (seconds, level) in enumerate(bursts)
        for part in (voice(seconds, level=level), noise(seconds, level=level / 50, seed=seed))
    ]
    samples = np.concatenate(parts)
    whole = hear(samples, batch=max(1, samples.size))
    segmenter = Segmenter(RATE_HZ)
    piecewise, start = [], 0
    for place in range(samples.size):
        size = cuts[place % len(cuts)]
        piecewise += segmenter.receive(samples[start : start + size])
        start += size
        if start >= samples.size:
            break
    piecewise += segmenter.flush()
    assert len(piecewise) == len(whole)
    before = 0.0
    for one, other in zip(whole, piecewise, strict=True):
        assert (one.start_s, one.end_s, one.talk_s) == (other.start_s, other.end_s, other.talk_s)
        assert one.volume_dbfs == pytest.approx(other.volume_dbfs, abs=0.01)
        assert (one.pitch_hz is None) == (other.pitch_hz is None)
        if one.pitch_hz is not None:
            assert one.pitch_hz == pytest.approx(other.pitch_hz, rel=1e-3)
        assert before <= one.start_s < one.end_s <= samples.size / RATE_HZ + 1e-9
        assert SHORTEST_S - 1e-9 <= one.talk_s <= one.end_s - one.start_s + 1e-9
        before = one.end_s


def test_the_volume_is_that_of_the_speech_and_not_of_its_pauses():
    said = voice(1.0, level=0.2)
    expected = 10 * np.log10(float(np.mean(said**2)))
    (speech,) = hear(np.concatenate([said, noise(0.4), said, noise(1.0)]))
    assert speech.volume_dbfs == pytest.approx(expected, abs=0.5)
    assert speech.talk_s == pytest.approx(2.0, abs=0.05)
    assert speech.end_s - speech.start_s == pytest.approx(2.4, abs=0.05)


def test_a_click_is_not_speech():
    assert hear(np.concatenate([noise(1.0), voice(0.08), noise(1.0)])) == []


def test_speech_without_a_pitch_has_none():
    (speech,) = hear(np.concatenate([noise(0.5, level=0.1), noise(1.0)]))
    assert speech.pitch_hz is None


def test_a_long_speech_is_cut_and_goes_on():
    syllable = np.concatenate([voice(0.4), noise(0.1)])
    first, second = hear(np.concatenate([np.tile(syllable, 36), noise(1.0)]))
    assert first.end_s - first.start_s == pytest.approx(LONGEST_S, abs=0.12)
    assert second.start_s == pytest.approx(first.end_s, abs=0.12)
    assert second.end_s == pytest.approx(36 * 0.5, abs=0.12)


def test_speech_that_goes_on_at_the_end_is_flushed_once():
    segmenter = Segmenter(RATE_HZ)
    assert segmenter.speaking_since_s is None
    assert segmenter.receive(voice(1.0)) == []
    assert segmenter.speaking_since_s == pytest.approx(0.0, abs=STEP_S)
    (speech,) = segmenter.flush()
    assert speech.end_s == pytest.approx(1.0, abs=STEP_S)
    assert segmenter.flush() == []


def test_a_constant_noise_is_speech_for_a_few_seconds_at_most():
    found = hear(noise(20.0, level=0.01))
    assert sum(speech.talk_s for speech in found) < 4.0


def test_a_hole_in_the_line_does_not_turn_its_noise_into_speech_for_long():
    line = noise(20.0, level=0.005)
    line[8 * RATE_HZ : 9 * RATE_HZ] = 0.0
    late = [speech for speech in hear(line) if speech.start_s > 8.0]
    assert sum(speech.talk_s for speech in late) < 4.0


def test_call_time_begins_where_it_is_said_to():
    (speech,) = hear(track([(1.0, 2.0)], 3.0), start_s=100.0)
    assert speech.start_s == pytest.approx(101.0, abs=0.12)
    segmenter = Segmenter(RATE_HZ)
    segmenter.begin_at(7.0)
    assert segmenter.heard_s == 7.0
