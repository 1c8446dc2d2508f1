"""What this process knows of each closer: his schedule and who has him, at most a second old.

PostgreSQL keeps schedules, Redis holds a copy for all processes beside the leases. Every process
looks there twice a second, so that a check needs no network, and what was seen is trusted for less
than a second: after that Redis is asked, and when it does not answer nobody is available. No
message has to arrive for a change to be seen, so none can be lost.

    change ─▶ PostgreSQL ─▶ copy in Redis ─▶ seen by all, within half a second
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from agent_sidecar.domain.availability import Hold, Schedule, Seen, Step
from agent_sidecar.domain.types import TransferId
from agent_sidecar.errors import StoreUnavailable

log = structlog.get_logger()

# what was seen is trusted so long, and looked at anew so often
TRUSTED_S, LOOK_S = 0.9, 0.5
# A copy in Redis lasts so long: then the next check reads the store. So a change made past us, by
# hand, is seen, and a cloud database that nobody needs may sleep.
COPY_S = 60.0
# how long a known schedule is waited for before the last known one has to do
READ_S = 0.25


class SharedState(Protocol):
    """What all processes see: leases, and copies of schedules."""

    async def lease(
        self, name: str, transfer_id: TransferId, ttl_s: float, step: Step | None = None
    ) -> bool: ...

    async def release(
        self,
        name: str,
        transfer_id: TransferId,
        *,
        step: Step | None = None,
        wrap_up_s: float = 0.0,
    ) -> None: ...

    async def seen(self, names: Sequence[str]) -> Sequence[Seen]: ...

    async def tell(self, schedule: Schedule, ttl_s: float) -> None: ...


class ReadSchedule(Protocol):
    """How a stored schedule is read."""

    async def __call__(self, name: str) -> Schedule | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A closer as he was seen; `asked_s` is when that was asked (loop time)."""

    schedule: Schedule | None
    hold: Hold | None
    asked_s: float


class Standings:
    """The closers' standings; warm while `run` runs."""

    def __init__(self, read: ReadSchedule, shared: SharedState) -> None:
        self._read = read
        self._shared = shared
        self._known: dict[str, Known] = {}
        # name -> when this process changed something about him (loop time)
        self._changed_s: dict[str, float] = {}
        # name -> his newest schedule known here, however old, and when the store was last asked
        self._last: dict[str, Schedule] = {}
        self._read_s: dict[str, float] = {}
        # whose new schedule could not be told to the others yet
        self._untold: set[str] = set()

    async def run(self) -> None:
        """Look at everybody who was asked for, again and again, until cancelled."""
        is_blind = False
        while True:
            try:
                await self._look()
                is_blind = False
            except StoreUnavailable as exc:
                if not is_blind:
                    what_to_do = "see that Redis runs: until then no closer is available"
                    log.warning("closers_not_seen", error=str(exc), what_to_do=what_to_do)
                is_blind = True
            except Exception:  # what is held must be prolonged all the same
                log.exception("look_broke", what_to_do="report this; each check asks by itself")
            await asyncio.sleep(LOOK_S)

    async def look_up(self, name: str) -> Known:
        """Return what is known, asked for now if it is too old. Raises `StoreUnavailable`."""
        known = self._known.get(name)
        if known is not None and now_s() - known.asked_s < TRUSTED_S:
            return known
        return await self._ask(name)

    def changed(self, name: str) -> None:
        """Forget what was seen: something about him has just been changed here."""
        self._changed_s[name] = now_s()
        self._known.pop(name, None)

    async def tell(self, schedule: Schedule) -> None:
        """Take a schedule that has just been stored, and let all processes know it."""
        name = schedule.closer.name
        self._last[name] = schedule
        self._read_s[name] = now_s()
        self.changed(name)
        await self._tell(schedule)

    async def _look(self) -> None:
        for name in list(self._untold):
            await self._tell(self._last[name])
        names = list(self._changed_s.keys() | self._last.keys())
        if not names:
            return
        asked_s = now_s()
        for name, seen in zip(names, await self._shared.seen(names), strict=True):
            # without a copy there the next check reads the store
            if seen.schedule is not None:
                self._remember(name, self._newer(name, seen.schedule), seen.hold, asked_s)

    async def _ask(self, name: str) -> Known:
        asked_s = now_s()
        [seen] = await self._shared.seen([name])
        if seen.schedule is not None:
            schedule: Schedule | None = self._newer(name, seen.schedule)
        else:
            schedule = await self._stored(name)
        return self._remember(name, schedule, seen.hold, asked_s)

    async def _stored(self, name: str) -> Schedule | None:
        """Read the store, at most once while what is seen is trusted; it may be away."""
        last, asked_s = self._last.get(name), now_s()
        if last is not None and asked_s - self._read_s.get(name, -TRUSTED_S) < TRUSTED_S:
            return last
        self._read_s[name] = asked_s
        try:
            async with asyncio.timeout(None if last is None else READ_S):
                schedule = await self._read(name)
        except (StoreUnavailable, TimeoutError) as exc:
            if last is None:
                raise
            # hours change rarely: the last known ones are better than no transfer
            log.warning("closer_hours_stale", closer=name, error=str(exc) or "no answer in time")
            return last
        if schedule is None:
            self._last.pop(name, None)
            return None
        if asked_s >= self._changed_s.get(name, -1.0):
            # the store is the truth, also when it was set back to an older revision
            self._last[name] = schedule
        await self._tell(schedule)
        return schedule

    async def _tell(self, schedule: Schedule) -> None:
        name = schedule.closer.name
        try:
            await self._shared.tell(schedule, COPY_S)
        except StoreUnavailable as exc:
            self._untold.add(name)
            log.warning("closer_hours_not_told", closer=name, error=str(exc), again_in_s=LOOK_S)
        else:
            self._untold.discard(name)

    def _newer(self, name: str, copy: Schedule) -> Schedule:
        last = self._last.get(name)
        if last is None or last.revision <= copy.revision:
            self._last[name] = last = copy
        return last

    def _remember(
        self, name: str, schedule: Schedule | None, hold: Hold | None, asked_s: float
    ) -> Known:
        known = Known(schedule=schedule, hold=hold, asked_s=asked_s)
        # what was asked before a change of ours says nothing about the time after it
        if asked_s >= self._changed_s.setdefault(name, 0.0):
            self._known[name] = known
        return known


def now_s() -> float:
    """Return the loop's time."""
    return asyncio.get_running_loop().time()
