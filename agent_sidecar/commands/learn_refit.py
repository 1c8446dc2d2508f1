"""`learn fit` without a file: the score fitted anew on the data folder's own finished calls.

It is not put in use: it says whether it is better on the newest calls; `learn promote` decides.
"""

import argparse
import asyncio
import heapq
from dataclasses import dataclass, replace
from pathlib import Path

from rich.table import Table

from agent_sidecar.adapters.onnx_embedder import OnnxEmbedder
from agent_sidecar.adapters.weights_file import (
    DEFAULT,
    SUFFIX,
    current_version,
    read_weights,
    weights_file,
    weights_in_use,
    write_weights,
)
from agent_sidecar.adapters.yaml_playbook import read_playbook
from agent_sidecar.commands.borrowed import borrowed_stores, finished_records
from agent_sidecar.commands.fitted_card import card_of
from agent_sidecar.commands.material import embed_texts, open_embedder
from agent_sidecar.commands.terminal import out_json, paper, screen
from agent_sidecar.domain.engagement import Weights
from agent_sidecar.domain.language import Reader, texts_to_embed
from agent_sidecar.domain.recorded import RecordedCall
from agent_sidecar.errors import FitImpossible
from agent_sidecar.learning.anchors import anchor_texts
from agent_sidecar.learning.refit import BY_OUTCOME, Comparison, Refit, compare, ended_call, refit
from agent_sidecar.settings import Settings

# the newest calls that are read when nobody says how many: fitting takes minutes beyond
CALLS = 2000
_ENOUGH = 50


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Done:
    version: str
    in_use: str
    file: Path
    fitted: Refit
    comparison: Comparison


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Fit, compare, say which is better."""
    playbook = read_playbook(settings.playbook)
    embedder = open_embedder(settings)
    calls = asyncio.run(_calls(settings, embedder.name, arguments.limit or CALLS))
    if len(calls) < _ENOUGH:
        raise FitImpossible(
            f"{len(calls)} finished calls with a known outcome are too few to fit on: at least"
            f" {_ENOUGH} are needed, imported ones count; or give files of labelled calls"
        )
    vectors = embed_texts(embedder, [*anchor_texts(), *texts_to_embed(playbook)])
    with screen.status(f"fitting on {len(calls)} calls"):
        fitted = refit(calls, vectors)
    model, dimension = embedder.name, embedder.dimension
    in_use = weights_in_use(settings.weights, model=model, dimension=dimension)
    new = replace(in_use, score=fitted.fitted.model)
    with screen.status("comparing with the weights in use"):
        comparison = compare(fitted.kept_out, Reader(playbook, vectors), in_use=in_use, new=new)
    done = _write(settings.weights, embedder, new, fitted, comparison)
    if arguments.json:
        _out(done)
    else:
        _tell(done)
    return 0


async def _calls(settings: Settings, model: str, limit: int) -> list[RecordedCall]:
    """Return the newest calls that can be fitted on, oldest first."""
    newest: list[tuple[float, str, RecordedCall]] = []
    async with borrowed_stores(settings) as borrowed:
        with screen.status("reading finished calls"):
            async for records in finished_records(borrowed):
                found = ((r.started_at.timestamp(), ended_call(r, model)) for r in records)
                newest += ((at, call.call_id, call) for at, call in found if call is not None)
                if len(newest) > 2 * limit:
                    newest = heapq.nlargest(limit, newest, key=lambda one: one[:2])
    newest = heapq.nlargest(limit, newest, key=lambda one: one[:2])
    return [call for _, _, call in reversed(newest)]


def _write(
    folder: Path, embedder: OnnxEmbedder, new: Weights, fitted: Refit, comparison: Comparison
) -> _Done:
    """Write the version beside those that are there; whatever it was fitted on before is named."""
    file = weights_file(folder)
    model, dimension = embedder.name, embedder.dimension
    has_parts = new.strategies is not None or new.outlook is not None
    former = read_weights(file, model=model, dimension=dimension)[0] if has_parts else None
    strategies = former.strategies if former else ()
    card = card_of(fitted.fitted, new, BY_OUTCOME, strategies, embedder)
    target = folder / f"{card.version}{SUFFIX}"
    write_weights(target, card, new)
    return _Done(
        version=card.version,
        in_use=current_version(folder) or DEFAULT,
        file=target,
        fitted=fitted,
        comparison=comparison,
    )


def _out(done: _Done) -> None:
    out_json(
        {
            "version": done.version,
            "file": str(done.file),
            "in_use": done.in_use,
            "fitted_on": done.fitted.fitted_on,
            "compared_on": done.comparison,
            "verdict": done.comparison.verdict,
        }
    )


def _tell(done: _Done) -> None:
    compared = done.comparison
    paper.print(
        f"fitted on {done.fitted.fitted_on} calls, compared on the newest {compared.calls}"
        f" ({compared.qualified} qualified)"
    )
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("told apart by outcome (AUC)")
    for heading in (f"in use: {done.in_use}", f"new: {done.version}"):
        table.add_column(heading, justify="right")
    for name, old, new in (
        ("halfway through the call", compared.in_use.halfway, compared.new.halfway),
        ("at its end", compared.in_use.at_end, compared.new.at_end),
    ):
        table.add_row(name, f"{old:.3f}", f"{new:.3f}")
    paper.print(table)
    paper.print(
        f"the new weights are: [bold]{compared.verdict}[/] (gain halfway"
        f" {compared.gain_low:+.3f} to {compared.gain_high:+.3f}, 95 %)"
    )
    paper.print(f"written, not in use: {done.file}", soft_wrap=True)
    paper.print(f"to use it: agent-sidecar learn promote {done.version}", soft_wrap=True)
