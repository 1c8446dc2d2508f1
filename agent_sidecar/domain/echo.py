"""Finds what of a track is the other one leaking back: late, quieter, filtered by a line.

While both tracks sound, the cross-correlation of their waveforms is searched for a path: a delay at
which ours looks like theirs, is quieter by at least `LEAST_LOSS_DB`, and swells and fades with it
(two voices at one pitch may look alike, but not do that). A path once found tells how loud the
leak of each step is, and whether the step is coherent with it: what is both is echo, what is louder
or looks otherwise is somebody's own speech, also on top of the echo.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent_sidecar.domain.audio import RATE_HZ
from agent_sidecar.domain.tonality import Mask
from agent_sidecar.domain.types import Samples
from agent_sidecar.domain.voice_activity import STEP_S

# ITU-T G.131 has round trips of up to 400 ms; and the tracks may be put together 80 ms apart
LONGEST_DELAY_S = 0.48
LEAST_LOSS_DB = 4.0
# correlation of waveforms from which there is a path, for a block and for a short one
ALIKE, ALIKE_SHORT = 0.4, 0.55
# correlation of levels
SWELLS = 0.5
# local correlation, over 0.1 s, from which a step is coherent with the leak; and surely so
COHERENT, SURELY_COHERENT = 0.3, 0.6
# louder than the leak by so much is somebody's own; surely so, whatever else it is like
OWN_DB, SURELY_OWN_DB = 5.0, 12.0
# their track must be so loud somewhere for its echo to be heard
_LOUD_DBFS = -45.0
# every second sample is enough to compare: speech has most of its energy below 2 kHz
_THIN = 2
_SHORT_S, _FEWEST_STEPS = 0.4, 6
# a level that hardly moves cannot be recognised; what is so far below the loudest, not compared
_FLAT_DB, _FADED_DB = 1.5, 20.0
# coherence is that of a step and so many on each side
_LOCAL = 2
# delays no further apart, in samples, are one
_SAME_WAY = 16
# steps around a coherent one that are echo with it, if they are as quiet
_NEAR = 5


class Heard:
    """The last seconds of one track, by call time."""

    __slots__ = ("_batches", "_end_s", "_size")

    KEEP_S = 2.0

    def __init__(self) -> None:
        self._batches: deque[Samples] = deque()
        self._end_s = 0.0
        self._size = 0

    def add(self, samples: Samples, end_s: float) -> None:
        """Hear more, which ends then."""
        self._batches.append(samples)
        self._end_s = end_s
        self._size += samples.size
        while self._size - self._batches[0].size > self.KEEP_S * RATE_HZ:
            self._size -= self._batches.popleft().size

    def between(self, start_s: float, count: int) -> Samples:
        """Return so many samples from that second on; what is not known is silence."""
        out = np.zeros(count, np.float32)
        # where the first kept sample lies in what is asked for
        offset = round((self._end_s - start_s) * RATE_HZ) - self._size
        for batch in self._batches:
            first, last = max(0, offset), min(count, offset + batch.size)
            if first < last:
                out[first:last] = batch[first - offset : last - offset]
            offset += batch.size
        return out


@dataclass(frozen=True, slots=True)
class _Path:
    """How the other track leaks: so many samples later, so much louder (below 0: quieter)."""

    delay: int
    gain_db: float


class EchoFinder:
    """Finds the echo of `theirs` in `ours`, and remembers the way that it takes."""

    def __init__(self, ours: Heard, theirs: Heard) -> None:
        self._ours = ours
        self._theirs = theirs
        self._path: _Path | None = None
        # the last other way that was found
        self._rival: _Path | None = None

    def find(self, start_s: float, steps: int) -> Mask | None:
        """Return which of so many steps of ours are echo; None: none is."""
        if steps < _FEWEST_STEPS:
            return None
        early, count = _samples(LONGEST_DELAY_S), _samples(steps * STEP_S)
        theirs = self._theirs.between(start_s - LONGEST_DELAY_S, early + count)
        loudest_dbfs = float(_levels(theirs).max())
        if loudest_dbfs < _LOUD_DBFS:
            return None
        ours = self._ours.between(start_s, count)
        found = None if self._path is None else _leaked(ours, theirs, self._path)
        explained = 0 if found is None else np.count_nonzero(found)
        # a leak is quieter than what leaks; a search costs 0.5 ms
        if 2 * explained >= steps or float(_levels(ours).max()) > loudest_dbfs - LEAST_LOSS_DB:
            return found
        path = _search(ours, theirs)
        if path is None:
            return found
        leaked = _leaked(ours, theirs, path)
        # a pitch period too many may look like a way, and so may somebody who speaks up: another
        # one must explain far more, or be found twice
        again = self._rival is not None and abs(path.delay - self._rival.delay) <= _SAME_WAY
        self._rival = path
        if found is not None and not again and 2 * np.count_nonzero(leaked) < steps + 2 * explained:
            return found
        self._path = path
        return leaked


def _leaked(ours: Samples, theirs: Samples, path: _Path) -> Mask:
    """Return which steps of ours are the leak and nothing besides."""
    leak = _aligned(ours, theirs, path.delay)
    heard, leaking = _rows(_thinned(ours)), _rows(_thinned(leak))
    together = _around(np.einsum("ij,ij->i", heard, leaking), _LOCAL)
    own = _around(np.einsum("ij,ij->i", heard, heard), _LOCAL)
    other = _around(np.einsum("ij,ij->i", leaking, leaking), _LOCAL)
    coherence = np.abs(together) / np.sqrt(own * other + 1e-9)
    expected = _levels(leak)
    # a room answers a little later
    expected[1:] = np.maximum(expected[1:], expected[:-1] - 3.0)
    above_db = _levels(ours) - expected - path.gain_db
    quiet = above_db < OWN_DB
    # hiss is not coherent after a room, but comes with what is
    near = _around(quiet & (coherence >= COHERENT), _NEAR) > 0
    # a sound that the room favours
    favoured = (above_db < SURELY_OWN_DB) & (coherence >= SURELY_COHERENT)
    return np.asarray((quiet & near) | favoured)


def _search(ours: Samples, theirs: Samples) -> _Path | None:
    """Return the way in which theirs leaks into ours; None: it does not."""
    own, other = _thinned(ours), _thinned(theirs)
    late = other.size - own.size
    size = 1 << (other.size + own.size - 1).bit_length()
    spectrum = np.fft.rfft(other, size) * np.conj(np.fft.rfft(own, size))
    # the place in theirs with which ours begins, from the longest delay to none
    product = np.fft.irfft(spectrum, size)[: late + 1]
    sums = np.cumsum(np.pad(np.square(other, dtype=np.float64), (1, 0)))
    energy = (sums[own.size :] - sums[: late + 1]) * float(np.dot(own, own))
    alike = np.abs(product) / np.sqrt(energy + 1e-9)
    place = int(np.argmax(alike))
    long_enough = ours.size >= _samples(_SHORT_S)
    if alike[place] < (ALIKE if long_enough else ALIKE_SHORT):
        return None
    delay = (late - place) * _THIN
    leak, heard = _levels(_aligned(ours, theirs, delay)), _levels(ours)
    if not _swells(heard, leak):
        return None
    loudest = leak >= np.median(leak[leak > leak.max() - _FADED_DB])
    gain_db = float(np.median(heard[loudest] - leak[loudest]))
    return _Path(delay, gain_db) if gain_db <= -LEAST_LOSS_DB else None


def _swells(ours: Samples, theirs: Samples) -> bool:
    """Return whether two levels rise and fall together, as far as they stand out."""
    a, b = (np.maximum(x, float(x.max()) - _FADED_DB) for x in (ours, theirs))
    if a.std() < _FLAT_DB or b.std() < _FLAT_DB:
        return False
    return bool(np.corrcoef(a, b)[0, 1] >= SWELLS)


def _aligned(ours: Samples, theirs: Samples, delay: int) -> Samples:
    """Return of theirs what would leak into ours at that delay."""
    start = theirs.size - ours.size - delay
    return theirs[start : start + ours.size]


def _levels(samples: Samples) -> Samples:
    rows = samples.reshape(-1, _samples(STEP_S))
    energy = np.einsum("ij,ij->i", rows, rows) / rows.shape[1]
    return np.asarray(10.0 * np.log10(energy + 1e-12), np.float32)


def _rows(thinned: Samples) -> Samples:
    return thinned.reshape(-1, _samples(STEP_S) // _THIN)


def _around(values: NDArray[np.floating], reach: int) -> NDArray[np.floating]:
    """Return sums over each step and those so near to it."""
    return np.convolve(values, np.ones(2 * reach + 1))[reach : reach + values.size]


def _thinned(samples: Samples) -> Samples:
    out: Samples = samples.reshape(-1, _THIN).sum(axis=1)
    return out


def _samples(seconds: float) -> int:
    return round(seconds * RATE_HZ)
