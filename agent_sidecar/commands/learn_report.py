"""`learn report`: how the calls went, day by day, and whether it gets better."""

import argparse
import asyncio

from agent_sidecar.clock import SystemClock
from agent_sidecar.commands.borrowed import borrowed_stores
from agent_sidecar.commands.drawing import check_plot_file
from agent_sidecar.commands.learn_report_view import draw, show
from agent_sidecar.commands.terminal import out_json, screen
from agent_sidecar.commands.verify import deliver
from agent_sidecar.learning.metrics import LearningMetrics, LearningReport
from agent_sidecar.settings import Settings


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Count anew, beside the running service or alone, and tell."""
    check_plot_file(arguments.plot)
    report = asyncio.run(_report(settings, arguments.days))
    if arguments.plot is not None:
        draw(report, arguments.plot)
    if arguments.json:
        out_json(report.to_json())
        return 0
    show(report)
    if arguments.plot is not None:
        screen.print(f"picture: {arguments.plot}")
    return 0


async def _report(settings: Settings, days: int) -> LearningReport:
    async with borrowed_stores(settings) as borrowed:
        if not borrowed.service_runs:
            await deliver(borrowed)
        metrics = LearningMetrics(borrowed.stores.metrics, SystemClock(), settings.learning_zone)
        await metrics.refresh()
        return await metrics.report(days)
