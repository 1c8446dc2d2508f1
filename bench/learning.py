"""Whether what is learnt is true: on labelled calls that were not seen, and on known truth.

Calls are dealt into folds; each is fitted and counted without, by the code of `learn fit` and of
`import`, and then asked what would have been suggested before each line of its agent, by the code
of `learn suggest`, labels unseen. The campaign asks the ranking of live calls.

    .venv/bin/python bench/learning.py [--calls FILE] [--folds N] [--seeds N]
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from agent_sidecar.adapters.recorded_calls import read_recorded_calls
from agent_sidecar.adapters.yaml_playbook import read_playbook
from agent_sidecar.commands.material import embed_texts, labelled_call, open_embedder
from agent_sidecar.domain.engagement import Weights
from agent_sidecar.domain.hints import Evidence
from agent_sidecar.domain.language import Reader, texts_to_embed
from agent_sidecar.domain.recall import Recall
from agent_sidecar.domain.record import Configuration
from agent_sidecar.domain.recorded import RecordedCall
from agent_sidecar.domain.tally import Answers, counts, days, scope
from agent_sidecar.domain.types import StrategyName, Vector
from agent_sidecar.learning.anchors import anchor_texts
from agent_sidecar.learning.fit_outlook import fit_outlook
from agent_sidecar.learning.fit_score import fit_score
from agent_sidecar.learning.imported import Ears, Finished, make_imported
from agent_sidecar.learning.score_calls import STARTED_AT
from agent_sidecar.learning.suggest import suggest_call, with_strategies
from agent_sidecar.settings import read_settings
from bench import _report
from bench._campaign import Plan, Truth, play, share_of_best
from bench.scoring import INNER_FOLDS, PERSUASION, QUICK_CALLS, SHARED, STRATEGIES, dealt

TOP_K, BINS, BOOTSTRAPS = 3, 5, 2000
CAMPAIGN_AT = 1000
LABELS = {
    "trials": "agent lines with a strategy and a reaction",
    "margin": "positive after one of our top 3, more than after others",
    "margin_low": "  95 % interval over calls, from",
    "margin_high": "  to",
    "frequent_margin": "the same for the three most frequent strategies",
    "best_rate_margin": "the same for the three with the best overall rate",
    "calibration_error": "expected calibration error of the chances, five bins",
    "log_loss": "log loss of the chances",
    "global_log_loss": "  of the global rate",
    "own_rate_log_loss": "  of each strategy's own rate",
    "campaign_alike": "campaign, leads alike: share of the best after 1,000 calls",
    "campaign_alike_changed": "  and 1,000 calls after everything changed",
    "campaign_unrelated": "campaign, leads unrelated: after 1,000 calls",
    "campaign_unrelated_changed": "  and after the change",
}
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A line of an agent whose strategy and reaction people told, and what we said before it."""

    call: str
    strategy: str
    lifted: bool
    # by strategy, and those that were suggested
    chances: Mapping[str, float]
    suggested: tuple[str, ...]
    # what the fold's other calls say: the global rate, each strategy's own, and two simple choices
    global_rate: float
    own_rate: float
    frequent: bool
    best_rate: bool


def told_trials(call: RecordedCall) -> Iterator[tuple[int, str, bool]]:
    """Yield segment, strategy and side of the prospect's next turn, where both were told."""
    for index, segment in enumerate(call.segments):
        if segment.speaker != "agent" or segment.label not in STRATEGIES:
            continue
        lifted = _reaction(call, index)
        if lifted is not None:
            yield index, segment.label, lifted


def _reaction(call: RecordedCall, index: int) -> bool | None:
    spoke = False
    for segment in call.segments[index + 1 :]:
        if segment.speaker == "agent":
            if spoke:
                return None
            continue
        spoke = True
        if segment.label in PERSUASION.positive:
            return True
        if segment.label in PERSUASION.negative:
            return False
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner:
    """What every fold needs."""

    vectors: Mapping[str, Vector]
    reader: Reader

    def learn(self, calls: Sequence[RecordedCall]) -> tuple[Weights, Recall]:
        """Fit on the calls as `learn fit` does, and count them as `import` does."""
        labelled = [labelled_call("calls", call, self.vectors) for call in calls]
        fitted = fit_score(labelled, PERSUASION, self.vectors, folds=INNER_FOLDS)
        outlook = fit_outlook(labelled, PERSUASION, STRATEGIES, fitted.unseen)
        weights = Weights(version="bench", score=fitted.model, outlook=outlook)
        return weights, Recall(self.reader, self._evidence(calls, weights))

    def _evidence(self, calls: Sequence[RecordedCall], weights: Weights) -> Iterator[Evidence]:
        kept: dict[tuple[str, str], Answers] = {}
        configuration = Configuration(system_version="", playbook="", weights="", model="")
        ears = Ears(reader=self.reader, weights=weights, configuration=configuration)
        for number, call in enumerate(calls):
            started = replace(call, started_at=STARTED_AT - timedelta(minutes=number))
            vectors = [self.vectors[segment.text] for segment in call.segments]
            finished = Finished(recorded=started, lead=started.lead, vectors=vectors)
            record = make_imported(finished, ears, frozenset(STRATEGIES), STARTED_AT)
            for count in counts(record):
                if count.counter == "answered":
                    context, kind, strategy = count.key
                    answers = kept.get((scope(context, kind), strategy), Answers())
                    at = days(record.started_at)
                    kept[scope(context, kind), strategy] = answers.plus(count.amounts, at)
        for (place, strategy), answers in kept.items():
            yield Evidence(
                strategy=StrategyName(strategy),
                scope=place,
                tried=answers.tried,
                lifted=answers.lifted,
                won=answers.won,
                sunk=answers.sunk,
                recent=answers.recent(days(STARTED_AT)),
            )

    def trials(
        self, calls: Sequence[RecordedCall], others: Sequence[RecordedCall]
    ) -> Iterator[Trial]:
        """Yield every told trial of the calls, by what the others taught."""
        weights, recall = self.learn(others)
        playbook = with_strategies(self.reader.playbook, {StrategyName(s) for s in STRATEGIES})
        seen = [(strategy, lifted) for call in others for _, strategy, lifted in told_trials(call)]
        tried = Counter(strategy for strategy, _ in seen)
        lifted_by = Counter(strategy for strategy, lifted in seen if lifted)
        rate = sum(lifted for _, lifted in seen) / len(seen)
        own = {s: (lifted_by[s] + rate) / (tried[s] + 1) for s in STRATEGIES}
        frequent = {name for name, _ in tried.most_common(TOP_K)}
        best = set(sorted(own, key=lambda s: -own[s])[:TOP_K])
        for call in calls:
            said = {
                one.segment: one.suggested
                for one in suggest_call(
                    call,
                    self.vectors,
                    self.reader,
                    weights,
                    recall=recall.answer,
                    playbook=playbook,
                    top_k=len(playbook.strategies),
                )
            }
            for index, strategy, lifted in told_trials(call):
                yield Trial(
                    call=call.call_id,
                    strategy=strategy,
                    lifted=lifted,
                    chances={one.strategy: one.confidence for one in said[index]},
                    suggested=tuple(one.strategy for one in said[index][:TOP_K]),
                    global_rate=rate,
                    own_rate=own[strategy],
                    frequent=strategy in frequent,
                    best_rate=strategy in best,
                )


def summary(trials: Sequence[Trial]) -> dict[str, float | int]:
    """Return what the trials say."""
    lifted = np.array([trial.lifted for trial in trials])
    ours = np.array([trial.strategy in trial.suggested for trial in trials])
    chances = np.array([trial.chances[trial.strategy] for trial in trials])
    low, high = _interval(trials, lifted, ours)
    return {
        "trials": len(trials),
        "margin": _margin(lifted, ours),
        "margin_low": low,
        "margin_high": high,
        "frequent_margin": _margin(lifted, np.array([t.frequent for t in trials])),
        "best_rate_margin": _margin(lifted, np.array([t.best_rate for t in trials])),
        "calibration_error": _calibration_error(lifted, chances),
        "log_loss": _log_loss(lifted, chances),
        "global_log_loss": _log_loss(lifted, np.array([t.global_rate for t in trials])),
        "own_rate_log_loss": _log_loss(lifted, np.array([t.own_rate for t in trials])),
    }


def _margin(lifted: NDArray[np.bool_], chosen: NDArray[np.bool_]) -> float:
    return round(float(lifted[chosen].mean() - lifted[~chosen].mean()), 4)


def _interval(
    trials: Sequence[Trial], lifted: NDArray[np.bool_], chosen: NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the margin, over calls."""
    names = sorted({trial.call for trial in trials})
    of_call = [np.flatnonzero([t.call == name for t in trials]) for name in names]
    random = np.random.default_rng(0)
    margins = []
    for _ in range(BOOTSTRAPS):
        drawn = random.integers(len(names), size=len(names))
        at = np.concatenate([of_call[call] for call in drawn])
        margins.append(_margin(lifted[at], chosen[at]))
    low, high = np.percentile(margins, [2.5, 97.5])
    return round(float(low), 4), round(float(high), 4)


def _calibration_error(lifted: NDArray[np.bool_], chances: Floats) -> float:
    bins = np.array_split(np.argsort(chances), BINS)
    apart = [abs(float(chances[at].mean() - lifted[at].mean())) for at in bins]
    return round(float(np.mean(apart)), 4)


def _log_loss(lifted: NDArray[np.bool_], chances: Floats) -> float:
    right = np.where(lifted, chances, 1.0 - chances)
    return round(float(-np.mean(np.log(np.clip(right, 1e-6, 1.0)))), 4)


def campaign(seeds: int, calls: int) -> dict[str, float]:
    """Return medians over the seeds of how near the recommendations came to the best."""
    told: dict[str, float] = {}
    plan = Plan(calls=calls)
    changed = calls // 2 + CAMPAIGN_AT
    truths: tuple[Truth, ...] = ("alike", "unrelated")
    with get_context("spawn").Pool() as workers:
        for truth in truths:
            runs = workers.starmap(play, [(plan, truth, seed) for seed in range(seeds)])
            for name, before in ((truth, CAMPAIGN_AT), (f"{truth}_changed", changed)):
                shares = [share_of_best(run, min(before, calls)) for run in runs]
                told[f"campaign_{name}"] = round(float(np.median(shares)), 4)
    return told


def main(argv: Sequence[str]) -> int:
    """Run the bench."""
    given = _arguments(argv)
    load = {"quick": given.quick, "folds": given.folds, "seeds": given.seeds}
    said = _report.document("learning", load, "numpy", "scikit-learn", "onnxruntime")
    if given.calls.is_file():
        said |= summary(_all_trials(given))
    else:
        _report.screen.print(f"no calls in {given.calls}: only the campaign is played")
    said |= campaign(given.seeds, 2 * CAMPAIGN_AT if given.quick else 5000)
    _report.tell(said, LABELS, given)
    return 0


def _all_trials(given: argparse.Namespace) -> list[Trial]:
    calls = [c for c in read_recorded_calls(given.calls) if any(s.label for s in c.segments)]
    if given.quick:
        calls = calls[:QUICK_CALLS]
    playbook = read_playbook(None)
    embedder = open_embedder(read_settings())
    lines = (segment.text for call in calls for segment in call.segments)
    vectors = embed_texts(embedder, [*lines, *anchor_texts(), *texts_to_embed(playbook)])
    learner = Learner(vectors=vectors, reader=Reader(playbook, vectors))
    parts = dealt(calls, given.folds)
    trials: list[Trial] = []
    for number in track(range(given.folds), "folds", console=_report.screen):
        others = [call for n, part in enumerate(parts) if n != number for call in part]
        trials += learner.trials(parts[number], others)
    return trials


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = _report.parser(__doc__, quick=f"{QUICK_CALLS} calls, 2 folds, 4 short campaigns")
    file = SHARED / "persuasion-dev.jsonl"
    parser.add_argument("--calls", type=Path, default=file, help=f"labelled calls, default {file}")
    parser.add_argument("--folds", type=_report.positive, help="default 5; with --quick 2")
    parser.add_argument("--seeds", type=_report.positive, help="default 20; with --quick 4")
    given = parser.parse_args(argv)
    given.folds = given.folds or (2 if given.quick else 5)
    given.seeds = given.seeds or (4 if given.quick else 20)
    return given


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
