"""Tells hold music and signalling tones from a voice, by spectra of windows of 40 ms.

Two facts are measured. *Lines*: a ringback, busy or dialled tone is one or two lines that hold
nearly all the energy and do not move. *Persistence*: a note holds its partials for tenths of a
second, a voice never does: the fine structure of a window's spectrum is compared with that 120 ms
before (their cosine; on made and espeak speech, over 2.4 s, it stays below 0.6, on made music above
0.74, each with noise 20 dB below). One pitch that stays or glides for seconds without a leap may be
a monotonous voice, and is given the benefit of the doubt.
"""

import numpy as np
from numpy.typing import NDArray

from agent_sidecar.domain.features import BIN_HZ, SIZE, WINDOW_S
from agent_sidecar.domain.types import Samples

Mask = NDArray[np.bool_]
# no signalling tone is lower (ITU-T E.180 supplement 2); a voice's strongest harmonic may be
LOWEST_TONE_HZ = 330.0
# energy in at most two lines; one that is on a clean line
TONE_SHARE, PURE_SHARE = 0.92, 0.985
# from window to window it moves no more
TONE_MOVES_HZ, TONE_SWELLS_DB = 6.0, 2.5
# a shorter one may be a vowel
TONE_S, PURE_S = 0.2, 0.12
PERSISTENT, MAYBE_PERSISTENT = 0.68, 0.55
MUSIC_S = 1.8
# noise is far below: 0.1
TONAL = 0.4
# once it was music, so much of it suffices, if it comes so soon
MUSIC_AGAIN_S, MUSIC_GAP_S = 0.8, 3.0
# half the width of a line in bins, after the window's
_LINE = 4
_HZ = (BIN_HZ * np.arange(SIZE // 2 + 1)).astype(np.float32)
_LOWEST = round(LOWEST_TONE_HZ / BIN_HZ)
_NO_TONE = (0.0, -1000.0, 0.0)
_LAG = 3
_BAND = slice(4, 122)
# bins over which the envelope of a spectrum is taken away
_ENVELOPE = 17
_BINS = np.arange(_BAND.stop - _BAND.start)
_FROM = np.maximum(_BINS - _ENVELOPE // 2, 0)
_TO = np.minimum(_BINS + _ENVELOPE // 2 + 1, _BINS.size)
_WIDTHS = (_TO - _FROM).astype(np.float32)
# windows over which persistence is averaged to find where music begins and ends
_AVERAGE = 15
# one voice: so many windows voiced, and so many leaps a second, of so many semitones
_VOICE_SHARE, _LEAPS_S, _LEAP_ST = 0.5, 0.5, 0.7


class Tonality:
    """What the windows of one stretch of sound have of tones and of music."""

    def __init__(self) -> None:
        self._before: Samples = np.zeros((0, _BAND.stop - _BAND.start), np.float32)
        self._persistence: list[float] = []
        # of each window: does it follow one that was the same tone
        self._same_tone: list[bool] = []
        self._pure: list[bool] = []
        self._tone = _NO_TONE

    def hear(self, spectra: Samples) -> None:
        """Measure further windows."""
        shapes = np.concatenate((self._before, _fine_structure(spectra)))
        self._persistence += np.einsum("ij,ij->i", shapes[_LAG:], shapes[:-_LAG]).tolist()
        self._before = shapes[-_LAG:]
        for tone in _tones(spectra):
            (share, hz, level_db), (_, hz_before, level_before_db) = tone, self._tone
            same = abs(hz - hz_before) <= TONE_MOVES_HZ
            same = same and abs(level_db - level_before_db) <= TONE_SWELLS_DB
            self._same_tone.append(share >= TONE_SHARE and same)
            self._pure.append(share >= PURE_SHARE)
            self._tone = tone if share >= TONE_SHARE else _NO_TONE

    def pause(self, count: int) -> None:
        """Note so many windows in which there was nothing."""
        self.hear(np.zeros((count, SIZE // 2 + 1), np.float32))

    def tones(self) -> Mask:
        """Return the windows of tones, with those at their edges."""
        same = np.asarray(self._same_tone, np.bool_)
        out = np.zeros(same.size, np.bool_)
        for first, end in runs(same):
            # the first window of a tone has none before it to be the same as
            shortest_s = PURE_S if all(self._pure[first:end]) else TONE_S
            if (end - first + 1) * WINDOW_S >= shortest_s - 1e-9:
                out[max(0, first - 2) : end + 1] = True
        return out

    def music(self, pitches: Samples, *, music_before: bool) -> Mask:
        """Return the windows of music; `music_before`: there was some just now."""
        out = np.zeros(pitches.size, np.bool_)
        # the first windows have none before them: they are what follows them
        known = np.asarray(self._persistence, np.float32)
        persistence = np.concatenate((known[:1].repeat(pitches.size - known.size), known))
        shortest_s = MUSIC_AGAIN_S if music_before else MUSIC_S
        if pitches.size * WINDOW_S < shortest_s or not known.size:
            return out
        smooth = _average(persistence)
        surely = smooth >= PERSISTENT
        # where it is sure, it is music as far as it may be
        for first, end in runs(smooth >= MAYBE_PERSISTENT):
            long_enough = np.count_nonzero(surely[first:end]) * WINDOW_S >= shortest_s
            if long_enough and not _is_one_voice(pitches[first:end]):
                out[first:end] = True
        return out


def is_tonal(spectra: Samples) -> bool:
    """Return whether a few tenths of a second of steady sound are notes, and not noise."""
    shapes = _fine_structure(spectra)
    persistence = np.einsum("ij,ij->i", shapes[_LAG:], shapes[:-_LAG])
    return bool(persistence.mean() >= TONAL)


def runs(flags: Mask) -> list[tuple[int, int]]:
    """Return from where to before where flags are set without a gap."""
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def _fine_structure(spectra: Samples) -> Samples:
    """Return spectra without their envelopes, each of length 1."""
    shape = np.sqrt(spectra[:, _BAND])
    sums = np.zeros((shape.shape[0], shape.shape[1] + 1), np.float32)
    np.cumsum(shape, axis=1, out=sums[:, 1:])
    shape -= (sums[:, _TO] - sums[:, _FROM]) / _WIDTHS
    length = np.sqrt(np.einsum("ij,ij->i", shape, shape))
    shape /= length[:, None] + np.float32(1e-9)
    return shape


def _tones(spectra: Samples) -> list[tuple[float, float, float]]:
    """Return of each window the share of its two strongest lines, their middle, their level."""
    power = np.square(spectra)
    first = np.argmax(power, axis=1)
    total = power.sum(axis=1) + np.float32(1e-12)
    # the middle of a line holds a quarter of it; in hardly any window of speech is one so strong
    strong = power[np.arange(len(power)), first] >= 0.1 * total
    maybe = np.flatnonzero(strong & (power[:, :_LOWEST].sum(axis=1) <= (1 - TONE_SHARE) * total))
    out = [_NO_TONE] * len(power)
    for row in maybe.tolist():
        rest = power[row]
        lines = []
        for _ in range(2):
            at = int(np.argmax(rest))
            line = slice(max(0, at - _LINE), at + _LINE + 1)
            lines.append((float(rest[line].sum()), float(np.dot(rest[line], _HZ[line]))))
            rest[line] = 0.0
        energy = sum(one for one, _ in lines)
        middle_hz = sum(moment for _, moment in lines) / energy
        level_db = 10.0 * float(np.log10(energy))
        out[row] = (energy / float(total[row]), middle_hz, level_db)
    return out


def _average(values: Samples) -> Samples:
    width = min(_AVERAGE, values.size)
    sums = np.convolve(values, np.ones(width, np.float32), mode="same")
    counts = np.convolve(np.ones_like(values), np.ones(width, np.float32), mode="same")
    out: Samples = sums / counts
    return out


def _is_one_voice(pitches: Samples) -> bool:
    """Return whether most of it has one pitch, which glides or stays, but never leaps as tunes do.

    A chord has no pitch to speak of (a quarter of its windows), a tune at least one leap a second.
    """
    voiced = pitches > 0
    if np.count_nonzero(voiced) < _VOICE_SHARE * pitches.size:
        return False
    both = voiced[1:] & voiced[:-1]
    leaps = np.abs(np.log2(pitches[1:][both] / pitches[:-1][both])) > _LEAP_ST / 12
    return bool(np.count_nonzero(leaps) <= _LEAPS_S * WINDOW_S * pitches.size)
