"""L16: 16-bit samples, whose byte order nobody states.

RFC 3551 says big-endian for L16 in RTP, and many who send it over a socket send little-endian. The
audio itself tells: the right reading of a voice is smooth from sample to sample, and the wrong one
is noise, because the low byte of a voice is. Silence tells nothing, and nothing depends on it.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from agent_sidecar.domain.audio import Gaps
from agent_sidecar.domain.decimate import Decimator
from agent_sidecar.domain.types import Samples

ByteOrder = Literal["big", "little"]

# the roughness of a reading: the mean square of its steps over that of itself. White noise has 2,
# a voiced 20 ms of speech 0.05 to 0.7 at these rates
_SMOOTH = 0.8
_ROUGHER = 2.0
# quieter than this (-60 dBFS, in the quieter reading) is taken for silence
_LEAST_RMS = 32.0
# 20 ms stretches by which one order must lead
_LEAD = 5
_STRETCH_S = 0.02


class StreamOrder:
    """The byte order of a stream, both tracks: set, or found once in the first voice heard."""

    __slots__ = ("_lead", "order")

    def __init__(self, order: ByteOrder | None = None) -> None:
        # None: not known yet
        self.order = order
        # stretches that spoke for big-endian, less those for little-endian
        self._lead = 0

    def hear(self, raw: bytes, stretch: int) -> ByteOrder:
        """Return how to read these bytes; while nothing is decided, as what they sound most like.

        `stretch` is the number of samples in `_STRETCH_S`.
        """
        if self.order is not None:
            return self.order
        big, little = _readings(raw, stretch)
        rough_big, rough_little = _roughness(big), _roughness(little)
        power_big, power_little = _power(big), _power(little)
        voiced = np.minimum(power_big, power_little) >= _LEAST_RMS**2
        smooth = np.minimum(rough_big, rough_little) <= _SMOOTH
        for_big = voiced & smooth & (rough_little > _ROUGHER * rough_big)
        for_little = voiced & smooth & (rough_big > _ROUGHER * rough_little)
        self._lead += int(for_big.sum()) - int(for_little.sum())
        if abs(self._lead) >= _LEAD:
            self.order = "big" if self._lead > 0 else "little"
            return self.order
        if self._lead:
            return "big" if self._lead > 0 else "little"
        # the wrong reading of what is nearly silent is loud
        return "big" if power_big.sum() <= power_little.sum() else "little"


class L16:
    """One track of L16; both tracks of a stream share its `StreamOrder`."""

    __slots__ = ("_decimator", "_gaps", "_order", "_stretch", "garbled")

    def __init__(self, rate_hz: int, order: StreamOrder) -> None:
        """`rate_hz` is a multiple of `RATE_HZ`."""
        self.garbled = 0
        self._order = order
        self._stretch = int(rate_hz * _STRETCH_S)
        self._gaps = Gaps(rate_hz)
        self._decimator = Decimator(rate_hz)

    def decode(self, payloads: Sequence[bytes]) -> Samples:
        """Decode; half a sample at the end of a payload is dropped. See `Decoder`."""
        odd = sum(len(payload) & 1 for payload in payloads)
        if odd:
            self.garbled += odd
            payloads = [payload[: len(payload) & ~1] for payload in payloads]
        raw = b"".join(self._gaps.fill(payloads, b"\0\0"))
        order = self._order.hear(raw, self._stretch)
        samples = np.frombuffer(raw, ">i2" if order == "big" else "<i2")
        return self._decimator.decimate(samples * np.float32(1 / 32768))


def _readings(raw: bytes, stretch: int) -> tuple[Samples, Samples]:
    """Return the bytes read both ways, in rows of one stretch; what is left over is left out."""
    count = len(raw) // (2 * stretch)
    used = raw[: 2 * stretch * count]
    readings = (np.frombuffer(used, kind).astype(np.float32) for kind in (">i2", "<i2"))
    big, little = (reading.reshape(count, stretch) for reading in readings)
    return big, little


def _power(rows: Samples) -> Samples:
    centred = rows - rows.mean(axis=1, keepdims=True)
    power: Samples = np.einsum("ij,ij->i", centred, centred) / np.float32(rows.shape[1])
    return power


def _roughness(rows: Samples) -> Samples:
    steps = np.diff(rows, axis=1)
    change: Samples = np.einsum("ij,ij->i", steps, steps) / np.float32(rows.shape[1])
    return change / (_power(rows) + np.float32(1e-9))
