"""Makes a projection anew while everything else goes on.

    clearing ──emptied, every call marked for the store──▶ filling ──all delivered──▶ done

The step is kept in the journal, so a rebuild that a crash cut short is finished by the next start:
one that was clearing clears again, one that was filling goes on. Deliveries to the store rest while
it is emptied; calls that end meanwhile wait in the journal like those that are marked. Calls that
the journal has forgotten come back into it from the conversation store, a bounded number at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import structlog

from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.types import CallId, StoreName
from agent_sidecar.errors import SettingsInvalid, SidecarError
from agent_sidecar.ports import CommittedRecord, Projection
from agent_sidecar.wrapup.mend import Deliveries
from agent_sidecar.wrapup.sources import BATCH, Sources

log = structlog.get_logger()

# forgotten calls that are back in the journal at once, waiting for the store
BACK_AT_ONCE = 1000
_LOOK_S = 0.2
# pauses after failures
_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0

State = Literal["none", "clearing", "filling", "done"]


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a rebuild is."""

    store: StoreName
    state: State = "none"
    # calls marked for it so far, and deliveries to it that wait or were refused
    marked: int = 0
    pending: int = 0
    parked: int = 0
    # calls that no source can read
    unreadable: int = 0
    # why it does not get on
    error: str | None = None

    @property
    def is_under_way(self) -> bool:
        """The store is not complete."""
        return self.state in {"clearing", "filling"}

    def to_json(self) -> Mapping[str, object]:
        """Return it for programs."""
        return {
            "store": self.store,
            "state": self.state,
            "marked": self.marked,
            "pending": self.pending,
            "parked": self.parked,
            "unreadable": self.unreadable,
            "error": self.error,
        }


# gives records what a store needs of them anew; those that are returned are committed
Renew = Callable[[Sequence[CallRecord]], Awaitable[Sequence[CallRecord]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Anew:
    """What one store needs besides."""

    renew: Renew | None = None
    # fills what is not of calls
    refill: Callable[[], Awaitable[None]] | None = None


class Rebuilder:
    """The rebuilds of this process, at most one of a store at a time.

    Any store can be made anew but the conversations, of which the others are made.
    """

    def __init__(
        self,
        sources: Sources,
        projections: Sequence[Projection],
        deliveries: Deliveries,
        *,
        anew: Mapping[StoreName, Anew] | None = None,
        back_at_once: int = BACK_AT_ONCE,
    ) -> None:
        self._sources = sources
        self._journal = sources.journal
        self._projections: dict[StoreName, Projection] = {p.store: p for p in projections}
        del self._projections["conversations"]
        self._deliveries = deliveries
        self._anew = anew or {}
        self._back_at_once = back_at_once
        self._progress = {store: Progress(store=store) for store in self._projections}

    def progress(self, store: StoreName) -> Progress:
        """Return how far it is."""
        return self._progress[store]

    def is_under_way(self, store: StoreName) -> bool:
        """Return whether this store lacks calls because it is made anew."""
        return self._progress[store].is_under_way

    async def begin(self, store: StoreName) -> bool:
        """Note that it shall be made anew; False when it is under way already."""
        if self.is_under_way(store):
            return False
        self._progress[store] = Progress(store=store, state="clearing")
        try:
            await self._journal.put_rebuild(store, "clearing")
        except BaseException:
            self._progress[store] = Progress(store=store)
            raise
        return True

    async def unfinished(self) -> Sequence[StoreName]:
        """Take up what the last process left; return which stores must be run."""
        steps = await self._journal.rebuilds()
        for store, step in steps.items():
            if store in self._progress:
                self._progress[store] = Progress(store=store, state=step)
        return [store for store in steps if store in self._progress]

    async def run(self, store: StoreName) -> None:
        """Make it anew until it is done, through failures."""
        pause_s = _PAUSE_S
        while True:
            try:
                await self.finish(store)
            except SidecarError as exc:
                self._progress[store].error = str(exc)
                log.warning("rebuild_waits", store=store, error=str(exc), again_in_s=pause_s)
                await asyncio.sleep(pause_s)
                pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)
            else:
                return

    async def finish(self, store: StoreName) -> None:
        """Bring a rebuild that has begun to its end; again after a failure goes on.

        Raises `StoreUnavailable` and `JournalFailed`.
        """
        progress = self._progress[store]
        if progress.state == "clearing":
            log.info("rebuild_began", store=store)
            await self._clear(store)
            await self._mark(progress)
            await self._journal.put_rebuild(store, "filling")
            progress.state = "filling"
        await self._until(progress, pending=0)
        await self._journal.put_rebuild(store, None)
        progress.state, progress.error = "done", None
        log.info("rebuild_ended", **progress.to_json())

    async def _clear(self, store: StoreName) -> None:
        projection = self._projections[store]
        async with self._deliveries.paused(store):
            # a new server has no schema to clear; one of another model refuses until it is cleared
            with suppress(SettingsInvalid):
                await projection.migrate()
            await projection.clear()
            await projection.migrate()
        if (refill := self._anew.get(store, Anew()).refill) is not None:
            await refill()

    async def _mark(self, progress: Progress) -> None:
        """Let the store be told of every call there is."""
        progress.marked = progress.unreadable = 0
        known: set[CallId] = set()
        async for batch in self._journal.records(batch=BATCH):
            known.update(committed.record.call_id for committed in batch)
            await self._tell(progress, batch)
        async for forgotten, broken in self._sources.forgotten(known):
            progress.unreadable += len(broken)
            await self._tell(progress, forgotten)
            await self._until(progress, pending=self._back_at_once)

    async def _tell(self, progress: Progress, batch: Sequence[CommittedRecord]) -> None:
        records = [committed.record for committed in batch]
        renew = self._anew.get(progress.store, Anew()).renew
        renewed = await renew(records) if renew is not None and records else ()
        for record in renewed:
            # a new version, which every store gets
            await self._journal.commit(record)
        done = {record.call_id for record in renewed}
        rest = [record for record in records if record.call_id not in done]
        await self._journal.redeliver(rest, [progress.store])
        progress.marked += len(records)
        self._deliveries.wake()

    async def _until(self, progress: Progress, *, pending: int) -> None:
        """Wait until no more deliveries to the store wait than that."""
        while True:
            states = (await self._journal.backlog())[progress.store]
            progress.pending, progress.parked = states["pending"], states["parked"]
            progress.error = None
            if progress.pending <= pending:
                return
            await asyncio.sleep(_LOOK_S)
