"""`transfer result ID`: what came of a transfer, as the closer says afterwards."""

import argparse
import asyncio
from collections.abc import Mapping
from typing import Any

from agent_sidecar.commands.running import service_for
from agent_sidecar.commands.terminal import out, out_json
from agent_sidecar.errors import RequestInvalid
from agent_sidecar.settings import Settings
from agent_sidecar.simulator.front_door import FrontDoor


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Say it to the service of the data folder; what is left out stays as it was."""
    named = ("rating", "result", "notes")
    said = {n: v for n in named if (v := getattr(arguments, n)) is not None}
    if not said:
        raise RequestInvalid(
            "nothing is said of the transfer: give --rating, --result or --notes",
            field="rating",
            what_to_do="give at least one of them",
        )
    transfer = asyncio.run(_post(settings, arguments.id, said))
    if arguments.json:
        out_json(transfer)
    else:
        rating = "" if transfer.get("rating") is None else f", rated {transfer['rating']} of 10"
        out(f"{arguments.id}: {transfer.get('result') or 'no result yet'}{rating}")
    return 0


async def _post(
    settings: Settings, transfer_id: str, said: Mapping[str, object]
) -> Mapping[str, Any]:
    token = settings.api_token.get_secret_value() if settings.api_token else None
    async with service_for(settings, {}) as url, FrontDoor(url, token) as door:
        return await door.post_result(transfer_id, said)
