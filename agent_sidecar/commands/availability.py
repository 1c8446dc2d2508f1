"""`availability …`: when the closers work, what they do now, and changing it."""

import argparse
import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from rich.table import Table
from rich.text import Text

from agent_sidecar.commands.running import service_for
from agent_sidecar.commands.terminal import out_json, paper
from agent_sidecar.commands.weekly_hours import read_hours, tell_hours
from agent_sidecar.errors import RequestInvalid
from agent_sidecar.settings import Settings
from agent_sidecar.simulator.front_door import FrontDoor

_STATES = {"on_call": "on a call", "wrapping_up": "wrapping up"}

Told = dict[str, Any]


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Show or change it by the running service, or by one started for it."""
    # what is wrong in the arguments should not be found after a service has started
    asked = _request(arguments)
    closers = asyncio.run(_ask(settings, arguments.closer, asked))
    if arguments.json:
        out_json({"closers": closers})
    else:
        paper.print(_table(closers))
    return 0


def _request(given: argparse.Namespace) -> tuple[str, str, Mapping[str, object] | None] | None:
    """Return method, path below the closer and body; None: only show."""
    match given.action:
        case "hours":
            return "PUT", "", _hours(given)
        case "override" if given.remove is not None:
            return "DELETE", f"/overrides/{quote(given.remove, safe='')}", None
        case "override":
            if given.available is None:
                what_to_do = "say --on or --off, or --remove ID"
                raise RequestInvalid(what_to_do, field="is_available", what_to_do=what_to_do)
            said = {"start": given.start, "end": given.end, "reason": given.reason}
            return "POST", "/overrides", {"is_available": given.available, **_given(said)}
        case "away":
            said = {"until": given.until, "reason": given.reason}
            return "POST", "/away", _given(said)
        case "back":
            return "POST", "/back", None
    return None


def _hours(given: argparse.Namespace) -> Mapping[str, object]:
    text = " ".join(given.windows)
    if bool(text) == given.any_time:
        what_to_do = "give weekly hours, such as mon-fri 09:00-17:00, or --any-time"
        raise RequestInvalid(what_to_do, field="hours", what_to_do=what_to_do)
    said = {"timezone": given.timezone, "number": given.number}
    return {"hours": read_hours(text), **_given(said)}


def _given(said: Mapping[str, object]) -> Mapping[str, object]:
    return {name: value for name, value in said.items() if value is not None}


async def _ask(
    settings: Settings,
    name: str | None,
    asked: tuple[str, str, Mapping[str, object] | None] | None,
) -> list[Told]:
    token = settings.api_token.get_secret_value() if settings.api_token else None
    async with service_for(settings, {}) as url, FrontDoor(url, token) as door:
        if asked is None or name is None:
            closers: list[Told] = (await door.availability())["closers"]
            if asked is None:
                return _only(closers, name)
            # the first of the playbook is the default
            name = _first(closers)
        method, path, body = asked
        return [await door.availability(method, f"/{quote(name, safe='')}{path}", body)]


def _only(closers: list[Told], name: str | None) -> list[Told]:
    found = [one for one in closers if name in (None, one["name"])]
    if name is not None and not found:
        what_to_do = f"name one of: {', '.join(one['name'] for one in closers) or 'nobody yet'}"
        raise RequestInvalid(
            f"there is no closer {name}; {what_to_do}", field="closer", what_to_do=what_to_do
        )
    return found


def _first(closers: list[Told]) -> str:
    if not closers:
        raise RequestInvalid(
            "no closer has hours yet: name one with --closer",
            field="closer",
            what_to_do="name one with --closer",
        )
    return str(closers[0]["name"])


def _table(closers: list[Told]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("closer", "now", "available", "hours", "overrides"):
        table.add_column(heading)
    for closer in closers:
        now = _STATES.get(closer["state"], str(closer["state"]))
        if now == "free" and not closer["working"]:
            now = "off"
        table.add_row(
            Text(closer["name"]),
            Text(now, style="green" if closer["available"] else "yellow"),
            _available(closer),
            Text(f"{tell_hours(closer['hours'])}\n{closer['timezone']}"),
            Text("\n".join(map(_override, closer["overrides"])) or "none"),
        )
    return table


def _available(closer: Told) -> Text:
    if closer["available"]:
        return Text("now", style="green")
    if closer["available_from"] is not None:
        return Text(f"from {_when(closer['available_from'])}")
    return Text("when his call ends" if closer["leased"] else "not in sight")


def _override(override: Told) -> str:
    kind = "on" if override["is_available"] else "off"
    end = "until taken back" if override["end"] is None else f"until {_when(override['end'])}"
    reason = f" ({override['reason']})" if override["reason"] else ""
    return f"{kind} from {_when(override['start'])} {end}{reason}\n  {override['override_id']}"


def _when(text: str) -> str:
    """Return a time as a person of that zone reads it."""
    return datetime.fromisoformat(text).strftime("%a %d %b %Y %H:%M")
