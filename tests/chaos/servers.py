"""kill -9 of each embedded server that the service runs itself, and of the service with them."""

import asyncio
import os
import signal
from pathlib import Path

from tests.chaos.world import World

SERVERS = ("postgres", "graph", "chroma", "valkey")
_ROUNDS = 2
_BACK_S = 120.0


async def kill_the_servers(world: World) -> None:
    """Kill each of them in turn, then everything at once; compare after each round."""
    for turn in range(1, _ROUNDS + 1):
        for server in SERVERS:
            world.call()
            await asyncio.sleep(world.random.uniform(1.0, 3.0))
            world.blow(f"kill -9 of {server}, round {turn}")
            pid = _pid(world, server)
            os.kill(pid, signal.SIGKILL)

            async def is_back(server: str = server, pid: int = pid) -> bool:
                return _pid(world, server) != pid and f'"{server}"' in _restarts(world)

            await world.until(is_back, within_s=_BACK_S, what=f"{server} is back")
            await world.settle(f"{server}, round {turn}")
        world.call()
        await asyncio.sleep(world.random.uniform(1.0, 3.0))
        world.blow(f"kill -9 of the service with its servers, round {turn}")
        await world.service.kill()
        for server in SERVERS:
            _kill(_pid(world, server))
        await world.service.start()
        await world.settle(f"everything, round {turn}")


def _pid(world: World, server: str) -> int:
    """Return the server's process, or 0 while there is none."""
    file: Path = world.service.folder / "run" / f"{server}.pid"
    try:
        return int(file.read_text().split()[0])
    except (FileNotFoundError, ValueError, IndexError):
        return 0


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it went with the service


def _restarts(world: World) -> str:
    """Return what the service has said of servers that it started again."""
    lines = world.service.log_file.read_text("utf-8", "replace").splitlines()
    return "\n".join(line for line in lines if "server_restarted" in line)
