"""Payloads to samples: what a decoder of one track is, and G.711, which most calls are.

Whatever the codec, what comes out is one channel at `RATE_HZ`: voice activity, level and pitch need
no more, and what was measured and fitted there then holds for every codec.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from agent_sidecar.domain.media import MediaFormat
from agent_sidecar.domain.types import Samples

# of everything that leaves a decoder
RATE_HZ = 8000
# a payload that never came is as long as the one before it, and at most so long
LONGEST_GAP_S = 0.12
# of silence in a row: what numbering can claim to be lost must not cost more
MOST_SILENCE_S = 60.0
FRAME_S = 0.02

# quietest level we tell apart from digital silence
SILENCE_DBFS = -96.0


class Decoder(Protocol):
    """Decodes one track; made anew for each, as most remember what came before."""

    @property
    def garbled(self) -> int:
        """Payloads that came and could not be decoded: silence stands in for them."""
        ...

    def decode(self, payloads: Sequence[bytes]) -> Samples:
        """Decode a track's next payloads, in order; an empty one stands for one that never came.

        Returns -1..1 at `RATE_HZ`. Whatever the bytes are, it never raises.
        """
        ...


# what makes a decoder for each track of one stream; it raises the reason why there is none
OpenDecoders = Callable[[MediaFormat], Callable[[], Decoder]]


def _ulaw_table() -> Samples:
    """Return G.711 mu-law (ITU-T G.711, table 2a) as 256 samples in -1..1."""
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    exponent, mantissa = (code >> 4) & 7, code & 0x0F
    magnitude = (((mantissa << 3) + 0x84) << exponent) - 0x84
    return (np.where(code & 0x80, -magnitude, magnitude) / 32768).astype(np.float32)


def _alaw_table() -> Samples:
    """Return G.711 A-law (ITU-T G.711, table 1a) as 256 samples in -1..1."""
    code = np.arange(256, dtype=np.int32) ^ 0x55
    exponent, mantissa = (code >> 4) & 7, code & 0x0F
    linear = np.where(
        exponent == 0, (mantissa << 4) + 8, ((mantissa << 4) + 0x108) << np.maximum(exponent - 1, 0)
    )
    return (np.where(code & 0x80, linear, -linear) / 32768).astype(np.float32)


_ULAW, _ALAW = _ulaw_table(), _alaw_table()


class Gaps:
    """How much silence stands in for payloads of a track that never came."""

    __slots__ = ("_left", "_length", "_longest", "_most")

    def __init__(self, rate_hz: int) -> None:
        self._length = int(rate_hz * FRAME_S)
        self._longest = int(rate_hz * LONGEST_GAP_S)
        self._most = self._left = int(rate_hz * MOST_SILENCE_S)

    def came(self, samples: int) -> None:
        """Note the length of a payload."""
        self._length = max(1, min(samples, self._longest))
        self._left = self._most

    def lost(self) -> int:
        """Return how many samples a payload would have had."""
        length = min(self._length, self._left)
        self._left -= length
        return length

    def fill(self, payloads: Sequence[bytes], quiet: bytes) -> Sequence[bytes]:
        """Return the payloads without gaps; `quiet` is one sample of silence."""
        if b"" not in payloads:
            if payloads:
                self.came(len(payloads[-1]) // len(quiet))
            return payloads
        filled = []
        for payload in payloads:
            if payload:
                self.came(len(payload) // len(quiet))
            filled.append(payload or quiet * self.lost())
        return filled


class G711:
    """PCMU or PCMA; every byte is a sample, so nothing is ever garbled."""

    __slots__ = ("_gaps", "_quiet", "_table")

    garbled = 0

    def __init__(self, table: Samples, quiet: bytes) -> None:
        self._table = table
        self._quiet = quiet
        self._gaps = Gaps(RATE_HZ)

    @classmethod
    def ulaw(cls) -> "G711":
        """Return a decoder for PCMU."""
        return cls(_ULAW, b"\xff")

    @classmethod
    def alaw(cls) -> "G711":
        """Return a decoder for PCMA."""
        return cls(_ALAW, b"\xd5")

    def decode(self, payloads: Sequence[bytes]) -> Samples:
        """Decode; see `Decoder`."""
        # one lookup for all of them: 1 µs a payload less than one each
        joined = b"".join(self._gaps.fill(payloads, self._quiet))
        return self._table.take(np.frombuffer(joined, np.uint8))


def level_dbfs(samples: Samples) -> float:
    """Return the RMS level in dB relative to full scale (a full-scale square wave is 0)."""
    if samples.size == 0:
        return SILENCE_DBFS
    mean_square = float(np.dot(samples, samples)) / samples.size
    return max(SILENCE_DBFS, 10.0 * float(np.log10(mean_square + 1e-12)))
