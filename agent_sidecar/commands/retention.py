"""`retention`: calls that were kept for long enough, into archives."""

import argparse
import asyncio
from typing import Any

from agent_sidecar.commands.running import service_for
from agent_sidecar.commands.terminal import out_json, paper, screen
from agent_sidecar.settings import Settings
from agent_sidecar.simulator.front_door import FrontDoor


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Apply the rules of the service that runs, or of one started for it; 1: a store is behind."""
    report = asyncio.run(_apply(settings, dry_run=arguments.dry_run))
    if arguments.json:
        out_json(report)
        return 1 if report["trouble"] else 0
    if not report["rules"]:
        paper.print("SIDECAR_RETENTION is not set: calls are kept for ever")
        return 0
    verb = "would be archived" if arguments.dry_run else "archived"
    paper.print(f"{sum(report['archived'].values())} calls {verb}")
    for status, calls in sorted(report["archived"].items()):
        paper.print(f"  {calls:>9,}  {status}")
    if report["waiting"]:
        paper.print(f"{report['waiting']} calls are over but not yet in every store: left alone")
    for store, why in report["trouble"].items():
        paper.print(f"[yellow]{store} has not forgotten them yet[/]: {why}", soft_wrap=True)
    return 1 if report["trouble"] else 0


async def _apply(settings: Settings, *, dry_run: bool) -> dict[str, Any]:
    token = settings.api_token.get_secret_value() if settings.api_token else None
    async with service_for(settings, {}) as url, FrontDoor(url, token) as door:
        with screen.status("looking for calls that were kept for long enough"):
            return await door.retain(dry_run=dry_run)
