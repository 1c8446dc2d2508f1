"""Telephone speech made of numbers, and what is true of it: where it is, its pitch, its syllables.

A voice is its harmonics under three moving formants (an additive vocoder: Klatt 1980 gives the
formants, Fant's -12 dB per octave the source), with fricatives, stops and nasals between the
vowels, words, phrases, declination and a jitter of the pitch. Deterministic by its seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 8000
Wave = NDArray[np.float32]
Stretch = tuple[float, float]
# a gap inside a turn from which it is a pause, and one from which it ends the turn
PAUSE_S, TURN_GAP_S = 0.2, 0.6
# the truth of the pitch is told for every so many seconds
PITCH_EVERY_S = 0.005
# level of the active speech of a voice
SPEECH_DBFS = -22.0
# formants of vowels: a, e, i, o, u, schwa
_VOWELS: tuple[tuple[int, int, int], ...] = (
    (730, 1090, 2440),
    (530, 1840, 2480),
    (270, 2290, 3010),
)
_VOWELS += ((570, 840, 2410), (300, 870, 2240), (500, 1500, 2500))
_BANDWIDTHS = (80.0, 100.0, 150.0)
_HIGHEST_HZ = 3500.0
# G.712: what a telephone line lets through
_LINE_HZ = (250.0, 3400.0)


@dataclass(slots=True)
class Said:
    """One track of a call, and the truth about it; seconds from its beginning."""

    samples: Wave
    # where a voice sounds; closures of stops are part of it, pauses are not
    active: list[Stretch] = field(default_factory=list)
    # Hz every `PITCH_EVERY_S`, 0 where nothing is voiced
    pitch_hz: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    # the middle of each vowel
    syllables_s: list[float] = field(default_factory=list)

    @property
    def turns(self) -> list[Stretch]:
        """What is spoken without a gap that ends a turn."""
        return joined(self.active, TURN_GAP_S)

    @property
    def talk(self) -> list[Stretch]:
        """What is spoken without a gap that is a pause."""
        return joined(self.active, PAUSE_S)


def joined(stretches: Sequence[Stretch], gap_s: float) -> list[Stretch]:
    """Return the stretches in order, those less than a gap apart as one."""
    out: list[Stretch] = []
    for start_s, end_s in sorted(stretches):
        if out and start_s - out[-1][1] < gap_s:
            out[-1] = (out[-1][0], max(end_s, out[-1][1]))
        else:
            out.append((start_s, end_s))
    return out


def overlap_s(ours: Sequence[Stretch], theirs: Sequence[Stretch]) -> float:
    """Return how long both went on at once."""
    return sum(max(0.0, min(a[1], b[1]) - max(a[0], b[0])) for a in ours for b in theirs)


class Voice:
    """One speaker; every phrase he says is another one."""

    def __init__(self, seed: int, *, pitch_hz: float, syllables_per_s: float = 4.5) -> None:
        self._random = np.random.default_rng(seed)
        self._pitch_hz = pitch_hz
        self._syllable_s = 1.0 / syllables_per_s

    def turn(self, length_s: float, *, shift_st: float = 0.0, pace: float = 1.0) -> Said:
        """Say phrases with pauses between them, together about that long."""
        said, at_s = Said(np.zeros(round((length_s + 3.0) * RATE_HZ), np.float32)), 0.0
        pitch = np.zeros(round((length_s + 3.0) / PITCH_EVERY_S))
        while length_s - at_s > 0.3 or not said.active:
            phrase_s = min(float(self._random.uniform(1.0, 3.0)), max(0.3, length_s - at_s))
            phrase = self._phrase(phrase_s, self._pitch_hz * 2 ** (shift_st / 12), pace)
            put(said, pitch, phrase, at_s)
            at_s = said.active[-1][1] + float(self._random.uniform(0.25, 0.45))
        end_s = said.active[-1][1]
        said.samples = said.samples[: round(end_s * RATE_HZ)]
        said.pitch_hz = pitch[: round(end_s / PITCH_EVERY_S)]
        return said

    def _phrase(self, length_s: float, pitch_hz: float, pace: float) -> Said:
        """Say words without a pause: syllables of a consonant and a vowel."""
        random = self._random
        parts: list[tuple[str, float]] = []
        lasts_s = 0.0
        while lasts_s < length_s:
            syllable_s = self._syllable_s / pace * float(random.uniform(0.75, 1.25))
            consonant_s = min(0.09, syllable_s * float(random.uniform(0.25, 0.4)))
            kind = str(random.choice(["fricative", "stop", "nasal", "stop", "none"]))
            if kind != "none":
                parts.append((kind, consonant_s))
            parts.append(("vowel", syllable_s - consonant_s))
            lasts_s += syllable_s
        return self._sound(parts, pitch_hz)

    def _sound(self, parts: Sequence[tuple[str, float]], pitch_hz: float) -> Said:
        random = self._random
        total = round(sum(s for _, s in parts) * RATE_HZ)
        t = np.arange(total) / RATE_HZ
        voiced, formants = np.zeros(total), np.zeros((3, total))
        rough, syllables, at_s = np.zeros(total), [], 0.0
        for kind, part_s in parts:
            start, stop = round(at_s * RATE_HZ), min(total, round((at_s + part_s) * RATE_HZ))
            shape = _swell(stop - start)
            if kind == "vowel":
                voiced[start:stop] = shape * 10 ** (random.uniform(-4, 2) / 20)
                syllables.append(at_s + part_s / 2)
            elif kind == "nasal":
                voiced[start:stop] = 0.3 * shape
            elif kind == "fricative":
                rough[start:stop] = shape * 10 ** (random.uniform(-10, -2) / 20)
            else:
                burst = start + round(0.7 * (stop - start))
                rough[burst:stop] = 0.5 * _swell(stop - burst)
            formants[:, start:stop] = np.array(_VOWELS[random.integers(len(_VOWELS))])[:, None]
            at_s += part_s
        smooth = np.hanning(321) / np.hanning(321).sum()
        formants = np.stack([_smoothed(one, smooth) for one in formants])
        voiced = _smoothed(voiced, np.hanning(81) / np.hanning(81).sum())
        pitch = pitch_hz * 2 ** (self._melody(t, syllables) / 12)
        wave = _harmonics(pitch, formants) * voiced
        wave /= np.sqrt(np.mean(wave[voiced > 0.3] ** 2)) + 1e-9
        wave += _hiss(random, total) * rough
        told = np.where(voiced > 0.25, pitch, 0.0)[:: round(PITCH_EVERY_S * RATE_HZ)]
        wave = on_the_line(wave)
        wave *= 10 ** (SPEECH_DBFS / 20) / np.sqrt(np.mean(wave**2))
        return Said(wave.astype(np.float32), [_audible(wave)], told, syllables)

    def _melody(self, t: NDArray[np.float64], syllables: Sequence[float]) -> NDArray[np.float64]:
        """Return semitones around the voice's own pitch: declination, accents, jitter."""
        random = self._random
        melody = 1.5 - 3.0 * t / max(t[-1], 1.0)
        for at_s in syllables:
            melody += random.normal(0.0, 1.5) * np.exp(-0.5 * ((t - at_s) / 0.08) ** 2)
        knots = np.arange(0, t[-1] + 0.05, 0.02)
        melody += np.interp(t, knots, random.normal(0.0, 0.15, knots.size))
        return np.asarray(melody)


def put(said: Said, pitch: NDArray[np.float64], part: Said, at_s: float) -> None:
    """Add a part to a track from that second on; it must be long enough."""
    start, place = round(at_s * RATE_HZ), round(at_s / PITCH_EVERY_S)
    said.samples[start : start + part.samples.size] += part.samples
    pitch[place : place + part.pitch_hz.size] = part.pitch_hz
    said.active += [(a + at_s, b + at_s) for a, b in part.active]
    said.syllables_s += [s + at_s for s in part.syllables_s]


def on_the_line(wave: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return what a telephone line lets through."""
    spectrum = np.fft.rfft(wave)
    hz = np.fft.rfftfreq(wave.size, 1 / RATE_HZ)
    low, high = _LINE_HZ
    gain = 1 / np.sqrt(1 + (low / np.maximum(hz, 1.0)) ** 6) / np.sqrt(1 + (hz / high) ** 20)
    return np.asarray(np.fft.irfft(spectrum * gain, wave.size))


Spoken = tuple[Said, Said]


class Speaker(Protocol):
    """Whoever can say turns."""

    def turn(self, length_s: float, *, shift_st: float = 0.0, pace: float = 1.0) -> Said:
        """Say something that lasts about so long."""
        ...


def conversation(seed: int, length_s: float) -> Spoken:
    """Return prospect and agent of a call, a low voice and a high one."""
    random = np.random.default_rng(seed)
    pitches = random.permutation([random.uniform(95, 130), random.uniform(170, 230)])
    voices = [Voice(seed * 2 + n, pitch_hz=float(pitches[n])) for n in range(2)]
    return converse(seed, length_s, voices)


def converse(seed: int, length_s: float, voices: Sequence[Speaker]) -> Spoken:
    """Return turns in alternation, some begun before the other's end.

    No gap of a made voice lies within 0.1 s of what divides a pause from the end of a turn.
    """
    random = np.random.default_rng(seed)
    count, told = round(length_s * RATE_HZ), round(length_s / PITCH_EVERY_S)
    tracks = [Said(np.zeros(count, np.float32)) for _ in voices]
    for track in tracks:
        track.pitch_hz = np.zeros(told)
    ends_s, who, at_s = [-1.0, -1.0], 1, 0.8
    while True:
        shift, pace = float(random.uniform(-3, 3)), float(random.uniform(0.85, 1.2))
        turn = voices[who].turn(float(random.uniform(0.7, 5.0)), shift_st=shift, pace=pace)
        at_s = max(at_s, ends_s[who] + TURN_GAP_S + 0.15)
        end_s = at_s + turn.samples.size / RATE_HZ
        if end_s > length_s - 1.0:
            return tracks[0], tracks[1]
        put(tracks[who], tracks[who].pitch_hz, turn, at_s)
        ends_s[who] = end_s
        who = 1 - who if random.random() < 0.85 else who
        early = random.random() < 0.4
        after_s = float(random.uniform(-1.3, -0.4) if early else random.uniform(0.15, 1.4))
        at_s = max(0.5, max(ends_s) + after_s)


def _harmonics(pitch: NDArray[np.float64], formants: NDArray[np.float64]) -> NDArray[np.float64]:
    phase = np.cumsum(pitch) / RATE_HZ
    out = np.zeros(pitch.size)
    for number in range(1, int(_HIGHEST_HZ / pitch.min()) + 1):
        hz = number * pitch
        gain = np.where(hz < _HIGHEST_HZ, 1.0 / number, 0.0)
        for formant, bandwidth in zip(formants, _BANDWIDTHS, strict=True):
            off = 1 - (hz / formant) ** 2
            gain = gain / np.sqrt(off**2 + (hz * bandwidth / formant**2) ** 2)
        out += gain * np.sin(2 * np.pi * (number * phase % 1.0))
    return out


def _hiss(random: np.random.Generator, count: int) -> NDArray[np.float64]:
    spectrum = np.fft.rfft(random.normal(0.0, 1.0, count))
    hz = np.fft.rfftfreq(count, 1 / RATE_HZ)
    return np.asarray(np.fft.irfft(spectrum * np.clip((hz - 1200) / 1200, 0.05, 1.0), count))


def _swell(count: int) -> NDArray[np.float64]:
    edge = min(count // 2, round(0.02 * RATE_HZ))
    shape = np.ones(count)
    if edge:
        shape[:edge] = shape[count - edge :][::-1] = np.sin(np.linspace(0, np.pi / 2, edge))
    return shape


def _smoothed(values: NDArray[np.float64], shape: NDArray[np.float64]) -> NDArray[np.float64]:
    padded = np.pad(values, shape.size // 2, mode="edge")
    return np.convolve(padded, shape, mode="valid")[: values.size]


def _audible(wave: NDArray[np.float64]) -> Stretch:
    """Return from where to where a phrase is at most 30 dB quieter than as a whole."""
    size = round(0.005 * RATE_HZ)
    levels = np.sqrt(np.mean(wave[: wave.size // size * size].reshape(-1, size) ** 2, axis=1))
    loud = np.flatnonzero(levels > np.sqrt(np.mean(wave**2)) * 10 ** (-30 / 20))
    return float(loud[0] * size / RATE_HZ), float((loud[-1] + 1) * size / RATE_HZ)
