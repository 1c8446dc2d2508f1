"""Phases: where in the twelve steps a call is, followed as a hidden sequence.

A phase may stall or be skipped, and rarely goes back; the further a leap, the rarer. Each line is
evidence as far as it is close to the typical lines of a phase: the agent's to its cues, the
prospect's, which tell less, to its answers. A line that is close to nothing is no evidence. While
an objection is open, the phases that answer objections are near from everywhere, and after them
the call goes on wherever it was.

The belief is the forward algorithm's (Rabiner 1989, III.A): what it says of a moment depends on
nothing that was said later. Records keep that belief and are not smoothed afterwards: hints were
asked for, moves credited and transfers allowed by it, and a record that says otherwise would count
what was tried in one phase as evidence for another.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from agent_sidecar.domain.playbook import PHASES, Phase
from agent_sidecar.domain.types import Vector
from agent_sidecar.domain.words import Phrases

Likelihood = NDArray[np.float64]

# from which cosine on a line is evidence, and how much each further tenth says, by who speaks
FLOOR, SHARPNESS = 0.3, 18.0
ANSWER_FLOOR, ANSWER_SHARPNESS = 0.45, 6.0
# what a certain phrase says: as a line that is word for word a cue
CERTAIN = 1.0
# chance to stay in a phase, to go on by one, to skip to a later one, to go back to an earlier one
STAY, ADVANCE, SKIP, BACK = 0.62, 0.24, 0.11, 0.03
# each phase further away is so much rarer, both ways
FURTHER = 0.75
# chance that the next line answers an open objection; that the call is taken up again after it
ANSWERS, TAKES_UP = 0.35, 0.12
# nobody reaches the end in the first seconds: so much is a phase less likely for each phase that
# it lies beyond what there was time for
TOO_EARLY, SECONDS_A_PHASE, AT_ONCE = 0.3, 10.0, 4


def texts_of(phases: Sequence[Phase]) -> Iterator[str]:
    """Yield every text whose vector is needed."""
    for phase in phases:
        yield from phase.cues
        yield from phase.answers


class PhaseReader:
    """Tells how well each phase of one playbook explains a line."""

    def __init__(self, phases: Sequence[Phase], vectors: Mapping[str, Vector]) -> None:
        self._cues = _Typical({phase.number: phase.cues for phase in phases}, vectors)
        self._answers = _Typical({phase.number: phase.answers for phase in phases}, vectors)
        self._phrases = {phase.number: Phrases(phase.phrases) for phase in phases}
        self._transitions = _transitions([p.number for p in phases if p.answers_objections])

    def agent(self, text: str, vector: Vector | None) -> Likelihood | None:
        """Return how well each phase explains an agent's line, shape (12,); None: no evidence."""
        close = self._cues.close(vector)
        for number, phrases in self._phrases.items():
            if phrases.find(text):
                close[number - 1] = CERTAIN
        return _likelihood(close, FLOOR, SHARPNESS)

    def prospect(self, vector: Vector | None) -> Likelihood | None:
        """Return the same for a line of the prospect."""
        return _likelihood(self._answers.close(vector), ANSWER_FLOOR, ANSWER_SHARPNESS)

    def follow(self) -> "PhaseTracker":
        """Return the tracker of a new call."""
        return PhaseTracker(*self._transitions)


class PhaseTracker:
    """Follows the phase of one call."""

    def __init__(self, usual: Likelihood, objected: Likelihood) -> None:
        # chances from phase to phase, rows: from; after an objection others than usual
        self._usual, self._objected = usual, objected
        self._belief = np.zeros(PHASES)
        self._belief[0] = 1.0
        self._has_open_objection = False

    @property
    def phase(self) -> int:
        """The most probable phase now, 1 to 12."""
        return int(np.argmax(self._belief)) + 1

    @property
    def belief(self) -> Likelihood:
        """The probability of each phase, shape (12,)."""
        return self._belief.copy()

    def hear_agent(self, likelihood: Likelihood | None, at_s: float) -> int:
        """Hear a line of the agent, `at_s` seconds into the call; return the phase now."""
        if likelihood is not None:
            chances = self._objected if self._has_open_objection else self._usual
            self._learn((self._belief @ chances) * likelihood * _time_for(at_s))
            self._has_open_objection = False
        return self.phase

    def foresee(self, likelihood: Likelihood | None) -> int:
        """Return the phase in which such a line of the prospect would leave the call."""
        belief = self._belief if likelihood is None else self._belief * likelihood
        return int(np.argmax(belief)) + 1 if belief.sum() > 0.0 else self.phase

    def hear_prospect(self, likelihood: Likelihood | None, *, objects: bool) -> int:
        """Hear a line of the prospect; return the phase now.

        The agent leads: the prospect's words may weigh phases anew, but move to none.
        """
        self._has_open_objection = self._has_open_objection or objects
        if likelihood is not None:
            self._learn(self._belief * likelihood)
        return self.phase

    def _learn(self, belief: Likelihood) -> None:
        total = belief.sum()
        if np.isfinite(total) and total > 0.0:
            self._belief = belief / total


class _Typical:
    """The typical lines of each phase."""

    def __init__(self, texts: Mapping[int, Sequence[str]], vectors: Mapping[str, Vector]) -> None:
        known = [
            (n, vectors[text]) for n, said in texts.items() for text in said if text in vectors
        ]
        self._numbers = np.array([number for number, _ in known], dtype=np.intp)
        self._matrix = np.stack([vector for _, vector in known]) if known else None

    def close(self, vector: Vector | None) -> Likelihood:
        """Return the best cosine per phase, 0 at least."""
        best = np.zeros(PHASES)
        if vector is not None and self._matrix is not None and vector.size == self._matrix.shape[1]:
            np.fmax.at(best, self._numbers - 1, (self._matrix @ vector).astype(np.float64))
        return best


def _likelihood(close: Likelihood, floor: float, sharpness: float) -> Likelihood | None:
    if close.max() <= floor:
        return None
    beyond = np.maximum(close, floor)
    return np.asarray(np.exp(sharpness * (beyond - beyond.max())))


def _time_for(at_s: float) -> Likelihood:
    """Return how likely each phase is so early in a call."""
    reachable = AT_ONCE + at_s / SECONDS_A_PHASE
    beyond = np.maximum(0.0, np.arange(1, PHASES + 1) - reachable)
    return np.asarray(np.exp(-TOO_EARLY * beyond))


def _transitions(answering: Sequence[int]) -> tuple[Likelihood, Likelihood]:
    """Return the chances from each phase (row) to each, usually and while an objection is open."""
    usual = np.zeros((PHASES, PHASES))
    for here in range(PHASES):
        usual[here, here] = STAY
        usual[here, :here] = _spread(here, TAKES_UP if here + 1 in answering else BACK)[::-1]
        usual[here, here + 1 : here + 2] = ADVANCE
        usual[here, here + 2 :] = _spread(PHASES - here - 2, SKIP)
    usual /= usual.sum(axis=1, keepdims=True)
    objected = usual.copy()
    if answering:
        objected *= 1.0 - ANSWERS
        objected[:, [number - 1 for number in answering]] += ANSWERS / len(answering)
    return usual, objected


def _spread(places: int, chance: float) -> Likelihood:
    """Return a chance spread over places that get ever further away."""
    weights = FURTHER ** np.arange(max(0, places))
    return np.asarray(chance * weights / max(1.0, weights.sum()), np.float64)
