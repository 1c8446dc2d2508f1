"""Reads a mono WAV file as telephone audio (8 kHz µ-law bytes), and writes a recording's.

The standard library's `wave` refuses compressed WAV files, and µ-law is what the wire wants.
"""

import struct
import wave
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agent_sidecar.errors import RecordedCallInvalid

RATE_HZ = 8000
# the µ-law byte of zero
ULAW_SILENCE = 0xFF

_PCM, _ULAW, _EXTENSIBLE = 1, 7, 0xFFFE
_ULAW_BIAS, _ULAW_CLIP = 132, 32635


def read_ulaw(path: Path | str) -> bytes:
    """Return the file's samples as 8 kHz µ-law.

    Takes mono 8 or 16 kHz, as µ-law or 8- or 16-bit PCM. Raises `RecordedCallInvalid`.
    """
    name = str(path)
    try:
        chunks = dict(_chunks(Path(path).read_bytes()))
        kind, channels, rate_hz, bits = struct.unpack_from("<HHI6xH", chunks[b"fmt "])
        if kind == _EXTENSIBLE:
            (kind,) = struct.unpack_from("<H", chunks[b"fmt "], 24)
        samples = chunks[b"data"]
    except OSError as exc:
        raise RecordedCallInvalid(f"{name}: cannot be read: {exc.strerror}") from exc
    except (KeyError, ValueError, struct.error) as exc:
        raise RecordedCallInvalid(f"{name}: is not a WAV file: {exc}") from exc
    if channels != 1 or rate_hz not in (RATE_HZ, 2 * RATE_HZ):
        raise RecordedCallInvalid(
            f"{name}: has {channels} channel(s) at {rate_hz} Hz; make it mono at 8000 or 16000 Hz,"
            " one file per party"
        )
    if kind == _ULAW and rate_hz == RATE_HZ:
        return samples
    return encode_ulaw(_halved(_pcm(name, kind, bits, samples), rate_hz))


def stereo_file(left: bytes, right: bytes) -> bytes:
    """Return a WAV file, 16 bits at 8 kHz, of two µ-law tracks; the shorter ends in silence."""
    longest = max(len(left), len(right))
    silence = bytes([ULAW_SILENCE])
    sides = [decode_ulaw(side.ljust(longest, silence)) for side in (left, right)]
    file = BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(2)
        writer.setsampwidth(2)
        writer.setframerate(RATE_HZ)
        writer.writeframes(np.stack(sides, axis=1).astype("<i2").tobytes())
    return file.getvalue()


def encode_ulaw(samples: NDArray[np.int16]) -> bytes:
    """Encode 16-bit samples by G.711 µ-law."""
    wide = samples.astype(np.int32)
    size = np.minimum(np.abs(wide), _ULAW_CLIP) + _ULAW_BIAS
    exponent = np.floor(np.log2(size)).astype(np.int32) - 7
    mantissa = (size >> (exponent + 3)) & 0x0F
    sign = np.where(wide < 0, 0x80, 0)
    encoded: NDArray[np.uint8] = (~(sign | exponent << 4 | mantissa) & 0xFF).astype(np.uint8)
    return encoded.tobytes()


def decode_ulaw(encoded: bytes) -> NDArray[np.int16]:
    """Decode G.711 µ-law to 16-bit samples."""
    bits = ~np.frombuffer(encoded, np.uint8).astype(np.int32) & 0xFF
    size = ((((bits & 0x0F) << 3) + _ULAW_BIAS) << ((bits >> 4) & 0x07)) - _ULAW_BIAS
    return np.where(bits & 0x80, -size, size).astype(np.int16)


def _chunks(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    if raw[:4] != b"RIFF" or raw[8:12] != b"WAVE":
        raise ValueError("it does not begin as RIFF/WAVE")
    at = 12
    while at + 8 <= len(raw):
        name, size = raw[at : at + 4], int.from_bytes(raw[at + 4 : at + 8], "little")
        yield name, raw[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _pcm(name: str, kind: int, bits: int, samples: bytes) -> NDArray[np.int16]:
    if kind == _ULAW:
        return decode_ulaw(samples)
    if kind == _PCM and bits == 16:
        return np.frombuffer(samples[: len(samples) // 2 * 2], "<i2").astype(np.int16)
    if kind == _PCM and bits == 8:
        return ((np.frombuffer(samples, np.uint8).astype(np.int16) - 128) << 8).astype(np.int16)
    raise RecordedCallInvalid(
        f"{name}: WAV format {kind} with {bits} bits is not read; make it µ-law or 16-bit PCM"
    )


def _halved(samples: NDArray[np.int16], rate_hz: int) -> NDArray[np.int16]:
    """Bring 16 kHz down to 8; the mean of two neighbours keeps the worst of the aliasing out."""
    if rate_hz == RATE_HZ:
        return samples
    pairs = samples[: len(samples) // 2 * 2].astype(np.int32).reshape(-1, 2)
    halved: NDArray[np.int16] = (pairs.sum(axis=1) >> 1).astype(np.int16)
    return halved
