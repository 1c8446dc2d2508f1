"""`insights`: what the four stores know together of a kind of lead, as people read it."""

import argparse
import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from agent_sidecar.commands.insights_arguments import FIELDS
from agent_sidecar.commands.running import service_for
from agent_sidecar.commands.terminal import out_json, paper, screen
from agent_sidecar.domain.synthesis import label
from agent_sidecar.errors import RequestInvalid
from agent_sidecar.settings import Settings
from agent_sidecar.simulator.front_door import FrontDoor

Told = dict[str, Any]

# a service that has just started is late with its first answers; a person can wait a little
_TRIES, _PAUSE_S = 5, 0.4


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Ask the running service, or one started for it."""
    told = asyncio.run(_ask(settings, _query(arguments)))
    if arguments.json:
        out_json(told)
        return 0
    if told["degraded"]:
        screen.print(f"[yellow]not heard in time: {', '.join(told['degraded'])}[/]")
    for sentence in told["synthesis"]:
        paper.print(Text(f"- {sentence}"))
    for title, table in _tables(told):
        if table.row_count:
            paper.print(f"\n[bold]{title}[/]")
            paper.print(table)
    return 0


def _query(given: argparse.Namespace) -> Mapping[str, str]:
    query = {name: getattr(given, option) for option, name in FIELDS.items()}
    for pair in given.field:
        name, equals, value = pair.partition("=")
        if not (name and equals and value):
            what_to_do = "write --field NAME=VALUE"
            raise RequestInvalid(
                f"--field {pair}: {what_to_do}", field="field", what_to_do=what_to_do
            )
        query[name] = value
    query |= {
        "lead_id": given.lead,
        "phone": given.phone,
        "text": given.text,
        "objection": given.objection,
        "phase": given.phase,
    }
    return {name: str(value) for name, value in query.items() if value is not None}


async def _ask(settings: Settings, query: Mapping[str, str]) -> Told:
    token = settings.api_token.get_secret_value() if settings.api_token else None
    async with service_for(settings, {}) as url, FrontDoor(url, token) as door:
        told = await door.insights(query)
        for _ in range(_TRIES - 1):
            if not told["degraded"]:
                break
            await asyncio.sleep(_PAUSE_S)
            told = await door.insights(query)
        return told


def _tables(told: Told) -> Iterable[tuple[str, Table]]:
    if told["success"] is not None:
        yield "How calls ended", _rates(told["success"], told["availability"])
    if (related := told["relationships"]) is not None:
        yield "Strategies", _strategies(related["strategies"])
        yield "Objections", _objections(related["objections"])
        yield "Patterns worth repeating", _patterns(related["patterns"])
    if told["moments"] is not None:
        yield "Moments like it that went well", _moments(told["moments"])
    if told["examples"] is not None:
        yield "Calls to read", _examples(told["examples"])


def _rates(success: Told, availability: Told) -> Table:
    table = _table("whose calls", "calls", "qualified", "transferred")
    for kind in success["kinds"]:
        _add_rates(table, label(kind["kind"]), kind["rates"])
    whose = label(availability["kind"])
    _add_rates(table, f"{whose}, a closer free", availability["free"])
    _add_rates(table, f"{whose}, none free", availability["not_free"])
    return table


def _add_rates(table: Table, whose: str, rates: Told) -> None:
    if rates["calls"]:
        shares = (_share(rates[end], rates["calls"]) for end in ("qualified", "transferred"))
        table.add_row(whose, str(rates["calls"]), *shares)


def _strategies(records: Iterable[Told]) -> Table:
    table = _table("strategy", "lifted", "won", "of whom")
    for record in records:
        table.add_row(
            record["strategy"],
            _share(record["lifted"], record["reacted"]),
            _share(record["won"], record["tried"]),
            label(record["kind"]),
        )
    return table


def _objections(records: Iterable[Told]) -> Table:
    table = _table("objection", "resolved", "answered best by")
    for record in records:
        answers = [
            f"{a['strategy']} ({a['lifted']} of {a['reacted']}, {label(a['kind'])})"
            for a in record["answers"]
        ]
        table.add_row(record["type"], _share(record["resolved"], record["met"]), "\n".join(answers))
    return table


def _patterns(patterns: Iterable[Told]) -> Table:
    table = _table("pattern", "of 10", "calls")
    for pattern in patterns:
        table.add_row(pattern["id"], f"{pattern['effectiveness']:.1f}", str(pattern["calls"]))
    return table


def _moments(moments: Iterable[Told]) -> Table:
    table = _table("what was said", "strategy", "close", "call")
    for moment in moments:
        words = Text(moment["text"].replace("\n", " / ")[:200])
        close = f"{moment['closeness']:.2f}"
        table.add_row(words, moment["strategy"] or "", close, Text(moment["call_id"]))
    return table


def _examples(examples: Iterable[Told]) -> Table:
    table = _table("call", "ended", "score", "where it turned")
    for example in examples:
        score = "" if example["score"] is None else f"{example['score']:.0f}"
        table.add_row(
            Text(f"{example['call_id']}\n{example['started_at'][:16]}"),
            example["outcome"],
            score,
            Text("\n".join(example["lines"])),
        )
    return table


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / whole:.0f} %)" if whole else "-"
