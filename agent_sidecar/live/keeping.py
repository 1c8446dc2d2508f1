"""Keeps the record of a closed call: the first version until the journal takes it, then others."""

import asyncio

import structlog

from agent_sidecar.domain.call import Call
from agent_sidecar.domain.record import CallRecord, Configuration
from agent_sidecar.errors import JournalFailed
from agent_sidecar.ports import Journal

log = structlog.get_logger()

RETRY_S = 1.0


class RecordKeeper:
    """The record of one call, as far as it is on disk."""

    def __init__(self, call: Call, journal: Journal, configuration: Configuration) -> None:
        self._call = call
        self._journal = journal
        self._configuration = configuration
        # the newest version on disk
        self.record: CallRecord | None = None
        # one version at a time: held while the call is changed for the next one
        self.lock = asyncio.Lock()

    async def keep(self) -> None:
        """Keep the first version, whatever it takes; until then its events are in the journal."""
        while True:
            try:
                async with self.lock:
                    await self.keep_changes()
            except JournalFailed as exc:
                log.error(  # noqa: TRY400  # the journal has logged why; here is what it means
                    "record_not_kept",
                    error=str(exc),
                    what_to_do="make room on the data folder's disk: we try again every second",
                )
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def keep_changes(self) -> bool:
        """Keep a version with what is new; False: there is nothing new. Raises `JournalFailed`."""
        record = self._call.record(self._configuration)
        if record == self.record:
            return False
        commit = asyncio.create_task(
            self._journal.commit(record), name=f"commit:{record.call_id}"
        )
        try:
            await asyncio.shield(commit)
        except asyncio.CancelledError:
            await asyncio.wait({commit})  # bounded by the journal's own time
            raise
        self.record = record
        return True
