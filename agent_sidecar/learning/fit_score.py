"""Fits the engagement score on calls in which people said what lines do.

Every call is played through the object that hears live calls, so a line is judged in fitting by
what it is judged by in a call. Each file and each side weighs the same, however many lines it has.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from agent_sidecar.domain.manner import CUES
from agent_sidecar.domain.score_context import Floats
from agent_sidecar.domain.score_model import ScoreModel
from agent_sidecar.domain.types import Vector
from agent_sidecar.errors import FitImpossible
from agent_sidecar.learning.fit_heads import FOLDS, blank_model, cross_validate, fit_once
from agent_sidecar.learning.labelled import LabelledCall
from agent_sidecar.learning.regression import auc, calibrate
from agent_sidecar.learning.scored_lines import Lines, Sides, play

# lines of each side, and calls, from which fitting is worth its while
ENOUGH_LINES, ENOUGH_CALLS = 20, 5
# calls with lines of a side: each call is judged by weights fitted without it
ENOUGH_CALLS_OF_SIDE = 2
# how many reasons of each side are named
REASONS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFit:
    """What one file gave, and how well lines of its unseen calls were told apart."""

    name: str
    calls: int
    positive: int
    negative: int
    # area under the ROC curve, each call judged by weights fitted without it
    auc: float | None
    plain_auc: float | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoreFit:
    """A fitted score with what is known about it."""

    model: ScoreModel
    sources: tuple[SourceFit, ...]
    # cues with what they moved, strongest first, as a person says them
    reasons_for: tuple[str, ...]
    reasons_against: tuple[str, ...]
    # per call the scores, 0..100, of its prospect lines, by weights fitted without the call
    unseen: tuple[tuple[float, ...], ...]


def fit_score(
    calls: Sequence[LabelledCall],
    sides: Sides,
    vectors: Mapping[str, Vector],
    *,
    folds: int = FOLDS,
) -> ScoreFit:
    """Fit on the calls; `vectors` has one for each of `anchor_texts`. Raises FitImpossible.

    `folds`: in how many parts the calls are dealt to see how unseen ones are judged.
    """
    check_sides([_prospect_labels(call) for call in calls], sides)
    blank = blank_model(vectors)
    lines = play(calls, sides, blank)
    leans, plain_leans = cross_validate(lines, blank, folds=folds)
    model = replace(
        fit_once(lines, blank, np.ones(len(calls), np.bool_)),
        calibration=np.array([_slope(lines, leans), _slope(lines, plain_leans)], np.float32),
    )
    names = sorted({call.source for call in calls})
    reasons = _reasons(model, lines)
    return ScoreFit(
        model=model,
        sources=tuple(
            _source(lines, number, name, leans, plain_leans) for number, name in enumerate(names)
        ),
        reasons_for=tuple(why for why, moves in reasons if moves > 0)[:REASONS],
        reasons_against=tuple(why for why, moves in reversed(reasons) if moves < 0)[:REASONS],
        unseen=_unseen(lines, model.calibration[0] * leans, len(calls)),
    )


def check_sides(calls: Sequence[Sequence[str]], sides: Sides) -> str | None:
    """Raise FitImpossible when these labels cannot be fitted; return what is odd about them.

    `calls`: of each call the labels of its prospect lines. A label that no line has is only odd: a
    standing list of labels must fit a small file as well.
    """
    both = sorted(sides.positive & sides.negative)
    if both:
        raise FitImpossible(f"{', '.join(both)}: is both positive and negative; choose one")
    for name, labels in (("positive", sides.positive), ("negative", sides.negative)):
        if not labels:
            raise FitImpossible(f"no {name} label is named; give at least one")
    counts = Counter(label for call in calls for label in call)
    unknown = sorted((sides.positive | sides.negative) - set(counts))
    there = ", ".join(f"{name} ({counts[name]})" for name in sorted(counts)) or "none"
    odd = (
        f"no line of a prospect is labelled {', '.join(unknown)}; labels that are there: {there}"
        if unknown
        else None
    )
    if odd and any(labels.isdisjoint(counts) for labels in (sides.positive, sides.negative)):
        raise FitImpossible(odd)
    for name, labels in (("positive", sides.positive), ("negative", sides.negative)):
        lines = sum(counts[label] for label in labels)
        if lines < ENOUGH_LINES:
            raise FitImpossible(
                f"{lines} {name} lines are too few to fit on: at least {ENOUGH_LINES} are needed;"
                " give more calls or more labels"
            )
        within = sum(not labels.isdisjoint(call) for call in calls)
        if within < ENOUGH_CALLS_OF_SIDE:
            raise FitImpossible(
                f"all {name} lines are in one call: at least {ENOUGH_CALLS_OF_SIDE} calls with such"
                " lines are needed, since each is judged by weights fitted without it; give more"
                " calls or more labels"
            )
    sided = sides.positive | sides.negative
    labelled = sum(not sided.isdisjoint(call) for call in calls)
    if labelled < ENOUGH_CALLS:
        raise FitImpossible(
            f"{labelled} calls with such labels are too few to fit on: at least {ENOUGH_CALLS}"
            " are needed; give more calls"
        )
    return odd


def _prospect_labels(call: LabelledCall) -> list[str]:
    return [ln.label for ln in call.lines if ln.speaker == "prospect" and ln.label is not None]


def _source(lines: Lines, number: int, name: str, leans: Floats, plain_leans: Floats) -> SourceFit:
    here = np.flatnonzero((lines.sources == number) & (lines.sides >= 0))
    truths = lines.sides[here] == 1
    return SourceFit(
        name=name,
        calls=len(np.unique(lines.calls[here])),
        positive=int(truths.sum()),
        negative=int((~truths).sum()),
        auc=auc(truths, leans[here]),
        plain_auc=auc(truths, plain_leans[here]),
    )


def _unseen(lines: Lines, logits: Floats, calls: int) -> tuple[tuple[float, ...], ...]:
    scores = 100.0 / (1.0 + np.exp(-np.clip(logits, -30.0, 30.0)))
    return tuple(tuple(scores[lines.calls == call].tolist()) for call in range(calls))


def _slope(lines: Lines, leans: Floats) -> float:
    sided = np.flatnonzero(lines.sides >= 0)
    return calibrate(leans[sided], lines.sides[sided] == 1, lines.weights(sided))


def _reasons(model: ScoreModel, lines: Lines) -> list[tuple[str, float]]:
    """Return what a person can say of the weights, with what it moves where it is found."""
    at = model.blocks["manner"]
    found: dict[str, float] = {}
    spread = lines.rows[:, at].std(axis=0)
    for cue, weight in zip(CUES, (model.known[at] * spread).tolist(), strict=True):
        found[cue.why] = found.get(cue.why, 0.0) + weight
    at = model.blocks["anchors"]
    close = model.known[at] * lines.rows[:, at].std(axis=0)
    for group, weights in zip(model.group_names, close.reshape(-1, 2).tolist(), strict=True):
        found[group] = sum(weights)
    return sorted(found.items(), key=lambda item: -item[1])
