"""Brings wideband audio down to the rate at which everything is measured."""

import numpy as np

from agent_sidecar.domain.audio import RATE_HZ
from agent_sidecar.domain.types import Samples

# samples that are worked out at once: the windows over a long gap would fill the memory
_BLOCK = 4096
# taps of the low pass per sample that it leaves; with the Blackman window the stop band is 74 dB
# down from 4.6 kHz on, and what is lost below 3.4 kHz is under 0.1 dB
_TAPS_PER_SAMPLE = 40
_CUTOFF_HZ = 3_800.0


class Decimator:
    """Keeps every n-th sample of one track, low-passed; 2.5 ms late, whatever the cut.

    A windowed-sinc FIR (Oppenheim and Schafer, Discrete-Time Signal Processing, section 7.5) that
    is only worked out for the samples that stay.
    """

    __slots__ = ("_before", "_skip", "_step", "_taps")

    def __init__(self, rate_hz: int) -> None:
        """`rate_hz` is a multiple of `RATE_HZ`."""
        self._step = rate_hz // RATE_HZ
        self._taps = _low_pass(rate_hz, self._step)
        # the end of what was heard before
        self._before: Samples = np.zeros(max(0, self._taps.size - 1), np.float32)
        # samples before the next one that stays
        self._skip = 0

    def decimate(self, samples: Samples) -> Samples:
        """Return what stays of the track's next samples."""
        if self._step == 1 or samples.size == 0:
            return samples
        heard = np.concatenate((self._before, samples))
        self._before = heard[-self._before.size :]
        count = len(range(self._skip, samples.size, self._step))
        windows = np.lib.stride_tricks.sliding_window_view(heard, self._taps.size)
        kept = windows[self._skip :: self._step][:count]
        out = np.empty(count, np.float32)
        for at in range(0, count, _BLOCK):
            out[at : at + _BLOCK] = kept[at : at + _BLOCK] @ self._taps
        self._skip += count * self._step - samples.size
        return out


def _low_pass(rate_hz: int, step: int) -> Samples:
    if step == 1:
        return np.ones(1, np.float32)
    count = _TAPS_PER_SAMPLE * step + 1
    at = np.arange(count) - (count - 1) / 2
    taps = np.sinc(2 * _CUTOFF_HZ / rate_hz * at) * np.blackman(count)
    low_pass: Samples = (taps / taps.sum()).astype(np.float32)
    return low_pass
