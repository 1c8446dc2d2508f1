"""From lines to weights: the two opinions of a `ScoreModel`, each made of simple regressions.

What is regressed is weighted so that every side of every file has the same share, and the parts of
an opinion are brought to the same spread before they are added up.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from agent_sidecar.domain.ngrams import BITS
from agent_sidecar.domain.score_context import Floats, unit
from agent_sidecar.domain.score_model import ARRAYS, LABEL_BLOCKS, Judge, ScoreModel
from agent_sidecar.domain.types import Vector
from agent_sidecar.learning.anchors import ALONG, BACK, anchor_texts
from agent_sidecar.learning.regression import Sparse, logistic, logistic_of_words, one_of_many
from agent_sidecar.learning.scored_lines import Lines

FOLDS = 5
# inverse penalties, chosen by cross-validation over calls
SENSE, CUE, WORDS, LABELS, PLAIN_MANNER, PLAIN_SIDES = 1.0, 0.005, 3.0, 2.0, 0.0003, 0.001
SENSE_BLOCKS = ("line", "agent", "past", "answer", "before")
CUE_BLOCKS = ("anchors", "past_anchors", "manner", "place")
# a label on fewer lines says nothing about what its lines have in common
LABEL_LINES = 5
# a call is familiar when it is as close to the topic as all but this share of the fitted ones, and
# strange when it is further off than that by the step (a cosine)
STRANGE_SHARE, STRANGE_STEP = 0.1, 0.1

Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Taught:
    """The lines of either side that an opinion is fitted on: what they are, and what they weigh."""

    rows: Floats
    truths: NDArray[np.bool_]
    weights: Floats


def blank_model(vectors: Mapping[str, Vector]) -> ScoreModel:
    """Return a model that knows the general statements and nothing else."""
    anchors = np.stack([vectors[text] for text in anchor_texts()])
    groups = [*ALONG.values(), *BACK.values()]
    arrays: dict[str, NDArray[np.floating]] = {name: np.zeros(0) for name in ARRAYS}
    arrays |= {
        "anchors": anchors,
        "anchor_groups": np.repeat(np.arange(len(groups)), [len(texts) for texts in groups]),
        "group_sides": np.array([1.0] * len(ALONG) + [-1.0] * len(BACK)),
        "topics": np.zeros((1, anchors.shape[1])),
    }
    return ScoreModel.from_arrays((*ALONG, *BACK), arrays)


def fit_once(lines: Lines, blank: ScoreModel, calls: NDArray[np.bool_]) -> ScoreModel:
    """Fit everything but the calibration on the calls that are marked."""
    at = lines.sided(calls)
    taught = _Taught(rows=lines.rows[at], truths=lines.sides[at] == 1, weights=lines.weights(at))
    middle, shares = lines.middle(calls)
    means = np.average(lines.rows[middle], axis=0, weights=shares).astype(np.float32)

    known = _opinion(blank, SENSE_BLOCKS, taught, SENSE, level=False)
    known += _opinion(blank, CUE_BLOCKS, taught, CUE, level=True)
    plain = _opinion(blank, ("manner",), taught, PLAIN_MANNER, level=True)
    plain += _opinion(blank, ("sides",), taught, PLAIN_SIDES, level=True)
    topics, familiar = _topics(lines, at)
    model = replace(blank, known=known, plain=plain, means=means, topics=topics, familiar=familiar)
    model = _with_labels(model, lines, calls)
    model = _with_words(model, lines, at, taught)
    return _with_middles(model, lines, at, middle, shares)


def _opinion(
    blank: ScoreModel, blocks: tuple[str, ...], taught: _Taught, freedom: float, *, level: bool
) -> Floats:
    """Return weights for all numbers of a line, fitted on some blocks; `level`: by their spread."""
    rows = taught.rows
    at = np.concatenate([np.arange(len(rows[0]))[blank.blocks[name]] for name in blocks])
    spread = np.maximum(rows[:, at].std(axis=0), 1e-3) if level else np.ones(len(at), np.float32)
    inside = (rows[:, at] - rows[:, at].mean(axis=0)) / spread if level else rows[:, at]
    coefficients, _ = logistic(inside, taught.truths, taught.weights, freedom=freedom)
    found = np.zeros(len(rows[0]), np.float32)
    found[at] = coefficients / spread / max(float((inside @ coefficients).std()), 1e-6)
    return found


def _with_labels(model: ScoreModel, lines: Lines, calls: NDArray[np.bool_]) -> ScoreModel:
    """Fit which label a line of these calls has: all labels tell, not only those of a side."""
    inside = [at for at in np.flatnonzero(calls[lines.calls]) if lines.labels[at] is not None]
    named = [lines.labels[at] or "" for at in inside]
    counts = Counter(named)
    often = {name for name in counts if counts[name] >= LABEL_LINES or name in lines.side_of}
    kept = [(at, name) for at, name in zip(inside, named, strict=True) if name in often]
    rows = lines.rows[[at for at, _ in kept]]
    blocks = np.concatenate([rows[:, model.blocks[name]] for name in LABEL_BLOCKS], axis=1)
    names, coefficients, starts = one_of_many(blocks, [name for _, name in kept], freedom=LABELS)
    return replace(
        model,
        labels=coefficients.astype(np.float32),
        label_starts=starts.astype(np.float32),
        label_sides=np.array([lines.side_of.get(name, 0) for name in names], np.float32),
    )


def _with_words(model: ScoreModel, lines: Lines, at: Places, taught: _Taught) -> ScoreModel:
    seen = np.zeros(1 << BITS)
    for line in at:
        seen[lines.heard[line].places] += 1
    rarity = (np.log((1 + len(at)) / (1 + seen)) + 1).astype(np.float32)
    rows: list[Sparse] = []
    for line in at:
        heard = lines.heard[line]
        weighted = heard.counts * rarity[heard.places]
        rows.append((heard.places, weighted / np.sqrt(np.dot(weighted, weighted))))
    words, _ = logistic_of_words(rows, 1 << BITS, taught.truths, taught.weights, freedom=WORDS)
    model = replace(model, rarity=rarity, words=words.astype(np.float32))
    spread = np.std([model.word_weights(lines.heard[line]).sum() for line in at])
    return replace(model, words=(words / max(float(spread), 1e-6)).astype(np.float32))


def _with_middles(
    model: ScoreModel, lines: Lines, at: Places, middle: Places, shares: Floats
) -> ScoreModel:
    """Bring every part to 0 for a line in the middle, so that a part says what is special."""

    def words(line: int) -> float:
        return float(model.word_weights(lines.heard[line]).sum())

    def lean(line: int) -> float:
        return model.label_lean(lines.rows[line])

    spread = float(np.std([lean(line) for line in at]))
    middles = [
        np.average([words(line) for line in middle], weights=shares),
        np.average([lean(line) for line in middle], weights=shares),
        1.0 / max(spread, 1e-6),
    ]
    return replace(model, middles=np.array(middles, np.float32))


def _topics(lines: Lines, at: Places) -> tuple[Floats, Floats]:
    """Return what each file's calls talk about, and how close to it a call of theirs is."""
    topics: list[Floats] = []
    familiar: list[tuple[float, float]] = []
    for source in np.unique(lines.sources[at]):
        here = at[lines.sources[at] == source]
        # a call's last line has heard the whole call
        last = [here[lines.calls[here] == call][-1] for call in np.unique(lines.calls[here])]
        whole = np.sum([lines.heard[line].talk for line in last], axis=0)
        by_call = {lines.calls[line]: lines.heard[line].talk for line in last}
        # each call is compared with the others only: it must not look familiar to itself
        close = [
            float(unit(whole - by_call[lines.calls[line]]) @ lines.heard[line].talk)
            for line in here
        ]
        topics.append(unit(whole))
        high = float(np.quantile(close, STRANGE_SHARE))
        familiar.append((high - STRANGE_STEP, high))
    return np.stack(topics), np.array(familiar, np.float32)


def cross_validate(
    lines: Lines, blank: ScoreModel, *, folds: int = FOLDS, seed: int = 0
) -> tuple[Floats, Floats]:
    """Return both opinions on every line, judged by weights fitted without its call."""
    leans, plain = (np.zeros(len(lines.heard), np.float32) for _ in range(2))
    fold = deal_calls(lines, folds=folds, seed=seed)
    for number in range(folds):
        model = fit_once(lines, blank, fold != number)
        for call in np.flatnonzero(fold == number):
            judge = Judge(model)
            for at in np.flatnonzero(lines.calls == call):
                known, general, _ = judge.opinions(lines.heard[at])
                leans[at], plain[at] = sum(known.values()), sum(general.values())
    return leans, plain


def deal_calls(lines: Lines, *, folds: int, seed: int) -> NDArray[np.int64]:
    """Return the fold of every call; those that teach something are dealt out first.

    Calls of one side are dealt one after the other: of a side that is in two calls, every fold
    leaves one to fit on.
    """
    order = np.random.default_rng(seed).permutation(int(lines.calls.max()) + 1)
    negative, positive = (np.isin(order, lines.calls[lines.sides == side]) for side in (0, 1))
    hand = np.select([negative & ~positive, negative, positive], [0, 1, 2], 3)
    fold = np.empty(len(order), np.int64)
    fold[order[np.argsort(hand, kind="stable")]] = np.arange(len(order)) % folds
    return fold
