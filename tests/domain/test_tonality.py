import numpy as np
import pytest

from agent_sidecar.domain.features import WINDOW_S, magnitudes, pitches_hz
from agent_sidecar.domain.tonality import Mask, Tonality, is_tonal, runs
from agent_sidecar.domain.types import Samples
from bench._line import RINGBACK, TUNES, music, tones
from bench._line import noise as line_noise
from bench._spoken import Voice
from tests.domain.sounds import RATE_HZ, noise, voice


def music_in(samples: Samples, *, blocks: int = 1, before: bool = False) -> Mask:
    tonality, spectra = Tonality(), magnitudes(samples)
    for block in np.array_split(spectra, blocks):
        tonality.hear(block)
    return tonality.music(pitches_hz(spectra), music_before=before)


def tones_in(samples: Samples) -> Mask:
    tonality = Tonality()
    tonality.hear(magnitudes(samples))
    return tonality.tones()


def test_runs_are_from_where_to_before_where_flags_are_set():
    assert runs(np.array([1, 1, 0, 1, 0, 0, 1], bool)) == [(0, 2), (3, 4), (6, 7)]
    assert runs(np.zeros(3, bool)) == []
    assert runs(np.zeros(0, bool)) == []


@pytest.mark.parametrize("tune", TUNES)
@pytest.mark.parametrize("blocks", [1, 7, 200])
def test_music_is_music_however_it_is_measured(tune, blocks):
    assert music_in(music(6.0, tune), blocks=blocks).mean() > 0.9


def test_a_voice_is_no_music_and_no_tone():
    for seed in range(4):
        said = Voice(seed, pitch_hz=100 + 40 * seed).turn(8.0).samples
        said = said + line_noise(said.size, 25, seed)
        assert not music_in(said, before=True).any()
        assert not tones_in(said).any()


@pytest.mark.parametrize("made", [lambda: voice(5.0), lambda: noise(5.0, level=0.1)])
def test_a_monotonous_voice_and_a_hiss_are_no_music(made):
    assert not music_in(made()).any()


def test_a_short_piece_is_music_only_after_some():
    piece = music(1.4, "band")
    assert not music_in(piece).any()
    assert music_in(piece, before=True).mean() > 0.8
    assert not music_in(piece[: round(0.5 * RATE_HZ)], before=True).any()


def test_too_little_to_compare_is_nothing():
    assert not music_in(music(0.1, "pad"), before=True).any()
    assert music_in(np.zeros(0, np.float32)).size == 0


def test_silence_is_nothing():
    tonality = Tonality()
    tonality.pause(30)
    assert not tonality.tones().any()
    assert not tonality.music(np.zeros(30, np.float32), music_before=True).any()


@pytest.mark.parametrize("name", RINGBACK)
def test_a_signalling_tone_is_a_tone_from_its_beginning_to_its_end(name):
    hz, on_s, _ = RINGBACK[name]
    sounds = tones(on_s, hz, on_s, 1.0)
    found = tones_in(sounds + line_noise(sounds.size, 25, 1))
    assert found.sum() * WINDOW_S >= on_s - 4 * WINDOW_S


def test_a_low_hum_is_none():
    assert not tones_in(tones(1.0, (200.0,), 1.0, 0.0)).any()


def test_steady_notes_are_tonal_and_steady_noise_is_not():
    assert is_tonal(magnitudes(music(0.4, "pad")))
    assert not is_tonal(magnitudes(noise(0.4, level=0.1)))
