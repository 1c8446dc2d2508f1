"""Cuts one track of samples into stretches of speech, counting seconds of audio, never of the wall.

Energy against a floor that follows the quietest recent level, with a hangover: speech begins when a
20 ms step rises `RISE_DB` above the floor, and ends when `HANGOVER_S` passed without one. Where the
samples were cut on their way here changes nothing.
"""

from dataclasses import dataclass, field

import numpy as np

from agent_sidecar.domain.audio import SILENCE_DBFS
from agent_sidecar.domain.features import pitch_hz
from agent_sidecar.domain.types import Samples

STEP_S = 0.02
RISE_DB = 12.0
QUIETEST_SPEECH_DBFS = -50.0
# a lower floor would change nothing but how long the noise after a digital silence is mistaken
LOWEST_FLOOR_DBFS = QUIETEST_SPEECH_DBFS - RISE_DB
# how fast the floor rises, dB per second; it falls at once
FLOOR_RISE_DB_S = 3.0
# silence that ends a segment
HANGOVER_S = 0.6
# a shorter sound is a click
SHORTEST_S = 0.12
# a longer one is cut, so that its score does not wait for ever
LONGEST_S = 15.0
# the same in steps: counts are exact where sums of 0.02 are not
_HANGOVER, _SHORTEST, _LONGEST = (round(s / STEP_S) for s in (HANGOVER_S, SHORTEST_S, LONGEST_S))
# steps that make one window of pitch: 40 ms hold two periods of the lowest voice
_PITCH_STEPS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """One stretch of speech; seconds of the track's audio."""

    start_s: float
    end_s: float
    # time in which there was speech, pauses left out
    talk_s: float
    volume_dbfs: float
    # median of the voiced windows; None: nothing was voiced
    pitch_hz: float | None


@dataclass(slots=True)
class _Open:
    """Speech that goes on; counted in steps since the track began."""

    first: int
    # one past the last step with speech in it
    end: int = 0
    steps: int = 0
    energy: float = 0.0
    # steps with speech whose pitch has not been measured
    unmeasured: list[Samples] = field(default_factory=list)
    pitches: list[float] = field(default_factory=list)


class Segmenter:
    """The speech of one track; feed it about 200 ms at a time."""

    def __init__(self, sample_rate_hz: int, *, start_s: float = 0.0) -> None:
        self._rate = sample_rate_hz
        self._step = int(sample_rate_hz * STEP_S)
        self._floor_dbfs = LOWEST_FLOOR_DBFS
        self._open: _Open | None = None
        self._start_s = start_s
        self._heard = 0
        # what is left over from the last whole step
        self._rest: Samples = np.zeros(0, np.float32)

    @property
    def heard_s(self) -> float:
        """Where the audio heard so far ends."""
        return self._at_s(self._heard) + self._rest.size / self._rate

    @property
    def speaking_since_s(self) -> float | None:
        """When the speech now open began; None in silence."""
        return self._at_s(self._open.first) if self._open else None

    def begin_at(self, start_s: float) -> None:
        """Say when this track began, before anything of it was heard."""
        self._start_s = start_s

    def receive(self, samples: Samples) -> list[Speech]:
        """Hear more audio; return the speech that ended in it."""
        if self._rest.size:
            samples = np.concatenate((self._rest, samples))
        count = samples.size // self._step
        self._rest = samples[count * self._step :]
        steps = samples[: count * self._step].reshape(count, self._step)
        energies = np.einsum("ij,ij->i", steps, steps) / self._step
        levels = 10.0 * np.log10(energies + 1e-12)
        ended: list[Speech] = []
        for step, energy, level in zip(steps, energies.tolist(), levels.tolist(), strict=True):
            if speech := self._step_on(step if self._is_speech(level) else None, energy):
                ended.append(speech)
        if self._open is not None:
            self._measure_pitch(self._open)
        return ended

    def flush(self) -> list[Speech]:
        """Return the speech that is still open: the audio has ended."""
        speech = self._close()
        return [speech] if speech else []

    def _at_s(self, step: int) -> float:
        return self._start_s + step * STEP_S

    def _is_speech(self, level_dbfs: float) -> bool:
        risen = min(level_dbfs, self._floor_dbfs + FLOOR_RISE_DB_S * STEP_S)
        self._floor_dbfs = max(risen, LOWEST_FLOOR_DBFS)
        return level_dbfs > self._floor_dbfs + RISE_DB

    def _step_on(self, speech: Samples | None, energy: float) -> Speech | None:
        """Hear one step; `speech` is None when there was none in it."""
        self._heard += 1
        if speech is not None:
            if self._open is None:
                self._open = _Open(first=self._heard - 1)
            self._open.end = self._heard
            self._open.steps += 1
            self._open.energy += energy
            self._open.unmeasured.append(speech)
            return self._close() if self._heard - self._open.first >= _LONGEST else None
        if self._open is not None and self._heard - self._open.end >= _HANGOVER:
            return self._close()
        return None

    def _measure_pitch(self, speech: _Open) -> None:
        ready = len(speech.unmeasured) // _PITCH_STEPS * _PITCH_STEPS
        if ready:
            voice = np.concatenate(speech.unmeasured[:ready])
            speech.pitches += pitch_hz(voice, self._rate, window=_PITCH_STEPS * self._step)
            del speech.unmeasured[:ready]

    def _close(self) -> Speech | None:
        was, self._open = self._open, None
        if was is None or was.steps < _SHORTEST:
            return None
        self._measure_pitch(was)
        level = 10.0 * float(np.log10(was.energy / was.steps + 1e-12))
        return Speech(
            start_s=self._at_s(was.first),
            end_s=self._at_s(was.end),
            talk_s=was.steps * STEP_S,
            volume_dbfs=max(SILENCE_DBFS, level),
            pitch_hz=float(np.median(was.pitches)) if was.pitches else None,
        )
