"""Who may take over, when, and whether he is free: stored schedules and shared leases, together."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

import structlog

from agent_sidecar.domain.availability import Override, Schedule, Standing, Step
from agent_sidecar.domain.playbook import Closer
from agent_sidecar.domain.playbook_check import schedule_mistakes
from agent_sidecar.domain.types import TransferId
from agent_sidecar.errors import PlaybookInvalid, StoreUnavailable
from agent_sidecar.live.standings import SharedState, Standings, now_s

log = structlog.get_logger()

# nobody talks that long: Telnyx ends a leg after four hours
LONGEST_LEASE_S = 4 * 3600.0
# after a lease could not be prolonged, or a step not be told
_RETRY_S = 1.0


class ScheduleStore(Protocol):
    """Where schedules are kept; a change returns the new one, None: there is no such closer."""

    async def load(self, closers: Sequence[Closer]) -> None: ...

    async def schedule(self, name: str) -> Schedule | None: ...

    async def set_schedule(self, closer: Closer) -> Schedule | None: ...

    async def add_override(self, name: str, override: Override) -> Schedule | None: ...

    async def remove_override(self, name: str, override_id: str) -> Schedule | None: ...

    async def end_absence(self, name: str, at: datetime) -> Schedule | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A lease that this process holds, since when (loop time), and how far the transfer is."""

    transfer_id: TransferId
    since_s: float
    step: Step = "leased"


class ScheduledClosers:
    """`ports.Closers`; `run` says again and again that the leases held here are looked after.

    A lease that nobody has prolonged for `lease_s` frees no one: its process has died, and nobody
    knows whether his phone rings. He is `untended` then, until somebody finds out. After a talk he
    has `wrap_up_s` for himself.
    """

    def __init__(
        self,
        schedules: ScheduleStore,
        shared: SharedState,
        *,
        lease_s: float = 60.0,
        wrap_up_s: float = 0.0,
    ) -> None:
        self._schedules = schedules
        self._shared = shared
        self._lease_s = lease_s
        self._wrap_up_s = wrap_up_s
        self._standings = Standings(schedules.schedule, shared)
        # name -> who has him here
        self._held: dict[str, _Held] = {}
        # name -> the question whether he is to be had, and why it was not answered
        self._asking: dict[str, asyncio.Future[StoreUnavailable | None]] = {}
        self._noted = asyncio.Event()

    async def run(self) -> None:
        """Prolong the leases that are held here, and keep what is known fresh, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._standings.run(), name="standings")
            tasks.create_task(self._prolong_for_ever(), name="prolong")

    # --- schedules ---

    async def load(self, closers: Sequence[Closer]) -> None:
        await self._schedules.load(closers)
        for closer in closers:
            self._standings.changed(closer.name)

    async def set_schedule(self, closer: Closer) -> None:
        """Store hours. Raises `PlaybookInvalid` when they make no sense."""
        mistakes = [mistake.text for mistake in schedule_mistakes(closer)]
        if mistakes:
            raise PlaybookInvalid("; ".join(mistakes))
        await self._tell(await self._schedules.set_schedule(closer))

    async def add_override(self, name: str, override: Override) -> bool:
        return await self._tell(await self._schedules.add_override(name, override))

    async def remove_override(self, name: str, override_id: str) -> bool:
        return await self._tell(await self._schedules.remove_override(name, override_id))

    async def end_absence(self, name: str, at: datetime) -> bool:
        return await self._tell(await self._schedules.end_absence(name, at))

    # --- who has him ---

    async def standing(self, name: str, at: datetime) -> Standing | None:
        known = await self._standings.look_up(name)
        if known.schedule is None:
            return None
        return Standing(schedule=known.schedule, hold=known.hold, at=at)

    async def is_available(self, name: str, at: datetime) -> bool:
        standing = await self.standing(name, at)
        try:
            return standing is not None and standing.is_available
        except ValueError as exc:
            raise StoreUnavailable(f"the stored hours of {name} are wrong: {exc}") from exc

    async def holder(self, name: str) -> TransferId | None:
        hold = (await self._standings.look_up(name)).hold
        return None if hold is None else hold.transfer_id

    async def untended(self, name: str) -> TransferId | None:
        hold = (await self._standings.look_up(name)).hold
        if hold is None or hold.step == "wrapping_up":
            return None
        return hold.transfer_id if hold.left_s < LONGEST_LEASE_S - self._lease_s else None

    async def lease(self, name: str, transfer_id: TransferId) -> bool:
        if name in self._held and not self._is_held(name, transfer_id):
            return False
        if (asking := self._asking.get(name)) is not None:
            # of many who want him in one moment one asks for all: nobody waits for each other's
            # answer in turn when the store is slow
            await asyncio.shield(asking)
            if (failure := asking.result()) is not None:
                raise StoreUnavailable(str(failure)) from failure
            return False
        return await self._ask(name, transfer_id)

    def note(self, name: str, transfer_id: TransferId, step: Step) -> None:
        """Say how far the transfer is; told to everybody by `run`, soon."""
        if self._is_held(name, transfer_id):
            self._held[name] = replace(self._held[name], step=step)
            self._noted.set()

    async def release(self, name: str, transfer_id: TransferId) -> None:
        # first: a lease that cannot be released now is at least not prolonged
        step = self._held.pop(name).step if self._is_held(name, transfer_id) else None
        await self._free(name, transfer_id, step)

    async def _ask(self, name: str, transfer_id: TransferId) -> bool:
        self._asking[name] = asking = asyncio.get_running_loop().create_future()
        failure: StoreUnavailable | None = None
        try:
            taken = await self._shared.lease(name, transfer_id, LONGEST_LEASE_S)
        except StoreUnavailable as exc:
            failure = exc
            raise
        else:
            if taken and not self._is_held(name, transfer_id):
                self._held[name] = _Held(transfer_id=transfer_id, since_s=now_s())
            return taken
        finally:
            self._standings.changed(name)
            del self._asking[name]
            asking.set_result(failure)

    async def _tell(self, schedule: Schedule | None) -> bool:
        if schedule is not None:
            await self._standings.tell(schedule)
        return schedule is not None

    async def _free(self, name: str, transfer_id: TransferId, step: Step | None) -> None:
        await self._shared.release(name, transfer_id, step=step, wrap_up_s=self._wrap_up_s)
        self._standings.changed(name)

    async def _prolong_for_ever(self) -> None:
        all_well = True
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._lease_s / 3 if all_well else _RETRY_S):
                    await self._noted.wait()
            self._noted.clear()
            all_well = await self._prolong_all(log_failure=all_well)

    async def _prolong_all(self, *, log_failure: bool) -> bool:
        """Return whether the store answered."""
        for name, held in list(self._held.items()):
            if now_s() - held.since_s >= LONGEST_LEASE_S:
                del self._held[name]
                log.error(
                    "lease_forgotten",
                    closer=name,
                    transfer_id=held.transfer_id,
                    todo=f"no end of it was seen; {name} is free when Telnyx has no leg of it",
                )
                continue
            try:
                await self._prolong(name, held)
            except StoreUnavailable as exc:
                if log_failure:
                    log.warning("lease_not_prolonged", closer=name, error=str(exc))
                return False
        return True

    async def _prolong(self, name: str, held: _Held) -> None:
        # `leased` is what it is without a word; a transfer taken up after a restart may be further
        step = None if held.step == "leased" else held.step
        taken = await self._shared.lease(name, held.transfer_id, LONGEST_LEASE_S, step)
        self._standings.changed(name)
        if self._is_held(name, held.transfer_id):
            if not taken:
                del self._held[name]
                log.error(
                    "lease_lost",
                    closer=name,
                    transfer_id=held.transfer_id,
                    todo=f"the lease store was away too long and another call took {name};"
                    " see its log",
                )
        elif taken:
            # it was released while we asked
            await self._free(name, held.transfer_id, held.step)

    def _is_held(self, name: str, transfer_id: TransferId) -> bool:
        return name in self._held and self._held[name].transfer_id == transfer_id
