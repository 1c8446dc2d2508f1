"""`deliveries …`: what the stores have not taken yet; trying it again, or giving it up.

The running service owns the journal, so it is asked; where none runs the journal is opened here,
and what is to be tried again is delivered at once.
"""

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from rich.table import Table
from rich.text import Text

from agent_sidecar.adapters.sqlite_journal import SqliteJournal
from agent_sidecar.clock import SystemClock
from agent_sidecar.commands.borrowed import borrowed_stores
from agent_sidecar.commands.running import RunningService, find_running
from agent_sidecar.commands.terminal import out, out_json, paper
from agent_sidecar.commands.verify import deliver
from agent_sidecar.domain.types import STORES, CallId
from agent_sidecar.errors import RequestInvalid
from agent_sidecar.settings import Settings
from agent_sidecar.simulator.front_door import FrontDoor
from agent_sidecar.web.deliveries import (
    UNDELIVERED,
    check_retry,
    delivery_view,
    nothing_to_drop,
    nothing_to_retry,
)

_STYLES = {"pending": "yellow", "parked": "red", "dropped": "magenta", "delivered": "green"}
_ERROR_SHOWN = 200

Told = dict[str, Any]


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """List, retry or drop, by the running service or alone."""
    match arguments.action:
        case "retry":
            return asyncio.run(_retry(settings, arguments))
        case "drop":
            return asyncio.run(_drop(settings, arguments))
    return asyncio.run(_list(settings, arguments))


# --- list -----------------------------------------------------------------------------------------


async def _list(settings: Settings, asked: argparse.Namespace) -> int:
    states = asked.state or list(UNDELIVERED)
    if (service := find_running(settings)) is not None:
        async with _door(settings, service) as door:
            found = await door.deliveries(store=asked.store, states=states, limit=asked.limit)
    else:
        found = await _listed_alone(settings, asked, states)
    if asked.json:
        out_json({"deliveries": found})
    elif found:
        paper.print(_table(found))
        if len(found) == asked.limit:
            paper.print(f"[dim]perhaps more: --limit {10 * asked.limit} shows them[/]")
    else:
        out(f"no delivery is {' or '.join(states)}")
    return 0


async def _listed_alone(
    settings: Settings, asked: argparse.Namespace, states: Sequence[Any]
) -> list[Told]:
    journal = await _open_journal(settings)
    try:
        found = await journal.deliveries(store=asked.store, states=states, limit=asked.limit)
    finally:
        await journal.aclose()
    now = SystemClock().now()
    shown: list[Told] = msgspec.to_builtins([delivery_view(listed, now) for listed in found])
    return shown


def _table(found: Sequence[Told]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("call", "store", "state", "age", "tries", "next try", "why"):
        table.add_column(heading, overflow="fold")
    for told in found:
        state = str(told["state"])
        table.add_row(
            Text(told["call_id"]),
            Text(told["store"]),
            Text(state, style=_STYLES[state]),
            Text(_age(told["age_s"])),
            Text(str(told["attempts"])),
            Text(_until(told["next_try_at"])),
            Text(_why(told)),
        )
    return table


def _why(told: Mapping[str, Any]) -> str:
    error = (told["last_error"] or "")[:_ERROR_SHOWN]
    if (dropped := told["dropped"]) is None:
        return error
    return f"dropped by {dropped['by']}: {dropped['reason'] or error or 'no reason given'}"


def _until(next_try_at: str | None) -> str:
    if next_try_at is None:
        return ""
    left = datetime.fromisoformat(next_try_at) - SystemClock().now()
    return f"in {_age(left.total_seconds())}" if left > timedelta(seconds=1) else "now"


def _age(seconds: float) -> str:
    for unit, length_s in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{seconds:.0f} s"


# --- retry and drop -------------------------------------------------------------------------------


async def _retry(settings: Settings, asked: argparse.Namespace) -> int:
    check_retry(asked.call_id, all_of_them=asked.all)
    if (service := find_running(settings)) is not None:
        body = {"call_id": asked.call_id, "store": asked.store, "all": asked.all}
        async with _door(settings, service) as door:
            retried = await door.retry_deliveries(body)
        left = None
    else:
        retried, left = await _retried_alone(settings, asked)
    if asked.json:
        out_json({"retried": retried, "left": left})
    elif left is None:
        out(f"{retried} deliveries are tried now; `agent-sidecar deliveries` shows what is left")
    else:
        out(f"{retried} deliveries were tried; {left} are left: `agent-sidecar deliveries`")
    return 1 if left else 0


async def _retried_alone(settings: Settings, asked: argparse.Namespace) -> tuple[int, int]:
    """Return how many were tried, and how many of the folder's are still not delivered."""
    call_id = None if asked.call_id is None else CallId(asked.call_id)
    async with borrowed_stores(settings) as borrowed:
        retried = await borrowed.journal.retry(call_id=call_id, store=asked.store)
        if call_id is not None and not retried:
            raise nothing_to_retry(call_id)
        await deliver(borrowed)
        backlog = await borrowed.journal.backlog()
    return retried, sum(backlog[store][s] for store in STORES for s in ("pending", "parked"))


async def _drop(settings: Settings, asked: argparse.Namespace) -> int:
    if not asked.by.strip():
        raise RequestInvalid("--by is empty", field="by", what_to_do="say who drops it")
    if (service := find_running(settings)) is not None:
        body = {"call_id": asked.call_id, "store": asked.store, "by": asked.by}
        if asked.reason is not None:
            body["reason"] = asked.reason
        async with _door(settings, service) as door:
            await door.drop_delivery(body)
    else:
        journal = await _open_journal(settings)
        try:
            if not await journal.drop(
                CallId(asked.call_id), asked.store, by=asked.by, reason=asked.reason
            ):
                raise nothing_to_drop(asked.call_id, asked.store)
        finally:
            await journal.aclose()
    if asked.json:
        out_json({"call_id": asked.call_id, "store": asked.store, "state": "dropped"})
    else:
        out(
            f"{asked.store} goes without call {asked.call_id}, dropped by {asked.by};"
            f" back with: agent-sidecar deliveries retry {asked.call_id}"
        )
    return 0


def _door(settings: Settings, service: RunningService) -> FrontDoor:
    token = settings.api_token.get_secret_value() if settings.api_token else None
    return FrontDoor(service.url, token)


async def _open_journal(settings: Settings) -> SqliteJournal:
    return await SqliteJournal.open(settings.data_dir / "journal.sqlite3")
