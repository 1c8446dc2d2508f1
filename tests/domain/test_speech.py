import numpy as np
import pytest

from agent_sidecar.domain.speech import Stretch, joined
from agent_sidecar.domain.tonality import Mask


def flags(*runs: tuple[int, int]) -> Mask:
    """Return flags of so many steps, that are set and not set in turn."""
    return np.concatenate([np.repeat([True, False], run) for run in runs])


def stretch(is_speech: Mask, **changes: object) -> Stretch:
    size = is_speech.size
    given: dict[str, object] = {
        "start_s": 10.0,
        "is_speech": is_speech,
        "tonal": np.zeros(size, bool),
        "echo": np.zeros(size, bool),
        "levels_dbfs": np.full(size, -20.0, np.float32),
        "pitches": np.full(size // 2, 120.0, np.float32),
    }
    return Stretch(**{**given, **changes})  # type: ignore[arg-type]


def test_short_gaps_are_none_longer_ones_pauses_and_long_ones_ends():
    made = stretch(flags((20, 5), (10, 15), (20, 30), (25, 0)))
    first, second = made.speeches()
    assert np.ravel(first.spans) == pytest.approx([10.0, 10.7, 11.0, 11.4])
    assert first.talk_s == pytest.approx(1.1)
    assert first.pauses_s == pytest.approx(0.3)
    assert (second.start_s, second.end_s) == pytest.approx((12.0, 12.5))
    assert made.parts == [list(first.spans), list(second.spans)]


def test_a_click_and_a_lonely_blip_are_no_speech():
    assert stretch(flags((5, 20))).speeches() == []
    (speech,) = stretch(flags((2, 10), (20, 10), (2, 5))).speeches()
    assert np.ravel(speech.spans) == pytest.approx([10.24, 10.64])
    assert stretch(flags((0, 10))).parts == []


def test_what_is_masked_is_taken_out():
    made = stretch(flags((100, 0)), tonal=flags((0, 40), (40, 20)), echo=flags((0, 80), (20, 0)))
    (speech,) = made.speeches()
    assert np.ravel(speech.spans) == pytest.approx([10.0, 10.8])
    assert len(speech.pitches) == 20
    assert speech.pitch_hz == pytest.approx(120.0)
    assert stretch(flags((100, 0)), echo=flags((100, 0))).speeches() == []


def test_without_a_voiced_window_there_is_no_pitch():
    (speech,) = stretch(flags((20, 0)), pitches=np.zeros(10, np.float32)).speeches()
    assert speech.pitch_hz is None
    assert speech.syllables == 0


def test_the_volume_is_the_mean_energy_of_what_is_speech():
    levels = np.where(flags((10, 10), (10, 0)), -20.0, -60.0).astype(np.float32)
    (speech,) = stretch(flags((10, 10), (10, 0)), levels_dbfs=levels).speeches()
    assert speech.volume_dbfs == pytest.approx(-20.0)


def test_the_rest_of_something_longer_began_with_it():
    (rest,) = stretch(flags((20, 0)), begun_s=3.0).speeches()
    assert rest.begun_s == 3.0
    (new,) = stretch(flags((0, 15), (20, 0)), begun_s=3.0).speeches()
    assert new.begun_s == new.start_s


def test_spans_less_than_a_gap_apart_are_one():
    assert joined([(0, 2), (4, 6), (9, 10)], 3) == [(0, 6), (9, 10)]
    assert joined([], 3) == []
