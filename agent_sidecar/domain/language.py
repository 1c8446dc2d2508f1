"""What a line says: objection, buying signal, phase, strategy used; from its words and its vector.

Certain phrases of the playbook decide alone; otherwise the line's vector is compared with the
playbook's wordings. Without vectors (the embedder failed) the phrases still work.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent_sidecar.domain.playbook import PHASES, Playbook
from agent_sidecar.domain.types import ObjectionType, StrategyName, Vector
from agent_sidecar.domain.words import Phrases, question_count, sentiment

# cosine from which a line is taken for an objection, or for a strategy, by its vector alone
OBJECTION_CLOSE = 0.52
STRATEGY_CLOSE = 0.45
# how sharply closeness to a phase's cues tells the phases apart
PHASE_SHARPNESS = 12.0
# chance to stay in a phase, to go on by one, to skip to a later one, to go back to an earlier one
STAY, ADVANCE, SKIP, BACK = 0.62, 0.24, 0.11, 0.03


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
    """Return every text of the playbook whose vector is needed, each once."""
    texts: dict[str, None] = {}
    for phase in playbook.phases:
        texts |= dict.fromkeys(phase.cues)
    for strategy in playbook.strategies:
        texts |= dict.fromkeys((strategy.when, *strategy.say))
    for objection in playbook.objections:
        texts |= dict.fromkeys(objection.wordings)
    return tuple(texts)


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
        self._objections = _Closest({o.type: found(o.wordings) for o in playbook.objections})
        self._strategies = _Closest({s.name: found(s.say) for s in playbook.strategies})
        self._moments = _Closest({s.name: found((s.when, *s.say)) for s in playbook.strategies})
        self._phases = _Closest({str(p.number): found(p.cues) for p in playbook.phases})
        self._triggers = {o.type: Phrases(o.triggers) for o in playbook.objections}
        self._refusals = {o.type for o in playbook.objections if o.is_refusal}
        self._signals = Phrases(playbook.buying_signals)

    def read_prospect(self, text: str, vector: Vector | None) -> Meaning:
        """Read a line of the prospect."""
        said = {kind: phrases.find(text) for kind, phrases in self._triggers.items()}
        keywords = tuple(phrase for phrases in said.values() for phrase in phrases)
        signals = self._signals.find(text)
        objection: ObjectionType | None = next((k for k, phrases in said.items() if phrases), None)
        closeness = 1.0 if objection else 0.0
        if objection is None and not signals:
            best = max(self._objections.each(vector).items(), key=_by_value, default=("", 0.0))
            if best[1] >= OBJECTION_CLOSE:
                objection, closeness = ObjectionType(best[0]), best[1]
        return Meaning(
            sentiment=sentiment(text),
            questions=question_count(text),
            keywords=(*keywords, *signals),
            objection=objection,
            objection_closeness=closeness,
            # only words make it certain that nobody should be called again
            is_refusal=any(said[kind] for kind in self._refusals),
            buying_signal=signals[0] if signals else None,
        )

    def read_agent(self, text: str, vector: Vector | None) -> Meaning:
        """Read a line of the agent."""
        name, closeness = max(self._strategies.each(vector).items(), key=_by_value, default=("", 0))
        used = closeness >= STRATEGY_CLOSE
        return Meaning(
            sentiment=sentiment(text),
            questions=question_count(text),
            strategy=StrategyName(name) if used else None,
            strategy_confidence=round(closeness, 4) if used else None,
        )

    def closeness_of_strategies(self, vector: Vector | None) -> dict[str, float]:
        """Return how close each strategy's moment and wording are to a line."""
        return self._moments.each(vector)

    def phase_likelihood(self, vector: Vector | None) -> NDArray[np.float64] | None:
        """Return how well each phase explains an agent's line, shape (12,); None: unknown."""
        close = self._phases.each(vector)
        if not close:
            return None
        values = np.array([close.get(str(n), 0.0) for n in range(1, PHASES + 1)])
        return np.asarray(np.exp(PHASE_SHARPNESS * (values - values.max())))


class PhaseTracker:
    """Follows the phase of a call as a hidden sequence: it may stall or skip, rarely goes back.

    The forward algorithm of a hidden Markov model (Rabiner 1989, III.A) over the agent's lines.
    """

    def __init__(self) -> None:
        self._belief = np.zeros(PHASES)
        self._belief[0] = 1.0

    @property
    def phase(self) -> int:
        """The most probable phase now, 1 to 12."""
        return int(np.argmax(self._belief)) + 1

    def observe(self, likelihood: NDArray[np.float64] | None) -> int:
        """Hear one agent line; return the phase now."""
        if likelihood is not None:
            belief = (self._belief @ _TRANSITIONS) * likelihood
            self._belief = belief / belief.sum()
        return self.phase


def _transitions() -> NDArray[np.float64]:
    matrix = np.zeros((PHASES, PHASES))
    for here in range(PHASES):
        matrix[here, here] = STAY
        matrix[here, :here] = BACK / max(here, 1)
        matrix[here, here + 1 : here + 2] = ADVANCE
        later = PHASES - here - 2
        matrix[here, here + 2 :] = SKIP / max(later, 1)
    return np.asarray(matrix / matrix.sum(axis=1, keepdims=True))


_TRANSITIONS = _transitions()


def _by_value(item: tuple[str, float]) -> float:
    return item[1]
