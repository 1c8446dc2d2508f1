"""Fits which strategy an agent's line used, on calls in which people said what lines do.

Every call is played through the object that hears live calls, so a line is told in fitting by what
it is told by in a call. All labels are learnt, not only the strategies: what is no strategy is many
different things, each easier to tell than all of them together.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent_sidecar.domain.ngrams import BITS
from agent_sidecar.domain.strategies import (
    PLACE,
    SENSES,
    AgentLine,
    AgentTalk,
    Floats,
    KnownWords,
    StrategyModel,
)
from agent_sidecar.errors import FitImpossible
from agent_sidecar.learning.labelled import LabelledCall
from agent_sidecar.learning.strategy_heads import fit_linear, fit_network

FOLDS = 5
# lines of a strategy, and calls with any, from which fitting is worth its while
ENOUGH_LINES, ENOUGH_CALLS = 5, 5
# a label on fewer lines is learnt together with the others that are no strategy
LABEL_LINES = 5
# what a word occurs in less often is not known, and how many topics words are gathered in
WORD_LINES, TOPICS = 5, 128
NETWORKS = 3
# share of its lead (a power) that a common strategy gives up: costs no lines, finds the rare ones
HANDICAP = 0.25
# how much the line's own vector, the agent's last, the prospect's last, and the agent's past count
SENSE_SCALES = (1.0, 0.4, 0.4, 0.6)
# the linear model's place in the call; the networks' senses, place and topics
LINEAR_PLACE, NETWORK_SENSES, NETWORK_PLACE, NETWORK_TOPICS = 0.3, 19.0, 1.0, 15.0

_REST = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Lines:
    """The labelled agent lines of the calls that tell strategies, in order."""

    lines: list[AgentLine]
    labels: list[str]
    # which call each is of
    calls: NDArray[np.intp]

    def some(self, at: NDArray[np.intp]) -> "_Lines":
        return _Lines(
            lines=[self.lines[i] for i in at],
            labels=[self.labels[i] for i in at],
            calls=self.calls[at],
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recognition:
    """How strategies were recognised in calls that the weights had not seen."""

    accuracy: float
    # mean over the strategies and none, which is the last one
    macro_f1: float
    names: tuple[str, ...]
    # rows: what people said; columns: what was recognised; None is last
    confusion: NDArray[np.intp]


def fit_strategies(calls: Sequence[LabelledCall], strategies: Sequence[str]) -> StrategyModel:
    """Return weights that recognise these labels. Raises FitImpossible."""
    check_strategies(calls, strategies)
    return _fit(_play(calls, strategies), tuple(strategies))


def check_strategies(calls: Sequence[LabelledCall], strategies: Sequence[str]) -> None:
    """Raise FitImpossible when these labels cannot be fitted."""
    if not strategies:
        raise FitImpossible("no strategy is named; give at least one label of an agent's lines")
    by_call = [_agent_labels(call) for call in calls]
    counts = Counter(label for labels in by_call for label in labels)
    if unknown := sorted(set(strategies) - set(counts)):
        there = ", ".join(f"{name} ({counts[name]})" for name in sorted(counts)) or "none"
        raise FitImpossible(
            f"no line of an agent is labelled {', '.join(unknown)}; labels that are there: {there}"
        )
    if few := sorted(name for name in strategies if counts[name] < ENOUGH_LINES):
        named = ", ".join(f"{name} ({counts[name]})" for name in few)
        raise FitImpossible(
            f"too few lines to recognise {named}: at least {ENOUGH_LINES} are needed; give more"
            " calls, or leave the label out"
        )
    telling = sum(not labels.isdisjoint(strategies) for labels in map(set, by_call))
    if telling < ENOUGH_CALLS:
        raise FitImpossible(
            f"{telling} calls with strategies are too few to fit on: at least {ENOUGH_CALLS} are"
            " needed; give more calls"
        )


def cross_validate(
    calls: Sequence[LabelledCall],
    strategies: Sequence[str],
    *,
    folds: int = FOLDS,
    seed: int = 0,
    tell: Callable[[int], None] = lambda _: None,
) -> Recognition:
    """Recognise every call with weights fitted without it; `tell` hears of each fold done."""
    check_strategies(calls, strategies)
    names = tuple(strategies)
    known = _play(calls, names)
    order = np.random.default_rng(seed).permutation(int(known.calls.max()) + 1)
    confusion = np.zeros((len(names) + 1, len(names) + 1), np.intp)
    for number in range(folds):
        unseen = np.isin(known.calls, order[number::folds])
        model = _fit(known.some(np.flatnonzero(~unseen)), names)
        for at in np.flatnonzero(unseen):
            guess = int(np.argmax(model.chances(known.lines[at])))
            confusion[_owner(known.labels[at], names), guess] += 1
        tell(number)
    right = np.diag(confusion)
    told = confusion.sum(axis=0) + confusion.sum(axis=1)
    return Recognition(
        accuracy=float(right.sum() / confusion.sum()),
        macro_f1=float(np.mean(2 * right / np.maximum(told, 1))),
        names=names,
        confusion=confusion,
    )


def _play(calls: Sequence[LabelledCall], strategies: Sequence[str]) -> _Lines:
    """Hear the calls of the files in which these strategies are told.

    A file without any was labelled for something else: its lines may be strategies all the same.
    """
    wanted = set(strategies)
    telling = {call.source for call in calls if not wanted.isdisjoint(_agent_labels(call))}
    lines: list[AgentLine] = []
    labels: list[str] = []
    numbers: list[int] = []
    for number, call in enumerate(call for call in calls if call.source in telling):
        talk = AgentTalk(call.lines[0].vector.size if call.lines else 0)
        for line in call.lines:
            heard = talk.hear(line.speaker, line.text, line.vector)
            if heard is not None and line.label is not None:
                lines.append(heard)
                labels.append(line.label)
                numbers.append(number)
    return _Lines(lines=lines, labels=labels, calls=np.array(numbers, np.intp))


def _agent_labels(call: LabelledCall) -> list[str]:
    return [ln.label for ln in call.lines if ln.speaker == "agent" and ln.label is not None]


def _owner(label: str, names: tuple[str, ...]) -> int:
    """Return which of the names a label is; one past the last: none."""
    return names.index(label) if label in names else len(names)


def _fit(known: _Lines, names: tuple[str, ...]) -> StrategyModel:
    labels, truths = _truths(known, names)
    owners = np.array([_owner(label, names) for label in labels], np.intp)
    words = _known_words(known)
    said = _word_rows(known, words)
    topics = _topics(said)
    numbers = np.stack([line.numbers for line in known.lines])
    dimension = (numbers.shape[1] - PLACE) // SENSES

    linear = _scales(dimension, 1.0, LINEAR_PLACE)
    by_number, by_word, starts = fit_linear(numbers * linear, said, truths)
    inside = np.concatenate(
        [
            _scales(dimension, NETWORK_SENSES, NETWORK_PLACE),
            np.full(topics.shape[1], NETWORK_TOPICS, np.float32),
        ]
    )
    seen = np.asarray(np.concatenate([numbers, said @ topics], axis=1) * inside, np.float32)
    networks = [fit_network(seen, truths, seed) for seed in range(NETWORKS)]
    shares = np.array([np.sum(truths[:, owners == n]) for n in range(len(names) + 1)])
    return StrategyModel(
        names=names,
        owners=owners,
        handicaps=(HANDICAP * np.log(np.maximum(shares, 1.0) / len(truths))).astype(np.float32),
        words=words,
        topics=topics,
        by_number=by_number * linear[:, None],
        by_word=by_word,
        starts=starts,
        inner=np.concatenate([net.inner * inside[:, None] for net in networks], axis=1),
        inner_starts=np.concatenate([net.inner_starts for net in networks]),
        outer=np.stack([net.outer for net in networks]),
        outer_starts=np.stack([net.outer_starts for net in networks]),
    )


def _truths(known: _Lines, names: tuple[str, ...]) -> tuple[list[str], Floats]:
    """Return the labels that are learnt, and a row for every line with 1 at its label."""
    counts = Counter(known.labels)
    often = [name for name in sorted(counts) if name not in names and counts[name] >= LABEL_LINES]
    labels = [*names, *often, _REST]
    at = {label: number for number, label in enumerate(labels)}
    rows = [at.get(label, len(labels) - 1) for label in known.labels]
    return labels, np.eye(len(labels), dtype=np.float32)[rows]


def _scales(dimension: int, senses: float, place: float) -> Floats:
    return np.concatenate(
        [
            np.repeat(np.array(SENSE_SCALES, np.float32) * np.float32(senses), dimension),
            np.full(PLACE, place, np.float32),
        ]
    )


def _known_words(known: _Lines) -> KnownWords:
    seen = np.zeros(1 << BITS, np.int32)
    for line in known.lines:
        seen[line.places] += 1
    places = np.flatnonzero(seen >= WORD_LINES).astype(np.int32)
    rarity = np.log((1 + len(known.lines)) / (1 + seen[places])) + 1.0
    return KnownWords(places=places, rarity=rarity.astype(np.float32))


def _word_rows(known: _Lines, words: KnownWords) -> Any:
    """Return the known words of every line as a sparse matrix, (lines, words)."""
    from scipy.sparse import csr_matrix  # type: ignore[import-untyped]

    rows = [words.of(line) for line in known.lines]
    starts = np.cumsum([0, *(len(places) for places, _ in rows)])
    places = np.concatenate([places for places, _ in rows])
    weights = np.concatenate([weights for _, weights in rows])
    return csr_matrix((weights, places, starts), shape=(len(rows), len(words.places)))


def _topics(said: Any) -> Floats:
    """Return in which topics words are gathered: those that occur together (latent semantics)."""
    from sklearn.decomposition import TruncatedSVD  # type: ignore[import-untyped]

    lines, words = said.shape
    if words < 2:
        return np.zeros((words, 0), np.float32)
    found = TruncatedSVD(min(TOPICS, lines, words), random_state=0).fit(said)
    return np.ascontiguousarray(found.components_.T, np.float32)
