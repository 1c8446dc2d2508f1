"""`verify`: every journalled record against every store."""

import argparse
import asyncio

from agent_sidecar.clock import SystemClock
from agent_sidecar.commands.borrowed import Borrowed, borrowed_stores
from agent_sidecar.commands.terminal import out, out_json
from agent_sidecar.settings import Settings
from agent_sidecar.wrapup.relay import Relay
from agent_sidecar.wrapup.verify import Report, verify

# how long records that were not delivered yet may take before they are compared
DELIVER_S = 30.0


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Compare; 0 when every store holds every record."""
    report = asyncio.run(_verify(settings))
    if arguments.json:
        out_json(report.to_json())
    else:
        for line in report.summary():
            out(line)
    return 0 if report.clean else 1


async def _verify(settings: Settings) -> Report:
    async with borrowed_stores(settings) as borrowed:
        if not borrowed.service_runs:
            await deliver(borrowed)
        return await verify(borrowed.journal, borrowed.projections)


async def deliver(borrowed: Borrowed) -> None:
    """Deliver what a stop or a crash left in the journal: nobody else does while we own it."""
    relay = Relay(borrowed.journal, borrowed.projections, SystemClock())
    running = asyncio.create_task(relay.run(), name="relay")
    try:
        await relay.drain(asyncio.get_running_loop().time() + DELIVER_S)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
