"""Brings every record of the journal to every store, each by a lane of its own (`lane`)."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from agent_sidecar.domain.types import StoreName
from agent_sidecar.ports import Clock, Journal, Projection
from agent_sidecar.wrapup.lane import (
    Lane,
    LaneParts,
    RelayLimits,
    Settled,
    pause_before_try_s,
)

__all__ = ["Relay", "RelayLimits", "Settled", "pause_before_try_s"]


class Relay:
    """Delivers while `run` runs."""

    def __init__(
        self,
        journal: Journal,
        projections: Sequence[Projection],
        clock: Clock,
        *,
        limits: RelayLimits | None = None,
        on_settled: Callable[[Settled], None] = lambda settled: None,
        is_strained: Callable[[], bool] = lambda: False,
    ) -> None:
        """`is_strained`: live calls suffer just now, so that a backlog must take its time."""
        parts = LaneParts(
            journal=journal,
            clock=clock,
            limits=limits or RelayLimits(),
            on_settled=on_settled,
            is_strained=is_strained,
        )
        self._journal = journal
        self._lanes = [Lane(projection, parts) for projection in projections]

    async def run(self) -> None:
        """Deliver until cancelled; what was not acknowledged stays pending in the journal."""
        async with asyncio.TaskGroup() as lanes:
            for lane in self._lanes:
                lanes.create_task(lane.run(), name=f"relay:{lane.store}")

    def wake(self) -> None:
        """Something was committed: deliver it now. A store that is down keeps its pause."""
        for lane in self._lanes:
            lane.wake()

    def hurry(self) -> None:
        """Somebody wants what is due to be tried now: ends pauses too, those of dead stores."""
        for lane in self._lanes:
            lane.hurry()

    def paused(self, store: StoreName) -> AbstractAsyncContextManager[None]:
        """Deliver nothing to this store meanwhile; what is under way has ended before it begins."""
        return next(lane for lane in self._lanes if lane.store == store).paused()

    async def drain(self, deadline: float) -> bool:
        """Deliver what is due before `deadline` (loop time); True when nothing is pending.

        A store that is down is not waited for: its records are safe in the journal.
        """
        resting = [asyncio.create_task(lane.rest(), name="drain") for lane in self._lanes]
        try:
            budget_s = deadline - asyncio.get_running_loop().time()
            await asyncio.wait(resting, timeout=max(budget_s, 0.0))
        finally:
            for task in resting:
                task.cancel()
        backlog = await self._journal.backlog()
        return not any(backlog[lane.store]["pending"] for lane in self._lanes)
