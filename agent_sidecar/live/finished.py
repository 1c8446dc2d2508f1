"""Finished calls: shown, and corrected by a person.

They come from the journal, or from the conversation store where the journal has forgotten them.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import structlog

from agent_sidecar.domain.events import RecordingSaved
from agent_sidecar.domain.outcome import outcome_of
from agent_sidecar.domain.playbook import Playbook
from agent_sidecar.domain.record import CallRecord, FinalStatus, TransferAttempt
from agent_sidecar.domain.transfer_result import TransferResult
from agent_sidecar.domain.types import STORES, CallId, TransferId
from agent_sidecar.errors import CallUnknown, StoreUnavailable, TransferUnknown
from agent_sidecar.live.views import finished_view
from agent_sidecar.ports import (
    CommittedRecord,
    Conversations,
    DeliveryStatus,
    Journal,
    Pruned,
)

log = structlog.get_logger()

# how long the conversation store may take, and how many old calls a list is filled up with
_ANSWER_S = 3.0
_OLDER = 100


class FinishedCalls:
    """The records of this process's journal, and what the conversation store has besides."""

    def __init__(self, journal: Journal, conversations: Conversations, playbook: Playbook) -> None:
        self._journal = journal
        self._conversations = conversations
        self._playbook = playbook
        # one correction at a time: each begins with the version before
        self._lock = asyncio.Lock()

    async def view(self, call_id: CallId) -> Mapping[str, object] | None:
        """Return a call with the state of its deliveries.

        Raises `StoreUnavailable` where only a store that does not answer has it.
        """
        committed = await self._find(call_id)
        return finished_view(committed) if committed else None

    async def newest(self, limit: int) -> Sequence[Mapping[str, object]]:
        """Return the newest calls, briefly."""
        recent = list(await self._journal.recent(limit=limit))
        if (room := min(limit - len(recent), _OLDER)) > 0:
            known = [committed.record.call_id for committed in recent]
            try:
                async with asyncio.timeout_at(_deadline()):
                    older = await self._conversations.newest(limit=room, without=known)
            except (StoreUnavailable, TimeoutError) as exc:
                # a list of the newest calls is better than none
                log.info("older_calls_not_listed", error=str(exc) or "no answer in time")
            else:
                recent += [_delivered(record, None) for record in older]
        return [finished_view(committed, brief=True) for committed in recent]

    async def correct(self, call_id: CallId, status: FinalStatus, qualified: bool | None) -> None:
        """Keep a version with the outcome that a person says. Raises `CallUnknown`."""
        async with self._lock:
            committed = await self._find(call_id)
            if committed is None:
                raise CallUnknown(f"no call {call_id!r} is live or finished here")
            record = committed.record
            outcome = outcome_of(
                status,
                qualified=qualified,
                engagement=record.engagement,
                playbook=self._playbook,
                posted=True,
            )
            corrected = replace(outcome, booked=record.outcome.booked)
            await self._journal.commit(replace(record, outcome=corrected))

    async def judge(
        self, call_id: CallId, transfer_id: TransferId, result: TransferResult
    ) -> tuple[TransferAttempt, bool]:
        """Keep a version with what the closer says of a transfer.

        Returns the transfer, and whether it was news. Raises `TransferUnknown`, or
        `StoreUnavailable` where only a store that does not answer has the call.
        """
        async with self._lock:
            committed = await self._find(call_id)
            attempts = committed.record.transfers if committed else ()
            before = next((a for a in attempts if a.transfer_id == transfer_id), None)
            if committed is None or before is None:
                raise TransferUnknown(transfer_id)
            judged = before.judged(result)
            if judged == before:
                return before, False
            transfers = tuple(judged if attempt is before else attempt for attempt in attempts)
            await self._journal.commit(replace(committed.record, transfers=transfers))
            return judged, True

    async def note_recording(self, call_id: CallId, saved: RecordingSaved) -> None:
        """Keep a version that knows of the recording. Raises `CallUnknown`."""
        async with self._lock:
            committed = await self._find(call_id)
            if committed is None:
                raise CallUnknown(f"no call {call_id!r} is live or finished here")
            before = committed.record.recording
            recording = before.saved(saved.url, saved.recording_id, saved.file)
            await self._journal.commit(replace(committed.record, recording=recording))

    async def _find(self, call_id: CallId) -> CommittedRecord | None:
        """Return the newest version; raise `StoreUnavailable` when it cannot be had now."""
        committed = await self._journal.record(call_id)
        if committed is not None:
            return committed
        pruned = await self._journal.pruned(call_id)
        try:
            async with asyncio.timeout_at(_deadline()):
                found = await self._conversations.find([call_id])
        except (StoreUnavailable, TimeoutError) as exc:
            if pruned is None:
                # nobody here has ever heard of it
                return None
            raise StoreUnavailable(
                f"call {call_id} is old: only the conversation store has it, which does not answer"
                f" ({exc or 'no answer in time'}); ask again when it does"
            ) from exc
        return next((_delivered(record, pruned) for record in found), None)


def _delivered(record: CallRecord, pruned: Pruned | None) -> CommittedRecord:
    """Return a record that the journal has forgotten: it had been delivered to every store."""
    status = DeliveryStatus(
        state="delivered", attempts=1, next_try_at=None, delivered_at=None, last_error=None
    )
    return CommittedRecord(
        record=record,
        version=pruned.version if pruned else 1,
        committed_at=pruned.committed_at if pruned else record.ended_at,
        deliveries=dict.fromkeys(STORES, status),
    )


def _deadline() -> float:
    return asyncio.get_running_loop().time() + _ANSWER_S
