"""A door before a server: forwards connections, and can be shut and opened again.

With `forgets=True` it does to PostgreSQL what PgBouncer in transaction mode does: between two
transactions everything that a session remembers is gone, prepared statements included.
"""

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Self

_FORGET = b"Q" + (4 + len(b"DISCARD ALL\0")).to_bytes(4, "big") + b"DISCARD ALL\0"
_READY, _IDLE = b"Z", b"I"
# Z, its length of 5, the state of the transaction
_HEADER = 5


class Gate:
    """Listens on a free loopback port; `server` is a unix socket's path or (host, port)."""

    def __init__(self, server: str | tuple[str, int], *, forgets: bool = False) -> None:
        self._server = server
        self._forgets = forgets
        self._listener: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()
        self.port = 0
        # transactions after which the session forgot everything
        self.forgotten = 0

    async def open(self) -> None:
        self._listener = await asyncio.start_server(self._pass, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        """Cut every connection and refuse new ones."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.shut()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        there: asyncio.StreamWriter | None = None
        try:
            back, there = await self._connect()
            answers = self._forward_answers(back, writer, there) if self._forgets else None
            await _first_to_end(_forward(reader, there), answers or _forward(back, writer))
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # a cut line is what a gate is for
            pass
        finally:
            self._passing.discard(task)
            for end in (writer, there):
                if end is not None:
                    end.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._server, str):
            return await asyncio.open_unix_connection(self._server)
        return await asyncio.open_connection(*self._server)

    async def _forward_answers(
        self,
        back: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamWriter,
    ) -> None:
        """Forward PostgreSQL's messages; make it forget before saying that it is idle."""
        while True:
            message = await _message(back)
            if message[:1] == _READY and message[_HEADER:] == _IDLE:
                there.write(_FORGET)
                while (await _message(back))[:1] != _READY:
                    pass
                self.forgotten += 1
            writer.write(message)
            await writer.drain()


async def _message(back: asyncio.StreamReader) -> bytes:
    header = await back.readexactly(_HEADER)
    return header + await back.readexactly(int.from_bytes(header[1:], "big") - 4)


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65536):
        writer.write(chunk)
        await writer.drain()


async def _first_to_end(*ways: Awaitable[None]) -> None:
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
