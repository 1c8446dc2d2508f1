"""Keeps the graph's leads what the CRM says they are, whoever changed them.

A record tells the graph of a lead as he was when he was called. What comes later, a person's edit,
a call that moved him on, somebody's own SQL, is noted by the CRM itself and stays noted until the
graph has it: through a graph that is down, a crash, a restart. A graph that was made anew is told
of every lead again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog

from agent_sidecar.errors import SidecarError
from agent_sidecar.ports import ChangedLead
from agent_sidecar.wrapup.relay import RelayLimits, pause_before_try_s

log = structlog.get_logger()

# leads told at once: a batch must not keep the records of calls waiting
BATCH = 100
# somebody's own SQL wakes nobody
LOOK_S = 5.0


class LeadChanges(Protocol):
    """Where changes of leads wait."""

    async def tell(
        self, take: Callable[[Sequence[ChangedLead]], Awaitable[None]], *, most: int
    ) -> int:
        """Give what changed first to `take`, and forget it when that returns; 0: nothing to tell.

        What `take` raises, goes on.
        """
        ...

    async def change_all(self) -> None:
        """Count every lead as changed."""
        ...


class LeadNodes(Protocol):
    """Where they are told."""

    async def were_all_told(self) -> bool:
        """Say whether this graph was ever told of every lead."""
        ...

    async def note_all_told(self) -> None: ...

    async def write(self, leads: Sequence[ChangedLead]) -> None:
        """Make the nodes of these leads what the CRM says; twice is as once."""
        ...


class LeadFeed:
    """Tells while `run` runs."""

    def __init__(
        self, changes: LeadChanges, nodes: LeadNodes, *, limits: RelayLimits | None = None
    ) -> None:
        self._changes = changes
        self._nodes = nodes
        self._limits = limits or RelayLimits()
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look now: a lead may have changed. A store that is down keeps its pause."""
        self._woken.set()

    async def run(self) -> None:
        """Tell until cancelled; what was not told yet stays noted."""
        failures = 0
        while True:
            self._woken.clear()
            try:
                is_done = await self._tell() < BATCH
            except SidecarError as exc:
                failures += 1
                if failures == 1:
                    log.warning(
                        "leads_not_told",
                        error=str(exc),
                        todo="nothing is lost; mend what the error names, the rest goes by itself",
                    )
                await asyncio.sleep(pause_before_try_s(failures, self._limits))
                continue
            if failures:
                log.info("leads_told_again", after_tries=failures)
                failures = 0
            if is_done:
                await self._wait()

    async def _tell(self) -> int:
        if not await self._nodes.were_all_told():
            # in this order: a crash between the two only tells them twice
            await self._changes.change_all()
            await self._nodes.note_all_told()
        return await self._changes.tell(self._nodes.write, most=BATCH)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(LOOK_S):
                await self._woken.wait()
        except TimeoutError:
            return
