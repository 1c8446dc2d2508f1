"""Each store misbehaves in every way while calls go on."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, get_args

from tests.chaos.talks import Talks
from tests.chaos.world import World

Kind = Literal["refuse", "hang", "stop", "slow", "late", "restart"]
STORES = ("postgres", "neo4j", "chroma", "redis")
SERVERS = {"postgres": "postgres", "neo4j": "graph", "chroma": "chroma", "redis": "valkey"}
KINDS: tuple[Kind, ...] = get_args(Kind)
_SLOW_S = 1.0
# longer than any adapter waits for PostgreSQL or Chroma
_LATE_S = 12.0
_LATE_FOR_S = (0.05, 0.4)
_BACK_S = 90.0


async def fault_the_stores(world: World) -> None:
    """Let each store do each thing; compare after each."""
    for store in STORES:
        for kind in KINDS:
            name = f"{store}:{kind}"
            if world.options.wants(f"stores:{name}"):
                await _fault(world, store, kind)
                world.row.remarks.append(f"{name}: clean")


async def _fault(world: World, store: str, kind: Kind) -> None:
    name = f"{store}:{kind}"
    load = world.call()
    # corrections make second versions: what comes late must not win against them
    load.corrected = 0.9 if kind == "late" else 0.3
    talks = Talks(world)
    if store == "redis":
        talks.begin(at_once=1)
    await asyncio.sleep(world.random.uniform(1.5, 3.0))
    world.blow(f"{name}: for {world.options.fault_s:g} s")
    match kind:
        case "restart":
            await _restart(world, SERVERS[store])
        case "stop":
            await _stopped(world, SERVERS[store])
        case _:
            await _behind_the_door(world, store, kind)
    await asyncio.sleep(1.0)
    await talks.end()
    await world.settle(name)
    world.row.faults += talks.faults()


async def _behind_the_door(world: World, store: str, kind: Kind) -> None:
    door, length_s = world.doors[store], world.options.fault_s
    match kind:
        case "refuse":
            await door.shut()
        case "hang":
            door.awake.clear()
        case "slow":
            door.slow_s = _SLOW_S
        case "late":
            await _pulses(world, store)
            # what is on its way arrives while newer versions are in the store already
            length_s = _LATE_S + 1.0
    await asyncio.sleep(length_s)
    await door.heal()


async def _pulses(world: World, store: str) -> None:
    """Delay what is sent in short moments; what is sent after them goes through at once."""
    door, random = world.doors[store], world.random
    give_up_s = asyncio.get_running_loop().time() + 2 * world.options.fault_s
    while asyncio.get_running_loop().time() < give_up_s:
        door.late_s = _LATE_S
        await asyncio.sleep(random.uniform(*_LATE_FOR_S))
        door.late_s = 0.0
        await asyncio.sleep(random.uniform(0.2, 2.0))


async def _restart(world: World, server: str) -> None:
    """Kill the server itself; its keeper starts it again."""
    assert world.stack is not None
    world.restarted.clear()
    os.kill(world.stack.pids()[server], signal.SIGKILL)
    await world.until(_is_in(world.restarted, server), within_s=_BACK_S, what=f"{server} is back")


async def _stopped(world: World, server: str) -> None:
    """Stop all of its processes, and let them go on."""
    assert world.stack is not None
    group = world.stack.pids()[server]
    os.killpg(group, signal.SIGSTOP)
    try:
        # longer than those who ask have patience
        await asyncio.sleep(max(world.options.fault_s, _LATE_S))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGCONT)


def _is_in(names: list[str], name: str) -> Callable[[], asyncio.Future[bool]]:
    def look() -> "asyncio.Future[bool]":
        found: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        found.set_result(name in names)
        return found

    return look
