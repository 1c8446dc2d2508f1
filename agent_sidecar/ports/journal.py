"""The first durable write of everything we acknowledge, and what it says of deliveries."""

from collections.abc import AsyncIterator, Awaitable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol

from agent_sidecar.domain.events import CallEvent
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.types import CallId, DeliveryState, LegId, StoreName

# it is emptied and every call marked for it; it takes them
RebuildStep = Literal["clearing", "filling"]
# nobody postpones a delivery for longer: one that is due later was written before the wall's clock
# was set back
LONGEST_PAUSE = timedelta(seconds=90)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedWebhook:
    """A webhook as it came, kept for deduplication and for legs that are known only later."""

    event_id: str
    event_type: str
    leg_id: LegId | None
    received_at: datetime
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCall:
    """A call whose end never came: every event that was kept of it, in order."""

    call_id: CallId
    events: tuple[CallEvent, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A record that a store still has to take."""

    store: StoreName
    record: CallRecord
    # counts commits of the same call; a corrected outcome makes a new one
    version: int
    committed_at: datetime
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Who gave a delivery up, when and why."""

    by: str
    at: datetime
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryStatus:
    state: DeliveryState
    attempts: int
    next_try_at: datetime | None
    delivered_at: datetime | None
    last_error: str | None
    # of a dropped one
    dropped: Drop | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedRecord:
    record: CallRecord
    version: int
    committed_at: datetime
    deliveries: Mapping[StoreName, DeliveryStatus]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What the journal still knows of a record that every store has."""

    call_id: CallId
    version: int
    committed_at: datetime


class Journal(Protocol):
    """The first durable write of everything we acknowledge; local, one file, group commit.

    `append` and `receive` take their place in the order of the journal when they are CALLED, not
    when they are awaited; what they return is done once the write is on disk and raises
    `JournalFailed` when it cannot be. Nobody needs to await a result he does not acknowledge.
    """

    def seen(self, event_id: str) -> Awaitable[None] | None:
        """Return None for a new webhook; for a repeated one, what ends when the first is kept."""
        ...

    def receive(self, webhook: ReceivedWebhook) -> Awaitable[None]:
        """Keep a webhook."""
        ...

    def append(self, call_id: CallId, event: CallEvent) -> Awaitable[None]:
        """Keep one event of an open call."""
        ...

    async def commit(self, record: CallRecord) -> int:
        """Keep the record and forget the call's events, in one transaction.

        Every store gets one pending delivery. Again for the same call, also when its record was
        pruned: the next version, delivered anew. Returns the version; 0: the call was erased, and
        nothing of it is kept.
        """
        ...

    async def discard(self, call_id: CallId) -> None:
        """Forget the events of an open call that never became a conversation."""
        ...

    async def open_calls(self) -> Sequence[OpenCall]:
        """Return the calls that have events and no record yet, oldest first."""
        ...

    async def claim(self, store: StoreName, *, limit: int) -> Sequence[Delivery]:
        """Return what is due for this store, oldest first. One caller per store at a time.

        What is due in more than `LONGEST_PAUSE` is due now: the clock was set back.
        """
        ...

    async def next_due_at(self, store: StoreName) -> datetime | None:
        """Return when the next pending delivery of this store is due; None: there is none."""
        ...

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Mark as delivered; one whose record has a newer version by now stays pending."""
        ...

    async def postpone(self, delivery: Delivery, *, next_try_at: datetime, error: str) -> None:
        """Try again at `next_try_at`."""
        ...

    async def park(self, delivery: Delivery, *, error: str) -> None:
        """Never try again by itself."""
        ...

    async def leaving(self) -> Collection[CallId]:
        """Return the calls that some store has still to forget: nobody's any more."""
        ...

    async def redeliver(self, records: Sequence[CallRecord], stores: Collection[StoreName]) -> None:
        """Let these stores be told of these calls again, from now on.

        What the journal holds of a call stands. One that it has forgotten comes back as given
        here, and counts as delivered to every other store.
        """
        ...

    async def put_rebuild(self, store: StoreName, step: RebuildStep | None) -> None:
        """Keep how far making a store anew has come, for a restart; None: it has ended."""
        ...

    async def rebuilds(self) -> Mapping[StoreName, RebuildStep]:
        """Return the stores that are being made anew."""
        ...

    async def record(self, call_id: CallId) -> CommittedRecord | None:
        """Return the newest version of a record with its delivery states."""
        ...

    def records(self, *, batch: int = 100) -> AsyncIterator[Sequence[CommittedRecord]]:
        """Walk over all records, oldest first."""
        ...

    async def recent(self, *, limit: int) -> Sequence[CommittedRecord]:
        """Return the newest records first."""
        ...

    async def pruned(self, call_id: CallId) -> Pruned | None:
        """Return what is left of a record that was pruned; None: there was none, or it is here."""
        ...

    async def knows(self, call_id: CallId) -> bool:
        """Say whether this call was ever committed here, or was erased; pruned ones too."""
        ...

    async def find_external(self, external_id: str) -> CallId | None:
        """Return the imported call of that file id, its record pruned or not."""
        ...

    async def waiting_since(self) -> Mapping[StoreName, datetime]:
        """Return when the oldest record that a store still has to take was committed.

        Parked ones do not wait; a store that nothing waits for is left out.
        """
        ...

    async def backlog(self) -> Mapping[StoreName, Mapping[DeliveryState, int]]:
        """Count deliveries by store and state."""
        ...
