"""Conversations that espeak-ng speaks, true as its clean waveforms say."""

import io
import shutil
import subprocess
import wave
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bench._spoken import (
    PITCH_EVERY_S,
    RATE_HZ,
    SPEECH_DBFS,
    Said,
    Spoken,
    Wave,
    converse,
    on_the_line,
)

ESPEAK = shutil.which("espeak-ng")
_VOICES = ("en-us+m3", "en-us+f4", "en-gb+m1", "en-us+f2")
_SENTENCES = (
    "I have been thinking about it for quite some time now.",
    "That sounds a little expensive to me.",
    "Yes.",
    "Could you tell me how the first month would look?",
    "We moved here last summer, and my brother runs the shop with me.",
    "No, not really.",
    "Tuesday morning would be fine, any time before noon.",
    "Well, let me see what I can do about the number you named.",
    "Who else would be on the call?",
    "All right, that makes sense.",
)
# what is quieter by so much than speech as a whole, a noisy line hides
_AUDIBLE_DB = 25.0
# truth of the pitch: a window of 50 ms must be so much like what follows it
_WINDOW_S, _ALIKE = 0.05, 0.9


class EspeakVoice:
    """One speaker; the pitch and pace of a turn are the voice's, moved."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._voice = _VOICES[seed % len(_VOICES)]

    def turn(self, length_s: float, *, shift_st: float = 0.0, pace: float = 1.0) -> Said:
        """Say sentences until it lasted about that long."""
        parts, lasts_s = [], 0.0
        while lasts_s < length_s:
            text = _SENTENCES[self._random.integers(len(_SENTENCES))]
            pitch, words = round(45 + 5 * shift_st), round(170 * pace / 10) * 10
            part = _say(self._voice, text, pitch, words)
            # with the soft ends of sentences no truth lies near what divides pauses from ends
            pause = np.zeros(round(float(self._random.uniform(0.05, 0.2)) * RATE_HZ), np.float32)
            parts += [part, pause]
            lasts_s += (part.size + pause.size) / RATE_HZ
        return _true(np.concatenate(parts[:-1]))


def espeak_conversation(seed: int, length_s: float) -> Spoken:
    """Return a conversation as `_spoken.conversation` does; the truth has no syllables."""
    return converse(seed, length_s, [EspeakVoice(2 * seed), EspeakVoice(2 * seed + 1)])


@lru_cache(maxsize=512)
def _say(voice: str, text: str, pitch: int, words_per_minute: int) -> Wave:
    assert ESPEAK is not None
    command = [ESPEAK, "-v", voice, "-p", str(pitch), "-s", str(words_per_minute), "--stdout", text]
    spoken = subprocess.run(command, capture_output=True, check=True)  # noqa: S603
    with wave.open(io.BytesIO(spoken.stdout)) as file:
        rate_hz = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
    # resampled in the frequency domain; what the line would not carry goes
    count = round(samples.size * RATE_HZ / rate_hz)
    spectrum = np.fft.rfft(samples)[: count // 2 + 1]
    out = on_the_line(np.fft.irfft(spectrum, count) * count / samples.size)
    loud = np.flatnonzero(np.abs(out) > 1e-3 * np.abs(out).max())
    out = out[loud[0] : loud[-1] + 1]
    return np.asarray(out * 10 ** (SPEECH_DBFS / 20) / np.sqrt(np.mean(out**2)), np.float32)


def _true(samples: Wave) -> Said:
    """Return the clean waveform with what is true of it."""
    size = round(0.01 * RATE_HZ)
    rows = samples[: samples.size // size * size].reshape(-1, size)
    levels = 10 * np.log10(np.mean(rows**2, axis=1) + 1e-12)
    sounds = levels > SPEECH_DBFS - _AUDIBLE_DB
    edges = np.flatnonzero(np.diff(sounds.astype(int), prepend=0, append=0)).tolist()
    active = [(a * 0.01, b * 0.01) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return Said(samples, active, _pitch(samples))


def _pitch(samples: Wave) -> NDArray[np.float64]:
    """Return the pitch by normalised cross-correlation (Talkin 1995), 0 where that is in doubt."""
    window = round(_WINDOW_S * RATE_HZ)
    lags = np.arange(RATE_HZ // 400, RATE_HZ // 65)
    step = round(PITCH_EVERY_S * RATE_HZ)
    out = np.zeros(samples.size // step)
    wide = np.pad(samples.astype(np.float64), (window, 2 * window))
    for place in range(out.size):
        start = place * step + window // 2
        one = wide[start : start + window]
        energy = float(np.dot(one, one))
        if energy < window * 10 ** ((SPEECH_DBFS - 25) / 10):
            continue
        later = np.lib.stride_tricks.sliding_window_view(
            wide[start + lags[0] : start + lags[-1] + window], window
        )
        alike = later @ one / np.sqrt(energy * np.einsum("ij,ij->i", later, later) + 1e-9)
        best = int(np.argmax(alike - 0.05 * np.log2(lags / lags[0])))
        if alike[best] >= _ALIKE:
            out[place] = RATE_HZ / lags[best]
    return out
