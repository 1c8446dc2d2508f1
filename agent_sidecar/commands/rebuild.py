"""`rebuild STORE`: makes a store anew from the conversations, while the service runs or alone."""

import argparse
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from agent_sidecar.adapters.model_prepare import ensure_model
from agent_sidecar.adapters.onnx_embedder import OnnxEmbedder
from agent_sidecar.care import rebuilder
from agent_sidecar.commands.borrowed import borrowed_stores
from agent_sidecar.commands.running import find_running, running_url
from agent_sidecar.commands.terminal import out, out_json, screen
from agent_sidecar.commands.verify import delivering
from agent_sidecar.domain.types import StoreName
from agent_sidecar.embedded import running_stack
from agent_sidecar.settings import Settings
from agent_sidecar.simulator.front_door import FrontDoor

LOOK_S = 0.5

# tells how far it is
Look = Callable[[], Awaitable[Mapping[str, Any]]]


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Make it anew and wait for its end; 0 when the store has taken every call."""
    done = asyncio.run(_rebuild(settings, arguments.store))
    if arguments.json:
        out_json(done)
    else:
        out(f"{done['store']} is made anew: {done['marked']} calls")
        if done["parked"]:
            out(f"{done['parked']} calls were refused: the log of the service says why")
        if done["unreadable"]:
            out(f"{done['unreadable']} calls cannot be read any more: `verify` names them")
    return 1 if done["parked"] or done["unreadable"] else 0


async def _rebuild(settings: Settings, store: StoreName) -> Mapping[str, Any]:
    beside = find_running(settings) is not None or running_stack(settings.data_dir) is not None
    async with (_beside if beside else _alone)(settings, store) as look:
        with screen.status(f"making {store} anew") as status:
            while (done := await look())["state"] not in {"done", "none"}:
                why = f"; it waits: {done['error']}" if done["error"] else ""
                status.update(
                    f"making {store} anew: {done['state']}, {done['marked']} calls,"
                    f" {done['pending']} wait{why}"
                )
                await asyncio.sleep(LOOK_S)
    return done


@asynccontextmanager
async def _beside(settings: Settings, store: StoreName) -> AsyncIterator[Look]:
    token = settings.api_token.get_secret_value() if settings.api_token else None
    async with FrontDoor(running_url(settings), token) as door:
        await door.rebuild(store, begin=True)
        yield partial(door.rebuild, store, begin=False)


@asynccontextmanager
async def _alone(settings: Settings, store: StoreName) -> AsyncIterator[Look]:
    """Do it here; cut short, the next `serve` or `rebuild` goes on with it."""
    async with borrowed_stores(settings) as borrowed, delivering(borrowed) as relay:
        folder = ensure_model(settings.models, settings.model, screen.print)
        embedder = await asyncio.to_thread(OnnxEmbedder.open, folder)
        try:
            # the playbook's vectors are filled by the next `serve`
            rebuilds = rebuilder(borrowed.stores, borrowed.journal, relay, embedder)
            await rebuilds.begin(store)
            work = asyncio.create_task(rebuilds.finish(store), name="rebuild")

            async def look() -> Mapping[str, Any]:
                if work.done():
                    # raises what ended it
                    work.result()
                return rebuilds.progress(store).to_json()

            try:
                yield look
            finally:
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
        finally:
            await embedder.aclose()
