"""Lets every store forget what the book says, for as long as it takes.

Whatever is in the book has left the journal already, so nothing of it is delivered any more; only
what a store was being given at that moment is waited for.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

import structlog

from agent_sidecar.domain.types import StoreName
from agent_sidecar.errors import JournalFailed, StoreUnavailable
from agent_sidecar.ports import ForgettingBook, Projection

log = structlog.get_logger()

# calls forgotten together, and how long a store may take for them
BATCH, FORGET_S = 100, 60.0
# how soon a store that was down is asked again, the first time and at most
AGAIN_S, LONGEST_AGAIN_S = 5.0, 300.0


class Forgetter:
    """Works while `run` runs, and whenever it is asked to."""

    def __init__(
        self,
        book: ForgettingBook,
        projections: Sequence[Projection],
        held: Callable[[StoreName], AbstractAsyncContextManager[None]],
    ) -> None:
        """`held`: a block inside of which a store is given nothing by anybody else."""
        self._book = book
        self._projections = projections
        self._held = held

    async def run(self) -> None:
        """Forget what waits, and what a store could not; until cancelled."""
        pause_s = AGAIN_S
        while True:
            try:
                trouble = await self.work()
            except JournalFailed as exc:
                trouble = {"journal": str(exc)}
            if trouble and pause_s == AGAIN_S:
                what_to_do = "nothing: they are forgotten when the store is back"
                log.warning("calls_not_forgotten_yet", trouble=trouble, what_to_do=what_to_do)
            pause_s = min(2 * pause_s, LONGEST_AGAIN_S) if trouble else AGAIN_S
            await asyncio.sleep(pause_s if trouble else LONGEST_AGAIN_S)

    async def work(self) -> Mapping[str, str]:
        """Forget all that waits; return why, for each store that could not."""
        tried = await asyncio.gather(*(self._forget(p) for p in self._projections))
        return {p.store: why for p, why in zip(self._projections, tried, strict=True) if why}

    async def _forget(self, projection: Projection) -> str | None:
        while await self._book.waiting(projection.store, limit=1):
            async with self._held(projection.store):
                # only now: what was brought back meanwhile is not among them
                call_ids = await self._book.waiting(projection.store, limit=BATCH)
                try:
                    async with asyncio.timeout(FORGET_S):
                        await projection.forget(call_ids)
                except (StoreUnavailable, TimeoutError) as exc:
                    return str(exc) or f"no answer within {FORGET_S:g} s"
                await self._book.forgotten(projection.store, call_ids)
        return None
