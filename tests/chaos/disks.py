"""Disks that fill up: under the data folder with its journal, and under each embedded server."""

import asyncio
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Protocol

import aiohttp

from tests.chaos.stores import SERVERS
from tests.chaos.world import Broken, Skipped, World

# of each server's folder: what it needs at first, and room for a few thousand calls
SIZES_MB = {"postgres": 400, "graph": 300, "chroma": 200, "valkey": 64}
DATA_MB = 64
_CHUNK = 256 * 1024
# what a start may say of it
_WHY = ("disk is full", "No space left")


class Full(Protocol):
    """Something that can be full."""

    def fill(self) -> None: ...

    def room(self) -> None: ...


class Disk:
    """A small disk of its own, in memory."""

    def __init__(self, folder: Path) -> None:
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Take all the room there is; again takes what has become free."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in (_CHUNK, 4096, 1):
                with suppress(OSError):
                    while True:
                        ballast.write(b"\0" * size)

    def room(self) -> None:
        """Give it back."""
        self._ballast.unlink(missing_ok=True)


class Ceiling:
    """No file of a process may grow: what users can do who may not mount."""

    def __init__(self, world: World) -> None:
        self._world = world

    def fill(self) -> None:
        """Allow no byte more than the journal's files have."""
        self._limit(4096)

    def room(self) -> None:
        """Allow everything."""
        self._limit(resource.RLIM_INFINITY)

    def _limit(self, size: int) -> None:
        pid = self._world.service.pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


@contextmanager
def mounted(folder: Path, size_mb: int) -> Iterator[Disk]:
    """Put a disk of that size at a folder for the block. Raises `Skipped` where we may not."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=0711", "chaos", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError as exc:
        raise Skipped("there is no `mount` here") from exc
    if done.returncode:
        raise Skipped(f"disks of their own need the right to mount: {done.stderr.strip()}")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)  # noqa: S603, S607


def mount_all(folder: Path, exits: ExitStack) -> dict[str, Disk]:
    """Put a disk under the data folder and under each server, before anything starts."""
    # the folders above are for everybody to pass
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    (folder / "servers").mkdir(mode=0o711, exist_ok=True)
    disks = {"data": exits.enter_context(mounted(folder / "data", DATA_MB))}
    for name, size_mb in SIZES_MB.items():
        disks[name] = exits.enter_context(mounted(folder / "servers" / name, size_mb))
    return disks


async def fill_the_data_folder(world: World, disk: Full) -> None:
    """Let the journal's disk be full under load; nothing is acknowledged that is not on it."""
    load = world.call()
    await asyncio.sleep(3.0)
    world.blow(f"the data folder is full for {world.options.fault_s:g} s")
    refused = load.ledger.answers["call.hangup 503"] + load.ledger.answers["attach 503"]
    disk.fill()
    status, said = await _attach(world)
    give_up_s = asyncio.get_running_loop().time() + world.options.fault_s
    while asyncio.get_running_loop().time() < give_up_s:
        disk.fill()
        await asyncio.sleep(0.5)
    answers = load.ledger.answers
    refused = answers["call.hangup 503"] + answers["attach 503"] - refused
    disk.room()
    if status != 503 or "JournalFailed" not in said:
        raise Broken(f"a call was to be opened on a full disk: {status} {said}")
    world.row.remarks.append(f"data: {refused} hangups and attaches refused; it said: {said[:160]}")
    await asyncio.sleep(2.0)
    await world.settle("data folder full")


async def start_on_a_full_disk(world: World, disk: Full) -> None:
    """Kill it while its disk is full: the start says what is wrong, and goes well with room."""
    world.call()
    await asyncio.sleep(2.0)
    disk.fill()
    await asyncio.sleep(1.0)
    world.blow("kill -9 on a full disk, and a start on it")
    await world.service.kill()
    disk.fill()
    await world.service.launch()
    if await _answers(world):
        status, said = await _attach(world)
        if status != 503:
            raise Broken(f"a call was to be opened on a full disk: {status} {said}")
        world.row.remarks.append("start: it starts, and acknowledges nothing until there is room")
    else:
        tail = world.service.tail(3)
        if "Traceback" in tail or not any(why in tail for why in _WHY):
            raise Broken(f"a start on a full disk did not say why it failed: {tail}")
        world.row.remarks.append(f"start: refused: {tail[-200:]}")
    disk.room()
    if world.service.is_running:
        await world.service.ready()
    else:
        await world.service.start()
    await world.settle("started on a full disk")


async def fill_the_stores(world: World, disks: dict[str, Disk]) -> None:
    """Let each server's disk be full under load; it has everything once there is room."""
    for store, server in SERVERS.items():
        world.call()
        await asyncio.sleep(2.0)
        world.blow(f"the disk of {store} is full for {world.options.fault_s:g} s")
        disk = disks[server]
        give_up_s = asyncio.get_running_loop().time() + world.options.fault_s
        while asyncio.get_running_loop().time() < give_up_s:
            disk.fill()
            await asyncio.sleep(0.5)
        world.do(f"{store}: {await _said_of(world, store)}")
        disk.room()
        if store == "chroma":
            # its server (1.5.9) leaves a transaction open that failed on a full disk, and answers
            # "database is locked" until it is started again: an operator would
            assert world.stack is not None
            os.kill(world.stack.pids()[server], signal.SIGKILL)
            world.row.remarks.append("chroma: restarted by hand, it stays locked after a full disk")
        await asyncio.sleep(2.0)
        await world.settle(f"{store} full")


async def _answers(world: World) -> bool:
    """Wait until the service answers; False: it has ended."""
    while world.service.is_running:
        with suppress(aiohttp.ClientError, TimeoutError):
            await world.ask("/healthz")
            return True
        await asyncio.sleep(0.2)
    return False


async def _said_of(world: World, store: str) -> str:
    rows = (await world.ask("/v1/stores"))["stores"]
    told = [row for row in rows if row["store"] == store]
    return ", ".join(f"{row['deliveries']} {row.get('error', '')}" for row in told)


async def _attach(world: World) -> tuple[int, str]:
    url = f"{world.service.url}/v1/calls/v3:full/attach"
    limit = aiohttp.ClientTimeout(total=30)
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json={"passive": True}, timeout=limit) as answer,
    ):
        return answer.status, await answer.text()
