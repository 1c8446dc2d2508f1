"""Acoustic measures of speech: pitch by autocorrelation, shifts in semitones."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from agent_sidecar.domain.types import Samples

# human speech on a telephone line
PITCH_LOW_HZ, PITCH_HIGH_HZ = 70.0, 400.0
# normalised autocorrelation peak from which a window counts as voiced
VOICED = 0.5
# what a peak loses per octave of lag, so that a pitch wins over its own subharmonics
OCTAVE_COST = 0.05
# lags per sample: with 1 a high voice's peak falls between two, and its octave below wins
FINER = 2


def pitch_hz(samples: Samples, sample_rate_hz: int, *, window: int = 320) -> list[float]:
    """Return the pitch of each voiced window.

    Autocorrelation by FFT, normalised by the window's own (Boersma 1993, eq. 9 and octave cost),
    its highest peak between the lags of 400 and 70 Hz refined by a parabola; `window` is in samples
    (320 are 40 ms at 8 kHz).
    """
    count = samples.size // window
    if count == 0:
        return []
    frames = samples[: count * window].reshape(count, window)
    frames = frames - frames.mean(axis=1, keepdims=True)
    taper, own = _taper(window)
    rate_hz = sample_rate_hz * FINER
    low, high = int(rate_hz / PITCH_HIGH_HZ), int(rate_hz / PITCH_LOW_HZ)
    high = min(high, FINER * window - 2)
    correlation = _correlation(frames * taper)[:, : high + 2]
    energy = correlation[:, :1] + 1e-9
    normalised = (correlation / energy) / own[: high + 2]
    cost = OCTAVE_COST * np.log2(np.arange(low, high + 1) / low)
    out = []
    for row in normalised:
        lag = low + int(np.argmax(row[low : high + 1] - cost))
        if row[lag] >= VOICED:
            out.append(rate_hz / (lag + _vertex(row[lag - 1], row[lag], row[lag + 1])))
    return out


@lru_cache(maxsize=4)
def _taper(window: int) -> tuple[Samples, NDArray[np.floating]]:
    """Return what fades a window in and out, and its own autocorrelation, normalised."""
    taper = np.hanning(window).astype(np.float32)
    own = _correlation(taper[None, :])[0]
    return taper, own / own[0]


def _correlation(frames: Samples) -> NDArray[np.floating]:
    """Return each row's autocorrelation at lags of 1/`FINER` samples: its spectrum zero-padded."""
    size = 1 << (2 * frames.shape[1] - 1).bit_length()
    return np.fft.irfft(np.abs(np.fft.rfft(frames, size)) ** 2, FINER * size)


def _vertex(left: float, middle: float, right: float) -> float:
    """Return where a parabola through three equidistant points peaks, relative to the middle."""
    bend = left - 2 * middle + right
    return 0.0 if abs(bend) < 1e-12 else float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5))


def semitones(pitch: float, baseline: float) -> float:
    """Return the distance of two pitches in semitones: 12 log2(pitch / baseline)."""
    return 12.0 * float(np.log2(pitch / baseline))
