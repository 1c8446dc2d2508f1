"""Plays calls under several policies in processes of their own, one per core."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Self

from agent_sidecar.domain.record import CallRecord
from agent_sidecar.learning.policy_replay import Policy, play
from agent_sidecar.learning.policy_try import Both, ended
from agent_sidecar.learning.processes import polite_pool

# so many calls go to a process at once: about half a second of work
CALLS = 10


class Players:
    """Use it as a context manager; gives what is played as it comes, in no order."""

    def __init__(self, policies: Sequence[Policy]) -> None:
        self._workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
        self._pool = polite_pool(self._workers, _begin, tuple(policies))
        self._running: set[asyncio.Future[list[Both]]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def play(self, records: Sequence[CallRecord]) -> AsyncIterator[list[Both]]:
        """Hand calls on, waiting while there is enough to do; yield what is done meanwhile."""
        loop = asyncio.get_running_loop()
        for start in range(0, len(records), CALLS):
            while len(self._running) >= 2 * self._workers:
                for both in await self._done():
                    yield both
            some = records[start : start + CALLS]
            self._running.add(loop.run_in_executor(self._pool, _play, some))

    async def rest(self) -> AsyncIterator[list[Both]]:
        """Yield what is still being played."""
        while self._running:
            for both in await self._done():
                yield both

    async def _done(self) -> list[list[Both]]:
        done, self._running = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
        return [future.result() for future in done]


# what this process plays by; set once when it begins
_policies: tuple[Policy, ...] = ()


def _begin(policies: tuple[Policy, ...]) -> None:
    global _policies  # a process of the pool has no other place to keep it
    _policies = policies


def _play(records: Sequence[CallRecord]) -> list[Both]:
    in_use, tried = _policies
    return [
        Both(ended=ended(record), in_use=play(record, in_use), tried=play(record, tried))
        for record in records
    ]
