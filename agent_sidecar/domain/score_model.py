"""Fitted weights: what a line is judged by becomes one number, the logit of its engagement.

Two opinions are mixed. The first knows the kind of conversation that it was fitted on: words and
runs of words, the vectors of the line, of the agent's turn before and of what he said earlier, and
which of the labels in the fitted calls the line is like. The second uses only what means the same
everywhere: cues of manner, and whether the line is closer to general statements of going along or
of holding back. The further a call's talk is from the fitted calls, the more the second counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from agent_sidecar.domain.ngrams import BITS
from agent_sidecar.domain.score_context import BEFORE, Floats, Heard, block_sizes

# the vectors that labels are told by, and the familiar opinion beside words and cues
LABEL_BLOCKS = ("line", "agent", "past", "answer")
# how sharply closeness to many statements becomes closeness to one side
SIDE_SHARPNESS = 8.0
# what the first opinion counts at least: a call that begins far off may still come to the matter
FAMILIAR_LEAST = 0.25
# what is remembered of the earlier judgements: share kept per line, lines of doubt, weight
MEMORY_KEPT, MEMORY_DOUBT, MEMORY_WEIGHT = 0.8, 2.0, 0.6


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreModel:
    """The fitted numbers; all arrays are float32. D: dimension of the vectors, G: anchor groups."""

    # (S, D) the middle of what each fitted file's calls talk about, unit length
    topics: Floats
    # (S, 2) cosine to it below which a call is strange, and from which it is familiar
    familiar: Floats
    # (A, D) general statements; (A,) their group, ascending; (G,) 1 going along, -1 holding back
    anchors: Floats
    anchor_groups: Floats
    group_sides: Floats
    # (X,) weights of all blocks of the familiar opinion, of the plain one, and what the blocks of a
    # line in the middle are like: one that is neither positive nor negative
    known: Floats
    plain: Floats
    means: Floats
    # (2**bits,) rarity and weight of each place of the n-grams
    rarity: Floats
    words: Floats
    # (L, Y), (L,) how like each label of the fitted calls; (L,) its side: 1, -1 or 0
    labels: Floats
    label_starts: Floats
    label_sides: Floats
    # (3,) mean of the words' part; mean and weight of the labels' part
    middles: Floats
    # (2,) logit per unit of the familiar opinion, and of the plain one; 0 is a line in the middle
    calibration: Floats
    group_names: tuple[str, ...]

    @property
    def dimension(self) -> int:
        """Of the vectors."""
        return int(self.topics.shape[1])

    def arrays(self) -> dict[str, Floats]:
        """Return every array by name."""
        return {name: getattr(self, name) for name in ARRAYS}

    @classmethod
    def from_arrays(
        cls, group_names: tuple[str, ...], arrays: Mapping[str, NDArray[np.floating]]
    ) -> "ScoreModel":
        """Return the model of what `arrays` gave, in any float type. Raises KeyError."""
        found = {name: np.asarray(arrays[name], np.float32) for name in ARRAYS}
        return cls(group_names=group_names, **found)

    def shapes(self, dimension: int) -> dict[str, tuple[int, ...]]:
        """Return the shape that each array must have for vectors of this dimension."""
        groups = len(self.group_names)
        row = (sum(block_sizes(dimension, groups).values()),)
        sources, anchors = self.topics.shape[:1], self.anchor_groups.shape[:1]
        labels = self.label_sides.shape[:1]
        return {
            "topics": (*sources, dimension),
            "familiar": (*sources, 2),
            "anchors": (*anchors, dimension),
            "anchor_groups": anchors,
            "group_sides": (groups,),
            "known": row,
            "plain": row,
            "means": row,
            "rarity": (1 << BITS,),
            "words": (1 << BITS,),
            "labels": (*labels, len(LABEL_BLOCKS) * dimension),
            "label_starts": labels,
            "label_sides": labels,
            "middles": (3,),
            "calibration": (2,),
        }

    @cached_property
    def blocks(self) -> dict[str, slice]:
        """Where each block lies in the numbers of a line."""
        places, start = {}, 0
        for name, size in block_sizes(self.dimension, len(self.group_names)).items():
            places[name] = slice(start, start + size)
            start += size
        return places

    @cached_property
    def _block_starts(self) -> list[int]:
        return [place.start for place in self.blocks.values()]

    @cached_property
    def _group_starts(self) -> NDArray[np.intp]:
        return np.searchsorted(self.anchor_groups, np.arange(len(self.group_names)))

    @cached_property
    def _group_sizes(self) -> NDArray[np.intp]:
        return np.diff(self._group_starts, append=len(self.anchor_groups))

    @cached_property
    def _along(self) -> NDArray[np.bool_]:
        return np.asarray(self.group_sides[self.anchor_groups.astype(int)] > 0)

    def numbers(self, heard: Heard) -> Floats:
        """Return the blocks of a line as one row."""
        close = self.anchors @ heard.vector
        along, back = _soft_most(close[self._along]), _soft_most(close[~self._along])
        return np.concatenate(
            [
                heard.vector,
                heard.agent,
                heard.past,
                heard.shortness * heard.agent,
                BEFORE * heard.before,
                self._by_group(close),
                self._by_group(self.anchors @ heard.past),
                np.array([along, back, along - back], np.float32),
                heard.cues,
                heard.place,
            ]
        )

    def _by_group(self, close: Floats) -> Floats:
        """Return the greatest and the mean closeness of each group."""
        most = np.maximum.reduceat(close, self._group_starts)
        mean = np.add.reduceat(close, self._group_starts) / self._group_sizes
        return np.asarray(np.stack([most, mean], axis=1).ravel(), np.float32)

    def _by_block(self, weighted: Floats) -> dict[str, float]:
        """Return the sum of each block."""
        # one call for all: a dot product for each of ten blocks took 40 µs
        sums = np.add.reduceat(weighted, self._block_starts).tolist()
        return dict(zip(self.blocks, sums, strict=True))

    def closest_group(self, heard: Heard, *, along: bool) -> str:
        """Name the general statements of one side that a line is closest to."""
        close = np.where(self._along == along, self.anchors @ heard.vector, -2.0)
        return self.group_names[int(self.anchor_groups[int(np.argmax(close))])]

    def word_weights(self, heard: Heard) -> Floats:
        """Return what each n-gram of a line adds, in the order of its places."""
        weighted = heard.counts * self.rarity[heard.places]
        length = max(float(np.sqrt(np.dot(weighted, weighted))), 1e-6)
        return np.asarray(self.words[heard.places] * weighted / length, np.float32)

    def label_lean(self, row: Floats) -> float:
        """Return the log odds that a line is like the labels of going along, of a line's blocks."""
        inside = np.concatenate([row[self.blocks[name]] for name in LABEL_BLOCKS])
        like = self.labels @ inside + self.label_starts
        return _log_sum(like[self.label_sides > 0]) - _log_sum(like[self.label_sides < 0])

    def familiarity(self, heard: Heard) -> float:
        """Return how much the call talks of what the fitted calls do; 0: there is no vector."""
        if not heard.has_vector:
            return 0.0
        close = self.topics @ heard.talk
        low, high = self.familiar[:, 0], self.familiar[:, 1]
        known = (close - low) / np.maximum(high - low, 1e-6)
        return float(np.clip(known, FAMILIAR_LEAST, 1.0).max())

    def judge(self, heard: Heard) -> "Judgement":
        """Judge one line by itself and what was said before."""
        row = self.numbers(heard)
        beyond = row - self.means
        known = self._by_block(self.known * beyond)
        known["words"] = float(self.word_weights(heard).sum() - self.middles[0])
        known["labels"] = float((self.label_lean(row) - self.middles[1]) * self.middles[2])
        plain = self._by_block(self.plain * beyond)
        if not heard.has_vector:
            plain, known = {"manner": plain["manner"]}, {}
        return Judgement(known=known, plain=plain, familiarity=self.familiarity(heard))


ARRAYS = tuple(field.name for field in fields(ScoreModel) if field.name != "group_names")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What each block of a line says, by both opinions, before calibration."""

    known: dict[str, float]
    plain: dict[str, float]
    familiarity: float


class Memory:
    """What is remembered of how a prospect's earlier lines were judged."""

    def __init__(self) -> None:
        self._sum = 0.0
        self._lines = 0.0

    @property
    def lean(self) -> float:
        """What the earlier lines add to the next one."""
        return MEMORY_WEIGHT * self._sum / (self._lines + MEMORY_DOUBT)

    def keep(self, judged: float) -> None:
        """Remember a line's judgement."""
        self._sum = MEMORY_KEPT * self._sum + judged
        self._lines = MEMORY_KEPT * self._lines + 1.0


class Judge:
    """Judges the prospect lines of one call in order: the model with its memory."""

    def __init__(self, model: ScoreModel) -> None:
        self._model = model
        self._known, self._plain = Memory(), Memory()

    def opinions(self, heard: Heard) -> tuple[dict[str, float], dict[str, float], float]:
        """Return both opinions by block with what is remembered as `memory`, and familiarity."""
        judged = self._model.judge(heard)
        known = {**judged.known, "memory": self._known.lean}
        plain = {**judged.plain, "memory": self._plain.lean}
        self._known.keep(sum(judged.known.values()))
        self._plain.keep(sum(judged.plain.values()))
        return known, plain, judged.familiarity

    def contributions(self, heard: Heard) -> dict[str, float]:
        """Return what each block adds to the logit of the line; their sum is the logit."""
        known, plain, familiarity = self.opinions(heard)
        slope, plain_slope = map(float, self._model.calibration)
        parts = {name: familiarity * slope * value for name, value in known.items()}
        for name, value in plain.items():
            strange = (1.0 - familiarity) * plain_slope * value
            parts[name] = parts.get(name, 0.0) + strange
        return parts


def _soft_most(close: Floats) -> float:
    """Return the greatest of several values, softly: many that are close count as well."""
    return _log_sum(SIDE_SHARPNESS * close) / SIDE_SHARPNESS


def _log_sum(values: Floats) -> float:
    most = float(values.max())
    return most + float(np.log(np.exp(values - most).sum()))
