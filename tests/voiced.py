"""A voice made of numbers that a voice detector takes for one: gliding harmonics in syllables."""

import wave
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from agent_sidecar.domain.types import Samples

RATE_HZ = 8000


def voiced(seconds: float, *, pitch_hz: float = 130.0) -> Samples:
    t = np.arange(round(RATE_HZ * seconds)) / RATE_HZ
    pitch = pitch_hz * (1 + 0.12 * np.sin(4.5 * t) + 0.05 * np.sin(13 * t))
    angle = np.cumsum(2 * np.pi * pitch / RATE_HZ)
    sound = sum(np.sin(n * angle) / n for n in range(1, 12))
    syllables = 0.35 + 0.65 * np.sin(np.pi * 3.7 * t) ** 2
    return np.asarray(0.2 * sound * syllables, dtype=np.float32)


def write_wav(
    path: Path, stretches: Iterable[tuple[float, float]], length_s: float, *, pitch_hz: float
) -> Path:
    """Write a recording with a voice from and to each of these seconds."""
    samples = np.zeros(round(length_s * RATE_HZ), np.float32)
    for start_s, end_s in stretches:
        start = round(start_s * RATE_HZ)
        said = voiced(end_s - start_s, pitch_hz=pitch_hz)
        samples[start : start + said.size] = said
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path
