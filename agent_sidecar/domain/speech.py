"""What was said in one go, and how it is made of a stretch of sound: the steps that are speech."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent_sidecar.domain.pace import syllables
from agent_sidecar.domain.tonality import Mask, runs
from agent_sidecar.domain.types import Samples
from agent_sidecar.domain.voice_activity import STEP_S

# silence that ends a segment
HANGOVER_S = 0.6
# a shorter gap is part of a word: closures of stops last up to 0.15 s
PAUSE_S = 0.2
# a shorter sound is a click
SHORTEST_S = 0.12
# so short a sound, so far from others, is none of a word
_BLIP_S, _APART_S = 0.06, 0.12
_HANGOVER, _PAUSE, _SHORTEST, _BLIP, _APART = (
    round(s / STEP_S) for s in (HANGOVER_S, PAUSE_S, SHORTEST_S, _BLIP_S, _APART_S)
)
# from where to where, seconds
Span = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """What was said in one go; seconds of the track's audio."""

    # what was said without a pause between
    spans: tuple[Span, ...]
    volume_dbfs: float
    # voiced windows: when, and their pitch
    pitches: tuple[tuple[float, float], ...]
    # counted by their nuclei
    syllables: int
    # it is the rest of something longer, which began then
    begun_s: float

    @property
    def start_s(self) -> float:
        """When it began."""
        return self.spans[0][0]

    @property
    def end_s(self) -> float:
        """When it ended."""
        return self.spans[-1][1]

    @property
    def talk_s(self) -> float:
        """How long it was spoken, without the pauses."""
        return sum(end - start for start, end in self.spans)

    @property
    def pauses_s(self) -> float:
        """How long its pauses were together."""
        return self.end_s - self.start_s - self.talk_s

    @property
    def pitch_hz(self) -> float | None:
        """The median of the voiced windows; None: nothing was voiced."""
        return float(np.median([hz for _, hz in self.pitches])) if self.pitches else None


@dataclass(slots=True, kw_only=True)
class Stretch:
    """Sound that stands out from a track's noise, with short silences in it, in steps of 20 ms."""

    start_s: float
    is_speech: Mask
    # what of it is music or a tone, and what an echo of the other track
    tonal: Mask
    echo: Mask
    levels_dbfs: Samples
    # of each two steps, 0 where not voiced
    pitches: Samples
    # where the last music in it ended
    music_until_s: float | None = None
    # it goes on where a longer one was cut, which began then
    begun_s: float | None = None

    @property
    def is_said(self) -> Mask:
        """What of it the speaker said."""
        return self.is_speech & ~self.tonal & ~self.echo

    @property
    def parts(self) -> list[list[Span]]:
        """What is said in it without a pause; where a silence ends speech another part begins."""
        out: list[list[Span]] = []
        for span in joined(_words(self.is_said), _PAUSE):
            start_s, end_s = self._span(*span)
            if not out or start_s - out[-1][-1][1] >= HANGOVER_S - 1e-9:
                out.append([])
            out[-1].append((start_s, end_s))
        return out

    def speeches(self) -> list[Speech]:
        """Return what is said in it: nothing, or several things where something else is between."""
        words = _words(self.is_said)
        parts = joined(words, _HANGOVER)
        out = [
            self._speech(first, [word for word in words if first <= word[0] < end])
            for first, end in parts
        ]
        return [speech for speech in out if speech is not None]

    def _speech(self, first: int, words: Sequence[tuple[int, int]]) -> Speech | None:
        if sum(end - start for start, end in words) < _SHORTEST:
            return None
        end = words[-1][1]
        steps = np.concatenate([np.arange(*word) for word in words])
        energy = float(np.mean(10.0 ** (self.levels_dbfs[steps] / 10.0)))
        voiced = np.zeros(self.is_speech.size, np.bool_)
        voiced[: 2 * self.pitches.size] = (self.pitches > 0).repeat(2)
        voiced &= self.is_said
        windows = np.unique((np.flatnonzero(voiced[first:end]) + first) // 2)
        begun_s = self.begun_s if first < _PAUSE and self.begun_s is not None else None
        spans = [self._span(*span) for span in joined(words, _PAUSE)]
        return Speech(
            spans=tuple(spans),
            volume_dbfs=10.0 * float(np.log10(energy)),
            pitches=tuple(
                (self.start_s + (2 * window + 1) * STEP_S, float(self.pitches[window]))
                for window in windows.tolist()
            ),
            syllables=syllables(self.levels_dbfs[first:end], voiced[first:end]),
            begun_s=spans[0][0] if begun_s is None else begun_s,
        )

    def _span(self, first: int, end: int) -> Span:
        return self.start_s + first * STEP_S, self.start_s + end * STEP_S


def joined(spans: Sequence[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    """Return the spans, those less than a gap apart as one."""
    out: list[tuple[int, int]] = []
    for first, end in spans:
        if out and first - out[-1][1] < gap:
            out[-1] = (out[-1][0], end)
        else:
            out.append((first, end))
    return out


def _words(is_speech: Mask) -> list[tuple[int, int]]:
    """Return what is said without a gap; what is too short and too lonely is left out."""
    groups = joined(runs(is_speech), _APART + 1)
    return [(first, end) for first, end in groups if int(is_speech[first:end].sum()) >= _BLIP]
