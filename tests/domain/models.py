"""Small fitted weights made by hand: vectors of four numbers, one statement for each side."""

from dataclasses import replace

import numpy as np

from agent_sidecar.domain.ngrams import BITS, place
from agent_sidecar.domain.score_context import Conversation, Floats, Heard, block_sizes
from agent_sidecar.domain.score_model import ScoreModel
from agent_sidecar.domain.types import Vector

DIMENSION = 4
GROUPS = ("agrees", "refuses")
# what a line is about: going along, holding back, what the fitted calls talk of, something else
ALONG, BACK, TOPIC, ELSE = np.eye(DIMENSION, dtype=np.float32)
SIZES = block_sizes(DIMENSION, len(GROUPS))


def block(name: str, *values: float) -> Floats:
    """Return numbers of all blocks that are 0 but in one; one value fills all of it."""
    row = np.zeros(sum(SIZES.values()), np.float32)
    start = sum(size for other, size in SIZES.items() if list(SIZES).index(other) < at(name))
    row[start : start + SIZES[name]] = values if len(values) > 1 else values[0]
    return row


def at(name: str) -> int:
    return list(SIZES).index(name)


def a_model(**changes: object) -> ScoreModel:
    """Return weights that say nothing; `changes` replace arrays."""
    nothing = block("line", 0.0)
    model = ScoreModel(
        topics=TOPIC[None],
        familiar=np.array([[0.2, 0.6]], np.float32),
        anchors=np.stack([ALONG, BACK]),
        anchor_groups=np.array([0.0, 1.0], np.float32),
        group_sides=np.array([1.0, -1.0], np.float32),
        known=nothing,
        plain=nothing,
        means=nothing,
        rarity=np.ones(1 << BITS, np.float32),
        words=np.zeros(1 << BITS, np.float32),
        labels=np.zeros((2, 4 * DIMENSION), np.float32),
        label_starts=np.zeros(2, np.float32),
        label_sides=np.array([1.0, -1.0], np.float32),
        middles=np.array([0.0, 0.0, 1.0], np.float32),
        calibration=np.ones(2, np.float32),
        group_names=GROUPS,
    )
    return replace(model, **changes)  # type: ignore[arg-type]  # fields by name


def word_weights(**weights: float) -> Floats:
    """Return weights of single words."""
    row = np.zeros(1 << BITS, np.float32)
    for word, weight in weights.items():
        row[place(word)] = weight
    return row


def heard(text: str, vector: Vector | None = TOPIC) -> Heard:
    """Return the first line of a call."""
    return Conversation(DIMENSION).hear_prospect(text, vector)
