"""A door before each store, through which the service reaches it: on it hang the faults.

`refuse`: connections are cut and refused. `hang`: they are taken, and nothing is answered. `slow`:
every answer comes late. `late`: what is sent arrives late, also when its sender has given up and
gone. That is how a store answers a question which nobody asks any more.
"""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from urllib.parse import parse_qs, quote, unquote, urlsplit

from agent_sidecar.embedded import StackUrls
from agent_sidecar.embedded.folder import free_port
from bench._door import CHUNK, Door


class ChaosDoor(Door):
    """A door with faults to switch on."""

    def __init__(self, server: str | tuple[str, int]) -> None:
        super().__init__(server)
        # each answer waits so long
        self.slow_s = 0.0
        # each request does, whether its sender is still there or not
        self.late_s = 0.0
        # answers pass only while it is set
        self.awake = asyncio.Event()
        self.awake.set()

    async def open(self) -> None:
        # below the ports that clients get: one that asks a door which is shut for a while would
        # meet itself there
        self.port = self.port or free_port()
        await super().open()

    async def heal(self) -> None:
        """Be a plain door again; what is on its way late stays late."""
        self.slow_s = self.late_s = 0.0
        self.awake.set()
        await self.open()

    async def carry(
        self,
        asked: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        # whichever end leaves, the connection is over: but not before what is late has arrived
        asking = asyncio.create_task(self._ask(asked[0], server[1]))
        answering = asyncio.create_task(self._answer(server[0], asked[1]))
        try:
            await asyncio.wait({asking, answering}, return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                await _briefly(answering)
        finally:
            for way in (asking, answering):
                way.cancel()
            await asyncio.gather(asking, answering, return_exceptions=True)

    async def _ask(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Pass on what is asked, each piece late by what was said when it came."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def listen() -> None:
            with suppress(OSError):
                while data := await source.read(CHUNK):
                    queue.put_nowait((loop.time() + self.late_s, data))
            queue.put_nowait((loop.time(), b""))

        listening = asyncio.create_task(listen())
        try:
            while True:
                due_s, data = await queue.get()
                if not data:
                    return
                await asyncio.sleep(max(0.0, due_s - loop.time()))
                sink.write(data)
                await sink.drain()
        finally:
            listening.cancel()

    async def _answer(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(CHUNK):
            if self.slow_s:
                await asyncio.sleep(self.slow_s)
            await self.awake.wait()
            with suppress(OSError):  # nobody listens any more: the server must not notice
                sink.write(data)
                await sink.drain()


async def _briefly(answering: Awaitable[None]) -> None:
    """Give the server a moment to carry out what it was asked last, with its asker gone."""
    with suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            await answering


def doors_of(urls: StackUrls) -> dict[str, ChaosDoor]:
    """Return a door for each server of a stack, none of them open yet."""
    stores = {
        "postgres": urls.postgres,
        "neo4j": urls.neo4j,
        "chroma": urls.chroma,
        "redis": urls.redis,
    }
    return {name: ChaosDoor(_address(url)) for name, url in stores.items() if url is not None}


def settings_of(urls: StackUrls, doors: dict[str, ChaosDoor]) -> dict[str, str]:
    """Return the settings of a service that reaches the stack through these doors."""
    postgres, redis = urlsplit(urls.postgres or ""), urlsplit(urls.redis or "")
    host = {name: f"127.0.0.1:{door.port}" for name, door in doors.items()}
    login = f"{postgres.username}:{postgres.password}"
    return {
        "POSTGRES_URL": f"postgresql://{login}@{host['postgres']}{postgres.path}?sslmode=disable",
        "NEO4J_URL": f"bolt://{host['neo4j']}",
        "NEO4J_USER": urls.neo4j_user or "",
        "NEO4J_PASSWORD": urls.neo4j_password or "",
        "CHROMA_URL": f"http://{host['chroma']}",
        "REDIS_URL": f"redis://:{quote(redis.password or '')}@{host['redis']}/0",
    }


def _address(url: str) -> str | tuple[str, int]:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return unquote(parts.path)
    if not parts.hostname:  # PostgreSQL's socket folder is an argument
        return f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"
    return parts.hostname, parts.port or 0
