import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent_sidecar.domain.segmenter import BLOCK_S, BRIDGE_S, LONGEST_S, Segmenter
from agent_sidecar.domain.speech import HANGOVER_S, SHORTEST_S, Speech
from agent_sidecar.domain.tonality import Mask
from agent_sidecar.domain.types import Samples
from agent_sidecar.domain.voice_activity import STEP_S
from bench._line import music
from tests.domain.sounds import RATE_HZ, noise, track, voice


def hear(samples: Samples, *, batch: int = 1600, start_s: float = 0.0) -> list[Speech]:
    segmenter = Segmenter(start_s=start_s)
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
    segmenter = Segmenter()
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
        assert one.spans == other.spans
        assert one.syllables == other.syllables
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
    whispered = [noise(0.1, level=level) for level in (0.1, 0.02, 0.15, 0.03, 0.1)]
    (speech,) = hear(np.concatenate([*whispered, noise(1.0)]))
    assert speech.pitch_hz is None
    assert speech.talk_s == pytest.approx(0.5, abs=0.05)


def test_a_long_speech_is_cut_and_goes_on():
    syllable = np.concatenate([voice(0.4), noise(0.1)])
    first, second = hear(np.concatenate([np.tile(syllable, 36), noise(1.0)]))
    assert first.end_s - first.start_s == pytest.approx(LONGEST_S, abs=0.12)
    assert second.start_s == pytest.approx(first.end_s, abs=0.12)
    assert (first.begun_s, second.begun_s) == (first.start_s, first.start_s)
    assert second.end_s == pytest.approx(36 * 0.5, abs=0.12)


def test_speech_that_goes_on_at_the_end_is_flushed_once():
    segmenter = Segmenter()
    assert segmenter.open_speech is None
    assert segmenter.receive(voice(1.0)) == []
    assert segmenter.open_speech is not None
    assert segmenter.open_speech.parts == [[pytest.approx((0.0, 1.0), abs=STEP_S)]]
    (speech,) = segmenter.flush()
    assert speech.end_s == pytest.approx(1.0, abs=STEP_S)
    assert segmenter.flush() == []


def test_a_constant_noise_is_no_speech():
    assert hear(noise(20.0, level=0.01)) == []
    assert hear(np.concatenate([noise(3.0), noise(20.0, level=0.03)])) == []


def test_a_hole_in_the_line_does_not_turn_its_noise_into_speech():
    line = noise(20.0, level=0.005)
    line[8 * RATE_HZ : 9 * RATE_HZ] = 0.0
    assert hear(line) == []


def test_call_time_begins_where_it_is_said_to():
    (speech,) = hear(track([(1.0, 2.0)], 3.0), start_s=100.0)
    assert speech.start_s == pytest.approx(101.0, abs=0.12)
    segmenter = Segmenter()
    segmenter.begin_at(7.0)
    assert segmenter.heard_s == 7.0


def lose(samples: Samples, *holes: tuple[float, float]) -> tuple[Samples, Mask]:
    """Return the samples with silence in the holes, and where these are."""
    lost = np.zeros(samples.size, np.bool_)
    for start_s, end_s in holes:
        lost[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)] = True
    return np.where(lost, np.float32(0), samples), lost


def hear_lost(samples: Samples, lost, *, batch: int) -> list[Speech]:
    segmenter, out = Segmenter(), []
    for start in range(0, samples.size, batch):
        part = lost[start : start + batch]
        out += segmenter.receive(samples[start : start + batch], part if part.any() else None)
    return [*out, *segmenter.flush()]


@settings(max_examples=15)
@example(batch=170, at_s=1.5, long_s=0.02)
@given(batch=st.integers(90, 9000), at_s=st.floats(1.2, 2.6), long_s=st.sampled_from([0.02, 0.15]))
def test_speech_bridges_what_never_came_wherever_the_batches_end(batch, at_s, long_s):
    samples, lost = lose(track([(1.0, 3.0)], 4.5), (at_s, at_s + long_s))
    (speech,) = hear_lost(samples, lost, batch=batch)
    assert (speech.start_s, speech.end_s) == pytest.approx((1.0, 3.0), abs=0.12)
    assert speech.talk_s == pytest.approx(2.0, abs=0.12)
    (whole,) = hear_lost(samples, lost, batch=samples.size)
    assert speech.spans == whole.spans


def test_a_longer_hole_is_a_pause_and_the_end_may_be_in_one():
    samples, lost = lose(track([(1.0, 3.0)], 4.5), (1.6, 1.6 + 2 * BRIDGE_S), (2.9, 3.2))
    (speech,) = hear_lost(samples, lost, batch=3200)
    assert speech.pauses_s == pytest.approx(2 * BRIDGE_S, abs=0.05)
    assert speech.end_s == pytest.approx(2.9, abs=0.05)


def test_holes_do_not_make_speech_of_the_line_s_noise():
    line = noise(6.0, level=0.004)
    samples, lost = lose(line, *((at, at + 0.1) for at in np.arange(1.0, 5.0, 0.5)))
    assert hear_lost(samples, lost, batch=1600) == []


def test_noise_that_begins_in_speech_is_taken_out_of_it_again():
    line = track([(0.5, 1.5)], 5.0)
    line[round(1.7 * RATE_HZ) :] += noise(3.3, level=0.02)
    (speech,) = hear(line)
    assert speech.end_s == pytest.approx(1.5, abs=0.12)


def test_who_goes_on_after_his_words_were_told_had_begun_before():
    segmenter = Segmenter()
    segmenter.receive(np.concatenate([noise(0.5), voice(1.5)]))
    (first,) = segmenter.flush()
    said = segmenter.receive(np.concatenate([voice(1.0), noise(2.0)]))
    assert [one.begun_s for one in said] == [first.begun_s]
    (later,) = segmenter.receive(np.concatenate([voice(1.0), noise(2.0)]))
    assert later.begun_s == later.start_s


def test_a_pause_may_fill_a_whole_block_of_what_is_measured():
    assert BLOCK_S > HANGOVER_S
    syllable = np.concatenate([voice(0.3), noise(0.55)])
    (speech,) = hear(np.concatenate([np.tile(syllable, 8), noise(1.0)]))
    assert len(speech.spans) == 8


def test_music_on_the_track_is_counted_and_is_no_speech():
    segmenter = Segmenter()
    assert segmenter.receive(music(20.0, "band")) + segmenter.flush() == []
    assert segmenter.masked_s == pytest.approx(20.0, abs=1.0)


def test_what_was_lost_at_the_end_of_a_batch_stays_lost_in_the_next():
    samples = track([(0.3, 1.3)], 2.5)
    lost = np.zeros(samples.size, np.bool_)
    # in the middle of a step, so that half of it waits for the samples that follow
    cut = int(0.8 * RATE_HZ) + 17
    lost[cut - 9 : cut] = True
    at_once, in_two = Segmenter(), Segmenter()
    whole = at_once.receive(samples, lost) + at_once.flush()
    parts = in_two.receive(samples[:cut], lost[:cut]) + in_two.receive(samples[cut:])
    parts += in_two.flush()
    assert [speech.spans for speech in parts] == [speech.spans for speech in whole]
    assert len(whole) == 1
