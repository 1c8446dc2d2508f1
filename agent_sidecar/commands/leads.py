"""`leads import FILE.csv`: takes a list of leads into the CRM."""

import argparse
import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from agent_sidecar.adapters.lead_csv import LeadRow, read_leads
from agent_sidecar.adapters.postgres_leads import PostgresLeads
from agent_sidecar.commands.borrowed import borrowed_stores
from agent_sidecar.commands.terminal import complain, out, out_json, screen
from agent_sidecar.settings import Settings

# leads taken in one transaction
BATCH = 100
_TAKEN = ("created", "changed", "unchanged")
# a file that is wrong throughout must not fill the screen
_SHOWN = 50


@dataclass(slots=True)
class Account:
    """What became of the rows."""

    taken: Counter[str] = field(default_factory=Counter)
    # (line, what is wrong with it)
    wrong: list[tuple[int, str]] = field(default_factory=list)


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Take every row that can be taken; 0 when all could."""
    # a file that is no CSV is found before servers start
    rows = list(read_leads(arguments.file, region=arguments.region))
    account = asyncio.run(_import(settings, rows, arguments.file))
    if arguments.json:
        wrong = [{"line": line, "wrong": text} for line, text in account.wrong]
        out_json({name: account.taken[name] for name in _TAKEN} | {"wrong": wrong})
    else:
        for line, text in account.wrong[:_SHOWN]:
            complain(f"line {line}: {text}")
        if len(account.wrong) > _SHOWN:
            complain(f"... and {len(account.wrong) - _SHOWN} more wrong rows; --json has all")
        counts = ", ".join(f"{account.taken[name]} {name}" for name in _TAKEN)
        out(f"{len(rows)} rows: {counts}, {len(account.wrong)} wrong")
    return 1 if account.wrong else 0


async def _import(settings: Settings, rows: Sequence[LeadRow], file: Path) -> Account:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    async with borrowed_stores(settings) as borrowed:
        if not borrowed.service_runs:
            # a new data folder has no tables yet
            await next(p for p in borrowed.projections if p.store == "postgres").migrate()
        with Progress(*columns, TimeElapsedColumn(), console=screen, transient=True) as progress:
            task = progress.add_task(f"leads of {file.name}", total=len(rows))
            return await take(
                borrowed.stores.leads, rows, lambda count: progress.advance(task, count)
            )


async def take(
    leads: PostgresLeads, rows: Sequence[LeadRow], told: Callable[[int], None]
) -> Account:
    """Take the rows in their order, some at a time."""
    account = Account()
    for some in _batches(rows):
        good = [row for row in some if row.wrong is None]
        account.wrong += [(row.line, row.wrong) for row in some if row.wrong is not None]
        said = await leads.take_in([row.lead for row in good])
        for row, what in zip(good, said, strict=True):
            if what in _TAKEN:
                account.taken[what] += 1
            else:
                account.wrong.append((row.line, what))
        told(len(some))
    account.wrong.sort()
    return account


def _batches(rows: Sequence[LeadRow]) -> Iterator[Sequence[LeadRow]]:
    for start in range(0, len(rows), BATCH):
        yield rows[start : start + BATCH]
