"""The sockets that are open, so that a stop can close them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from aiohttp import WSCloseCode

# what a close frame has room for
_REASON_BYTES = 123
_CLOSE_S = 2.0


class Closable(Protocol):
    """A socket of aiohttp's, or a media socket."""

    async def close(self, *, code: int, message: bytes) -> object: ...


async def close(socket: Closable, code: int, reason: str) -> None:
    """Close a socket and say why; a client that does not read is cut off."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_S):
            await socket.close(code=code, message=reason.encode()[:_REASON_BYTES])


class OpenSockets:
    def __init__(self) -> None:
        self._open: set[Closable] = set()

    @contextmanager
    def track(self, socket: Closable) -> Iterator[None]:
        """Remember the socket for as long as it is served."""
        self._open.add(socket)
        try:
            yield
        finally:
            self._open.discard(socket)

    async def aclose(self) -> None:
        """Tell everybody that we are going away."""
        await asyncio.gather(
            *(
                close(socket, WSCloseCode.GOING_AWAY, "the sidecar is stopping")
                for socket in tuple(self._open)
            ),
            return_exceptions=True,
        )
