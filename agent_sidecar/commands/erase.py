"""`erase`: one lead, everywhere, with proof."""

import argparse
import asyncio
import sys
from typing import Any

from rich.table import Table

from agent_sidecar.commands.running import service_for
from agent_sidecar.commands.terminal import complain, out_json, paper, screen
from agent_sidecar.errors import RequestInvalid
from agent_sidecar.settings import Settings
from agent_sidecar.simulator.front_door import FrontDoor

_HOLDS = {True: "[red]holds him[/]", False: "does not", None: "[yellow]could not be read[/]"}


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Erase him by the running service, or by one started for it; 1: something waits."""
    name = _name(arguments)
    if not arguments.yes and not _agreed(name):
        complain("nothing was erased")
        return 2
    report = asyncio.run(_erase(settings, name))
    if arguments.json:
        out_json(report)
    else:
        _show(report)
    return 0 if report["done_at"] else 1


def _name(arguments: argparse.Namespace) -> str:
    name = str(arguments.lead or arguments.phone)
    if arguments.phone is not None and not name.startswith("+"):
        what_to_do = "give it in E.164, with + and the country's prefix: +12025550123"
        raise RequestInvalid(f"--phone {name}: {what_to_do}", field="phone", what_to_do=what_to_do)
    return name


def _agreed(name: str) -> bool:
    if not sys.stdin.isatty():
        complain("add --yes: there is nobody to ask, and no way back")
        return False
    return input(f"Erase {name} and all his calls, for good? [y/N] ").strip().lower() == "y"


def _show(report: dict[str, Any]) -> None:
    removed = ", ".join(f"{n} {what.replace('_', ' ')}" for what, n in report["removed"].items())
    paper.print(f"removed: {removed or 'nothing'}")
    table = Table("place", "found afterwards")
    for place, number in report["left"].items():
        table.add_row(place, str(number), style="red" if number else "")
    paper.print(table)
    for place, why in report["waiting"].items():
        paper.print(f"[yellow]{place} waits[/]: {why}", soft_wrap=True)
    for backup in report["backups"]:
        verdict = _HOLDS[backup["holds_him"]]
        paper.print(f"backup {backup['path']}: {verdict}: {backup['what_to_do']}", soft_wrap=True)
    if report["proof"]:
        paper.print(f"[green]nothing of him is left[/]; proof: {report['proof']}", soft_wrap=True)
    else:
        paper.print("the service goes on with it whenever it runs; ask again to see how far it is")


async def _erase(settings: Settings, name: str) -> dict[str, Any]:
    token = settings.api_token.get_secret_value() if settings.api_token else None
    async with service_for(settings, {}) as url, FrontDoor(url, token) as door:
        with screen.status("looking for him in every place"):
            return await door.erase(name)
