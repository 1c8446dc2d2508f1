"""Engagement: how much the prospect is with us, 0 (lost) to 100 (keen), and what made it so.

A segment's score is 50 plus the points of its parts, of which those of a point or more are named;
the call's is the segments' exponential mean.
Each part is a measured feature times a weight; the weights are one value so that fitted ones can
take their place.
"""

from dataclasses import dataclass, field

from agent_sidecar.domain.events import ScorePart
from agent_sidecar.domain.language import Meaning
from agent_sidecar.domain.record import Acoustics

NEUTRAL = 50.0
# from which change of points a part is worth naming
WORTH_SAYING = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Points per unit of each feature. `version` goes into every record.

    The starting weights are set by hand, in the order of strength that dialogue studies report
    (words before prosody), and are to be replaced by fitted ones.
    """

    version: str = "starting-1"
    # per unit of sentiment (-1..1)
    sentiment: float = 26.0
    # per question, at most `questions_most`
    question: float = 9.0
    questions_most: int = 2
    buying_signal: float = 30.0
    objection: float = -16.0
    refusal: float = -40.0
    # per word beyond `words_usual`, within +-`words_most`
    word: float = 0.6
    words_usual: float = 8.0
    words_most: float = 8.0
    # per semitone above his own baseline, within +-4
    tonal_shift: float = 1.5
    # per second of hesitation beyond `latency_usual_s`, at most 4 s
    hesitation: float = -3.0
    latency_usual_s: float = 1.2
    # he talked into the agent's speech, per second, at most 2 s
    overtalk: float = -2.0
    # share of the newest segment in the call's score
    smoothing: float = 0.4


STARTING_WEIGHTS = Weights()


@dataclass(frozen=True, slots=True, kw_only=True)
class EngagementScore:
    """One prospect segment's score and what made it."""

    value: float
    # the call's score after it
    call: float
    parts: tuple[ScorePart, ...] = field(default=())


class EngagementMeter:
    """Scores one call's prospect segments in order."""

    def __init__(self, weights: Weights = STARTING_WEIGHTS) -> None:
        self._weights = weights
        self._call: float | None = None

    @property
    def call(self) -> float | None:
        """The call's score; None before the prospect spoke."""
        return self._call

    def score(
        self, *, meaning: Meaning | None, word_count: int, acoustics: Acoustics | None
    ) -> EngagementScore:
        """Score a segment from its words, its sound, or both."""
        parts = []
        if meaning is not None:
            parts += _from_words(self._weights, meaning, word_count)
        if acoustics is not None:
            parts += _from_sound(self._weights, acoustics)
        value = min(100.0, max(0.0, NEUTRAL + sum(part.points for part in parts)))
        parts = [part for part in parts if abs(part.points) >= WORTH_SAYING]
        before = NEUTRAL if self._call is None else self._call
        share = self._weights.smoothing
        self._call = round((1 - share) * before + share * value, 2)
        parts.sort(key=lambda part: -abs(part.points))
        return EngagementScore(value=round(value, 2), call=self._call, parts=tuple(parts))


def _from_words(w: Weights, meaning: Meaning, word_count: int) -> list[ScorePart]:
    mood = "warm words" if meaning.sentiment > 0 else "cold words"
    beyond = min(w.words_most, max(-w.words_most, word_count - w.words_usual))
    parts = [
        _part("sentiment", w.sentiment * meaning.sentiment, mood),
        _part(
            "questions",
            w.question * min(meaning.questions, w.questions_most),
            "asks a question" if meaning.questions == 1 else "asks questions",
        ),
        _part("length", w.word * beyond, "talks freely" if beyond > 0 else "short answer"),
    ]
    if meaning.buying_signal is not None:
        parts.append(_part("buying_signal", w.buying_signal, f"says “{meaning.buying_signal}”"))
    if meaning.is_refusal:
        parts.append(_part("refusal", w.refusal, "wants no further call"))
    elif meaning.objection is not None:
        points = w.objection * meaning.objection_closeness
        parts.append(_part("objection", points, f"objects: {meaning.objection}"))
    return parts


def _from_sound(w: Weights, sound: Acoustics) -> list[ScorePart]:
    parts = []
    if sound.tonal_shift_st is not None:
        shift = min(4.0, max(-4.0, sound.tonal_shift_st))
        why = f"voice {'higher' if shift > 0 else 'lower'} by {abs(shift):.1f} semitones"
        parts.append(_part("tone", w.tonal_shift * shift, why))
    if sound.response_latency_s is not None:
        late = min(4.0, max(0.0, sound.response_latency_s - w.latency_usual_s))
        parts.append(_part("hesitation", w.hesitation * late, f"answers {late:.1f} s late"))
    if sound.overtalk_s:
        parts.append(_part("overtalk", w.overtalk * min(2.0, sound.overtalk_s), "talks over"))
    return parts


def _part(name: str, points: float, why: str) -> ScorePart:
    return ScorePart(name=name, points=round(points, 2), why=why)
