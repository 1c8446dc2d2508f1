"""Who may take over, when, and whether he is free: stored hours and shared leases, put together."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import structlog

from agent_sidecar.domain.availability import is_within_hours
from agent_sidecar.domain.playbook import Closer
from agent_sidecar.domain.playbook_check import schedule_mistakes
from agent_sidecar.domain.types import TransferId
from agent_sidecar.errors import PlaybookInvalid, StoreUnavailable

log = structlog.get_logger()

# A held lease is prolonged until then: nobody talks that long, but a forgotten one must end.
_LONGEST_LEASE_S = 4 * 3600.0


class ScheduleStore(Protocol):
    """Where hours are kept."""

    async def load(self, closers: Sequence[Closer]) -> None: ...

    async def schedule(self, name: str) -> Closer | None: ...

    async def set_schedule(self, closer: Closer) -> None: ...


class LeaseStore(Protocol):
    """Where leases are kept; asking again for one's own prolongs it."""

    async def lease(self, name: str, transfer_id: TransferId, ttl_s: float) -> bool: ...

    async def release(self, name: str, transfer_id: TransferId) -> None: ...

    async def holder(self, name: str) -> TransferId | None: ...


class ScheduledClosers:
    """`ports.Closers`; while `run` runs, the leases that this process holds do not expire.

    So a lease can be short: when the process dies, the closer is free again after `lease_s`.
    Without `run` it lasts for hours, lest a closer's phone rings while he talks.
    """

    def __init__(
        self,
        schedules: ScheduleStore,
        leases: LeaseStore,
        *,
        lease_s: float = 60.0,
        cache_s: float = 1.0,
    ) -> None:
        self._schedules = schedules
        self._leases = leases
        self._lease_s = lease_s
        self._cache_s = cache_s
        # name -> what was read, and when (loop time)
        self._cache: dict[str, tuple[Closer | None, float]] = {}
        # name -> who has him here, and since when
        self._held: dict[str, tuple[TransferId, float]] = {}
        self._prolonging = False

    async def run(self) -> None:
        """Prolong the leases that are held here, until cancelled."""
        self._prolonging = True
        try:
            while True:
                await asyncio.sleep(self._lease_s / 3)
                await self._prolong_all()
        finally:
            self._prolonging = False

    async def load(self, closers: Sequence[Closer]) -> None:
        await self._schedules.load(closers)
        self._cache.clear()

    async def schedule(self, name: str) -> Closer | None:
        cached = self._cache.get(name)
        if cached is not None and _now() - cached[1] < self._cache_s:
            return cached[0]
        asked_at = _now()
        try:
            closer = await self._schedules.schedule(name)
        except StoreUnavailable:
            if cached is None:
                raise
            # hours change rarely: the last known ones are better than no transfer
            log.warning("closer_hours_stale", closer=name, age_s=round(asked_at - cached[1]))
            return cached[0]
        self._cache[name] = (closer, asked_at)
        return closer

    async def set_schedule(self, closer: Closer) -> None:
        """Store hours. Raises `PlaybookInvalid` when they make no sense."""
        mistakes = [mistake.text for mistake in schedule_mistakes(closer)]
        if mistakes:
            raise PlaybookInvalid("; ".join(mistakes))
        await self._schedules.set_schedule(closer)
        self._cache.pop(closer.name, None)

    async def is_available(self, name: str, at: datetime) -> bool:
        closer = await self.schedule(name)
        if closer is None:
            return False
        try:
            within = is_within_hours(closer, at)
        except ValueError as exc:
            raise StoreUnavailable(f"the stored hours of {name} are wrong: {exc}") from exc
        return within and await self.holder(name) is None

    async def lease(self, name: str, transfer_id: TransferId) -> bool:
        ttl_s = self._lease_s if self._prolonging else _LONGEST_LEASE_S
        taken = await self._leases.lease(name, transfer_id, ttl_s)
        if taken:
            self._held[name] = (transfer_id, _now())
        return taken

    async def release(self, name: str, transfer_id: TransferId) -> None:
        # first: a lease that cannot be released now is at least not prolonged
        if self._is_held(name, transfer_id):
            del self._held[name]
        await self._leases.release(name, transfer_id)

    async def holder(self, name: str) -> TransferId | None:
        return await self._leases.holder(name)

    async def _prolong_all(self) -> None:
        for name, (transfer_id, since) in list(self._held.items()):
            if _now() - since < _LONGEST_LEASE_S:
                await self._prolong(name, transfer_id)
                continue
            del self._held[name]
            log.error(
                "lease_forgotten",
                closer=name,
                transfer_id=transfer_id,
                todo=f"no end of this transfer was seen; {name} is free again in a minute",
            )

    async def _prolong(self, name: str, transfer_id: TransferId) -> None:
        try:
            if await self._leases.lease(name, transfer_id, self._lease_s):
                if not self._is_held(name, transfer_id):
                    # it was released while we asked
                    await self._leases.release(name, transfer_id)
                return
        except StoreUnavailable as exc:
            log.warning("lease_not_prolonged", closer=name, error=str(exc))
            return
        if self._is_held(name, transfer_id):
            del self._held[name]
        log.error(
            "lease_lost",
            closer=name,
            transfer_id=transfer_id,
            todo=f"the lease store was away too long and another call took {name}; see its log",
        )

    def _is_held(self, name: str, transfer_id: TransferId) -> bool:
        return name in self._held and self._held[name][0] == transfer_id


def _now() -> float:
    return asyncio.get_running_loop().time()
