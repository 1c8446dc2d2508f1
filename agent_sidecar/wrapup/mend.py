"""Mends what an audit found: from the journal, else from the conversation store.

A call that is missing or differs in a store is delivered there again, by the relay and in its
order, so exactly-once holds. What no source knows is forgotten where only one store has it; where
several do it was a call once, and a person must say what becomes of it. Counts are set to the sum
of what the calls have added.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from agent_sidecar.domain.types import CallId, StoreName
from agent_sidecar.ports import Projection
from agent_sidecar.wrapup.report import Difference
from agent_sidecar.wrapup.sources import BATCH, Sources, batches
from agent_sidecar.wrapup.verify import Audited, Counted

log = structlog.get_logger()


class MendableCounts(Counted, Protocol):
    """Sums over calls that can be set right."""

    async def mend(self) -> Sequence[str] | None:
        """Set every wrong sum right; return what was wrong, None when nobody can tell."""
        ...


class Deliveries(Protocol):
    """Who writes to the stores."""

    def paused(self, store: StoreName) -> AbstractAsyncContextManager[None]:
        """Deliver nothing to this store meanwhile."""
        ...

    def wake(self) -> None:
        """Deliver now what was marked to be told again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """What was done, and what was left alone and why."""

    redelivered: Mapping[StoreName, int] = field(default_factory=dict)
    forgotten: Mapping[StoreName, int] = field(default_factory=dict)
    # counts that were wrong
    recounted: int = 0
    left: tuple[str, ...] = ()

    @property
    def is_nothing(self) -> bool:
        """Nothing was done."""
        return not (self.redelivered or self.forgotten or self.recounted)

    def summary(self) -> Sequence[str]:
        """Return lines for people."""
        again = [f"{store}: {n} calls told again" for store, n in self.redelivered.items()]
        gone = [
            f"{store}: {n} calls that were too many forgotten"
            for store, n in self.forgotten.items()
        ]
        counts = [f"neo4j: {self.recounted} counts set right"] if self.recounted else []
        return [*again, *gone, *counts, *(f"left alone: {text}" for text in self.left)]

    def to_json(self) -> Mapping[str, object]:
        """Return it for programs."""
        return {
            "redelivered": dict(self.redelivered),
            "forgotten": dict(self.forgotten),
            "recounted": self.recounted,
            "left": list(self.left),
        }


class Mender:
    """Does what findings of an audit ask for."""

    def __init__(self, audited: Audited, counts: MendableCounts, deliveries: Deliveries) -> None:
        self._sources = Sources(audited.journal, audited.conversations)
        self._projections = {p.store: p for p in audited.projections}
        self._counts = counts
        self._deliveries = deliveries

    async def mend(self, found: Iterable[Difference]) -> Mended:
        """Mend these; calls that are delivered again are on their way when it returns.

        Raises `StoreUnavailable` and `JournalFailed`; again goes on from there.
        """
        found = list(found)
        redelivered: dict[StoreName, int] = {}
        forgotten: dict[StoreName, int] = {}
        left = [str(d) for d in found if d.kind in {"lost", "unreadable"}]
        for store, projection in self._projections.items():
            here = [d for d in found if d.store == store and d.call_id is not None]
            extra = _calls(d for d in here if d.kind == "extra")
            if extra and (n := await self._forget(projection, extra)):
                forgotten[store] = n
            again, lost = await self._redeliver(
                store, _calls(d for d in here if d.kind == "differs")
            )
            if again:
                redelivered[store] = again
            left += lost
        mended = await self._recount() if any(d.kind == "counts" for d in found) else ()
        if mended is None:
            left.append("neo4j: the counts: calls came all the time; try again later")
        done = Mended(
            redelivered=redelivered,
            forgotten=forgotten,
            recounted=len(mended or ()),
            left=tuple(left),
        )
        log.info("stores_mended", **done.to_json())
        return done

    async def _redeliver(
        self, store: StoreName, call_ids: Sequence[CallId]
    ) -> tuple[int, list[str]]:
        """Mark these calls to be told again; return how many, and a line for each other."""
        count, lost = 0, []
        for some in batches(call_ids, BATCH):
            newest = {call_id: await self._sources.newest(call_id) for call_id in some}
            records = [committed.record for committed in newest.values() if committed is not None]
            await self._sources.journal.redeliver(records, [store])
            self._deliveries.wake()
            count += len(records)
            lost += [
                f"{store}: call {call_id}: no source can say what it was"
                for call_id, committed in newest.items()
                if committed is None
            ]
        return count, lost

    async def _forget(self, projection: Projection, call_ids: Sequence[CallId]) -> int:
        count = 0
        for some in batches(call_ids, BATCH):
            async with self._deliveries.paused(projection.store):
                # it may have been committed since it was found; delivered it is only after this
                gone = [i for i in some if await self._sources.newest(i) is None]
                await projection.forget(gone)
            count += len(gone)
        return count

    async def _recount(self) -> Sequence[str] | None:
        async with self._deliveries.paused("neo4j"):
            return await self._counts.mend()


def _calls(found: Iterable[Difference]) -> Sequence[CallId]:
    """Return the calls, each once."""
    return list(dict.fromkeys(d.call_id for d in found if d.call_id is not None))
