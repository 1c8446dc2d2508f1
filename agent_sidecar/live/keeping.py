"""Keeps the record of a closed call: the first version until the journal takes it, then others."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from agent_sidecar.domain.call import Call
from agent_sidecar.domain.record import CallRecord, Configuration
from agent_sidecar.domain.types import CallId
from agent_sidecar.errors import JournalFailed
from agent_sidecar.ports import Journal

log = structlog.get_logger()

RETRY_S = 1.0


class RecordKeeper:
    """The record of one call, as far as it is on disk."""

    def __init__(
        self,
        call: Call,
        journal: Journal,
        configuration: Configuration,
        *,
        on_kept: Callable[[CallRecord], None],
    ) -> None:
        """`on_kept` is told of every version that is on disk."""
        self._call = call
        self._journal = journal
        self._configuration = configuration
        self._on_kept = on_kept
        self._newest: CallRecord | None = None
        # one version at a time
        self._lock = asyncio.Lock()

    async def keep(self) -> None:
        """Keep the first version, whatever it takes; until then its events are in the journal."""
        while True:
            try:
                async with self._lock:
                    await self._keep_changes()
            except JournalFailed as exc:
                log.error(  # noqa: TRY400  # the journal has logged why; here is what it means
                    "record_not_kept",
                    error=str(exc),
                    what_to_do="make room on the data folder's disk: we try again every second",
                )
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def amend(self, change: Callable[[], Awaitable[None]]) -> None:
        """Change the closed call and keep what comes of it. Raises `JournalFailed`."""
        async with self._lock:
            await change()
            await self._keep_changes()

    async def _keep_changes(self) -> None:
        record = self._call.record(self._configuration)
        if record == self._newest:
            return
        commit = asyncio.create_task(self._journal.commit(record), name=f"commit:{record.call_id}")
        try:
            await asyncio.shield(commit)
        except asyncio.CancelledError:
            await asyncio.wait({commit})  # bounded by the journal's own time
            raise
        self._newest = record
        self._on_kept(record)


async def forget_events(journal: Journal, call_id: CallId) -> None:
    """Forget a call that never was one, whatever it takes: a restart would make a record of it."""
    while True:
        try:
            await journal.discard(call_id)
        except JournalFailed:
            await asyncio.sleep(RETRY_S)
        else:
            return
