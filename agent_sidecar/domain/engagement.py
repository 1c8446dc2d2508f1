"""Engagement: how much the prospect is with us, 0 (lost) to 100 (keen), and what made it so.

A segment's score is 100 times a probability: its logit is the sum of what the words say by fitted
weights (`score_model`), of what the playbook names (buying signal, objection, refusal) and of the
sound. The last two have hand-set weights: the user's own words need no data, and there are no
labelled recordings to fit the sound on. Each part's points are its share of the logit, brought to
the scale along the sigmoid, so that the points of all parts add up to the score less 50. The
call's score is the segments' exponential mean.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from agent_sidecar.domain.events import ScorePart
from agent_sidecar.domain.language import Meaning
from agent_sidecar.domain.mood import says_yes_with_no
from agent_sidecar.domain.outlook import OutlookModel
from agent_sidecar.domain.record import Acoustics
from agent_sidecar.domain.score_context import Conversation
from agent_sidecar.domain.score_model import Judge, ScoreModel
from agent_sidecar.domain.score_reasons import reasons
from agent_sidecar.domain.strategies import StrategyModel
from agent_sidecar.domain.types import Vector

NEUTRAL = 50.0
# from which change of points a part is worth naming; the others are named together
WORTH_SAYING = 1.0
WORTH_ADDING = 0.05
# beyond it nothing is told apart: 99.9 of 100
MOST_LOGIT = 7.0

# name of a part, its share of the logit, and why
_Share = tuple[str, float, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Everything a score is made with; what is set by hand is in logits per unit.

    `version` goes into every record. Without a fitted `score` words are weighed by hand as well, in
    the order of strength that dialogue studies report.
    """

    version: str = "starting-1"
    score: ScoreModel | None = None
    # recognises fitted strategies; None: the playbook's own are recognised by their wordings
    strategies: StrategyModel | None = None
    # what to expect of these strategies in a moment; None: nobody knows
    outlook: OutlookModel | None = None
    # words, where no fitted weights are: per unit of sentiment (-1..1)
    sentiment: float = 1.1
    # per question, at most `questions_most`
    question: float = 0.4
    questions_most: int = 2
    # per word beyond `words_usual`, within +-`words_most`
    word: float = 0.025
    words_usual: float = 8.0
    words_most: float = 8.0
    # the playbook's: what the user named himself counts beside what was fitted
    buying_signal: float = 1.4
    objection: float = -0.7
    refusal: float = -2.4
    # words of denial that go along (“no problem”): what was fitted takes them at their word
    yes_with_no: float = 2.4
    # sound: per semitone above his own baseline, within +-4
    tonal_shift: float = 0.06
    # per second of hesitation beyond `latency_usual_s`, at most 4 s
    hesitation: float = -0.12
    latency_usual_s: float = 1.2
    # he talked into the agent's speech, per second, at most 2 s
    overtalk: float = -0.08
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SaidWords:
    """What the prospect said in one segment."""

    text: str
    vector: Vector | None
    word_count: int
    meaning: Meaning


class EngagementMeter:
    """Scores one call's prospect segments in order, having heard what was said before."""

    def __init__(self, weights: Weights = STARTING_WEIGHTS) -> None:
        self._weights = weights
        self._call: float | None = None
        self._words: _Words = _Fitted(weights, weights.score) if weights.score else _ByHand(weights)

    @property
    def call(self) -> float | None:
        """The call's score; None before the prospect spoke."""
        return self._call

    def hear_agent(self, vector: Vector | None) -> None:
        """Hear a line of the agent: what the prospect says next is judged beside it."""
        self._words.hear_agent(vector)

    def score(
        self, said: SaidWords | None = None, acoustics: Acoustics | None = None
    ) -> EngagementScore:
        """Score a segment from its words, its sound, or both."""
        shares: list[_Share] = []
        if said is not None:
            shares += self._words.shares(said)
            shares += _from_playbook(self._weights, said.meaning)
        if acoustics is not None:
            shares += _from_sound(self._weights, acoustics)
        value, parts = _score(shares)
        before = NEUTRAL if self._call is None else self._call
        share = self._weights.smoothing
        self._call = round((1 - share) * before + share * value, 2)
        return EngagementScore(value=value, call=self._call, parts=parts)


class _Fitted:
    """Words judged by fitted weights."""

    def __init__(self, weights: Weights, model: ScoreModel) -> None:
        self._weights = weights
        self._model = model
        self._talk = Conversation(model.dimension)
        self._judge = Judge(model)

    def hear_agent(self, vector: Vector | None) -> None:
        self._talk.hear_agent(vector)

    def shares(self, said: SaidWords) -> Iterator[_Share]:
        heard = self._talk.hear_prospect(said.text, said.vector)
        yield from reasons(self._model, heard, self._judge.contributions(heard))
        if says_yes_with_no(said.text):
            yield "yes_with_no", self._weights.yes_with_no, "a “no” that goes along"


class _ByHand:
    """Words weighed by hand: each line by itself."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def hear_agent(self, vector: Vector | None) -> None:
        """Nothing that the agent says counts here."""

    def shares(self, said: SaidWords) -> Iterator[_Share]:
        w, mood, asked = self._weights, said.meaning.sentiment, said.meaning.questions
        yield "sentiment", w.sentiment * mood, "warm words" if mood > 0 else "cold words"
        yield (
            "questions",
            w.question * min(asked, w.questions_most),
            "asks a question" if asked == 1 else "asks questions",
        )
        beyond = min(w.words_most, max(-w.words_most, said.word_count - w.words_usual))
        yield "length", w.word * beyond, "talks freely" if beyond > 0 else "short answer"


_Words = _Fitted | _ByHand


def _from_playbook(w: Weights, meaning: Meaning) -> Iterator[_Share]:
    if meaning.buying_signal is not None:
        yield "buying_signal", w.buying_signal, f"says “{meaning.buying_signal}”"
    if meaning.is_refusal:
        yield "refusal", w.refusal, "wants no further call"
    elif meaning.objection is not None:
        share = w.objection * meaning.objection_closeness
        yield "objection", share, f"objects: {meaning.objection}"


def _from_sound(w: Weights, sound: Acoustics) -> Iterator[_Share]:
    if sound.tonal_shift_st is not None:
        shift = min(4.0, max(-4.0, sound.tonal_shift_st))
        why = f"voice {'higher' if shift > 0 else 'lower'} by {abs(shift):.1f} semitones"
        yield "tone", w.tonal_shift * shift, why
    if sound.response_latency_s is not None:
        late = min(4.0, max(0.0, sound.response_latency_s - w.latency_usual_s))
        yield "hesitation", w.hesitation * late, f"answers {late:.1f} s late"
    if sound.overtalk_s:
        yield "overtalk", w.overtalk * min(2.0, sound.overtalk_s), "talks over"


def _score(shares: list[_Share]) -> tuple[float, tuple[ScorePart, ...]]:
    """Return the score of these shares of a logit, and their points, strongest first."""
    logit = sum(share for _, share, _ in shares)
    within = min(MOST_LOGIT, max(-MOST_LOGIT, logit))
    value = round(100.0 / (1.0 + math.exp(-within)), 2)
    # points per unit of the logit: the sigmoid's slope where nothing moved
    scale = (value - NEUTRAL) / logit if abs(logit) > 1e-3 else 25.0
    parts = [ScorePart(name=n, points=round(scale * s, 2), why=why) for n, s, why in shares]
    named = [part for part in parts if abs(part.points) >= WORTH_SAYING]
    named.sort(key=lambda part: -abs(part.points))
    rest = round(value - NEUTRAL - sum(part.points for part in named), 2)
    if abs(rest) >= WORTH_ADDING:
        named.append(ScorePart(name="rest", points=rest, why="small things together"))
    return value, tuple(named)
