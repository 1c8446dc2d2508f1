"""The media of many calls from a process of its own: `_streams.py`, told over its stdin."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

import msgspec

from agent_sidecar.domain.types import LegId
from bench._streams import Command, Report

_STOP_S = 10.0


class FrameFeed:
    """Sends both tracks of every call that was opened, until it is closed."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child

    @classmethod
    @asynccontextmanager
    async def started(cls) -> AsyncIterator[Self]:
        """Run the process for the block."""
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bench._streams",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            yield cls(child)
        finally:
            assert child.stdin is not None
            child.stdin.close()
            try:
                async with asyncio.timeout(_STOP_S):
                    await child.wait()
            except TimeoutError:
                child.kill()
                await child.wait()

    @property
    def pid(self) -> int:
        return self._child.pid

    def open(self, leg_id: LegId, url: str) -> None:
        """Begin to send this call's audio."""
        self._tell(Command(open=leg_id, url=url))

    def close(self, leg_id: LegId) -> None:
        """Stop this call's stream."""
        self._tell(Command(close=leg_id))

    async def report(self) -> Report:
        """Return what was sent since this was last asked."""
        self._tell(Command(report=True))
        assert self._child.stdout is not None
        line = await self._child.stdout.readline()
        if not line:
            raise SystemExit("the process that sends the audio ended; what it said is above")
        return msgspec.json.decode(line, type=Report)

    def _tell(self, command: Command) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(msgspec.json.encode(command) + b"\n")
