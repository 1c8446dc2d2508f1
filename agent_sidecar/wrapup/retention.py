"""Moves calls that were kept for long enough from the stores into archives.

    archive on disk ─▶ the days of their metrics closed ─▶ recording removed
      ─▶ marked in the journal, which forgets them itself ─▶ each store forgets them

Each step is durable before the next begins, and all may be done twice: whatever dies in between,
the next run goes on from there, and a call is at any time in the stores, in an archive, or in both.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.retention import RetentionRules
from agent_sidecar.domain.types import CallId
from agent_sidecar.errors import SidecarError
from agent_sidecar.ports import (
    Archives,
    Clock,
    Conversations,
    ForgettingBook,
    Journal,
    RecordingFolder,
)
from agent_sidecar.wrapup.forgetting import Forgetter

log = structlog.get_logger()

# calls read at once, so that live ones need not wait for long, and archived at once
READ, TOGETHER = 10, 200
EVERY_S = 24 * 3600.0
AGAIN_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionParts:
    """What it works with."""

    rules: RetentionRules | None
    conversations: Conversations
    journal: Journal
    book: ForgettingBook
    archives: Archives
    recordings: RecordingFolder
    forgetter: Forgetter
    clock: Clock
    # lets the figures of the days of these times stand; raises `StoreUnavailable`
    close_days: Callable[[Collection[datetime]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionReport:
    """What one run has done, or would do."""

    # days by outcome; empty: calls are kept for ever
    rules: Mapping[str, int] = field(default_factory=dict)
    # by how they ended
    archived: Mapping[str, int] = field(default_factory=dict)
    # still on their way to a store, or refused by one: left alone
    waiting: int = 0
    # stores that have not forgotten them yet, and why
    trouble: Mapping[str, str] = field(default_factory=dict)


class Retention:
    """Applies the rules once a day while `run` runs, and whenever it is asked to."""

    def __init__(self, parts: RetentionParts) -> None:
        self.parts = parts
        self._lock = asyncio.Lock()

    async def run(self) -> None:
        """Apply the rules every day until cancelled."""
        while self.parts.rules is not None:
            try:
                await self.apply()
                pause_s = EVERY_S
            except SidecarError as exc:
                log.warning("calls_not_archived", error=str(exc), again_in_s=AGAIN_S)
                pause_s = AGAIN_S
            await asyncio.sleep(pause_s)

    async def apply(self, *, dry_run: bool = False) -> RetentionReport:
        """Archive and forget all calls that are over; `dry_run`: only count them.

        Raises `StoreUnavailable`, `ArchiveFailed`, `JournalFailed`; what was done stays done.
        """
        if self.parts.rules is None:
            return RetentionReport()
        async with self._lock:
            return await self._apply(self.parts.rules, dry_run=dry_run)

    async def _apply(self, rules: RetentionRules, *, dry_run: bool) -> RetentionReport:
        now = self.parts.clock.now()
        archived: Counter[str] = Counter()
        together: list[CallRecord] = []
        waiting = 0
        async for batch in self.parts.conversations.records(since=None, without=(), batch=READ):
            for record in batch:
                if not rules.is_over(record, now):
                    continue
                if await self._is_on_its_way(record.call_id):
                    waiting += 1
                    continue
                archived[record.outcome.final_status] += 1
                together.append(record)
            if len(together) >= TOGETHER:
                await self._archive(together, dry_run=dry_run)
                together = []
            # oldest first
            if batch and batch[-1].started_at > rules.newest(now):
                break
        await self._archive(together, dry_run=dry_run)
        trouble = {} if dry_run else await self.parts.forgetter.work()
        if archived and not dry_run:
            log.info("calls_archived", calls=archived.total(), waiting=waiting)
        return RetentionReport(
            rules=rules.days, archived=dict(archived), waiting=waiting, trouble=trouble
        )

    async def _is_on_its_way(self, call_id: CallId) -> bool:
        committed = await self.parts.journal.record(call_id)
        states = committed.deliveries.values() if committed else ()
        return any(status.state in {"pending", "parked"} for status in states)

    async def _archive(self, records: Sequence[CallRecord], *, dry_run: bool) -> None:
        if not records or dry_run:
            return
        parts, call_ids = self.parts, [record.call_id for record in records]
        await parts.archives.add(records)
        # before the first of them is gone: what was learnt of a day is not counted anew without it
        await parts.close_days([record.started_at for record in records])
        await parts.recordings.forget(await parts.recordings.of_calls(call_ids))
        await parts.book.mark(call_ids, "archived")
