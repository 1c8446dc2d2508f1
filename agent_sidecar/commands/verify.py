"""`verify`: every finished call against every store; with `--repair`, mends what differs."""

import argparse
import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from agent_sidecar.care import mender
from agent_sidecar.clock import SystemClock
from agent_sidecar.commands.borrowed import Borrowed, borrowed_stores
from agent_sidecar.commands.running import running_url
from agent_sidecar.commands.terminal import out, out_json, screen
from agent_sidecar.settings import Settings
from agent_sidecar.simulator.front_door import FrontDoor
from agent_sidecar.stores import audited
from agent_sidecar.wrapup.relay import Relay
from agent_sidecar.wrapup.report import Difference, Report
from agent_sidecar.wrapup.sources import batches
from agent_sidecar.wrapup.verify import verify

# how long records that were not delivered yet may take before they are compared
DELIVER_S = 30.0
# and those that are delivered again; a store that takes none of them meanwhile is given up sooner
REPAIR_S, PATIENCE_S = 600.0, 30.0
LOOK_S = 0.5
# calls first, and what they leave wrong of the counts then; what differs after that stays so
ROUNDS = 3
# differences in one request
TOGETHER = 1000


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Compare; 0 when every store holds every call, and nothing else."""
    report, repairs = asyncio.run(_verify(settings, repairs=arguments.repair))
    if arguments.json:
        repaired = {"repairs": repairs} if arguments.repair else {}
        out_json({**report.to_json(), **repaired})
    else:
        for line in (line for repair in repairs for line in repair["summary"]):
            out(line)
        for line in report.summary():
            out(line)
    return 0 if report.clean else 1


async def _verify(
    settings: Settings, *, repairs: bool
) -> tuple[Report, Sequence[Mapping[str, Any]]]:
    done: list[Mapping[str, Any]] = []
    async with borrowed_stores(settings) as borrowed:
        if not borrowed.service_runs:
            await deliver(borrowed)
        report = await _compare(borrowed)
        for _ in range(ROUNDS if repairs else 0):
            found = _to_mend(report)
            if not found:
                break
            with screen.status(f"mending {len(found)} differences"):
                mended = await (
                    _mend_beside(settings, found)
                    if borrowed.service_runs
                    else _mend_alone(borrowed, found)
                )
            done += mended
            report = await _compare(borrowed)
            if not any(m["redelivered"] or m["forgotten"] or m["recounted"] for m in mended):
                break
    return report, done


async def _compare(borrowed: Borrowed) -> Report:
    with screen.status("comparing all stores"):
        return await verify(audited(borrowed.stores, borrowed.journal))


def _to_mend(report: Report) -> Sequence[Difference]:
    """Return what is to be mended now: the counts only when all calls are right."""
    calls = [d for d in report.differences if d.kind in {"differs", "extra"}]
    return calls or [d for d in report.differences if d.kind not in {"differs", "extra"}]


async def _mend_alone(
    borrowed: Borrowed, found: Sequence[Difference]
) -> Sequence[Mapping[str, Any]]:
    async with delivering(borrowed) as relay:
        done = await mender(borrowed.stores, borrowed.journal, relay).mend(found)
        await relay.drain(asyncio.get_running_loop().time() + REPAIR_S)
    return [{"summary": done.summary(), **done.to_json()}]


async def _mend_beside(
    settings: Settings, found: Sequence[Difference]
) -> Sequence[Mapping[str, Any]]:
    token = settings.api_token.get_secret_value() if settings.api_token else None
    async with FrontDoor(running_url(settings), token) as door:
        bodies = [
            {"store": d.store, "call_id": d.call_id, "kind": d.kind, "text": d.text} for d in found
        ]
        done = [await door.repair(some) for some in batches(bodies, TOGETHER)]
        await _settled(door)
    return done


async def _settled(door: FrontDoor) -> None:
    """Return when nothing waits for the stores, or they take nothing."""
    now_s = asyncio.get_running_loop().time
    least, until_s = 0, now_s() + PATIENCE_S
    while True:
        left = int(sum(row["deliveries"]["pending"] for row in await door.stores()))
        if not left or now_s() > until_s:
            return
        if not least or left < least:
            least, until_s = left, now_s() + PATIENCE_S
        await asyncio.sleep(LOOK_S)


@asynccontextmanager
async def delivering(borrowed: Borrowed) -> AsyncIterator[Relay]:
    """Deliver meanwhile: nobody else does while we own the journal."""
    relay = Relay(borrowed.journal, borrowed.projections, SystemClock())
    running = asyncio.create_task(relay.run(), name="relay")
    try:
        yield relay
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def deliver(borrowed: Borrowed) -> None:
    """Deliver what a stop or a crash left in the journal."""
    async with delivering(borrowed) as relay:
        await relay.drain(asyncio.get_running_loop().time() + DELIVER_S)
