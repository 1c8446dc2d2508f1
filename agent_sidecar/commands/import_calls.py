"""`import FILE`: finished calls from elsewhere, into the journal and from there to every store."""

import argparse
import asyncio

from rich.progress import track

from agent_sidecar.adapters.recorded_calls import read_recorded_calls
from agent_sidecar.commands.running import service_for
from agent_sidecar.commands.terminal import out_json, paper, screen
from agent_sidecar.domain.recorded import RecordedCall
from agent_sidecar.errors import RecordedCallInvalid
from agent_sidecar.settings import Settings
from agent_sidecar.simulator.front_door import FrontDoor


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Import a file; calls that are known already are left alone."""
    calls = list(read_recorded_calls(arguments.file, limit=arguments.limit))
    if not calls:
        raise RecordedCallInvalid(f"{arguments.file}: holds no call; one JSON object a line")
    strategies = {s.strip() for s in (arguments.strategies or "").split(",") if s.strip()}
    new = asyncio.run(_import(settings, calls, strategies))
    if arguments.json:
        out_json({"calls": len(calls), "imported": new, "known": len(calls) - new})
    else:
        paper.print(f"{new} calls imported, {len(calls) - new} were known already")
    return 0


async def _import(settings: Settings, calls: list[RecordedCall], strategies: set[str]) -> int:
    token = settings.api_token.get_secret_value() if settings.api_token else None
    async with service_for(settings, {}) as url, FrontDoor(url, token) as door:
        new = 0
        for call in track(calls, "importing", console=screen, transient=True):
            new += await door.take_in(call, strategies)
        return new
