"""Payloads to samples: one decoder per encoding, chosen by the stream's start frame."""

from collections.abc import Callable

import numpy as np

from agent_sidecar.domain.media import MediaFormat
from agent_sidecar.domain.types import Samples

Decode = Callable[[bytes], Samples]

# quietest level we tell apart from digital silence
SILENCE_DBFS = -96.0


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


def _decode_ulaw(payload: bytes) -> Samples:
    return _ULAW.take(np.frombuffer(payload, np.uint8))


def _decode_alaw(payload: bytes) -> Samples:
    return _ALAW.take(np.frombuffer(payload, np.uint8))


def decoder_for(media_format: MediaFormat) -> Decode | None:
    """Return what decodes these payloads; None: nothing here does, go on with text only."""
    if media_format.channels != 1 or media_format.sample_rate_hz != 8000:
        return None
    return {"PCMU": _decode_ulaw, "PCMA": _decode_alaw}.get(media_format.encoding.upper())


def level_dbfs(samples: Samples) -> float:
    """Return the RMS level in dB relative to full scale (a full-scale square wave is 0)."""
    if samples.size == 0:
        return SILENCE_DBFS
    mean_square = float(np.dot(samples, samples)) / samples.size
    return max(SILENCE_DBFS, 10.0 * float(np.log10(mean_square + 1e-12)))
