"""A door before a server: forwards connections, and can be shut and opened again.

With `forgets=True` it does to PostgreSQL what PgBouncer in transaction mode does: between two
transactions everything that a session remembers is gone, prepared statements included.
"""

import asyncio

from bench._door import Door, first_to_end, forward

_FORGET = b"Q" + (4 + len(b"DISCARD ALL\0")).to_bytes(4, "big") + b"DISCARD ALL\0"
_READY, _IDLE = b"Z", b"I"
# Z, its length of 5, the state of the transaction
_HEADER = 5


class Gate(Door):
    """A door that may make PostgreSQL forget."""

    def __init__(self, server: str | tuple[str, int], *, forgets: bool = False) -> None:
        super().__init__(server)
        self._forgets = forgets
        # transactions after which the session forgot everything
        self.forgotten = 0

    async def carry(
        self,
        asked: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        if self._forgets:
            answers = self._forward_answers(server[0], asked[1], server[1])
            await first_to_end(forward(asked[0], server[1]), answers)
        else:
            await super().carry(asked, server)

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
