"""The outlook of a moment: how likely each strategy is followed by a positive reaction, as fitted.

A moment is what was said before the agent speaks: the prospect's last turn, his earlier lines, the
agent's last line, how the prospect's lines scored, and how far the call is. Every strategy has
weights of its own for all of it, so which one is best depends on the moment. The same object hears
a live call and the recorded ones that the weights are fitted on; nothing said later is in it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent_sidecar.domain.hints import Outlook
from agent_sidecar.domain.score_context import Floats, unit
from agent_sidecar.domain.types import StrategyName, Vector

# vectors that a moment is told by: the prospect's last turn, his past, the agent's last line
SENSES = 3
PLACE = 6
# share of the prospect's past, and of its mood, that each of his lines leaves
PAST_KEPT, MOOD_KEPT = 0.8, 0.7
# a logit of engagement beyond which nothing is told apart, and what one unit of it counts
MOOD_MOST, MOOD_SCALE = 4.0, 0.5
FAR_TURNS = 20


class MomentTalk:
    """Hears one call's lines in order; `dimension` is that of the model's vectors."""

    def __init__(self, dimension: int) -> None:
        self._nothing: Vector = np.zeros(dimension, np.float32)
        self._turn: list[Vector] = []
        self._past = self._nothing
        self._agent = self._nothing
        self._turn_moods: list[float] = []
        self._mood = 0.0
        self._asked = False
        self._turns = 0
        self._lines_in_turn = 0
        self._agent_spoke = True

    def hear_prospect(self, text: str, vector: Vector | None, engagement: float | None) -> None:
        """Hear a line of the prospect and how it scored, 0..100; None: it did not."""
        if self._agent_spoke:
            self._turn, self._turn_moods, self._asked = [], [], False
            self._turns += 1
            self._lines_in_turn = 0
        self._agent_spoke = False
        sense = self._known(vector)
        self._turn.append(sense)
        self._past = PAST_KEPT * self._past + sense
        self._asked |= "?" in text
        mood = _mood(engagement)
        self._turn_moods.append(mood)
        self._mood = MOOD_KEPT * self._mood + (1.0 - MOOD_KEPT) * mood

    def hear_agent(self, vector: Vector | None) -> None:
        """Hear a line of the agent."""
        self._agent_spoke = True
        self._lines_in_turn += 1
        self._agent = self._known(vector)

    def numbers(self) -> Floats:
        """Return what is known before the agent's next line."""
        place = (
            min(self._turns, FAR_TURNS) / 10.0,
            math.log1p(self._turns),
            min(self._lines_in_turn, 6) / 3.0,
            self._asked,
            MOOD_SCALE * (sum(self._turn_moods) / len(self._turn_moods) if self._turn else 0.0),
            MOOD_SCALE * self._mood,
        )
        turn = np.mean(self._turn, axis=0) if self._turn else self._nothing
        senses = (turn, unit(self._past), self._agent)
        return np.concatenate([*senses, np.array(place, np.float32)])

    def _known(self, vector: Vector | None) -> Vector:
        """Return the vector unless it is of another model, as in an old journal, or no numbers."""
        if vector is None or vector.size != self._nothing.size or not np.isfinite(vector).all():
            return self._nothing
        return vector


@dataclass(frozen=True, kw_only=True, eq=False)
class OutlookModel:
    """Fitted weights. X numbers of a moment, S strategies."""

    names: tuple[str, ...]
    # (X, S), (S,) logits of a positive rather than a negative next reaction
    by_number: Floats
    starts: Floats
    # (S,) how often the reaction to each strategy was positive in the fitted calls, shrunk
    usual: Floats

    @property
    def dimension(self) -> int:
        """Of the vectors."""
        return (len(self.by_number) - PLACE) // SENSES

    def arrays(self) -> dict[str, Floats]:
        """Return every array by name."""
        return {"by_number": self.by_number, "starts": self.starts, "usual": self.usual}

    @classmethod
    def from_arrays(
        cls, names: tuple[str, ...], arrays: Mapping[str, NDArray[Any]]
    ) -> "OutlookModel":
        """Return the model of what `arrays` gave, in any number type. Raises KeyError."""
        found = {
            name: np.asarray(arrays[name], np.float32) for name in ("by_number", "starts", "usual")
        }
        return cls(names=names, **found)

    def shapes(self, dimension: int) -> dict[str, tuple[int, ...]]:
        """Return the shape that each array must have for vectors of this dimension."""
        names = (len(self.names),)
        return {
            "by_number": (SENSES * dimension + PLACE, *names),
            "starts": names,
            "usual": names,
        }

    def outlook(self, talk: MomentTalk) -> dict[StrategyName, Outlook]:
        """Return what to expect of each strategy now."""
        logits = talk.numbers() @ self.by_number + self.starts
        chances = 1.0 / (1.0 + np.exp(-np.clip(logits, -MOOD_MOST, MOOD_MOST)))
        return {
            StrategyName(name): Outlook(chance=chance, usual=usual)
            for name, chance, usual in zip(
                self.names, chances.tolist(), self.usual.tolist(), strict=True
            )
        }


def _mood(engagement: float | None) -> float:
    if engagement is None:
        return 0.0
    share = min(max(engagement / 100.0, 1e-3), 1.0 - 1e-3)
    return min(MOOD_MOST, max(-MOOD_MOST, math.log(share / (1.0 - share))))
