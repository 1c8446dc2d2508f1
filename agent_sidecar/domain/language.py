"""What a line says: mood, questions, objection, buying signal, strategy; from words and vector.

Certain phrases of the playbook decide alone; otherwise the line's vector is compared with the
playbook's wordings. Without vectors (the embedder failed) the words still work.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agent_sidecar.domain import objections, phases
from agent_sidecar.domain.mood import Leaning, sentiment
from agent_sidecar.domain.mood_words import COLD_LINES, WARM_LINES
from agent_sidecar.domain.objections import ObjectionReader
from agent_sidecar.domain.phases import PhaseReader
from agent_sidecar.domain.playbook import Playbook
from agent_sidecar.domain.questions import question_count
from agent_sidecar.domain.strategies import Recognised
from agent_sidecar.domain.types import ObjectionType, StrategyName, Vector
from agent_sidecar.domain.words import Phrases

# cosine from which a line is taken for a strategy by its vector alone, and by how much it must be
# closer than the next one: a strategy wrongly noted is counted as evidence, a missed one is not
STRATEGY_CLOSE, STRATEGY_CLEAR = 0.5, 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What one line says."""

    sentiment: float
    questions: int
    # phrases of the playbook that were said
    keywords: tuple[str, ...] = ()
    # prospect lines
    objection: ObjectionType | None = None
    objection_closeness: float = 0.0
    is_refusal: bool = False
    buying_signal: str | None = None
    # agent lines
    strategy: StrategyName | None = None
    strategy_confidence: float | None = None


def texts_to_embed(playbook: Playbook) -> tuple[str, ...]:
    """Return every text whose vector is needed to read by this playbook, each once."""
    texts = [*phases.texts_of(playbook.phases), *objections.texts_of(playbook.objections)]
    for strategy in playbook.strategies:
        texts += (strategy.when, *strategy.say)
    return tuple(dict.fromkeys((*texts, *WARM_LINES, *COLD_LINES)))


class _Closest:
    """Which of several named groups of wordings a vector is closest to."""

    def __init__(self, groups: Mapping[str, Sequence[Vector]]) -> None:
        self.names = [name for name, vectors in groups.items() for _ in vectors]
        rows = [vector for vectors in groups.values() for vector in vectors]
        self.matrix = np.stack(rows) if rows else None

    def each(self, vector: Vector | None) -> dict[str, float]:
        """Return the best cosine per group; empty without vectors, or for one of another model."""
        if vector is None or self.matrix is None or vector.size != self.matrix.shape[1]:
            return {}
        best: dict[str, float] = {}
        for name, closeness in zip(self.names, (self.matrix @ vector).tolist(), strict=True):
            if closeness > best.get(name, -2.0):
                best[name] = closeness
        return best


class Reader:
    """Reads lines by one playbook; made once, shared by all calls."""

    def __init__(self, playbook: Playbook, vectors: Mapping[str, Vector]) -> None:
        def found(texts: Sequence[str]) -> list[Vector]:
            return [vectors[text] for text in texts if text in vectors]

        self.playbook = playbook
        self._strategies = _Closest({s.name: found(s.say) for s in playbook.strategies})
        self._moments = _Closest({s.name: found((s.when, *s.say)) for s in playbook.strategies})
        # hears where the agent is, and how the prospect answers
        self.phases = PhaseReader(playbook.phases, vectors)
        self._objections = ObjectionReader(playbook.objections, vectors)
        self._refusals = {o.type for o in playbook.objections if o.is_refusal}
        self._leaning = Leaning(vectors)
        self._signals = Phrases(playbook.buying_signals)

    def read_prospect(self, text: str, vector: Vector | None) -> Meaning:
        """Read a line of the prospect."""
        said = self._objections.said(text)
        objecting = {at for found in said.values() for places, _ in found for at in places}
        # “can I talk to my wife first” asks for nobody of ours
        signals = [
            signal for places, signal in self._signals.places(text) if objecting.isdisjoint(places)
        ]
        objection: ObjectionType | None = next(iter(said), None)
        closeness = 1.0 if objection else 0.0
        if objection is None and not signals:
            told = self._objections.closest(text, vector)
            if told is not None:
                objection, closeness = told.type, told.closeness
        return Meaning(
            sentiment=sentiment(text, self._leaning.of(vector)),
            questions=question_count(text),
            keywords=(*(phrase for found in said.values() for _, phrase in found), *signals),
            objection=objection,
            objection_closeness=closeness,
            # only words make it certain that nobody should be called again
            is_refusal=not self._refusals.isdisjoint(said),
            buying_signal=signals[0] if signals else None,
        )

    def read_agent(
        self, text: str, vector: Vector | None, recognised: Recognised | None = None
    ) -> Meaning:
        """Read a line of the agent; `recognised`: what fitted weights took it for.

        Where there are any they decide alone, else the playbook's wordings do.
        """
        if recognised is None:
            recognised = self._closest_wording(vector)
        used = recognised.strategy is not None
        return Meaning(
            sentiment=sentiment(text),
            questions=question_count(text),
            strategy=recognised.strategy,
            strategy_confidence=recognised.confidence if used else None,
        )

    def _closest_wording(self, vector: Vector | None) -> Recognised:
        close = sorted(self._strategies.each(vector).items(), key=_by_value, reverse=True)
        (name, best), (_, second) = (*close, ("", 0.0), ("", 0.0))[:2]
        used = best >= STRATEGY_CLOSE and best - second >= STRATEGY_CLEAR
        return Recognised(strategy=StrategyName(name) if used else None, confidence=round(best, 4))

    def closeness_of_strategies(self, vector: Vector | None) -> dict[str, float]:
        """Return how close each strategy's moment and wording are to a line."""
        return self._moments.each(vector)


def _by_value(item: tuple[str, float]) -> float:
    return item[1]
