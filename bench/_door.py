"""A door before a server: passes bytes on, and can be shut and opened again.

Benches and tests give it faults: what is carried through it is theirs to say (`carry`).
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Self

CHUNK = 64 * 1024


class Door:
    """Listens on a loopback port; `server` is a unix socket's path or (host, port)."""

    def __init__(self, server: str | tuple[str, int]) -> None:
        # 0 until it is open: then always the same
        self.port = 0
        self._server = server
        self._listener: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Take connections; open already, it stays so."""
        if self._listener is None:
            self._listener = await asyncio.start_server(self._pass, "127.0.0.1", self.port)
            self.port = self._listener.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        """Refuse connections, and cut those there are."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        await self.cut()

    async def cut(self) -> None:
        """Cut every connection."""
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.shut()

    async def carry(
        self,
        asked: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Pass on what comes from either end, until one of them leaves."""
        await first_to_end(forward(asked[0], server[1]), forward(server[0], asked[1]))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        there: asyncio.StreamWriter | None = None
        try:
            back, there = await self._connect()
            await self.carry((reader, writer), (back, there))
        except (OSError, EOFError, asyncio.CancelledError):
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


async def forward(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Pass on all that comes."""
    while data := await source.read(CHUNK):
        sink.write(data)
        await sink.drain()


async def first_to_end(*ways: Coroutine[Any, Any, None]) -> None:
    """Go all ways at once until one has ended, however it did."""
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
