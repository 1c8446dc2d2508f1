"""Closers: weekly hours from the schedule store, the lease from the live state.

A lease that expires means unknown, not free; its time covers the longest transfer by far, so that
only a process that died leaves one to expire.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from agent_sidecar.domain.availability import is_within_hours
from agent_sidecar.domain.playbook import Closer
from agent_sidecar.domain.types import TransferId

LEASE_S = 4 * 3600.0
# how old a schedule in memory may be: a change counts within a second
FRESH = timedelta(seconds=1)


class ScheduleStore(Protocol):
    async def load(self, closers: Sequence[Closer]) -> None: ...

    async def schedule(self, name: str) -> Closer | None: ...

    async def set_schedule(self, closer: Closer) -> None: ...


class LeaseStore(Protocol):
    async def lease(self, name: str, transfer_id: TransferId, *, ttl_s: float) -> bool: ...

    async def release(self, name: str, transfer_id: TransferId) -> bool: ...

    async def holder(self, name: str) -> TransferId | None: ...


class ScheduledClosers:
    """`ports.Closers` over the two stores."""

    def __init__(self, schedule: ScheduleStore, leases: LeaseStore) -> None:
        self._schedule = schedule
        self._leases = leases
        self._known: dict[str, tuple[datetime, Closer | None]] = {}

    async def load(self, closers: Sequence[Closer]) -> None:
        """Store the playbook's closers where the store has none of its own."""
        await self._schedule.load(closers)
        self._known.clear()

    async def schedule(self, name: str) -> Closer | None:
        """Return a closer with his hours."""
        return await self._schedule.schedule(name)

    async def set_schedule(self, closer: Closer) -> None:
        """Change a closer's hours."""
        await self._schedule.set_schedule(closer)
        self._known.pop(closer.name, None)

    async def is_available(self, name: str, at: datetime) -> bool:
        """Say whether he is within his hours and nobody has him. Raises `StoreUnavailable`."""
        closer = await self._closer(name, at)
        # no hours stored: any time
        if closer is not None and not is_within_hours(closer, at):
            return False
        return await self._leases.holder(name) is None

    async def lease(self, name: str, transfer_id: TransferId) -> bool:
        """Reserve him for one transfer; False when somebody else has him."""
        return await self._leases.lease(name, transfer_id, ttl_s=LEASE_S)

    async def release(self, name: str, transfer_id: TransferId) -> None:
        """End the lease if this transfer still holds it."""
        await self._leases.release(name, transfer_id)

    async def holder(self, name: str) -> TransferId | None:
        """Return the transfer that has him."""
        return await self._leases.holder(name)

    async def _closer(self, name: str, at: datetime) -> Closer | None:
        known = self._known.get(name)
        if known is not None and abs(at - known[0]) < FRESH:
            return known[1]
        closer = await self._schedule.schedule(name)
        self._known[name] = (at, closer)
        return closer
