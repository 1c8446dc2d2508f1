"""Which strategy an agent's line used, by fitted weights: from the line and what was said before.

A linear model and a few small networks give every label of the fitted calls a probability; labels
that are no strategy add up to “none”. The same object hears a live call and the recorded ones that
weights are fitted on. Nothing that is said after a line is ever seen by it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent_sidecar.domain.ngrams import BITS, hashed
from agent_sidecar.domain.playbook import Playbook
from agent_sidecar.domain.types import Party, StrategyName, Vector

# vectors that a line is told by: its own, the agent's last, the prospect's last, the agent's past
SENSES = 4
PLACE = 10
# share of the agent's past that each of his lines leaves
PAST_KEPT = 0.7
# below it a label counts as impossible, so that one opinion alone cannot rule it out
LEAST_CHANCE = 1e-4

Floats = NDArray[np.float32]
Places = NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AgentLine:
    """An agent's line with what was said before it."""

    # its vectors, then its place in the call
    numbers: Floats
    # its n-grams, hashed, and how often each was said
    places: Places
    counts: Floats


class AgentTalk:
    """Hears one call's lines in order; `dimension` is that of the model's vectors."""

    def __init__(self, dimension: int) -> None:
        nothing: Vector = np.zeros(dimension, np.float32)
        self._nothing = nothing
        self._last: dict[Party, Vector] = {}
        self._past = nothing
        self._speaker: Party | None = None
        self._turns = 0
        self._lines_in_turn = 0

    def hear(self, party: Party, text: str, vector: Vector | None) -> AgentLine | None:
        """Hear a line; return what it is told by, None for one that is not the agent's.

        A vector of another model counts as none, as in an old journal; so does one of no numbers.
        """
        sense = self._nothing if vector is None or not self._fits(vector) else vector
        follows_own = self._speaker == party
        self._lines_in_turn = self._lines_in_turn + 1 if follows_own else 0
        self._turns += not follows_own
        self._speaker = party
        line = None
        if party == "agent":
            line = self._agent_line(text, sense, follows_own=follows_own)
            self._past = PAST_KEPT * self._past + (1.0 - PAST_KEPT) * sense
        self._last[party] = sense
        return line

    def _fits(self, vector: Vector) -> bool:
        return vector.size == self._nothing.size and bool(np.isfinite(vector).all())

    def _agent_line(self, text: str, sense: Vector, *, follows_own: bool) -> AgentLine:
        places, counts = hashed(text)
        senses = (
            sense,
            self._last.get("agent", self._nothing),
            self._last.get("prospect", self._nothing),
            self._past,
        )
        place = (
            min(self._turns, 20) / 10.0,
            math.log1p(self._turns),
            follows_own,
            min(self._lines_in_turn, 6) / 3.0,
            math.log1p(self._lines_in_turn),
            self._turns == 1,
            "agent" not in self._last,
            "prospect" not in self._last,
            "?" in text,
            min(len(text.split()), 60) / 10.0,
        )
        numbers = np.concatenate([*senses, np.array(place, np.float32)])
        return AgentLine(numbers=numbers, places=places, counts=counts)


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownWords:
    """The n-grams that the fitted calls had more than once."""

    # (K,) their places, ascending, and how rare each is
    places: Places
    rarity: Floats

    @cached_property
    def _rows(self) -> Places:
        rows = np.full(1 << BITS, -1, np.int32)
        rows[self.places] = np.arange(len(self.places), dtype=np.int32)
        return rows

    def of(self, line: AgentLine) -> tuple[Places, Floats]:
        """Return which of them a line has, and their weights, of unit length together."""
        rows = self._rows[line.places]
        here = rows >= 0
        weights = line.counts[here] * self.rarity[rows[here]]
        length = max(float(np.sqrt(weights @ weights)), 1e-6)
        return rows[here], np.asarray(weights / length, np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class StrategyModel:
    """Fitted weights. X numbers, K words, Q topics, L labels, N networks of H."""

    names: tuple[str, ...]
    # (L,) which of the names a label is; one past the last: none of them
    owners: NDArray[np.intp]
    # (names + 1,) taken off the logarithm of each chance, so that rare ones are found too
    handicaps: Floats
    words: KnownWords
    # (K, Q) which topics each word belongs to
    topics: Floats
    # (X, L), (K, L), (L,) the linear model
    by_number: Floats
    by_word: Floats
    starts: Floats
    # (X + Q, N * H), (N * H,), (N, H, L), (N, L) the networks, their first layers side by side
    inner: Floats
    inner_starts: Floats
    outer: Floats
    outer_starts: Floats

    @property
    def dimension(self) -> int:
        """Of the vectors."""
        return (len(self.by_number) - PLACE) // SENSES

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return every array by name; those that half precision would spoil are whole numbers."""
        found = {name: getattr(self, name) for name in _ARRAYS}
        return found | {"places": self.words.places, "rarity": self.words.rarity}

    @classmethod
    def from_arrays(
        cls, names: tuple[str, ...], arrays: Mapping[str, NDArray[Any]]
    ) -> "StrategyModel":
        """Return the model of what `arrays` gave, in any number type. Raises KeyError."""
        found = {name: np.asarray(arrays[name], np.float32) for name in _ARRAYS}
        words = KnownWords(
            places=np.asarray(arrays["places"], np.int32),
            rarity=np.asarray(arrays["rarity"], np.float32),
        )
        owners = found.pop("owners").astype(np.intp)
        return cls(names=names, owners=owners, words=words, **found)

    def shapes(self, dimension: int) -> dict[str, tuple[int, ...]]:
        """Return the shape that each array must have for vectors of this dimension."""
        numbers = SENSES * dimension + PLACE
        labels, words, topics = (
            self.owners.shape[:1],
            self.words.places.shape[:1],
            self.topics.shape[1:],
        )
        networks, hidden = self.outer.shape[:1], self.outer.shape[1:2]
        inside = math.prod((*networks, *hidden))
        return {
            "owners": labels,
            "handicaps": (len(self.names) + 1,),
            "places": words,
            "rarity": words,
            "topics": (*words, *topics),
            "by_number": (numbers, *labels),
            "by_word": (*words, *labels),
            "starts": labels,
            "inner": (numbers + math.prod(topics), inside),
            "inner_starts": (inside,),
            "outer": (*networks, *hidden, *labels),
            "outer_starts": (*networks, *labels),
        }

    @cached_property
    def _owned(self) -> Floats:
        return np.eye(len(self.names) + 1, dtype=np.float32)[self.owners]

    def chances(self, line: AgentLine) -> Floats:
        """Return how likely the line is each of the names, and none of them; they add up to 1."""
        rows, weights = self.words.of(line)
        said = line.numbers @ self.by_number + weights @ self.by_word[rows] + self.starts
        seen = np.concatenate([line.numbers, weights @ self.topics[rows]])
        hidden = np.maximum(seen @ self.inner + self.inner_starts, 0.0)
        hidden = hidden.reshape(len(self.outer), 1, -1)
        guesses = softmax((hidden @ self.outer)[:, 0] + self.outer_starts).mean(axis=0)
        return mixed(softmax(said) @ self._owned, guesses @ self._owned, self.handicaps)


def why_not_live(model: StrategyModel | None, playbook: Playbook) -> str | None:
    """Say why calls do without these weights; None: they use them, or there are none.

    Fitted names decide alone. One that the playbook lacks cannot be hinted, followed or credited,
    and the playbook's own would never be recognised.
    """
    if model is None:
        return None
    own = {strategy.name for strategy in playbook.strategies}
    strange = [name for name in model.names if name not in own]
    if not strange:
        return None
    return (
        f"live calls do without the fitted strategies: {', '.join(strange)}"
        f" {'is no strategy' if len(strange) == 1 else 'are no strategies'} of the playbook"
        f" {playbook.name}, whose own are recognised by their wordings; only `learn score` tells"
        " the fitted names. To use them live, name labels and strategies alike"
    )


_ARRAYS = tuple(
    field.name for field in fields(StrategyModel) if field.name not in ("names", "words")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """What an agent's line was taken for; `confidence`: how likely that is right, 0 to 1."""

    # None: none of the strategies that are known
    strategy: StrategyName | None
    confidence: float


class StrategyRecogniser:
    """Hears one call's lines, both parties', in order; without a model it has nothing to say."""

    def __init__(self, model: StrategyModel | None) -> None:
        self._model = model
        self._talk = AgentTalk(0 if model is None else model.dimension)

    def hear(self, party: Party, text: str, vector: Vector | None) -> Recognised | None:
        """Hear a line; say what strategy an agent's line used, None where that is unknown."""
        line = None if self._model is None else self._talk.hear(party, text, vector)
        if line is None or self._model is None:
            return None
        chances = self._model.chances(line)
        best = int(np.argmax(chances))
        names = self._model.names
        return Recognised(
            strategy=StrategyName(names[best]) if best < len(names) else None,
            confidence=round(float(chances[best]), 4),
        )


def softmax(logits: Floats) -> Floats:
    """Return logits as chances, along the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)


def mixed(first: Floats, second: Floats, handicaps: Floats) -> Floats:
    """Return the geometric mean of two opinions, with the handicaps taken off."""
    both = np.log(first + LEAST_CHANCE) + np.log(second + LEAST_CHANCE)
    return softmax(0.5 * both - handicaps)
