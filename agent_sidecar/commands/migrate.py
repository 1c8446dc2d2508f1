"""`migrate`: every store's schema to its newest version."""

import argparse
import asyncio
from collections.abc import Mapping, Sequence

from agent_sidecar.commands.borrowed import borrowed_stores
from agent_sidecar.commands.terminal import complain, out, out_json
from agent_sidecar.errors import StoreUnavailable
from agent_sidecar.settings import Settings


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Migrate every store; 0 when all are up to date."""
    applied, failed = asyncio.run(_migrate(settings))
    if arguments.json:
        out_json({"applied": applied, "failed": failed})
    else:
        for store, steps in applied.items():
            out(f"{store}: {', '.join(steps) if steps else 'up to date'}")
        for store, why in failed.items():
            complain(f"{store}: not migrated: {why}")
    return 1 if failed else 0


async def _migrate(settings: Settings) -> tuple[Mapping[str, Sequence[str]], Mapping[str, str]]:
    applied: dict[str, Sequence[str]] = {}
    failed: dict[str, str] = {}
    async with borrowed_stores(settings) as borrowed:
        for projection in borrowed.projections:
            try:
                applied[projection.store] = await projection.migrate()
            except StoreUnavailable as exc:
                failed[projection.store] = str(exc)
    return applied, failed
