"""The door through which a bench lets a store misbehave."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from bench._faults import FaultyDoor

pytestmark = pytest.mark.real_time  # sockets of this machine

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def leave(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while line := await reader.readline():
            writer.write(line)
    await leave(writer)


@asynccontextmanager
async def a_door() -> AsyncIterator[FaultyDoor]:
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    door = FaultyDoor(server.sockets[0].getsockname()[:2])
    await door.open()
    try:
        yield door
    finally:
        await door.shut()
        server.close()
        # both ends of what was cut hear of it
        await asyncio.sleep(0.05)


async def connected(door: FaultyDoor) -> Ends:
    return await asyncio.open_connection("127.0.0.1", door.port)


async def asked(ends: Ends, within_s: float = 2.0) -> bytes:
    reader, writer = ends
    writer.write(b"are you there\n")
    async with asyncio.timeout(within_s):
        return await reader.readline()


async def test_an_open_door_passes_everything_on_and_a_slow_one_late() -> None:
    async with a_door() as door:
        ends = await connected(door)
        assert await asked(ends) == b"are you there\n"
        door.delay_s = 0.2
        began = time.monotonic()
        assert await asked(ends) == b"are you there\n"
        assert time.monotonic() - began >= 0.2
        await leave(ends[1])


async def test_a_hung_door_takes_connections_and_answers_nothing_until_it_wakes() -> None:
    async with a_door() as door:
        door.is_awake.clear()
        ends = await connected(door)
        with pytest.raises(TimeoutError):
            await asked(ends, within_s=0.1)
        door.is_awake.set()
        assert await asked(ends) == b"are you there\n"
        await leave(ends[1])


async def test_a_shut_door_cuts_and_refuses_and_opens_again_in_the_same_place() -> None:
    async with a_door() as door:
        reader, writer = await connected(door)
        assert await asked((reader, writer)) == b"are you there\n"
        await door.shut()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        await leave(writer)
        with pytest.raises(ConnectionError):
            await connected(door)
        await door.open()
        ends = await connected(door)
        assert await asked(ends) == b"are you there\n"
        await leave(ends[1])
