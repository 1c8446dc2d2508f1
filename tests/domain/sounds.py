"""Telephone sound made of numbers: voices, silence, and their frames."""

from collections.abc import Iterable, Iterator

import numpy as np

from agent_sidecar.domain.media import MediaFrame
from agent_sidecar.domain.types import Samples, Track

RATE_HZ = 8000
FRAME = 160


def voice(seconds: float, *, pitch_hz: float = 120.0, level: float = 0.2) -> Samples:
    t = np.arange(round(RATE_HZ * seconds)) / RATE_HZ
    wave = sum(np.sin(2 * np.pi * n * pitch_hz * t) / n for n in range(1, 9))
    return (level * np.asarray(wave)).astype(np.float32)


def noise(seconds: float, *, level: float = 0.0005, seed: int = 1) -> Samples:
    count = round(RATE_HZ * seconds)
    return np.random.default_rng(seed).normal(0.0, level, count).astype(np.float32)


def track(stretches: Iterable[tuple[float, float]], length_s: float, **how: float) -> Samples:
    """Return a quiet track with a voice from and to each of these seconds."""
    samples = noise(length_s)
    for start_s, end_s in stretches:
        said = voice(end_s - start_s, **how)
        start = round(start_s * RATE_HZ)
        samples[start : start + said.size] += said
    return samples


def frames(name: Track, samples: Samples, *, first: int = 1) -> Iterator[MediaFrame]:
    """Return the track as frames of 20 ms, mu-law encoded."""
    coded = ulaw(samples)
    for number, start in enumerate(range(0, len(coded), FRAME), first):
        yield MediaFrame(name, number, coded[start : start + FRAME])


def ulaw(samples: Samples) -> bytes:
    """Encode as the reference implementation of G.711 (Sun, g711.c) does."""
    value = np.clip(np.round(samples * 32768), -32635, 32635).astype(np.int32)
    sign = np.where(value < 0, 0x7F, 0xFF)
    biased = np.abs(value) + 0x84
    segment = np.floor(np.log2(biased)).astype(np.int32) - 7
    code = (segment << 4) | ((biased >> (segment + 3)) & 0x0F)
    return bytes((code ^ sign).astype(np.uint8))
