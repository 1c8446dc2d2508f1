"""The prospect lines of labelled calls as fitting reads them, heard as a live call hears them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent_sidecar.domain.score_context import Conversation, Floats, Heard
from agent_sidecar.domain.score_model import ScoreModel
from agent_sidecar.learning.labelled import LabelledCall

# lines that are neither positive nor negative from which they tell what the middle is
ENOUGH_NEITHER = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Which labels of prospect lines are going along, and which holding back."""

    positive: frozenset[str]
    negative: frozenset[str]


@dataclass(frozen=True, kw_only=True, eq=False)
class Lines:
    """All prospect lines of the calls, in order."""

    heard: list[Heard]
    rows: Floats
    labels: list[str | None]
    # 1 positive, 0 negative, -1 neither
    sides: NDArray[np.int8]
    calls: NDArray[np.int32]
    sources: NDArray[np.int32]
    # 1 or -1 by label, where it has a side
    side_of: Mapping[str, int]

    def sided(self, calls: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Return the lines of either side in the calls that are marked."""
        return np.flatnonzero(calls[self.calls] & (self.sides >= 0))

    def weights(self, at: NDArray[np.intp]) -> Floats:
        """Return weights by which every side of every file has the same share."""
        cells = self.sources[at] * 2 + self.sides[at]
        _, cell, counts = np.unique(cells, return_inverse=True, return_counts=True)
        return np.asarray(len(at) / (len(counts) * counts[cell]))

    def middle(self, calls: NDArray[np.bool_]) -> tuple[NDArray[np.intp], Floats]:
        """Return the lines that say neither, with weights; where they are few, those of a side.

        Every file has the same share.
        """
        labelled = np.array([label is not None for label in self.labels])
        at = np.flatnonzero(calls[self.calls] & labelled & (self.sides < 0))
        if len(at) < ENOUGH_NEITHER:
            at = self.sided(calls)
        return at, self.weights(at)


def play(calls: Sequence[LabelledCall], sides: Sides, blank: ScoreModel) -> Lines:
    names = sorted({call.source for call in calls})
    heard: list[Heard] = []
    labels: list[str | None] = []
    numbers: list[int] = []
    sources: list[int] = []
    for number, call in enumerate(calls):
        for label, line in _hear(call, blank.dimension):
            heard.append(line)
            labels.append(label)
            numbers.append(number)
            sources.append(names.index(call.source))
    side = [
        1 if label in sides.positive else 0 if label in sides.negative else -1 for label in labels
    ]
    return Lines(
        heard=heard,
        rows=np.stack([blank.numbers(line) for line in heard]),
        labels=labels,
        sides=np.array(side, np.int8),
        calls=np.array(numbers, np.int32),
        sources=np.array(sources, np.int32),
        side_of=dict.fromkeys(sides.positive, 1) | dict.fromkeys(sides.negative, -1),
    )


def _hear(call: LabelledCall, dimension: int) -> list[tuple[str | None, Heard]]:
    talk = Conversation(dimension)
    found = []
    for line in call.lines:
        if line.speaker == "prospect":
            found.append((line.label, talk.hear_prospect(line.text, line.vector)))
        else:
            talk.hear_agent(line.vector)
    return found
