"""Whether the score predicts what people do: on labelled calls that the weights have not seen.

Every number comes from the code of `learn fit` and `learn score`: calls are dealt into folds, each
is fitted without and then played through the domain as a live call would be, labels unseen.

    .venv/bin/python bench/scoring.py [--persuasion FILE] [--motivation FILE] [--folds N]
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import track

from agent_sidecar.adapters.recorded_calls import read_recorded_calls
from agent_sidecar.adapters.yaml_playbook import read_playbook
from agent_sidecar.commands.material import embed_texts, labelled_call, open_embedder
from agent_sidecar.domain.engagement import STARTING_WEIGHTS, Weights
from agent_sidecar.domain.language import Reader, texts_to_embed
from agent_sidecar.domain.recorded import RecordedCall
from agent_sidecar.domain.types import Vector
from agent_sidecar.learning.anchors import anchor_texts
from agent_sidecar.learning.fit_score import fit_score
from agent_sidecar.learning.fit_strategies import cross_validate
from agent_sidecar.learning.regression import auc, logistic
from agent_sidecar.learning.score_calls import score_call
from agent_sidecar.learning.scored_lines import Sides
from agent_sidecar.settings import read_settings
from bench import _report

SHARED = Path(__file__).parents[2] / "shared" / "data"
PERSUASION = Sides(
    positive=frozenset(
        "agree-donation positive-reaction-to-donation provide-donation-amount confirm-donation "
        "positive-to-inquiry".split()
    ),
    negative=frozenset(
        "disagree-donation disagree-donation-more negative-reaction-to-donation "
        "negative-to-inquiry".split()
    ),
)
MOTIVATION = Sides(positive=frozenset({"change"}), negative=frozenset({"sustain"}))
STRATEGIES = (
    "logical-appeal emotion-appeal credibility-appeal foot-in-the-door self-modeling personal-story"
    " donation-information source-related-inquiry task-related-inquiry personal-related-inquiry"
).split()
# folds inside a fit, only to bring the two opinions to one scale
INNER_FOLDS = 2
QUICK_CALLS = 60
LABELS = {
    "persuasion_auc": "persuasion, positive against negative reaction, AUC",
    "motivation_auc": "motivation, change against sustain, AUC",
    "both_persuasion_auc": "fitted on both: persuasion",
    "both_motivation_auc": "fitted on both: motivation",
    "persuasion_to_motivation_auc": "fitted on persuasion, measured on motivation",
    "motivation_to_persuasion_auc": "fitted on motivation, measured on persuasion",
    "vector_persuasion_auc": "the line's vector alone + logistic regression: persuasion",
    "vector_motivation_auc": "the same: motivation",
    "by_hand_persuasion_auc": "weights set by hand: persuasion",
    "by_hand_motivation_auc": "the same: motivation",
    "outcome_auc": "the call's last score against whether he gave, AUC",
    "strategy_accuracy": "strategy used, ten and none, accuracy",
    "strategy_macro_f1": "the same, macro F1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Recorded calls of one file, and which of their labels are of which side."""

    name: str
    calls: tuple[RecordedCall, ...]
    sides: Sides

    @property
    def labelled(self) -> list[RecordedCall]:
        """The calls that somebody labelled."""
        return [call for call in self.calls if any(s.label for s in call.segments)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What every measurement needs."""

    vectors: Mapping[str, Vector]
    reader: Reader
    folds: int

    def fit(self, corpora: Iterable[tuple[Corpus, Sequence[RecordedCall]]]) -> Weights:
        """Fit on some calls of some corpora, as `learn fit` does."""
        given = list(corpora)
        calls = [labelled_call(c.name, call, self.vectors) for c, some in given for call in some]
        sides = Sides(
            positive=frozenset().union(*(c.sides.positive for c, _ in given)),
            negative=frozenset().union(*(c.sides.negative for c, _ in given)),
        )
        fitted = fit_score(calls, sides, self.vectors, folds=INNER_FOLDS)
        return Weights(version="bench", score=fitted.model)

    def play(
        self, calls: Iterable[RecordedCall], sides: Sides, weights: Weights
    ) -> Iterator[tuple[bool, float]]:
        """Yield which side every line of a side is on, and its score."""
        for call in calls:
            for scored in score_call(call, self.vectors, self.reader, weights):
                label = call.segments[scored.segment].label
                if scored.engagement is not None and label in sides.positive | sides.negative:
                    yield label in sides.positive, scored.engagement

    def last_scores(
        self, calls: Iterable[RecordedCall], weights: Weights
    ) -> Iterator[tuple[bool, float]]:
        """Yield how every call ended, where known, and its last score."""
        for call in calls:
            *_, last = score_call(call, self.vectors, self.reader, weights)
            if call.outcome.success is not None and last.call_engagement is not None:
                yield call.outcome.success, last.call_engagement


def dealt(calls: Sequence[RecordedCall], folds: int) -> list[list[RecordedCall]]:
    """Return the calls in as many parts, the same each time."""
    order = np.random.default_rng(0).permutation(len(calls))
    return [[calls[at] for at in order[start::folds]] for start in range(folds)]


def area(told: Iterable[tuple[bool, float]]) -> float | None:
    """Return the area under the ROC curve of truths and scores."""
    truths, scores = zip(*told, strict=True)
    found = auc(np.array(truths), np.array(scores))
    return None if found is None else round(found, 4)


def cross_validated(bench: Bench, corpora: Sequence[Corpus]) -> dict[str, list[tuple[bool, float]]]:
    """Return truths and scores per corpus, and under `outcome` those of calls."""
    parts = {corpus.name: dealt(corpus.labelled, bench.folds) for corpus in corpora}
    told: dict[str, list[tuple[bool, float]]] = {name: [] for name in (*parts, "outcome")}
    about = " and ".join(parts)
    for fold in track(range(bench.folds), f"{about}: folds", console=_report.screen):
        weights = bench.fit(
            (c, [call for n, part in enumerate(parts[c.name]) if n != fold for call in part])
            for c in corpora
        )
        for corpus in corpora:
            unseen = parts[corpus.name][fold]
            told[corpus.name] += bench.play(unseen, corpus.sides, weights)
            told["outcome"] += bench.last_scores(unseen, weights)
    return told


def vector_alone(bench: Bench, corpus: Corpus) -> list[tuple[bool, float]]:
    """Return truths and scores by the plainest thing that could be done with a vector."""
    lines = [
        (number, segment.label in corpus.sides.positive, bench.vectors[segment.text])
        for number, part in enumerate(dealt(corpus.labelled, bench.folds))
        for call in part
        for segment in call.segments
        if segment.speaker == "prospect"
        and segment.label in corpus.sides.positive | corpus.sides.negative
    ]
    fold, truths = np.array([line[0] for line in lines]), np.array([line[1] for line in lines])
    rows = np.stack([line[2] for line in lines])
    scores = np.zeros(len(lines))
    for number in range(bench.folds):
        seen = fold != number
        weights, _ = logistic(rows[seen], truths[seen], np.ones(int(seen.sum())), freedom=1.0)
        scores[~seen] = rows[~seen] @ weights
    return list(zip(truths.tolist(), scores.tolist(), strict=True))


def measure(bench: Bench, persuasion: Corpus, motivation: Corpus) -> dict[str, float | None]:
    """Return every number of the table."""
    found: dict[str, float | None] = {}
    alone = cross_validated(bench, [persuasion])
    found["persuasion_auc"] = area(alone["persuasion"])
    found["motivation_auc"] = area(cross_validated(bench, [motivation])["motivation"])
    both = cross_validated(bench, [persuasion, motivation])
    found["both_persuasion_auc"] = area(both["persuasion"])
    found["both_motivation_auc"] = area(both["motivation"])
    on_persuasion = bench.fit([(persuasion, persuasion.labelled)])
    on_motivation = bench.fit([(motivation, motivation.labelled)])
    to_motivation = bench.play(motivation.labelled, motivation.sides, on_persuasion)
    found["persuasion_to_motivation_auc"] = area(to_motivation)
    to_persuasion = bench.play(persuasion.labelled, persuasion.sides, on_motivation)
    found["motivation_to_persuasion_auc"] = area(to_persuasion)
    for corpus in (persuasion, motivation):
        found[f"vector_{corpus.name}_auc"] = area(vector_alone(bench, corpus))
        by_hand = bench.play(corpus.labelled, corpus.sides, STARTING_WEIGHTS)
        found[f"by_hand_{corpus.name}_auc"] = area(by_hand)
    # calls without labels were never fitted on
    labelled = {call.call_id for call in persuasion.labelled}
    others = [call for call in persuasion.calls if call.call_id not in labelled]
    ended = [*alone["outcome"], *bench.last_scores(others, on_persuasion)]
    found["outcome_auc"] = area(ended)
    return found | recognised(bench, persuasion)


def recognised(bench: Bench, corpus: Corpus) -> dict[str, float | None]:
    """Return how strategies were recognised in calls that the weights had not seen."""
    calls = [labelled_call(corpus.name, call, bench.vectors) for call in corpus.labelled]
    seen = cross_validate(calls, STRATEGIES, folds=bench.folds)
    return {
        "strategy_accuracy": round(seen.accuracy, 4),
        "strategy_macro_f1": round(seen.macro_f1, 4),
    }


def _corpus(name: str, file: Path, sides: Sides, *, quick: bool) -> Corpus:
    calls = list(read_recorded_calls(file))
    if quick:
        labelled = [call for call in calls if any(s.label for s in call.segments)]
        calls = labelled[:QUICK_CALLS]
    return Corpus(name=name, calls=tuple(calls), sides=sides)


def main(argv: Sequence[str]) -> int:
    """Run the bench."""
    given = _arguments(argv)
    if SHARED in given.persuasion.parents and not given.persuasion.is_file():
        _report.screen.print(
            f"skipped: {SHARED} is not there; name labelled calls with --persuasion, --motivation"
        )
        return 0
    persuasion = _corpus("persuasion", given.persuasion, PERSUASION, quick=given.quick)
    motivation = _corpus("motivation", given.motivation, MOTIVATION, quick=given.quick)
    settings = read_settings()
    playbook = read_playbook(None)
    embedder = open_embedder(settings)
    lines = (
        segment.text
        for corpus in (persuasion, motivation)
        for call in corpus.calls
        for segment in call.segments
    )
    vectors = embed_texts(embedder, [*lines, *anchor_texts(), *texts_to_embed(playbook)])
    bench = Bench(vectors=vectors, reader=Reader(playbook, vectors), folds=given.folds)
    load = {
        "quick": given.quick,
        "calls": len(persuasion.labelled) + len(motivation.labelled),
        "folds": given.folds,
    }
    said = _report.document("scoring", load, "numpy", "scikit-learn", "onnxruntime")
    _report.tell(said | measure(bench, persuasion, motivation), LABELS, given)
    return 0


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = _report.parser(__doc__, quick=f"{QUICK_CALLS} calls of each file, 2 folds")
    for name in ("persuasion", "motivation"):
        file = SHARED / f"{name}-dev.jsonl"
        parser.add_argument(f"--{name}", type=Path, default=file, help=f"default {file}")
    parser.add_argument("--folds", type=_report.positive, help="default 5; with --quick 2")
    given = parser.parse_args(argv)
    given.folds = given.folds or (2 if given.quick else 5)
    return given


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
