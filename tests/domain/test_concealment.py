import numpy as np
import pytest

from agent_sidecar.domain.concealment import CONTEXT, FADE_S, conceal
from tests.domain.sounds import RATE_HZ, noise, voice


def test_a_voice_goes_on_at_its_pitch_and_fades():
    whole = voice(0.1, pitch_hz=160.0)
    out = conceal(whole[:CONTEXT], 160)
    fade = np.linspace(1, 0, round(FADE_S * RATE_HZ))[:160]
    assert out == pytest.approx(whole[CONTEXT : CONTEXT + 160] * fade, abs=0.02)


def test_after_the_fade_there_is_silence_of_the_right_length():
    out = conceal(noise(0.1, level=0.1), 1000)
    assert out.size == 1000
    assert out[:100].any()
    assert not out[round(FADE_S * RATE_HZ) :].any()


def test_after_nothing_or_too_little_there_is_silence():
    assert not conceal(np.zeros(0, np.float32), 160).any()
    assert not conceal(voice(0.02), 160).any()
    assert not conceal(np.zeros(CONTEXT, np.float32), 160).any()
    assert conceal(voice(0.1), 0).size == 0
