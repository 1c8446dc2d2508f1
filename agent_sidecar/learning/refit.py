"""The score fitted anew on finished calls and their outcomes, and whether it is better.

Nobody labels the lines of live calls; how each call ended is known. So a prospect's line counts as
going along when its call ended qualified, as holding back when it did not. The newest tenth of the
calls is kept out: on them the new weights and those in use must tell, from the call's score halfway
through, how it will end. Halfway, because that is when hints and transfers are decided.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent_sidecar.domain.engagement import NEUTRAL, Weights
from agent_sidecar.domain.language import Reader
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.recorded import RecordedCall, RecordedOutcome, SpokenSegment
from agent_sidecar.domain.types import Vector
from agent_sidecar.errors import FitImpossible
from agent_sidecar.learning.fit_score import ScoreFit, fit_score
from agent_sidecar.learning.labelled import LabelledCall, LabelledLine
from agent_sidecar.learning.regression import Floats, auc
from agent_sidecar.learning.score_calls import score_call
from agent_sidecar.learning.scored_lines import Sides

QUALIFIED, NOT_QUALIFIED = "qualified", "not qualified"
BY_OUTCOME = Sides(positive=frozenset({QUALIFIED}), negative=frozenset({NOT_QUALIFIED}))
# share of the calls, the newest, that is compared on
NEWEST = 0.1
# calls of either outcome without which a comparison says nothing
ENOUGH_COMPARED = 5
FOLDS, ROUNDS = 3, 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """How well one set of weights tells qualified calls from others: areas under the ROC curve."""

    halfway: float
    at_end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two sets of weights on calls that neither was fitted on."""

    calls: int
    qualified: int
    in_use: Judged
    new: Judged
    # 95 % bootstrap interval, over calls, of what the new gain halfway
    gain_low: float
    gain_high: float

    @property
    def verdict(self) -> str:
        """`better`, `worse`, or `no clear difference`."""
        if self.gain_low > 0.0:
            return "better"
        return "worse" if self.gain_high < 0.0 else "no clear difference"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Refit:
    """A score fitted on all but the newest calls, and the calls that were kept out."""

    fitted: ScoreFit
    fitted_on: int
    kept_out: tuple[RecordedCall, ...]


def ended_call(record: CallRecord, model: str) -> RecordedCall | None:
    """Return a call that can be fitted on; None: no outcome that counts, or vectors of others."""
    qualified = record.outcome.qualified
    said = [s for s in record.segments if s.text and s.speaker in {"agent", "prospect"}]
    heard = any(s.speaker == "prospect" for s in said)
    if not record.is_evidence or qualified is None or not heard:
        return None
    if record.configuration.model != model or any(s.vector is None for s in said):
        return None
    return RecordedCall(
        call_id=record.call_id,
        started_at=record.started_at,
        model=model,
        outcome=RecordedOutcome(success=qualified),
        segments=tuple(
            SpokenSegment(
                speaker="agent" if s.speaker == "agent" else "prospect",
                text=s.text,
                start_s=s.start_s,
                end_s=s.end_s,
                vector=s.vector,
            )
            for s in said
        ),
    )


def refit(calls: Sequence[RecordedCall], anchors: Mapping[str, Vector]) -> Refit:
    """Fit on all but the newest tenth of `calls`, oldest first. Raises FitImpossible."""
    kept = max(1, round(NEWEST * len(calls)))
    older, newest = calls[:-kept], calls[-kept:]
    good = sum(call.outcome.success is True for call in newest)
    if min(good, len(newest) - good) < ENOUGH_COMPARED:
        raise FitImpossible(
            f"of the newest {len(newest)} calls {good} ended qualified and {len(newest) - good} did"
            f" not: at least {ENOUGH_COMPARED} of each are needed to compare on; come back with"
            f" about {round(2 * ENOUGH_COMPARED / NEWEST)} calls whose outcome is known"
        )
    fitted = fit_score([_labelled(call) for call in older], BY_OUTCOME, anchors, folds=FOLDS)
    return Refit(fitted=fitted, fitted_on=len(older), kept_out=tuple(newest))


def compare(
    calls: Sequence[RecordedCall], reader: Reader, *, in_use: Weights, new: Weights, seed: int = 0
) -> Comparison:
    """Play calls under both; each must have ended one way or the other, and some either way."""
    truths = np.array([call.outcome.success is True for call in calls])
    before = np.array([_scores(call, reader, in_use) for call in calls])
    after = np.array([_scores(call, reader, new) for call in calls])
    judged = _judge(truths, before), _judge(truths, after)
    low, high = _gain(truths, before[:, 0], after[:, 0], seed)
    return Comparison(
        calls=len(calls),
        qualified=int(truths.sum()),
        in_use=judged[0],
        new=judged[1],
        gain_low=low,
        gain_high=high,
    )


def _judge(truths: NDArray[np.bool_], scores: Floats) -> Judged:
    halfway, at_end = auc(truths, scores[:, 0]), auc(truths, scores[:, 1])
    if halfway is None or at_end is None:
        raise FitImpossible("all calls ended alike: there is nothing to tell apart")
    return Judged(halfway=halfway, at_end=at_end)


def _scores(call: RecordedCall, reader: Reader, weights: Weights) -> tuple[float, float]:
    """Return the call's score after half of the prospect's lines, and after all of them."""
    vectors = {s.text: np.frombuffer(s.vector or b"", "<f4") for s in call.segments}
    scored = [
        NEUTRAL if one.call_engagement is None else one.call_engagement
        for one in score_call(call, vectors, reader, weights)
        if one.speaker == "prospect"
    ]
    return scored[(len(scored) - 1) // 2], scored[-1]


def _gain(
    truths: NDArray[np.bool_], before: Floats, after: Floats, seed: int
) -> tuple[float, float]:
    chance = np.random.default_rng(seed)
    gains = []
    for _ in range(ROUNDS):
        at = chance.integers(len(truths), size=len(truths))
        new, old = auc(truths[at], after[at]), auc(truths[at], before[at])
        if new is not None and old is not None:
            gains.append(new - old)
    low, high = np.percentile(gains, (2.5, 97.5))
    return float(low), float(high)


def _labelled(call: RecordedCall) -> LabelledCall:
    side = QUALIFIED if call.outcome.success else NOT_QUALIFIED
    return LabelledCall(
        call_id=call.call_id,
        source="finished calls",
        success=call.outcome.success,
        lines=tuple(
            LabelledLine(
                speaker=s.speaker,
                text=s.text,
                vector=np.frombuffer(s.vector or b"", "<f4"),
                label=side if s.speaker == "prospect" else None,
                start_s=s.start_s,
                end_s=s.end_s,
            )
            for s in call.segments
        ),
    )
