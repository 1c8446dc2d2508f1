import numpy as np
import pytest

from agent_sidecar.domain.pace import syllables
from agent_sidecar.domain.speech import Speech
from bench._spoken import Voice
from bench.hearing import Call, hear


def levels(*pairs: tuple[float, int]) -> np.ndarray:
    return np.concatenate([np.full(count, level, np.float32) for level, count in pairs])


def count(values: np.ndarray, voiced: bool = True) -> int:
    return syllables(values, np.full(values.size, voiced))


def test_each_voiced_peak_between_dips_is_a_syllable():
    word = levels((-30, 3), (-20, 5), (-30, 3), (-22, 5), (-31, 4))
    assert count(word) == 2
    assert count(word, voiced=False) == 0
    assert count(levels((-30, 3), (-20, 5))) == 1


def test_a_shallow_dip_a_faint_peak_and_too_little_are_none():
    assert count(levels((-30, 3), (-20, 5), (-21, 3), (-20, 5), (-30, 3))) == 1
    assert count(levels((-60, 3), (-20, 5), (-60, 3), (-50, 5), (-60, 3))) == 1
    assert count(levels((-20, 2))) == 0
    assert count(levels((-20, 1))) == 0


@pytest.mark.parametrize("pace", [0.75, 1.0, 1.3])
def test_the_pace_of_a_voice_is_found_within_a_fifth(pace):
    said = Voice(3, pitch_hz=120).turn(10.0, pace=pace)
    heard: list[Speech] = hear(Call((said, said), (said.samples, 0 * said.samples))).speeches[
        "inbound"
    ]
    assert sum(one.syllables for one in heard) == pytest.approx(len(said.syllables_s), rel=0.2)
