"""Keeps the journal small: a record that every store has, and that is old, leaves it.

Before it goes the conversation store is asked for it: only what is there, word for word, may go,
since from then on that store alone has it. What waits, is parked or was dropped stays. All of it
happens in small steps with pauses, so that no call waits for it.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import structlog

from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.types import CallId
from agent_sidecar.errors import JournalFailed, StoreUnavailable
from agent_sidecar.ports import Clock, CommittedRecord, JournalCare

log = structlog.get_logger()


class FindsCalls(Protocol):
    """The conversation store, as far as it is asked here."""

    async def find(self, call_ids: Collection[CallId]) -> Sequence[CallRecord]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneLimits:
    """How hard it works."""

    every_s: float = 600.0
    # records of one step, and the pause after a step
    batch: int = 20
    pause_s: float = 0.1
    # how long the store may take for one step
    answer_s: float = 30.0


class Pruner:
    """Prunes while `run` runs."""

    def __init__(
        self,
        journal: JournalCare,
        conversations: FindsCalls,
        clock: Clock,
        *,
        keep: timedelta,
        limits: PruneLimits | None = None,
    ) -> None:
        self._journal = journal
        self._conversations = conversations
        self._clock = clock
        self._keep = keep
        self._limits = limits or PruneLimits()

    async def run(self) -> None:
        """Prune now and then; what cannot be asked or written now is left for the next time."""
        while True:
            try:
                await self.prune()
            except (StoreUnavailable, JournalFailed, TimeoutError) as exc:
                log.info("journal_not_pruned", error=str(exc) or "no answer in time")
            except Exception:
                log.exception("pruning_broke", what_to_do="report this; nothing is lost")
            await asyncio.sleep(self._limits.every_s)

    async def prune(self) -> int:
        """Forget all that may go; return how many records. Raises `StoreUnavailable`."""
        pruned = missing = after = 0
        while batch := await self._journal.prunable(
            before=self._clock.now() - self._keep, after=after, limit=self._limits.batch
        ):
            after = batch[-1][0]
            held = await self._held([committed for _, committed in batch])
            missing += len(batch) - len(held)
            pruned += await self._journal.prune(held)
            await asyncio.sleep(self._limits.pause_s)
        # the journal tells of no event when it is small enough
        while await self._journal.shrink():  # noqa: ASYNC110
            await asyncio.sleep(self._limits.pause_s)
        if missing:
            log.warning(
                "records_not_pruned",
                records=missing,
                what_to_do="they are delivered, but the conversation store does not hold them so:"
                " run `agent-sidecar verify`",
            )
        if pruned:
            log.info("journal_pruned", records=pruned)
        return pruned

    async def _held(self, batch: Sequence[CommittedRecord]) -> Sequence[CommittedRecord]:
        """Return those that the conversation store holds just as they are here."""
        deadline = asyncio.get_running_loop().time() + self._limits.answer_s
        async with asyncio.timeout_at(deadline):
            records = await self._conversations.find([c.record.call_id for c in batch])
        found = {record.call_id: record for record in records}
        return [c for c in batch if found.get(c.record.call_id) == c.record]
