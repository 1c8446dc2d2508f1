"""Watches the journal: can it be written, how large is it, how much has its disk left."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog

from agent_sidecar.errors import JournalFailed
from agent_sidecar.ports import JournalCare

log = structlog.get_logger()

_MB = 1_000_000
# below this part of what counts as low no new calls should come
_NOTHING_LEFT = 0.2
# an alarm ends when it is that far from its threshold: no flapping
_ALL_CLEAR = 0.9


class JournalMetrics(Protocol):
    def journal(self, *, used_bytes: int, disk_free_bytes: int, writable: bool) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchLimits:
    """When to say something."""

    alarm_mb: float
    disk_low_mb: float
    every_s: float = 10.0
    # a disk that takes longer for one small write counts as one that does not write
    write_s: float = 5.0


class JournalWatch:
    """Knows how the journal is; fresh while `run` runs."""

    def __init__(self, journal: JournalCare, limits: WatchLimits, metrics: JournalMetrics) -> None:
        self._journal = journal
        self._limits = limits
        self._metrics = metrics
        # why nothing can be written; None: it can
        self._trouble: str | None = None
        self._used_mb = 0.0
        self._disk_free_mb: float | None = None
        self._alarms: set[str] = set()

    @property
    def is_ready(self) -> bool:
        """What is acknowledged can be kept: it can be written, and there is room for more."""
        least_mb = _NOTHING_LEFT * self._limits.disk_low_mb
        has_room = self._disk_free_mb is None or self._disk_free_mb >= least_mb
        return self._trouble is None and has_room

    @property
    def alarms(self) -> list[str]:
        """What is not as it should be, each as one word."""
        return sorted(self._alarms)

    def view(self) -> Mapping[str, object]:
        """Show what is known."""
        return {
            "writable": self._trouble is None,
            "error": self._trouble,
            "mb": round(self._used_mb, 1),
            "disk_free_mb": None if self._disk_free_mb is None else round(self._disk_free_mb),
        }

    async def run(self) -> None:
        """Look now and then."""
        while True:
            await self.look()
            await asyncio.sleep(self._limits.every_s)

    async def look(self) -> None:
        """Look once."""
        deadline = asyncio.get_running_loop().time() + self._limits.write_s
        trouble = None
        try:
            async with asyncio.timeout_at(deadline):
                room = await self._journal.room()
                self._used_mb, self._disk_free_mb = room.used / _MB, room.disk_free / _MB
                await self._journal.probe()
        except JournalFailed as exc:
            trouble = str(exc)
        except TimeoutError:
            trouble = f"the disk did not write within {self._limits.write_s:g} s"
        self._note_trouble(trouble)
        self._note_room()
        self._metrics.journal(
            used_bytes=int(self._used_mb * _MB),
            disk_free_bytes=int((self._disk_free_mb or 0.0) * _MB),
            writable=trouble is None,
        )

    def _note_trouble(self, trouble: str | None) -> None:
        if trouble is not None and self._trouble is None:
            log.error(
                "journal_not_writable",
                error=trouble,
                what_to_do="mend what the error names: until then webhooks are answered 503, which"
                " Telnyx repeats, and no new calls should come (/readyz)",
            )
        elif trouble is None and self._trouble is not None:
            log.info("journal_writable_again")
        self._trouble = trouble

    def _note_room(self) -> None:
        self._note(
            "journal_large",
            self._used_mb / self._limits.alarm_mb,
            mb=round(self._used_mb),
            what_to_do="see what the stores do not take (`agent-sidecar deliveries`), or keep less"
            " (SIDECAR_JOURNAL_KEEP_DAYS)",
        )
        if self._disk_free_mb is not None:
            self._note(
                "disk_low",
                self._limits.disk_low_mb / max(self._disk_free_mb, 0.001),
                free_mb=round(self._disk_free_mb),
                what_to_do="make room on the data folder's disk: without any no call can be kept",
            )

    def _note(self, alarm: str, measure: float, **told: object) -> None:
        """Raise the alarm when the measure reaches 1, end it some way below."""
        if measure >= 1.0 and alarm not in self._alarms:
            self._alarms.add(alarm)
            log.warning(alarm, **told)
        elif measure < _ALL_CLEAR and alarm in self._alarms:
            self._alarms.discard(alarm)
            log.info("alarm_ended", alarm=alarm)
