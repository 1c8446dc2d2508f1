import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_sidecar.domain.features import SIZE, WINDOW, _vertex, magnitudes, pitches_hz, semitones
from agent_sidecar.domain.types import Samples

RATE_HZ = 8000


def pitch_hz(samples: Samples) -> list[float]:
    """Return the pitch of each voiced window."""
    return [pitch for pitch in pitches_hz(magnitudes(samples)).tolist() if pitch]


def tone(pitch: float, *, seconds: float = 0.2, tilt: float = 1.0, phase: float = 0.0) -> Samples:
    """Return a tone with all its overtones of the telephone band, falling by 1/n^tilt."""
    t = np.arange(int(RATE_HZ * seconds)) / RATE_HZ
    wave = np.zeros_like(t)
    for n in range(1, int(3400 / pitch) + 1):
        wave += np.sin(2 * np.pi * n * pitch * t + phase * n * n) / n**tilt
    return np.asarray(0.3 * wave / np.abs(wave).max(), np.float32)


def test_spectra_are_those_of_the_tapered_windows():
    windows = tone(150.0).reshape(-1, WINDOW).astype(np.float64)
    expected = np.abs(np.fft.rfft(windows * np.hanning(WINDOW), SIZE))
    spectra = magnitudes(tone(150.0))
    assert spectra == pytest.approx(expected, abs=1e-4)
    assert spectra.dtype == pitches_hz(spectra).dtype == np.float32


@settings(max_examples=50)
@given(
    pitch=st.floats(75, 380),
    tilt=st.floats(0.5, 2.0),
    phase=st.floats(0, 6.28),
    loudness=st.floats(0.01, 1.0),
)
def test_the_pitch_of_a_harmonic_tone_is_found_within_a_third_of_a_semitone(
    pitch, tilt, phase, loudness
):
    found = pitch_hz(loudness * tone(pitch, tilt=tilt, phase=phase))
    assert len(found) == 5
    assert all(abs(semitones(one, pitch)) < 0.3 for one in found)


def test_the_pitch_survives_some_noise():
    noise = np.random.default_rng(1).normal(0, 0.01, 1600).astype(np.float32)
    found = pitch_hz(tone(140.0) + noise)
    assert np.median(found) == pytest.approx(140.0, rel=0.01)


def test_noise_and_silence_have_no_pitch():
    noise = np.random.default_rng(2).normal(0, 0.1, 8000).astype(np.float32)
    assert len(pitch_hz(noise)) <= 1
    assert pitch_hz(np.zeros(1600, np.float32)) == []


def test_less_than_a_window_has_no_pitch():
    assert pitch_hz(tone(100.0)[:319]) == []


def test_an_octave_is_twelve_semitones():
    assert semitones(220.0, 110.0) == pytest.approx(12.0)
    assert semitones(110.0, 220.0) == pytest.approx(-12.0)
    assert semitones(100.0, 100.0) == 0.0


def test_a_parabola_peaks_between_its_points_and_a_flat_one_in_the_middle():
    left, middle, right = (np.array(one, np.float32) for one in ([0, 0, 1], [1, 1, 1], [0, 0.5, 1]))
    peaks = _vertex(left, middle, right)
    assert peaks[0] == 0.0
    assert 0.0 < peaks[1] <= 0.5
    assert peaks[2] == 0.0
