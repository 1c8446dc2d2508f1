"""Stores that misbehave: the embedded servers, one of them behind a door that does it for them.

`slow`: every answer comes 1 s late. `hung`: connections are taken, and nothing is ever answered.
`down`: connections are cut and refused. `restart`: the server itself is killed (-9) and comes back.
"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis

from agent_sidecar.embedded import Stack, StackUrls
from bench._door import CHUNK, Door, first_to_end, forward

StoreName = Literal["chroma", "neo4j", "redis"]
Kind = Literal["slow", "hung", "down", "restart"]
STORES: tuple[StoreName, ...] = get_args(StoreName)
KINDS: tuple[Kind, ...] = get_args(Kind)
SLOW_S = 1.0
_SERVERS = {"chroma": "chroma", "neo4j": "graph", "redis": "valkey"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Which store does what."""

    store: StoreName
    kind: Kind

    @classmethod
    def read(cls, text: str) -> "Fault":
        """Read `chroma:slow` and the like. Raises `ValueError`."""
        for store in STORES:
            for kind in KINDS:
                if text == f"{store}:{kind}":
                    return cls(store=store, kind=kind)
        raise ValueError(f"{text!r}: STORE:KIND, of {', '.join(STORES)} and {', '.join(KINDS)}")


class FaultyDoor(Door):
    """A door whose server answers late, or not at all."""

    def __init__(self, server: str | tuple[str, int]) -> None:
        super().__init__(server)
        self.delay_s = 0.0
        # answers pass only while it is set
        self.is_awake = asyncio.Event()
        self.is_awake.set()

    async def carry(
        self,
        asked: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        await first_to_end(forward(asked[0], server[1]), self._answer(server[0], asked[1]))

    async def _answer(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(CHUNK):
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            await self.is_awake.wait()
            sink.write(data)
            await sink.drain()


@dataclass(slots=True, kw_only=True)
class FaultyStack:
    """All embedded servers, and where a service reaches them: the faulty one through a door."""

    fault: Fault
    stack: Stack
    urls: StackUrls
    door: FaultyDoor
    # set when a killed server answers again
    restarted: asyncio.Event

    def environment(self) -> dict[str, str | None]:
        """Return the settings of a service that uses these servers."""
        urls = self.urls
        host = f"127.0.0.1:{self.door.port}"
        chroma, neo4j, redis = urls.chroma, urls.neo4j, urls.redis
        match self.fault.store:
            case "chroma":
                chroma = f"http://{host}"
            case "neo4j":
                neo4j = f"bolt://{host}"
            case "redis":
                redis = f"redis://:{urlsplit(urls.redis or '').password}@{host}/0"
        return {
            "SIDECAR_POSTGRES_URL": urls.postgres,
            "SIDECAR_CHROMA_URL": chroma,
            "SIDECAR_NEO4J_URL": neo4j,
            "SIDECAR_NEO4J_USER": urls.neo4j_user,
            "SIDECAR_NEO4J_PASSWORD": urls.neo4j_password,
            "SIDECAR_REDIS_URL": redis,
        }

    async def begin(self) -> None:
        """Let the store misbehave from now on."""
        match self.fault.kind:
            case "slow":
                self.door.delay_s = SLOW_S
            case "hung":
                self.door.is_awake.clear()
            case "down":
                await self.door.shut()
            case "restart":
                os.kill(self.stack.pids()[_SERVERS[self.fault.store]], signal.SIGKILL)

    async def end(self) -> float:
        """Let it behave again; return when it did, by the monotonic clock."""
        if self.fault.kind == "restart":
            await self.restarted.wait()
        elif self.fault.kind == "down":
            await self.door.open()
        self.door.delay_s = 0.0
        self.door.is_awake.set()
        return time.monotonic()

    async def first_message(self) -> float:
        """Wait for the next message on the channel of hints; return when it came."""
        async with Redis.from_url(self.urls.redis or "") as redis, redis.pubsub() as channel:
            await channel.psubscribe("agent_sidecar:hints:*")
            async for message in channel.listen():
                if message["type"] == "pmessage":
                    return time.monotonic()
        raise ConnectionError("the channel of hints has ended")


@asynccontextmanager
async def faulty_stack(folder: Path, fault: Fault) -> AsyncIterator[FaultyStack]:
    """Run the embedded servers on a folder for the block, the faulty one behind its door."""
    restarted = asyncio.Event()

    def note(name: str, values: Mapping[str, object]) -> None:
        if name == "server_restarted" and values["server"] == _SERVERS[fault.store]:
            restarted.set()

    stack = Stack(folder, on_event=note)
    urls = await stack.start()
    keeping = asyncio.create_task(stack.run(), name="stack")
    door = FaultyDoor(_address(urls, fault.store))
    await door.open()
    try:
        yield FaultyStack(fault=fault, stack=stack, urls=urls, door=door, restarted=restarted)
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
        await door.shut()
        await stack.aclose()


def _address(urls: StackUrls, store: StoreName) -> str | tuple[str, int]:
    url = {"chroma": urls.chroma, "neo4j": urls.neo4j, "redis": urls.redis}[store]
    parts = urlsplit(url or "")
    return unquote(parts.path) if parts.port is None else (parts.hostname or "", parts.port)
