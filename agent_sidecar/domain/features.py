"""Acoustic measures of windows of 40 ms: their spectra, their pitch; distances in semitones.

One spectrum of each window serves everything that is measured of it: its pitch here, what is music
and what a signalling tone in `tonality`.
"""

import numpy as np
from numpy.typing import NDArray

from agent_sidecar.domain.audio import RATE_HZ
from agent_sidecar.domain.types import Samples

# holds two periods of the lowest voice
WINDOW_S = 0.04
WINDOW = round(WINDOW_S * RATE_HZ)
# of the transform: a window, and room for the longest lag without wrapping around
SIZE = 512
BIN_HZ = RATE_HZ / SIZE
# human speech on a telephone line
PITCH_LOW_HZ, PITCH_HIGH_HZ = 70.0, 400.0
# harmonics above tell a pitch no better, and noise is as loud there
PITCH_BAND_HZ = (62.5, 1900.0)
# normalised peak from which a window counts as voiced
VOICED = 0.4
# what a peak loses per octave of lag, so that a pitch wins over its own subharmonics
OCTAVE_COST = 0.05
_FIRST_BIN, _LAST_BIN = (round(hz / BIN_HZ) for hz in PITCH_BAND_HZ)
_LOW, _HIGH = int(RATE_HZ / PITCH_HIGH_HZ), int(RATE_HZ / PITCH_LOW_HZ)
_TAPER = np.hanning(WINDOW).astype(np.float32)
# makes up for norm="forward", which is there because numpy transforms float32 in double precision
# when it has no factor of that type to apply: nearly twice the time
_SCALED = _TAPER * np.float32(SIZE)


def magnitudes(samples: Samples) -> Samples:
    """Return the magnitude spectra of as many windows as the samples hold, a row each."""
    windows = samples[: samples.size // WINDOW * WINDOW].reshape(-1, WINDOW)
    spectra = np.fft.rfft(windows * _SCALED, SIZE, norm="forward")
    # a third of the time of np.abs, which fears overflow
    out: Samples = np.sqrt(np.square(spectra.real) + np.square(spectra.imag))
    return out


def pitches_hz(spectra: Samples) -> Samples:
    """Return the pitch of each window, 0 where it is not voiced.

    The generalised autocorrelation of Tolonen and Karjalainen (2000, IEEE Trans. Speech and Audio
    Processing 8:6), which compresses the spectrum before it is transformed back (here to the
    magnitude), so that a strong formant does not pass for the pitch; divided by that of the window
    itself, with a cost per octave (Boersma 1993, eq. 9 and 26), its highest peak between the lags
    of 400 and 70 Hz refined by a parabola.
    """
    # complex, or it would be transformed in double precision
    band = spectra[:, :_LAST_BIN].astype(np.complex64)
    band[:, :_FIRST_BIN] = 0.0
    correlation = np.fft.irfft(band, SIZE)[:, : _HIGH + 2]
    correlation /= correlation[:, :1] + np.float32(1e-9)
    correlation /= _OWN
    rows = np.arange(correlation.shape[0])
    lag = _LOW + np.argmax(correlation[:, _LOW : _HIGH + 1] - _COST, axis=1)
    peak = correlation[rows, lag]
    refined = lag + _vertex(correlation[rows, lag - 1], peak, correlation[rows, lag + 1])
    return np.where(peak >= VOICED, RATE_HZ / refined, 0.0).astype(np.float32)


def semitones(pitch: float, baseline: float) -> float:
    """Return the distance of two pitches in semitones: 12 log2(pitch / baseline)."""
    return 12.0 * float(np.log2(pitch / baseline))


def _own() -> Samples:
    """Return the autocorrelation of the taper, normalised, as far as lags go."""
    own = np.fft.irfft(np.abs(np.fft.rfft(_TAPER, SIZE)) ** 2, SIZE)[: _HIGH + 2]
    return np.asarray(own / own[0], np.float32)


_OWN = _own()
_COST = (OCTAVE_COST * np.log2(np.arange(_LOW, _HIGH + 1) / _LOW)).astype(np.float32)


def _vertex(left: Samples, middle: Samples, right: Samples) -> NDArray[np.floating]:
    """Return where parabolas through three equidistant points peak, relative to the middle."""
    bend = left - 2 * middle + right
    flat = np.abs(bend) < 1e-9
    return np.where(flat, 0.0, np.clip(0.5 * (left - right) / np.where(flat, 1.0, bend), -0.5, 0.5))
