"""`learn fit` and `learn score`: weights from recorded calls with labels, and what they say.

Neither needs a running service, and neither starts one; `learn fit` without files does.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.progress import track
from rich.table import Table

from agent_sidecar.adapters.onnx_embedder import OnnxEmbedder
from agent_sidecar.adapters.recorded_calls import read_recorded_calls
from agent_sidecar.adapters.weights_file import (
    DEFAULT,
    SUFFIX,
    WeightsCard,
    current_version,
    read_weights,
    use_version,
    weights_file,
    weights_in_use,
    write_weights,
)
from agent_sidecar.adapters.yaml_playbook import read_playbook
from agent_sidecar.commands import learn_refit
from agent_sidecar.commands.fitted_card import card_of
from agent_sidecar.commands.material import embed_texts, labelled_call, open_embedder
from agent_sidecar.commands.terminal import leave_pipe, out_json, paper, screen
from agent_sidecar.domain.engagement import Weights
from agent_sidecar.domain.language import Reader, texts_to_embed
from agent_sidecar.domain.recorded import RecordedCall
from agent_sidecar.domain.strategies import why_not_live
from agent_sidecar.domain.types import Vector
from agent_sidecar.errors import FitImpossible, RecordedCallInvalid
from agent_sidecar.learning.anchors import anchor_texts
from agent_sidecar.learning.fit_outlook import fit_outlook
from agent_sidecar.learning.fit_score import ScoreFit, check_sides, fit_score
from agent_sidecar.learning.fit_strategies import check_strategies, fit_strategies
from agent_sidecar.learning.score_calls import score_call
from agent_sidecar.learning.scored_lines import Sides
from agent_sidecar.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Done:
    """A finished fit, as it is told."""

    card: WeightsCard
    fitted: ScoreFit
    file: Path
    # the version in use before
    before: str
    # what is odd about the labels, and why live calls do without a part of it
    warnings: tuple[str, ...]


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Fit weights, or score recorded calls with them."""
    if arguments.action == "score":
        return _score(settings, arguments)
    if not arguments.files:
        if arguments.positive or arguments.negative or arguments.strategies:
            raise FitImpossible("labels are named but no FILE of labelled calls: give at least one")
        return learn_refit.run(settings, arguments)
    if not (arguments.positive and arguments.negative):
        raise FitImpossible(
            "name the labels of the prospect's lines: --positive L1,L2 --negative L3,L4"
        )
    return _fit(settings, arguments)


def weights_for(settings: Settings, wanted: str | None, embedder: OnnxEmbedder) -> Weights:
    """Return the weights in use, or those of a version or file. Raises WeightsInvalid."""
    model, dimension = embedder.name, embedder.dimension
    if wanted is None:
        return weights_in_use(settings.weights, model=model, dimension=dimension)
    file = weights_file(settings.weights, wanted)
    return read_weights(file, model=model, dimension=dimension)[1]


def _fit(settings: Settings, arguments: argparse.Namespace) -> int:
    # what is wrong with it or the labels is said before minutes are spent on vectors
    playbook = read_playbook(settings.playbook)
    sides = Sides(positive=_names(arguments.positive), negative=_names(arguments.negative))
    strategies = tuple(sorted(_names(arguments.strategies)))
    recorded = _labelled(arguments.files)
    warnings = [check_sides([_prospect_labels(call) for _, call in recorded], sides)]
    if strategies:
        _check_strategies(recorded, strategies)
    embedder = open_embedder(settings)
    lines = (segment.text for _, call in recorded for segment in call.segments)
    vectors = embed_texts(embedder, [*lines, *anchor_texts()])
    calls = [labelled_call(source, call, vectors) for source, call in recorded]
    with screen.status("fitting the score"):
        fitted = fit_score(calls, sides, vectors)
    weights = Weights(score=fitted.model)
    if strategies:
        with screen.status("fitting the recognition of strategies"):
            recognised = fit_strategies(calls, strategies)
        with screen.status("fitting what strategies lead to"):
            outlook = fit_outlook(calls, sides, strategies, fitted.unseen)
        weights = replace(weights, strategies=recognised, outlook=outlook)
    card = card_of(fitted, weights, sides, strategies, embedder)
    folder = settings.weights
    before = current_version(folder)
    file = folder / f"{card.version}{SUFFIX}"
    write_weights(file, card, weights)
    use_version(folder, card.version)
    done = _Done(
        card=card,
        fitted=fitted,
        file=file,
        before=before or DEFAULT,
        warnings=tuple(w for w in (*warnings, why_not_live(weights.strategies, playbook)) if w),
    )
    if arguments.json:
        _out_fit(done)
    else:
        _tell_fit(done)
    return 0


def _labelled(files: Sequence[Path]) -> list[tuple[str, RecordedCall]]:
    """Return the calls with labels, each with its source."""
    return [
        (source, call)
        for source, file in _sources(files)
        for call in read_recorded_calls(file)
        if any(segment.label is not None for segment in call.segments)
    ]


def _check_strategies(
    recorded: Sequence[tuple[str, RecordedCall]], strategies: tuple[str, ...]
) -> None:
    none: Mapping[str, Vector] = defaultdict(lambda: np.zeros(0, np.float32))
    check_strategies([labelled_call(source, call, none) for source, call in recorded], strategies)


def _score(settings: Settings, arguments: argparse.Namespace) -> int:
    calls = list(read_recorded_calls(arguments.file, limit=arguments.limit))
    if not calls:
        raise RecordedCallInvalid(f"{arguments.file}: holds no call; one JSON object a line")
    playbook = read_playbook(settings.playbook)
    embedder = open_embedder(settings)
    weights = weights_for(settings, arguments.weights, embedder)
    lines = (segment.text for call in calls for segment in call.segments)
    vectors = embed_texts(embedder, [*lines, *texts_to_embed(playbook)])
    reader = Reader(playbook, vectors)
    try:
        for call in track(calls, "scoring", console=screen, transient=True):
            for scored in score_call(call, vectors, reader, weights):
                out_json(scored)
    except BrokenPipeError:
        leave_pipe()
    return 0


def _names(given: str | None) -> frozenset[str]:
    return frozenset(name.strip() for name in (given or "").split(",") if name.strip())


def _sources(files: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """Yield every file with its name in what is told: the whole path where two are called alike."""
    names = [file.name for file in files]
    for file in files:
        yield (file.name if names.count(file.name) == 1 else str(file)), file


def _prospect_labels(call: RecordedCall) -> list[str]:
    return [s.label for s in call.segments if s.speaker == "prospect" and s.label is not None]


def _out_fit(done: _Done) -> None:
    out_json(
        {
            "version": done.card.version,
            "file": str(done.file),
            "in_use_before": done.before,
            "model": done.card.model,
            "sources": done.card.sources,
            "strategies": done.card.strategies,
            "warnings": done.warnings,
            "reasons_for": done.fitted.reasons_for,
            "reasons_against": done.fitted.reasons_against,
        }
    )


def _tell_fit(done: _Done) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("fitted on", "calls", "positive", "negative", "AUC on unseen calls"):
        table.add_column(heading, justify="left" if heading == "fitted on" else "right")
    for source in done.card.sources:
        area = "-" if source.auc is None else f"{source.auc:.3f}"
        counts = (source.calls, source.positive, source.negative)
        table.add_row(source.name, *map(str, counts), area)
    paper.print(table)
    paper.print(f"for: {', '.join(done.fitted.reasons_for)}", soft_wrap=True)
    paper.print(f"against: {', '.join(done.fitted.reasons_against)}", soft_wrap=True)
    paper.print(f"written: {done.file}", soft_wrap=True)
    for warning in done.warnings:
        paper.print(f"warning: {warning}.", soft_wrap=True)
    paper.print(
        f"in use from the next start on: {done.card.version}; before: {done.before}."
        " To go back: agent-sidecar learn rollback",
        soft_wrap=True,
    )
