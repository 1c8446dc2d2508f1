"""Brings every record of the journal to one store: claim, apply, ack; back off; park.

    up ──unavailable, or no answer in time──▶ down ──a record was taken──▶ up
                                              │  ▲
                                              └──┘ pause, then try one record

Pauses grow to a minute. Which record is tried changes from try to try, so that one which brings its
store down cannot hold up the others for ever. After a crash, a cancellation or a lost answer
between apply and ack the record is applied again, which changes nothing. A lane finishes a batch
before it claims the next, and a version waits while a former one may still be on its way (`order`),
so the versions of a call keep their order. While live calls suffer, a backlog is brought in smaller
batches with pauses between them.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

import structlog

from agent_sidecar.domain.types import CallId, DeliveryState, StoreName
from agent_sidecar.errors import JournalFailed, RecordRejected, StoreUnavailable
from agent_sidecar.ports import Clock, Delivery, Journal, Projection
from agent_sidecar.wrapup.order import VersionOrder

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayLimits:
    """How hard the relay tries."""

    # records claimed at once and applied together; how many side by side where that fails
    batch: int = 50
    at_once: int = 4
    # an apply that takes longer counts as a store that does not answer
    apply_s: float = 30.0
    # the first pause and the longest, before the random part
    pause_s: float = 0.5
    longest_pause_s: float = 60.0
    # how long after a store's answer what it was asked before may still be carried out
    settle_s: float = 5.0
    # while live calls suffer: so few records of a backlog at once, and a pause after them
    least_together: int = 4
    breath_s: float = 0.25
    # a record that fails so often, for a reason that is neither the store's absence nor its
    # refusal, is parked
    tries: int = 20
    # spreads the retries of many processes
    random: Random = field(default_factory=Random)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of one try to deliver a record."""

    store: StoreName
    call_id: CallId
    version: int
    # `pending`: it is tried again
    state: DeliveryState
    error: str | None = None


def pause_before_try_s(failures: int, limits: RelayLimits) -> float:
    """Return the pause after so many failures in a row: half of it sure, half of it random."""
    whole_s = min(limits.longest_pause_s, limits.pause_s * 2.0 ** min(failures - 1, 30))
    return whole_s * limits.random.uniform(0.5, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneParts:
    journal: Journal
    clock: Clock
    limits: RelayLimits
    on_settled: Callable[[Settled], None]
    is_strained: Callable[[], bool]


class Lane:
    """One store's deliveries."""

    def __init__(self, projection: Projection, parts: LaneParts) -> None:
        self.store = projection.store
        self._projection = projection
        self._parts = parts
        self._journal = parts.journal
        self._limits = parts.limits
        # who has it may write to the store: the lane for a batch, or somebody who pauses it
        self._turn = asyncio.Lock()
        self._is_paused = False
        self._order = VersionOrder(self._limits.settle_s, parts.clock.now())
        self._woken = asyncio.Event()
        self._hurried = asyncio.Event()
        # nothing is due, or the store is down
        self._resting = asyncio.Event()
        # tries in a row that found the store down
        self._failures = 0
        # records applied together: fewer where so many were too much
        self._together = parts.limits.batch
        # when the last version that had to wait may go, loop time
        self._held_until = 0.0
        # why the running batch found it down
        self._trouble: str | None = None
        # unexpected failures by call and version; a restart may forget them
        self._faults: dict[tuple[CallId, int], int] = {}

    def wake(self) -> None:
        self._woken.set()

    def hurry(self) -> None:
        self._woken.set()
        self._hurried.set()

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        async with self._turn:
            self._is_paused = True
            # nobody who drains waits for it
            self._resting.set()
            try:
                yield
            finally:
                self._is_paused = False
        self.wake()

    async def rest(self) -> None:
        """Return when everything due was tried, at once when the store is down or paused."""
        if self._failures or self._is_paused:
            return
        self._resting.clear()
        self._woken.set()
        await self._resting.wait()

    async def run(self) -> None:
        self._order = VersionOrder(self._limits.settle_s, self._parts.clock.now())
        while True:
            there_is_more = False
            try:
                self._woken.clear()
                limit = 1 if self._failures else self._together
                tried = await self._deliver_batch(limit)
                if not tried:
                    await self._wait_for_work()
                    continue
                there_is_more = tried == limit
            except Exception as exc:  # noqa: BLE001 - a lane outlives every batch
                self._trouble = f"the relay failed: {exc!r}"
            await self._conclude(there_is_more=there_is_more)

    async def _deliver_batch(self, limit: int) -> int:
        """Try what is due; return how many there were."""
        async with self._turn:
            claimed = await self._journal.claim(self.store, limit=limit)
            if claimed and (deliveries := await self._hold_back(claimed)):
                await self._apply_all(deliveries)
            return len(claimed)

    async def _hold_back(self, claimed: Sequence[Delivery]) -> Sequence[Delivery]:
        """Return what may go now; the others wait for what became of their former versions."""
        now = asyncio.get_running_loop().time()
        waits = {_version(d): self._order.waits_until(d, now) for d in claimed}
        free = [d for d in claimed if waits[_version(d)] is None]
        if not free and not await self._answers():
            return ()
        for delivery in claimed:
            if (until := waits[_version(delivery)]) is None:
                continue
            wait_s = min(until - now, self._limits.settle_s)
            self._held_until = max(self._held_until, now + wait_s)
            await self._journal.postpone(
                delivery,
                next_try_at=self._parts.clock.now() + timedelta(seconds=wait_s),
                error="waits: its former version may still be on its way to the store",
            )
        return free

    async def _answers(self) -> bool:
        """Ask the store something that changes nothing."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(loop.time() + self._limits.apply_s):
                await self._projection.ping()
        except StoreUnavailable as exc:
            self._trouble = str(exc)
        except TimeoutError:
            self._trouble = f"no answer within {self._limits.apply_s:g} s"
        else:
            self._order.note_answered((), loop.time())
        return self._trouble is None

    async def _wait_for_work(self) -> None:
        due_at = await self._journal.next_due_at(self.store)
        if asyncio.get_running_loop().time() >= self._held_until:
            self._resting.set()
        wait_s: float | None = None
        if due_at is not None:
            left_s = (due_at - self._parts.clock.now()).total_seconds()
            # bounded, since the wall's clock may be set
            wait_s = min(max(left_s, 0.01), self._limits.longest_pause_s)
        await _wait(self._woken, wait_s)

    async def _apply_all(self, deliveries: Sequence[Delivery]) -> None:
        """Deliver a batch; what is left of it when the store goes down stays pending."""
        if len(deliveries) > 1 and await self._deliver_together(deliveries):
            return
        waiting = deque(deliveries)

        async def work() -> None:
            while waiting and self._trouble is None:
                await self._deliver(waiting.popleft())

        async with asyncio.TaskGroup() as workers:
            for _ in range(min(self._limits.at_once, len(deliveries))):
                workers.create_task(work(), name=f"deliver:{self.store}")

    async def _deliver_together(self, deliveries: Sequence[Delivery]) -> bool:
        """Deliver all in one go; False: one of them may be at fault, so each must be tried alone.

        When the store is down none is postponed: the next try is one record alone.
        """
        deadline = asyncio.get_running_loop().time() + self._limits.apply_s
        try:
            async with asyncio.timeout_at(deadline):
                await self._projection.apply_all([delivery.record for delivery in deliveries])
        except StoreUnavailable as exc:
            self._lose(deliveries, str(exc))
            return True
        except TimeoutError:
            self._lose(deliveries, f"no answer within {self._limits.apply_s:g} s")
            return True
        except Exception as exc:  # noqa: BLE001 - whose fault it is shows when each is alone
            log.info(
                "batch_taken_apart", store=self.store, records=len(deliveries), error=repr(exc)
            )
            return False
        self._order.note_answered(deliveries, asyncio.get_running_loop().time())
        try:
            await self._journal.ack(deliveries)
        except JournalFailed as exc:
            # the store has the records; they are told again
            self._trouble = str(exc)
            return True
        for delivery in deliveries:
            self._faults.pop(_version(delivery), None)
            self._tell(delivery, "delivered")
        return True

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            await self._try(delivery)
        except JournalFailed as exc:
            # The store may have the record; it is told again.
            self._trouble = str(exc)

    async def _try(self, delivery: Delivery) -> None:
        deadline = asyncio.get_running_loop().time() + self._limits.apply_s
        try:
            async with asyncio.timeout_at(deadline):
                await self._projection.apply(delivery.record)
        except RecordRejected as exc:
            self._order.note_answered([delivery], asyncio.get_running_loop().time())
            await self._park(delivery, f"refused: {exc}")
        except StoreUnavailable as exc:
            self._lose([delivery], str(exc))
            await self._postpone(delivery, str(exc))
        except TimeoutError:
            trouble = f"no answer within {self._limits.apply_s:g} s"
            self._lose([delivery], trouble)
            await self._postpone(delivery, trouble)
        except Exception as exc:  # noqa: BLE001 - one record must not end the lane
            await self._note_fault(delivery, exc)
        else:
            self._order.note_answered([delivery], asyncio.get_running_loop().time())
            await self._journal.ack([delivery])
            self._faults.pop(_version(delivery), None)
            self._tell(delivery, "delivered")

    def _lose(self, deliveries: Sequence[Delivery], trouble: str) -> None:
        """Note that the store gave no answer: what it was asked may still be carried out."""
        self._trouble = trouble
        self._order.note_uncertain(deliveries)

    async def _note_fault(self, delivery: Delivery, exc: Exception) -> None:
        self._order.note_uncertain([delivery])
        faults = self._faults.get(_version(delivery), 0) + 1
        self._faults[_version(delivery)] = faults
        log.warning(
            "delivery_failed",
            store=self.store,
            call_id=delivery.record.call_id,
            tries=faults,
            exc_info=exc,
        )
        if faults >= self._limits.tries:
            await self._park(delivery, f"failed {faults} times: {exc!r}")
        else:
            await self._postpone(delivery, repr(exc))

    async def _postpone(self, delivery: Delivery, error: str) -> None:
        # Its own failures count too: a record that brings its store down comes ever more rarely.
        failures = max(self._failures, delivery.attempts) + 1
        pause = timedelta(seconds=pause_before_try_s(failures, self._limits))
        next_try_at = self._parts.clock.now() + pause
        await self._journal.postpone(delivery, next_try_at=next_try_at, error=error)
        self._tell(delivery, "pending", error)

    async def _park(self, delivery: Delivery, error: str) -> None:
        await self._journal.park(delivery, error=error)
        self._faults.pop(_version(delivery), None)
        log.error(
            "record_parked",
            store=self.store,
            call_id=delivery.record.call_id,
            error=error,
            todo=f"mend what the error names in {self._projection.engine}, then:"
            f" agent-sidecar deliveries retry {delivery.record.call_id} --store {self.store}"
            " (or `deliveries drop` gives it up)",
        )
        self._tell(delivery, "parked", error)

    async def _conclude(self, *, there_is_more: bool) -> None:
        """Go on at once when the store took what it was given, else after a pause."""
        trouble, self._trouble = self._trouble, None
        if trouble is None:
            if self._failures:
                log.info("deliveries_resumed", store=self.store, after_tries=self._failures)
            self._failures = 0
            if there_is_more and self._parts.is_strained():
                self._together = max(self._limits.least_together, self._together // 2)
                await asyncio.sleep(self._limits.breath_s)
            else:
                self._together = min(2 * self._together, self._limits.batch)
            return
        self._failures += 1
        self._together = max(1, self._together // 4)
        if self._failures == 1:
            log.warning(
                "deliveries_paused",
                store=self.store,
                engine=self._projection.engine,
                error=trouble,
                todo="nothing is lost; mend what the error names, deliveries go on by themselves",
            )
        self._resting.set()
        self._hurried.clear()
        await _wait(self._hurried, pause_before_try_s(self._failures, self._limits))

    def _tell(self, delivery: Delivery, state: DeliveryState, error: str | None = None) -> None:
        settled = Settled(
            store=self.store,
            call_id=delivery.record.call_id,
            version=delivery.version,
            state=state,
            error=error,
        )
        try:
            self._parts.on_settled(settled)
        except Exception:
            log.exception("delivery_not_told", store=self.store, call_id=settled.call_id)


def _version(delivery: Delivery) -> tuple[CallId, int]:
    return delivery.record.call_id, delivery.version


async def _wait(event: asyncio.Event, wait_s: float | None) -> None:
    try:
        async with asyncio.timeout(wait_s):
            await event.wait()
    except TimeoutError:
        return
