"""The codecs of a played stream: what its start frame says, and what encodes each track."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent_sidecar.domain.media import MediaFormat
from agent_sidecar.simulator.wav import RATE_HZ, decode_ulaw

# 20 ms of µ-law into the payload that has them
Encode = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamCodec:
    """How a stream is written; `new_encoder` makes one for each track, as most remember."""

    media_format: MediaFormat
    new_encoder: Callable[[], Encode]


def wide_codec(
    media_format: MediaFormat, new_encoder: Callable[[], Callable[[NDArray[np.int16]], bytes]]
) -> StreamCodec:
    """Return a codec whose encoder takes 16-bit samples at 16 kHz."""

    def new() -> Encode:
        widen, encode = _Widener(), new_encoder()
        return lambda ulaw: encode(widen.widen(decode_ulaw(ulaw)))

    return StreamCodec(media_format=media_format, new_encoder=new)


class _Widener:
    """Brings a track from 8 to 16 kHz: a sample between two is their mean."""

    def __init__(self) -> None:
        self._last = 0

    def widen(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        before = np.empty(samples.size, np.int32)
        before[:1], before[1:] = self._last, samples[:-1]
        self._last = int(samples[-1]) if samples.size else self._last
        wide = np.empty(2 * samples.size, np.int16)
        wide[0::2] = (before + samples) >> 1
        wide[1::2] = samples
        return wide


def _alaw_of_ulaw() -> bytes:
    """Return for each µ-law byte the A-law byte whose value is nearest (ITU-T G.711, table 1a)."""
    code = np.arange(256) ^ 0x55
    exponent, mantissa = code >> 4 & 7, code & 0x0F
    high = (2 * mantissa + 33 << np.maximum(exponent - 1, 0)) << 3
    size = np.where(exponent == 0, (2 * mantissa + 1) << 3, high)
    values = np.where(code & 0x80, size, -size)
    wanted = decode_ulaw(bytes(range(256))).astype(np.int64)
    nearest = np.abs(values[None, :] - wanted[:, None]).argmin(axis=1)
    return bytes(nearest.tolist())


_ALAW_OF_ULAW: Final = _alaw_of_ulaw()


def _encode_pcmu(ulaw: bytes) -> bytes:
    return ulaw


def _encode_pcma(ulaw: bytes) -> bytes:
    return ulaw.translate(_ALAW_OF_ULAW)


def _l16(kind: str) -> StreamCodec:
    return wide_codec(
        MediaFormat(encoding="L16", sample_rate_hz=2 * RATE_HZ),
        lambda: lambda wide: wide.astype(kind).tobytes(),
    )


def _narrow(encoding: str, encode: Encode) -> StreamCodec:
    media_format = MediaFormat(encoding=encoding, sample_rate_hz=RATE_HZ)
    return StreamCodec(media_format=media_format, new_encoder=lambda: encode)


PCMU: Final = _narrow("PCMU", _encode_pcmu)
# by the names that a command line takes; RFC 3551 writes L16 big-endian, and many do not
PLAIN: Final = {
    "PCMU": PCMU,
    "PCMA": _narrow("PCMA", _encode_pcma),
    "L16": _l16(">i2"),
    "L16-LE": _l16("<i2"),
}
