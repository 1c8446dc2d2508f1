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

_CHUNK = 64 * 1024


class ChaosDoor:
    """Listens on a loopback port of its own and passes bytes on to a server."""

    def __init__(self, server: str | tuple[str, int]) -> None:
        """`server` is a unix socket's path or (host, port)."""
        self.port = 0
        # each answer waits so long
        self.slow_s = 0.0
        # each request does, whether its sender is still there or not
        self.late_s = 0.0
        # answers pass only while it is set
        self.awake = asyncio.Event()
        self.awake.set()
        self._server = server
        self._listener: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Take connections, always on the same port."""
        if self._listener is None:
            # below the ports that clients get: one that asks a door which is shut for a while would
            # meet itself there
            self.port = self.port or free_port()
            self._listener = await asyncio.start_server(self._pass, "127.0.0.1", self.port)

    async def shut(self) -> None:
        """Refuse connections, and cut those there are."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    async def heal(self) -> None:
        """Be a plain door again; what is on its way late stays late."""
        self.slow_s = self.late_s = 0.0
        self.awake.set()
        await self.open()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        there: asyncio.StreamWriter | None = None
        try:
            back, there = await self._connect()
            # whichever end leaves, the connection is over: but not before what is late has arrived
            asking = asyncio.create_task(self._ask(reader, there))
            answering = asyncio.create_task(self._answer(back, writer))
            try:
                await asyncio.wait({asking, answering}, return_when=asyncio.FIRST_COMPLETED)
                if asking.done():
                    await _briefly(answering)
            finally:
                for way in (asking, answering):
                    way.cancel()
                await asyncio.gather(asking, answering, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass  # a cut line is what this is for
        finally:
            self._passing.discard(task)
            for end in (writer, there):
                if end is not None:
                    end.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._server, str):
            return await asyncio.open_unix_connection(self._server)
        return await asyncio.open_connection(*self._server)

    async def _ask(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Pass on what is asked, each piece late by what was said when it came."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def listen() -> None:
            with suppress(OSError):
                while data := await source.read(_CHUNK):
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
        while data := await source.read(_CHUNK):
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
