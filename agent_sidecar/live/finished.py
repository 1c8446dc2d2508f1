"""Finished calls as the journal has them: shown, and corrected by a person."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from agent_sidecar.domain.events import RecordingSaved
from agent_sidecar.domain.outcome import outcome_of
from agent_sidecar.domain.playbook import Playbook
from agent_sidecar.domain.record import FinalStatus, TransferAttempt
from agent_sidecar.domain.transfer_result import TransferResult
from agent_sidecar.domain.types import CallId, TransferId
from agent_sidecar.errors import CallUnknown, TransferUnknown
from agent_sidecar.live.views import finished_view
from agent_sidecar.ports import Journal


class FinishedCalls:
    """The records of this process's journal."""

    def __init__(self, journal: Journal, playbook: Playbook) -> None:
        self._journal = journal
        self._playbook = playbook
        # one correction at a time: each begins with the version before
        self._lock = asyncio.Lock()

    async def view(self, call_id: CallId) -> Mapping[str, object] | None:
        """Return a call with the state of its deliveries."""
        committed = await self._journal.record(call_id)
        return finished_view(committed) if committed else None

    async def newest(self, limit: int) -> Sequence[Mapping[str, object]]:
        """Return the newest calls, briefly."""
        recent = await self._journal.recent(limit=limit)
        return [finished_view(committed, brief=True) for committed in recent]

    async def correct(self, call_id: CallId, status: FinalStatus, qualified: bool | None) -> None:
        """Keep a version with the outcome that a person says. Raises `CallUnknown`."""
        async with self._lock:
            committed = await self._journal.record(call_id)
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

        Returns the transfer, and whether it was news. Raises `TransferUnknown`.
        """
        async with self._lock:
            committed = await self._journal.record(call_id)
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
            committed = await self._journal.record(call_id)
            if committed is None:
                raise CallUnknown(f"no call {call_id!r} is live or finished here")
            before = committed.record.recording
            recording = before.saved(saved.url, saved.recording_id, saved.file)
            await self._journal.commit(replace(committed.record, recording=recording))
