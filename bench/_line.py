"""What a telephone line does to a call: noise, levels, loss, disorder, echo, music, tones."""

from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agent_sidecar.domain.media import MediaFrame
from agent_sidecar.domain.types import Track
from agent_sidecar.simulator.wav import encode_ulaw
from bench._spoken import RATE_HZ, SPEECH_DBFS, Wave, on_the_line

FRAME = 160
Tune = Literal["pad", "plucked", "melody", "band"]
TUNES: tuple[Tune, ...] = ("pad", "plucked", "melody", "band")
# a cadence: frequencies, seconds on, seconds off
RINGBACK: dict[str, tuple[tuple[float, ...], float, float]] = {
    "us": ((440.0, 480.0), 2.0, 4.0),
    "europe": ((425.0,), 1.0, 4.0),
    "uk": ((400.0, 450.0), 0.4, 0.2),
    "busy": ((480.0, 620.0), 0.5, 0.5),
    "dtmf": ((770.0, 1336.0), 0.2, 0.3),
}
_MAJOR, _MINOR = (0, 4, 7), (0, 3, 7)
_CHORDS = ((0, _MAJOR), (9, _MINOR), (5, _MAJOR), (7, _MAJOR))


def gain(samples: Wave, db: float) -> Wave:
    """Return the samples so much louder, clipped as a line clips."""
    return np.asarray(np.clip(samples * 10 ** (db / 20), -1.0, 1.0), np.float32)


def noise(count: int, snr_db: float, seed: int, *, tilted: bool = False) -> Wave:
    """Return line noise so far below the speech; `tilted`: with most of it at the bottom."""
    white = np.random.default_rng(seed).normal(0.0, 1.0, count)
    if tilted:
        spectrum = np.fft.rfft(white)
        spectrum /= np.sqrt(1 + np.fft.rfftfreq(count, 1 / RATE_HZ) / 300)
        white = np.fft.irfft(spectrum, count)
    white = on_the_line(white)
    level = 10 ** ((SPEECH_DBFS - snr_db) / 20)
    return np.asarray(white * level / np.sqrt(np.mean(white**2)), np.float32)


def levels_change(samples: Wave, every_s: float, steps_db: Sequence[float]) -> Wave:
    """Return the samples with another gain every few seconds, over 50 ms each."""
    at = np.arange(samples.size) / RATE_HZ
    starts = np.arange(0, at[-1], every_s)
    points = sorted([*starts, *(starts[1:] - 0.05)])
    db = [steps_db[int((point + 0.06) / every_s) % len(steps_db)] for point in points]
    return np.clip(samples * 10 ** (np.interp(at, points, db) / 20), -1, 1).astype(np.float32)


def gated(samples: Wave, active: Sequence[tuple[float, float]]) -> Wave:
    """Return the samples with digital silence outside of the stretches, as voice detectors send."""
    out = np.zeros_like(samples)
    for start_s, end_s in active:
        start, end = round((start_s - 0.04) * RATE_HZ), round((end_s + 0.2) * RATE_HZ)
        out[start:end] = samples[start:end]
    return out


def echo_of(samples: Wave, *, delay_s: float, loss_db: float, seed: int = 5) -> Wave:
    """Return what leaks back: later, quieter, through a loudspeaker, a room and a line."""
    random = np.random.default_rng(seed)
    taps = np.zeros(round(0.03 * RATE_HZ))
    taps[0] = 1.0
    fading = np.exp(-np.arange(taps.size) / (0.008 * RATE_HZ))
    taps[1:] = 0.15 * random.normal(0.0, 1.0, taps.size - 1) * fading[1:]
    heard = on_the_line(np.convolve(samples, taps)[: samples.size])
    heard *= np.sqrt(np.mean(samples**2) / (np.mean(heard**2) + 1e-12)) * 10 ** (-loss_db / 20)
    out = np.zeros_like(samples)
    delay = round(delay_s * RATE_HZ)
    out[delay:] = heard[: samples.size - delay]
    return out


def tones(length_s: float, hz: Sequence[float], on_s: float, off_s: float) -> Wave:
    """Return a signalling tone in its cadence, at the usual -18 dBFS."""
    at = np.arange(round(length_s * RATE_HZ)) / RATE_HZ
    wave = sum((np.sin(2 * np.pi * one * at) for one in hz), np.zeros(at.size))
    wave *= 10 ** (-18 / 20) * np.sqrt(2 / len(hz))
    return np.asarray(wave * (at % (on_s + off_s) < on_s), np.float32)


def music(length_s: float, tune: Tune, seed: int = 7) -> Wave:
    """Return hold music as a line carries it: chords, arpeggios, a melody, or all with drums."""
    random = np.random.default_rng(seed)
    count = round(length_s * RATE_HZ)
    out, beat_s = np.zeros(count), float(random.uniform(0.24, 0.32))
    for number in range(int(length_s / beat_s) + 1):
        root, kind = _CHORDS[number // 8 % len(_CHORDS)]
        at_s = number * beat_s
        if tune in {"pad", "band"} and number % 8 == 0:
            for step in kind:
                _note(out, at_s, 8 * beat_s, 48 + root + step, 0.5, 4.0)
        if tune in {"plucked", "band"}:
            _note(out, at_s, 3 * beat_s, 60 + root + kind[number % 3], 1.0, 0.35)
        if tune in {"melody", "band"} and number % 2 == 0:
            step = int(random.choice(kind))
            _note(out, at_s, 2 * beat_s, 67 + root + step, 1.0, 1.5)
        if tune == "band":
            start = round(at_s * RATE_HZ)
            hit = random.normal(0.0, 0.6, min(600, max(0, count - start)))
            out[start : start + hit.size] += hit * np.exp(-np.arange(hit.size) / 120)
    out = on_the_line(out)
    return np.asarray(out * 10 ** (-20 / 20) / np.sqrt(np.mean(out**2)), np.float32)


def _note(
    out: NDArray[np.float64], at_s: float, lasts_s: float, key: int, loud: float, fade_s: float
) -> None:
    start = round(at_s * RATE_HZ)
    at = np.arange(min(round(lasts_s * RATE_HZ), max(0, out.size - start))) / RATE_HZ
    hz = 440.0 * 2 ** ((key - 69) / 12)
    wave = np.zeros(at.size)
    for number in range(1, int(3400 / hz) + 1):
        wave += np.sin(2 * np.pi * number * hz * at) / number**1.5
    ends = np.minimum(1.0, np.minimum(at / 0.01, (at[-1] - at) / 0.03)) if at.size else at
    out[start : start + at.size] += loud * wave * np.exp(-at / fade_s) * ends


def frames(inbound: Wave, outbound: Wave, encode: Callable[[Wave], bytes]) -> list[MediaFrame]:
    """Return the frames of both tracks as they come, turn by turn."""
    pairs = zip_longest(_cut("inbound", encode(inbound)), _cut("outbound", encode(outbound)))
    return [frame for frame in chain.from_iterable(pairs) if frame is not None]


def pcmu(samples: Wave) -> bytes:
    """Encode as PCMU."""
    return encode_ulaw(np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16))


def lose(
    arriving: Sequence[MediaFrame], share: float, seed: int, *, burst: int = 1
) -> list[MediaFrame]:
    """Return what arrives when so many frames are lost, `burst` of a track in a row."""
    random = np.random.default_rng(seed)
    left: dict[Track, int] = {"inbound": 0, "outbound": 0}
    out = []
    for frame in arriving:
        if not left[frame.track] and random.random() < share / burst:
            left[frame.track] = burst
        if left[frame.track]:
            left[frame.track] -= 1
        else:
            out.append(frame)
    return out


def shuffle(arriving: Sequence[MediaFrame], places: int, seed: int) -> list[MediaFrame]:
    """Return what arrives when frames come up to so many places of their track late."""
    late = np.random.default_rng(seed).uniform(0, 2 * places, len(arriving))
    return [arriving[place] for place in np.argsort(np.arange(len(arriving)) + late)]


def _cut(track: Track, coded: bytes) -> list[MediaFrame]:
    return [
        MediaFrame(track, number, coded[start : start + FRAME])
        for number, start in enumerate(range(0, len(coded), FRAME), 1)
    ]
