"""Copies the recording of a call before its link expires, and tells the call where the copy is.

saved ──▶ copying ──unavailable──▶ pause ──▶ copying …  until the link has expired ──▶ lost
             └──copied──▶ told to the call, or to its record ──▶ kept
"""

import asyncio
import hashlib
from datetime import timedelta
from typing import Final

import structlog

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.types import CallId
from agent_sidecar.errors import (
    CallUnknown,
    JournalFailed,
    RecordingRefused,
    RecordingUnavailable,
)
from agent_sidecar.live.call_parts import CallParts
from agent_sidecar.live.judging import Judging
from agent_sidecar.ports import Recordings, TelephonyEvent

log = structlog.get_logger()

LINK_LIVES: Final = timedelta(minutes=10)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
# calls that may have ended within a link's life
_RECENT: Final = 200


class RecordingCopier:
    """Copies while its task group lives."""

    def __init__(
        self,
        recordings: Recordings | None,
        judging: Judging,
        parts: CallParts,
        tasks: asyncio.TaskGroup,
    ) -> None:
        """Without `recordings` nothing is copied."""
        self._recordings = recordings
        self._judging = judging
        self._journal = parts.journal
        self._clock = parts.clock
        self._metrics = parts.metrics
        self._tasks = tasks

    def copy(self, call_id: CallId, saved: ev.RecordingSaved) -> None:
        """Begin to copy what was just saved."""
        if self._recordings is not None and saved.file is None:
            work = self._copy(self._recordings, call_id, saved)
            self._tasks.create_task(work, name=f"recording:{call_id}")

    async def match(self, event: TelephonyEvent) -> None:
        """Find the call of a recording among those that are over, also before a restart."""
        for committed in await self._journal.recent(limit=_RECENT):
            record = committed.record
            if event.recording_url is not None and _is_of(event, record):
                saved = ev.RecordingSaved(
                    at=event.at, url=event.recording_url, recording_id=event.recording_id
                )
                await self._judging.note_recording(record.call_id, saved)
                self.copy(record.call_id, saved)
                return
        self._metrics.count("recordings", "unmatched")
        log.warning(
            "recording_unmatched",
            recording_id=event.recording_id,
            what_to_do="it is of no call here, or of one long ago; it is in Telnyx's portal",
        )

    async def resume(self) -> None:
        """Begin again with what a stop or a crash interrupted, as far as its links may live."""
        oldest = self._clock.now() - LINK_LIVES
        for committed in await self._journal.recent(limit=_RECENT):
            recording = committed.record.recording
            if recording.url is None or recording.file is not None:
                continue
            if committed.committed_at >= oldest:
                saved = ev.RecordingSaved(
                    at=committed.committed_at,
                    url=recording.url,
                    recording_id=recording.recording_id,
                )
                self.copy(committed.record.call_id, saved)

    async def _copy(
        self, recordings: Recordings, call_id: CallId, saved: ev.RecordingSaved
    ) -> None:
        expires_at = min(saved.at, self._clock.now()) + LINK_LIVES
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                await self._try(recordings, call_id, saved)
            except RecordingRefused as exc:
                self._lose(call_id, str(exc))
                return
            except CallUnknown as exc:
                # the file is there, and nothing is left that could name it
                self._lose(call_id, str(exc))
                return
            except (RecordingUnavailable, JournalFailed) as exc:
                if self._clock.now() + timedelta(seconds=pause_s) >= expires_at:
                    self._lose(call_id, str(exc))
                    return
                log.info("recording_not_copied_yet", call_id=call_id, error=str(exc))
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            except Exception:
                log.exception("recording_broke", call_id=call_id, what_to_do="report this")
                return
            else:
                self._metrics.count("recordings", "kept")
                return

    async def _try(self, recordings: Recordings, call_id: CallId, saved: ev.RecordingSaved) -> None:
        file = await recordings.keep(saved.url, _name(call_id, saved.url))
        await self._judging.note_recording(
            call_id,
            ev.RecordingSaved(
                at=saved.at, url=saved.url, recording_id=saved.recording_id, file=file
            ),
        )

    def _lose(self, call_id: CallId, error: str) -> None:
        self._metrics.count("recordings", "lost")
        log.error(
            "recording_not_copied",
            call_id=call_id,
            error=error,
            what_to_do="fetch it from Telnyx's portal (Reporting, Recordings) while it is kept",
        )


def _is_of(event: TelephonyEvent, record: CallRecord) -> bool:
    leg_id, session = event.call_leg_id, event.call_session_id
    return any(
        (leg_id is not None and leg.call_leg_id == leg_id)
        or (session is not None and leg.call_session_id == session)
        for leg in record.legs
    )


def _name(call_id: CallId, url: str) -> str:
    """Name a copy by call and file: the same after a restart, while links are signed anew."""
    file = hashlib.sha256(url.partition("?")[0].encode()).hexdigest()
    return f"{call_id}_{file[:12]}"
