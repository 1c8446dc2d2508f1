"""What speech is beside the other's: pauses, answers, overtalk; and beside the speaker's own voice.

Who began first is talked over by who began later. All times are call time; what is still being said
counts as far as it is known. A baseline is the median over the speaker's segments of this call
before the one that is described, so the first one is 0 away from it.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from agent_sidecar.domain.features import semitones
from agent_sidecar.domain.record import Acoustics
from agent_sidecar.domain.speech import Span, Speech
from agent_sidecar.domain.types import Party, Track

# overlap that is an interruption; shorter ones say that somebody listens, or that turns meet
INTERRUPTION_S = 0.5
# stretches of one voice kept to measure overtalk and response latency
_MEMORY = 32
# segments that make a speaker's baseline
BASELINE = 100
# a pace needs so much talk
_SHORTEST_PACE_S = 0.8


@dataclass(frozen=True, slots=True)
class _Said:
    begun_s: float
    spans: Sequence[Span]


@dataclass(slots=True)
class Voice:
    """What was heard on one track: his last stretches of speech."""

    said: deque[_Said] = field(default_factory=lambda: deque(maxlen=_MEMORY))

    def begun_before(
        self, start_s: float, going_on: Sequence[Sequence[Span]]
    ) -> list[Sequence[Span]]:
        """Return the stretches that had begun by then, those still open included."""
        begun = [said.spans for said in self.said if said.begun_s <= start_s]
        return begun + [spans for spans in going_on if spans[0][0] <= start_s]


class Baseline:
    """What is usual for one speaker in this call."""

    def __init__(self) -> None:
        self.talk_s = 0.0
        self._pitches: deque[float] = deque(maxlen=BASELINE)
        self._volumes: deque[float] = deque(maxlen=BASELINE)
        self._paces: deque[float] = deque(maxlen=BASELINE)

    def tonal_shift_st(self, pitch_hz: float | None) -> float | None:
        """Return how far the segment's median pitch is from the usual, in semitones."""
        if pitch_hz is None:
            return None
        return round(semitones(pitch_hz, _usual(self._pitches, pitch_hz)), 3)

    def volume_shift_db(self, volume_dbfs: float) -> float:
        """Return how much louder the segment is than usual, in decibels."""
        return round(volume_dbfs - _usual(self._volumes, volume_dbfs), 2)

    def pace_shift(self, pace_syl_s: float | None) -> float | None:
        """Return how much faster than usual it is spoken, as a share."""
        if pace_syl_s is None:
            return None
        return round(pace_syl_s / _usual(self._paces, pace_syl_s) - 1.0, 3)


def _usual(known: deque[float], value: float) -> float:
    """Return the median of what is known, and know one more; of nothing, the value itself."""
    usual = float(np.median(known)) if known else value
    known.append(value)
    return usual


class Dialogue:
    """Describes the speech of two voices in the order in which it ended.

    One for all streams of a leg: what is usual for a speaker does not begin anew with a socket.
    """

    def __init__(self) -> None:
        self._baselines: dict[Party, Baseline] = {}
        self._inbound, self._outbound = Voice(), Voice()

    def describe(
        self,
        party: Party,
        track: Track,
        speech: Speech,
        going_on: Sequence[Sequence[Span]],
    ) -> Acoustics:
        """Describe what a party said; `going_on`: what the other one is saying, in its parts."""
        known = self._baselines.setdefault(party, Baseline())
        own, other = self._inbound, self._outbound
        if track == "outbound":
            own, other = other, own
        theirs = other.begun_before(speech.begun_s, going_on)
        start_s = speech.start_s
        other_s = max((min(spans[-1][1], start_s) for spans in theirs), default=None)
        own_s = own.said[-1].spans[-1][1] if own.said else None
        newest_s = max((t for t in (other_s, own_s) if t is not None), default=None)
        own.said.append(_Said(speech.begun_s, speech.spans))
        known.talk_s += speech.talk_s
        before_s, pace = _since(newest_s, start_s), _pace(speech)
        inner_s = round(speech.pauses_s, 3)
        return Acoustics(
            tonal_shift_st=known.tonal_shift_st(speech.pitch_hz),
            pace_syl_s=pace,
            pace_shift=known.pace_shift(pace),
            pause_s=round((before_s or 0.0) + inner_s, 3) if before_s is not None else None,
            inner_pause_s=inner_s,
            volume_dbfs=round(speech.volume_dbfs, 2),
            volume_shift_db=known.volume_shift_db(speech.volume_dbfs),
            # he answers only when the other spoke last
            response_latency_s=_since(other_s, start_s) if newest_s == other_s else None,
            overtalk_s=round(sum(_overlap_s(speech.spans, spans) for spans in theirs), 3),
            interruptions=_interruptions(speech, theirs),
            talk_ratio=self._talk_ratio(party, going_on),
            talk_s=round(speech.talk_s, 3),
        )

    def _talk_ratio(self, party: Party, going_on: Sequence[Sequence[Span]]) -> float:
        """Return the share of all talk so far that is this party's, what goes on included."""
        everybody_s = sum(known.talk_s for known in self._baselines.values())
        everybody_s += sum(end - start for spans in going_on for start, end in spans)
        return round(self._baselines[party].talk_s / everybody_s, 3)


def _pace(speech: Speech) -> float | None:
    if speech.talk_s < _SHORTEST_PACE_S or not speech.syllables:
        return None
    return round(speech.syllables / speech.talk_s, 2)


def _interruptions(speech: Speech, theirs: Sequence[Sequence[Span]]) -> int:
    """Count what the other was saying when it was broken into, and talked over for a while."""
    said = [span for spans in theirs for span in spans]
    count = 0
    for start_s, end_s in said:
        into = [own for own in speech.spans if start_s < own[0] < end_s]
        count += _overlap_s(into, said) >= INTERRUPTION_S
    return count


def _overlap_s(ours: Sequence[Span], theirs: Sequence[Span]) -> float:
    return sum(max(0.0, min(a[1], b[1]) - max(a[0], b[0])) for a in ours for b in theirs)


def _since(before_s: float | None, start_s: float) -> float | None:
    return None if before_s is None else round(max(0.0, start_s - before_s), 3)
