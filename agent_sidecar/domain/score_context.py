"""What one prospect line is judged by: the line itself, and all that was said before it.

The same object hears a call that is live and a recorded one that weights are fitted on, so nothing
can be seen in fitting that is not seen in a call. Nothing of what comes after a line is in it.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent_sidecar.domain.manner import CUES, manner
from agent_sidecar.domain.ngrams import hashed
from agent_sidecar.domain.types import Vector

# raised whenever anything that a line is judged by changes: older weights do not fit then
FEATURES = 1
# share of a prospect's earlier lines that the next one leaves in what is remembered of them
PAST_KEPT = 0.95
# how much the line before in the same turn counts beside the line itself
BEFORE = 0.7
# words after which an answer is no longer short (to 1/e)
SHORT_WORDS = 4.0
# lines from which a call is as far on as it gets
FAR_LINES = 120
PLACE = 4

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heard:
    """A prospect line and what was said before it."""

    text: str
    vector: Vector
    # the line has a vector of this model; False: only its words are known
    has_vector: bool
    # mean of the lines of the agent's last turn
    agent: Vector
    # all earlier lines of the prospect, the last ones most; unit length
    past: Vector
    # his last line, where nobody spoke in between
    before: Vector
    # all lines of the call so far, this one too; unit length
    talk: Vector
    # 1 for no word, towards 0 with every word
    shortness: float
    # how far the call is, and whether he has just begun to speak
    place: Floats
    cues: Floats
    places: NDArray[np.int32]
    counts: Floats


class Conversation:
    """Hears one call's lines in order; `dimension` is that of the model's vectors."""

    def __init__(self, dimension: int) -> None:
        self._none: Vector = np.zeros(dimension, np.float32)
        self._agent_turn: list[Vector] = []
        self._agent_spoke = False
        self._past = self._none
        self._before = self._none
        self._talk = self._none
        self._lines = 0

    def hear_agent(self, vector: Vector | None) -> None:
        """Hear a line of the agent."""
        if not self._agent_spoke:
            self._agent_turn = []
        self._agent_spoke = True
        self._before = self._none
        self._lines += 1
        known = self._known(vector)
        if known is not None:
            self._agent_turn.append(known)
            self._talk = self._talk + known

    def hear_prospect(self, text: str, vector: Vector | None) -> Heard:
        """Hear a line of the prospect; return what it is judged by."""
        fitting = self._known(vector)
        known = self._none if fitting is None else fitting
        self._talk = self._talk + known
        words = len(text.split())
        places, counts = hashed(text)
        heard = Heard(
            text=text,
            vector=known,
            has_vector=fitting is not None,
            agent=np.mean(self._agent_turn, axis=0) if self._agent_turn else self._none,
            past=unit(self._past),
            before=self._before,
            talk=unit(self._talk),
            shortness=math.exp(-words / SHORT_WORDS),
            place=_place(self._lines, begins=self._agent_spoke or self._lines == 0),
            cues=manner(text),
            places=places,
            counts=counts,
        )
        self._past = PAST_KEPT * self._past + known
        self._before = known
        self._agent_spoke = False
        self._lines += 1
        return heard

    def _known(self, vector: Vector | None) -> Vector | None:
        """Return the vector unless it is of another model, as in an old journal, or no numbers."""
        if vector is None or vector.size != self._none.size or not np.isfinite(vector).all():
            return None
        return vector


def block_sizes(dimension: int, anchor_groups: int) -> dict[str, int]:
    """Return the blocks of the numbers that a line is judged by, in order, with their sizes."""
    return {
        "line": dimension,
        "agent": dimension,
        "past": dimension,
        "answer": dimension,
        "before": dimension,
        "anchors": 2 * anchor_groups,
        "past_anchors": 2 * anchor_groups,
        "sides": 3,
        "manner": len(CUES),
        "place": PLACE,
    }


def _place(lines: int, *, begins: bool) -> Floats:
    return np.array(
        [min(lines, FAR_LINES) / 40.0, min(lines, 20) / 20.0, begins, math.log1p(lines)], np.float32
    )


def unit(vector: Floats) -> Floats:
    """Return the vector with length 1; one of length 0 stays."""
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-6), np.float32)
