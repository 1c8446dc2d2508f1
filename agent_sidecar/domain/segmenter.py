"""Cuts one track of samples into speech, counting seconds of audio, never of the wall.

Speech begins with a `LOUD` step of 20 ms (`voice_activity`), reaches over the `FAINT` ones beside
it, and ends when `HANGOVER_S` passed without any. While it goes on its windows of 40 ms are
measured, many at once; when it has ended, what was music, a tone or an echo is taken out
(`tonality`, and whom the listener asks about echo), and what is left is cut at its silences
(`speech`). Where the samples were cut on their way here changes nothing.
"""

from collections.abc import Callable

import numpy as np

from agent_sidecar.domain.audio import RATE_HZ
from agent_sidecar.domain.features import magnitudes, pitches_hz
from agent_sidecar.domain.speech import HANGOVER_S, Speech, Stretch
from agent_sidecar.domain.tonality import MUSIC_GAP_S, Mask, Tonality, is_tonal, runs
from agent_sidecar.domain.types import Samples
from agent_sidecar.domain.voice_activity import LOUD, SILENT, STEADY_S, STEP_S, VoiceActivity

# a longer one is cut, so that its score does not wait for ever
LONGEST_S = 15.0
# how far speech reaches over faint steps before and after a loud one
REACH_S = 0.16
# steps that never came are speech between speech, if they are no more
BRIDGE_S = 0.2
# sound is measured in blocks of this length: one transform of many windows costs a third of many
BLOCK_S = 0.8
_STEP = round(STEP_S * RATE_HZ)
_HANGOVER, _LONGEST, _REACH, _BRIDGE, _BLOCK, _STEADY = (
    round(s / STEP_S) for s in (HANGOVER_S, LONGEST_S, REACH_S, BRIDGE_S, BLOCK_S, STEADY_S)
)
# of the windows of steady noise so many may have a pitch
_VOICED_NOISE = 0.3
# what is known of a step
_SPEECH, _LOST = 1, 2

# asked about each block: when it began, how many steps it has; True for each that is an echo
FindEcho = Callable[[float, int], Mask | None]


class _Open:
    """Sound that goes on; places are steps of the track."""

    __slots__ = ("begun_s", "echo", "first", "last", "measured", "pitches", "tonality")

    def __init__(self, first: int, begun_s: float | None) -> None:
        self.first = first
        # it goes on where something longer was cut, which began then
        self.begun_s = begun_s
        # the last step that is speech
        self.last = first
        # up to here windows have been measured
        self.measured = first
        self.pitches: list[Samples] = []
        self.echo: list[Mask] = []
        self.tonality = Tonality()


class Segmenter:
    """The speech of one track; feed it a few hundred milliseconds at a time."""

    def __init__(self, *, start_s: float = 0.0) -> None:
        # seconds of music and tones, and of echo, that were taken out of speech
        self.masked_s = 0.0
        self.echo_s = 0.0
        # set by who hears both tracks
        self.find_echo: FindEcho | None = None
        self._start_s = start_s
        self._activity = VoiceActivity()
        self._open: _Open | None = None
        # where speech was cut, and when it had begun
        self._cut_at: tuple[int, float] | None = None
        self._heard = 0
        # where the steps that are not silent began, and the last loud one of them
        self._risen: int | None = None
        self._loud: int | None = None
        # steps just before this one that never came
        self._missed = 0
        self._music_until_s = -MUSIC_GAP_S
        # level and kind of the last steps, and of all of open speech; from this step on
        self._levels: list[float] = []
        self._kinds: list[int] = []
        self._from = 0
        # the last steps themselves, and those of open speech not yet measured; from this step on
        self._steps: Samples = np.zeros((0, _STEP), np.float32)
        self._steps_from = 0
        # what is left over from the last whole step, and what of it never came
        self._rest: Samples = np.zeros(0, np.float32)
        self._rest_lost: Mask = np.zeros(0, np.bool_)

    @property
    def heard_s(self) -> float:
        """Where the audio heard so far ends."""
        return self._at_s(self._heard) + self._rest.size / RATE_HZ

    @property
    def open_speech(self) -> Stretch | None:
        """The sound that goes on, as far as it is known: it may yet turn out to be music."""
        if self._open is None:
            return None
        stretch = self._stretch(self._open, self._heard)
        if self.find_echo is not None:
            first = self._open.measured
            echo = self.find_echo(self._at_s(first), self._heard - first)
            if echo is not None:
                stretch.echo[first - self._open.first :] = echo
        return stretch

    def begin_at(self, start_s: float) -> None:
        """Say when this track began, before anything of it was heard."""
        self._start_s = start_s

    def receive(self, samples: Samples, lost: Mask | None = None) -> list[Speech]:
        """Hear more audio; return the speech that ended in it.

        `lost`: True for each sample that stands in for one that never came.
        """
        steps, lost_steps = self._cut(samples, lost)
        energies = np.einsum("ij,ij->i", steps, steps) / _STEP
        levels: list[float] = (10.0 * np.log10(energies + 1e-12)).tolist()
        self._steps = np.concatenate((self._steps, steps))
        if self._open is None and lost_steps is None and self._activity.rest(levels):
            # half of a call: 0.4 ms a second would go into one step after the other
            self._risen = self._loud = None
            self._missed = 0
            self._levels += levels
            self._kinds += [0] * len(levels)
            self._heard += len(levels)
            self._forget()
            return []
        ended: list[Speech] = []
        for place, level in enumerate(levels):
            self._levels.append(level)
            if lost_steps is not None and lost_steps[place]:
                self._kinds.append(_LOST)
                self._missed += 1
            else:
                self._kinds.append(0)
                self._hear(self._activity.judge(level))
                self._missed = 0
            self._heard += 1
            if self._open is not None:
                ended += self._go_on(self._open)
        self._forget()
        return ended

    def flush(self) -> list[Speech]:
        """Return the speech that is still open: the audio has ended, or its words are known."""
        return [] if self._open is None else self._finish(self._open)

    def _at_s(self, step: int) -> float:
        return self._start_s + step * STEP_S

    def _cut(self, samples: Samples, lost: Mask | None) -> tuple[Samples, list[bool] | None]:
        """Return whole steps, and which of them never came whole; keep the rest."""
        if lost is None and self._rest_lost.any():
            lost = np.zeros(samples.size, np.bool_)
        rest = self._rest.size
        if rest:
            samples = np.concatenate((self._rest, samples))
            if lost is not None:
                before = self._rest_lost if self._rest_lost.size else np.zeros(rest, np.bool_)
                lost = np.concatenate((before, lost))
        whole = samples.size // _STEP * _STEP
        self._rest = samples[whole:]
        if lost is None:
            self._rest_lost = self._rest_lost[:0]
            return samples[:whole].reshape(-1, _STEP), None
        self._rest_lost = lost[whole:]
        gone = [bool(step.any()) for step in lost[:whole].reshape(-1, _STEP)]
        return samples[:whole].reshape(-1, _STEP), gone

    def _hear(self, kind: int) -> None:
        """Hear the step that comes now."""
        now = self._heard
        if kind == SILENT or (self._activity.steadiness.reached and self._is_noise(now)):
            self._risen = self._loud = None
            return
        if self._risen is None:
            self._risen = now
        if kind == LOUD:
            first = max(self._risen, now - _REACH) if self._loud is None else now
            self._loud = now
            self._speak(first, now)
        elif self._loud is not None and now - self._loud <= _REACH:
            self._speak(now, now)

    def _is_noise(self, now: int) -> bool:
        """Find out whether what has been steady has neither pitch nor notes: it is noise then."""
        steady = self._steps[now + 1 - _STEADY - self._steps_from : now + 1 - self._steps_from]
        spectra = magnitudes(steady.ravel())
        voiced = np.count_nonzero(pitches_hz(spectra)) > _VOICED_NOISE * len(spectra)
        if voiced or is_tonal(spectra):
            return False
        self._activity.learn_noise()
        for place in range(max(0, now + 1 - _STEADY - self._from), now - self._from):
            self._kinds[place] &= ~_SPEECH
        return True

    def _speak(self, first: int, last: int) -> None:
        """Note that there is speech in these steps."""
        if self._open is None:
            begun_s = None
            if self._cut_at is not None and first - self._cut_at[0] <= _BRIDGE:
                begun_s = self._cut_at[1]
            self._open = _Open(first, begun_s)
        elif self._missed and self._missed <= _BRIDGE and first - self._open.last <= _BRIDGE + 1:
            first = self._open.last + 1
        self._open.last = last
        for place in range(first - self._from, last + 1 - self._from):
            self._kinds[place] |= _SPEECH

    def _go_on(self, speech: _Open) -> list[Speech]:
        if self._heard - speech.measured >= _BLOCK:
            self._measure(speech, self._heard)
        silent = self._heard - 1 - speech.last
        if silent >= _HANGOVER or self._heard - speech.first >= _LONGEST:
            return self._finish(speech)
        return []

    def _measure(self, speech: _Open, end: int) -> None:
        """Measure the windows up to that step, whole ones."""
        first = speech.measured
        end -= (end - first) % 2
        kinds = np.asarray(self._kinds[first - self._from : end - self._from], np.int8)
        speech.measured = end
        count = kinds.size // 2
        if not kinds.any():
            speech.pitches.append(np.zeros(count, np.float32))
            speech.echo.append(np.zeros(kinds.size, np.bool_))
            speech.tonality.pause(count)
            return
        spectra = magnitudes(self._steps[first - self._steps_from : end - self._steps_from].ravel())
        pitches = pitches_hz(spectra)
        pitches[(kinds.reshape(-1, 2) & _LOST).all(1)] = 0.0
        speech.pitches.append(pitches)
        speech.tonality.hear(spectra)
        echo = self.find_echo(self._at_s(first), kinds.size) if self.find_echo else None
        speech.echo.append(np.zeros(kinds.size, np.bool_) if echo is None else echo)

    def _finish(self, speech: _Open) -> list[Speech]:
        end = max(speech.measured, speech.last + 1)
        self._measure(speech, end)
        self._open = None
        stretch = self._stretch(speech, end)
        self.masked_s += STEP_S * int((stretch.is_speech & stretch.tonal).sum())
        self.echo_s += STEP_S * int((stretch.is_speech & stretch.echo & ~stretch.tonal).sum())
        if stretch.music_until_s is not None:
            self._music_until_s = stretch.music_until_s
        begun_s = stretch.start_s if speech.begun_s is None else speech.begun_s
        self._cut_at = (speech.last + 1, begun_s)
        return stretch.speeches()

    def _stretch(self, speech: _Open, end: int) -> Stretch:
        first, size = speech.first - self._from, end - speech.first
        pitches = np.concatenate([np.zeros(0, np.float32), *speech.pitches])
        music_before = self._at_s(speech.first) - self._music_until_s < MUSIC_GAP_S
        music = speech.tonality.music(pitches, music_before=music_before)
        ends = [window_end for _, window_end in runs(music)]
        tonal, echo = np.zeros(size, np.bool_), np.zeros(size, np.bool_)
        tonal[: 2 * pitches.size] = (music | speech.tonality.tones()).repeat(2)
        echo[: 2 * pitches.size] = np.concatenate([np.zeros(0, np.bool_), *speech.echo])
        kinds = np.asarray(self._kinds[first : first + size], np.int8)
        return Stretch(
            start_s=self._at_s(speech.first),
            begun_s=speech.begun_s,
            is_speech=(kinds & _SPEECH) > 0,
            tonal=tonal,
            echo=echo,
            music_until_s=self._at_s(speech.first + 2 * ends[-1]) if ends else None,
            levels_dbfs=np.asarray(self._levels[first : first + size], np.float32),
            pitches=pitches,
        )

    def _forget(self) -> None:
        """Keep no more than is still needed."""
        needed = max(0, self._heard - _STEADY)
        levels_needed = needed if self._open is None else min(needed, self._open.first)
        steps_needed = needed if self._open is None else min(needed, self._open.measured)
        del self._levels[: levels_needed - self._from]
        del self._kinds[: levels_needed - self._from]
        self._from = levels_needed
        self._steps = self._steps[steps_needed - self._steps_from :]
        self._steps_from = steps_needed
