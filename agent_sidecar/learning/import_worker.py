"""Makes records of finished calls beside the event loop: each takes milliseconds of thinking.

A file of thousands of calls would take them from live calls. The process begins with the first
batch, and ends when none has come for a while.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from datetime import datetime
from types import TracebackType
from typing import Self

import structlog

from agent_sidecar.domain.record import CallRecord
from agent_sidecar.learning.imported import Ears, Finished, make_imported
from agent_sidecar.learning.processes import polite_pool

log = structlog.get_logger()

# a process takes 100 MB and a second to begin
IDLE_S = 60.0


class ImportWorker:
    """Use it as a context manager; the process, if there is one, ends with the block."""

    def __init__(self, ears: Ears) -> None:
        self._ears = ears
        self._pool: ProcessPoolExecutor | None = None
        self._idle: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    async def records(
        self, calls: Sequence[Finished], strategies: frozenset[str], now: datetime
    ) -> Sequence[CallRecord]:
        """Return a record of each call; `strategies`: labels that are strategies."""
        if len(calls) > 1 or self._pool is not None:
            try:
                return await self._beside(calls, strategies, now)
            except (BrokenProcessPool, OSError) as exc:
                # killed, or there is no memory for it
                log.warning("import_process_lost", error=repr(exc), what="importing without it")
                self._end()
        made = []
        for call in calls:
            made.append(make_imported(call, self._ears, strategies, now))
            # live calls come first: one record takes some milliseconds
            await asyncio.sleep(0)
        return made

    async def _beside(
        self, calls: Sequence[Finished], strategies: frozenset[str], now: datetime
    ) -> Sequence[CallRecord]:
        loop = asyncio.get_running_loop()
        if self._idle is not None:
            self._idle.cancel()
        if self._pool is None:
            self._pool = polite_pool(1, _begin, self._ears)
        made = await loop.run_in_executor(self._pool, _make, calls, strategies, now)
        if self._idle is not None:
            self._idle.cancel()
        self._idle = loop.call_later(IDLE_S, self._end)
        return made

    def _end(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._pool is not None:
            pool, self._pool = self._pool, None
            pool.shutdown(wait=False, cancel_futures=True)


# what this process hears with; set once when it begins
_ears: tuple[Ears, ...] = ()


def _begin(ears: Ears) -> None:
    global _ears  # a process of a pool has no other place to keep it
    _ears = (ears,)


def _make(
    calls: Sequence[Finished], strategies: frozenset[str], now: datetime
) -> Sequence[CallRecord]:
    [ears] = _ears
    return [make_imported(call, ears, strategies, now) for call in calls]
