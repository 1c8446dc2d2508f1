"""Fits what to expect of each strategy in a moment, on calls in which people said what lines do.

Every line of the agent is a trial: the moment before it, what it did, and whether the prospect's
next turn began by going along or by holding back; turns that do neither teach nothing. Lines that
are no strategy teach what the moment alone does. Moments are told by few directions of their
vectors, since trials are few; each strategy departs from the common weights as far as it must.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent_sidecar.domain.outlook import PLACE, SENSES, MomentTalk, OutlookModel
from agent_sidecar.domain.score_context import Floats
from agent_sidecar.learning.labelled import LabelledCall, LabelledLine
from agent_sidecar.learning.regression import logistic
from agent_sidecar.learning.scored_lines import Sides

# trials of strategies from which fitting is worth its while, and of either reaction
ENOUGH_TRIALS, ENOUGH_REACTIONS = 60, 10
# directions kept of each vector, and how much one counts beside the place in the call
DIRECTIONS, SENSE_SCALE = 30, 3.0
# how much a strategy's own weights count beside the common ones; inverse penalty of all
OWN_SCALE, FREEDOM = 1.5, 0.025
# trials of the common rate that a strategy's own rate is pulled by
USUAL_TRIALS = 4.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """One line of the agent and what came of it."""

    moment: Floats
    # index of the strategy; one past the last: none of them
    strategy: int
    lifted: bool
    call: int


def fit_outlook(
    calls: Sequence[LabelledCall],
    sides: Sides,
    strategies: Sequence[str],
    unseen: Sequence[Sequence[float]],
) -> OutlookModel | None:
    """Return the weights; None: too few trials to say anything.

    `unseen`: for each call the scores, 0..100, of its prospect lines by weights fitted without it.
    """
    names = tuple(strategies)
    trials = [t for t in find_trials(calls, sides, names, unseen) if t is not None]
    own = [trial for trial in trials if trial.strategy < len(names)]
    reactions = [sum(t.lifted for t in own), sum(not t.lifted for t in own)]
    if len(own) < ENOUGH_TRIALS or min(reactions) < ENOUGH_REACTIONS:
        return None
    moments = np.stack([trial.moment for trial in trials])
    directions = _directions(moments)
    middle = (moments @ directions).mean(axis=0)
    common, by_strategy, starts = _regress(moments @ directions - middle, trials, len(names))
    inner = common[:, None] + by_strategy
    return OutlookModel(
        names=names,
        by_number=np.asarray(directions @ inner, np.float32),
        starts=np.asarray(starts - middle @ inner, np.float32),
        usual=_usual(own, len(names)),
    )


def find_trials(
    calls: Sequence[LabelledCall],
    sides: Sides,
    names: tuple[str, ...],
    unseen: Sequence[Sequence[float]],
) -> Iterator[Trial | None]:
    """Yield a trial for every line of the agent; None where the reaction is not told."""
    for number, (call, scores) in enumerate(zip(calls, unseen, strict=True)):
        dimension = call.lines[0].vector.size if call.lines else 0
        talk, left = MomentTalk(dimension), iter(scores)
        for place, line in enumerate(call.lines):
            if line.speaker == "prospect":
                talk.hear_prospect(line.text, line.vector, next(left))
                continue
            lifted = _reaction(call.lines[place + 1 :], sides)
            if lifted is None or line.label is None:
                yield None
            else:
                strategy = names.index(line.label) if line.label in names else len(names)
                yield Trial(moment=talk.numbers(), strategy=strategy, lifted=lifted, call=number)
            talk.hear_agent(line.vector)


def _reaction(after: Sequence[LabelledLine], sides: Sides) -> bool | None:
    """Return which side the prospect's next turn takes first; None: neither."""
    spoke = False
    for line in after:
        if line.speaker == "agent":
            if spoke:
                break
            continue
        spoke = True
        if line.label in sides.positive:
            return True
        if line.label in sides.negative:
            return False
    return None


def _directions(moments: Floats) -> Floats:
    """Return (X, Z): the directions of each vector that differ most between moments, and places."""
    from sklearn.decomposition import PCA  # type: ignore[import-untyped]
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    dimension = (moments.shape[1] - PLACE) // SENSES
    kept = min(DIRECTIONS, dimension, len(moments))
    found = np.zeros((moments.shape[1], SENSES * kept + PLACE), np.float32)
    with threadpool_limits(limits=1):
        for sense in range(SENSES):
            rows = slice(sense * dimension, (sense + 1) * dimension)
            most = PCA(kept, random_state=0).fit(moments[:, rows]).components_
            found[rows, sense * kept : (sense + 1) * kept] = SENSE_SCALE * most.T
    found[SENSES * dimension :, SENSES * kept :] = np.eye(PLACE, dtype=np.float32)
    return found


def _regress(
    rows: Floats, trials: Sequence[Trial], strategies: int
) -> tuple[Floats, Floats, Floats]:
    """Return the weights of all (Z,), what each strategy adds to them (Z, S), and starts (S,)."""
    used = np.eye(strategies + 1, dtype=np.float32)[[trial.strategy for trial in trials]]
    own = used[:, :strategies, None] * rows[:, None, :] * OWN_SCALE
    design = np.concatenate([used, rows, own.reshape(len(rows), -1)], axis=1)
    lifted = np.array([trial.lifted for trial in trials])
    found, start = logistic(design, lifted, np.ones(len(rows)), freedom=FREEDOM)
    first, second = strategies + 1, strategies + 1 + rows.shape[1]
    by_strategy = OWN_SCALE * found[second:].reshape(strategies, -1).T
    return found[first:second], by_strategy, start + found[:strategies]


def _usual(trials: Sequence[Trial], strategies: int) -> NDArray[np.float32]:
    tried = np.bincount([t.strategy for t in trials], minlength=strategies)
    lifted = np.bincount([t.strategy for t in trials if t.lifted], minlength=strategies)
    common = lifted.sum() / max(tried.sum(), 1)
    return np.asarray((lifted + USUAL_TRIALS * common) / (tried + USUAL_TRIALS), dtype=np.float32)
