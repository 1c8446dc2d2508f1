"""Compares every finished call with what every store holds of it, and looks for what is too much.

Works beside a running service: a record that is on its way, or is corrected meanwhile, is counted
as pending and not as a difference. Memory is bounded by the ids of the calls.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import structlog

from agent_sidecar.domain.types import DELIVERY_STATES, CallId, DeliveryState, StoreName
from agent_sidecar.errors import JournalFailed, StoreUnavailable
from agent_sidecar.ports import CommittedRecord, Conversations, Journal, Projection
from agent_sidecar.wrapup.report import Difference, Dropped, Kind, Report, Unreachable
from agent_sidecar.wrapup.sources import BATCH, Sources

log = structlog.get_logger()

# how long one store may take for one batch, and for adding up all that it counts
_ANSWER_S = 60.0
_COUNTS_S = 600.0
_T = TypeVar("_T")


class Counted(Protocol):
    """Sums over calls that a store keeps."""

    async def differences(self) -> Sequence[str] | None:
        """Name every sum that is wrong; None: calls came all the time, so nobody can tell."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """What an audit looks at."""

    journal: Journal
    projections: Sequence[Projection]
    # a source, too; one of the projections is the same store
    conversations: Conversations
    # the sums that the graph keeps
    counts: Counted


async def verify(
    audited: Audited, *, only: Collection[CallId] | None = None, answer_s: float = _ANSWER_S
) -> Report:
    """Audit all stores; with `only`, these calls and nothing else. Raises `JournalFailed`."""
    sources = Sources(audited.journal, audited.conversations)
    audits = [_Audit(sources, projection, answer_s) for projection in audited.projections]
    by_store = {audit.store: audit for audit in audits}
    known: set[CallId] = set()
    async for batch in audited.journal.records(batch=BATCH):
        known.update(committed.record.call_id for committed in batch)
        await _ask_all(audits, [c for c in batch if only is None or c.record.call_id in only])
    notes: tuple[str, ...] = ()
    if only is None:
        # a store that was down forgets them when it is back
        leaving = frozenset(await audited.journal.leaving())
        is_complete = await _audit_forgotten(
            sources, audits, by_store["conversations"], known, leaving
        )
        if is_complete:
            await _look_for_extras(sources, by_store, known | leaving)
        else:
            notes = ("calls that nobody knows were not looked for: a source is out",)
        notes += await by_store["neo4j"].count(audited.counts)
    open_ids = {call.call_id for call in await audited.journal.open_calls()}
    return Report(
        records=len(known if only is None else known & set(only)),
        open_calls=len(open_ids if only is None else open_ids & set(only)),
        pending={audit.store: audit.counts["pending"] for audit in audits},
        parked={audit.store: audit.counts["parked"] for audit in audits},
        differences=tuple(d for audit in audits for d in audit.differences),
        unreachable=tuple(audit.unreachable for audit in audits if audit.unreachable),
        notes=notes,
        dropped=tuple(d for audit in audits for d in audit.dropped),
    )


async def _ask_all(audits: Sequence["_Audit"], batch: Sequence[CommittedRecord]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for audit in audits:
            tasks.create_task(audit.ask(batch), name=f"verify:{audit.store}")


async def _audit_forgotten(
    sources: Sources,
    audits: Sequence["_Audit"],
    conversations: "_Audit",
    known: set[CallId],
    leaving: frozenset[CallId],
) -> bool:
    """Audit what the journal has forgotten, and add it to what is known; False: it stopped."""
    walk = sources.forgotten(known | leaving)

    async def step() -> tuple[Sequence[CommittedRecord], Sequence[CallId]] | None:
        return await anext(walk, None)

    while (found := await conversations.answer(step)) is not None:
        batch, broken = found
        known.update(committed.record.call_id for committed in batch)
        known.update(broken)
        await _ask_all(audits, batch)
        for call_id in broken:
            text = "the document cannot be read, and the journal has forgotten the call"
            conversations.note(call_id, text, "unreadable")
    return conversations.unreachable is None


async def _look_for_extras(
    sources: Sources, audits: Mapping[StoreName, "_Audit"], known: Collection[CallId]
) -> None:
    """Find calls in stores that no source knows of."""
    conversations = audits["conversations"]
    holders: dict[CallId, list[_Audit]] = {}
    for store, audit in audits.items():
        if store != "conversations":
            for call_id in await audit.strangers(known):
                holders.setdefault(call_id, []).append(audit)
    for call_id, holding in holders.items():
        # committed since the walk over the journal?
        if await conversations.answer(partial(sources.newest, call_id)) is not None:
            continue
        if conversations.unreachable is not None:
            return
        for audit in holding:
            if len(holding) == 1:
                audit.note(call_id, "no source knows this call: it is too many", "extra")
            else:
                stores = " and ".join(other.store for other in holding)
                text = f"no source knows this call any more, but {stores} hold it"
                audit.note(call_id, text, "lost")


class _Audit:
    """What one store has answered."""

    def __init__(self, sources: Sources, projection: Projection, answer_s: float) -> None:
        self.store = projection.store
        self.counts: dict[DeliveryState, int] = dict.fromkeys(DELIVERY_STATES, 0)
        self.differences: list[Difference] = []
        self.dropped: list[Dropped] = []
        self.unreachable: Unreachable | None = None
        self._sources = sources
        self._projection = projection
        self._answer_s = answer_s

    def note(self, call_id: CallId | None, text: str, kind: Kind) -> None:
        """Keep a difference."""
        self.differences.append(Difference(store=self.store, call_id=call_id, text=text, kind=kind))

    async def ask(self, batch: Sequence[CommittedRecord]) -> None:
        """Compare the delivered ones; the others are known to be missing."""
        for committed in batch:
            self.counts[self._state(committed)] += 1
            self._note_drop(committed)
        delivered = [c for c in batch if self._state(c) == "delivered"]
        found = await self._differences(delivered)
        if found:
            # What changed since the batch was read is no difference: ask again about those.
            read_again = [await self._newest(call_id) for call_id in found]
            now = [committed for committed in read_again if committed is not None]
            moved = sum(self._state(committed) == "pending" for committed in now)
            self.counts["delivered"] -= moved
            self.counts["pending"] += moved
            found = await self._differences([c for c in now if self._state(c) == "delivered"])
        for call_id, texts in found.items():
            for text in texts:
                self.note(call_id, text, "differs")

    def _note_drop(self, committed: CommittedRecord) -> None:
        status = committed.deliveries.get(self.store)
        if status is not None and (drop := status.dropped) is not None:
            call_id = committed.record.call_id
            self.dropped.append(
                Dropped(store=self.store, call_id=call_id, by=drop.by, reason=drop.reason)
            )

    async def strangers(self, known: Collection[CallId]) -> Sequence[CallId]:
        """Return the calls that the store holds and that are not among these."""
        walk = self._projection.call_ids()
        found: list[CallId] = []

        async def step() -> Sequence[CallId] | None:
            return await anext(walk, None)

        while (ids := await self.answer(step)) is not None:
            found += [call_id for call_id in ids if call_id not in known]
        return found

    async def count(self, counted: Counted) -> tuple[str, ...]:
        """Compare what the store adds up; return why that was not possible, if it was not."""
        if self.unreachable is not None:
            return ()
        wrong = await self.answer(counted.differences, within_s=_COUNTS_S)
        if wrong is None:
            why = "" if self.unreachable else "calls came all the time: run it again later"
            return (f"{self.store}: the counts were not compared: {why}",) if why else ()
        for text in wrong:
            self.note(None, text, "counts")
        return ()

    async def answer(
        self, ask: Callable[[], Awaitable[_T | None]], *, within_s: float | None = None
    ) -> _T | None:
        """Return what the store answers; None, from then on too, when it does not."""
        if self.unreachable is not None:
            return None
        within_s = within_s or self._answer_s
        try:
            async with asyncio.timeout(within_s):
                return await ask()
        except JournalFailed:
            raise
        except StoreUnavailable as exc:
            reason = str(exc)
        except TimeoutError:
            reason = f"no answer within {within_s:g} s"
        except Exception as exc:
            # the other stores are still worth an audit
            log.exception("verify_failed", store=self.store)
            reason = f"the comparison failed: {exc!r}"
        self.unreachable = Unreachable(store=self.store, reason=reason)
        return None

    async def _differences(
        self, batch: Sequence[CommittedRecord]
    ) -> Mapping[CallId, Sequence[str]]:
        if not batch:
            return {}
        records = [committed.record for committed in batch]
        return await self.answer(lambda: self._projection.differences(records)) or {}

    async def _newest(self, call_id: CallId) -> CommittedRecord | None:
        try:
            return await self._sources.newest(call_id)
        except StoreUnavailable:
            # the conversation store's own audit says so
            return None

    def _state(self, committed: CommittedRecord) -> DeliveryState:
        status = committed.deliveries.get(self.store)
        # a store that is newer than the record has never been told
        return "pending" if status is None else status.state
