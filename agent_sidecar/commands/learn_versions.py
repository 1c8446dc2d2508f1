"""`learn promote` and `learn rollback`: which weights are in use from the next start on."""

import argparse

from rich.table import Table

from agent_sidecar.adapters.weights_file import (
    DEFAULT,
    current_version,
    go_back,
    use_version,
    versions,
    weights_file,
)
from agent_sidecar.commands.running import find_running
from agent_sidecar.commands.terminal import out_json, paper
from agent_sidecar.errors import WeightsInvalid
from agent_sidecar.settings import Settings


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Put a version in use, or the one before."""
    folder = settings.weights
    before = current_version(folder) or DEFAULT
    if arguments.action == "rollback":
        now = go_back(folder)
    else:
        now = arguments.version or _newest(settings)
        # a version by its name, not a file: what is in use must stay where it is looked for
        if now != DEFAULT and now not in {card.version for card in versions(folder)}:
            weights_file(folder, f"{now} in this folder")
        use_version(folder, now)
    runs = find_running(settings) is not None
    if arguments.json:
        out_json({"in_use": now, "before": before, "restart": runs})
        return 0
    _tell(settings, now)
    paper.print(f"in use from the next start on: [bold]{now}[/]; before: {before}")
    if runs:
        paper.print("the running service goes on with what it started with: restart it")
    return 0


def _newest(settings: Settings) -> str:
    there = versions(settings.weights)
    if not there:
        raise WeightsInvalid(
            f"{settings.weights} holds no version yet: `agent-sidecar learn fit` makes one"
        )
    return there[-1].version


def _tell(settings: Settings, now: str) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("version", "fitted at", "on", "AUC on unseen calls"):
        table.add_column(heading)
    for card in versions(settings.weights):
        areas = [s.auc for s in card.sources if s.auc is not None]
        table.add_row(
            f"[bold]{card.version}[/]" if card.version == now else card.version,
            card.fitted_at,
            ", ".join(f"{s.name} ({s.calls} calls)" for s in card.sources),
            ", ".join(f"{area:.3f}" for area in areas) or "-",
        )
    if table.row_count:
        paper.print(table)
