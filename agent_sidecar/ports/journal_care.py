"""What people and upkeep do with the journal, beside what calls and deliveries need of it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from agent_sidecar.domain.types import CallId, DeliveryState, StoreName
from agent_sidecar.ports.journal import CommittedRecord, DeliveryStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedDelivery:
    """One delivery as people see it, without its record."""

    call_id: CallId
    store: StoreName
    version: int
    committed_at: datetime
    status: DeliveryStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalRoom:
    """How much the journal takes, and how much its disk has left, bytes."""

    used: int
    # within the file: it is written over before the file grows
    unused: int
    disk_free: int


class DeliveryBook(Protocol):
    """Deliveries as a person sees and settles them."""

    async def deliveries(
        self, *, store: StoreName | None, states: Collection[DeliveryState], limit: int
    ) -> Sequence[ListedDelivery]:
        """Return those in one of these states, oldest record first."""
        ...

    async def retry(self, *, call_id: CallId | None, store: StoreName | None) -> int:
        """Make deliveries due now, as if never tried; return how many.

        Without `call_id` all that are pending or parked; with it dropped ones too.
        """
        ...

    async def drop(self, call_id: CallId, store: StoreName, *, by: str, reason: str | None) -> bool:
        """Give up a pending or parked one; False: there is none.

        One that its store takes at this very moment ends as delivered all the same.
        """
        ...


class JournalCare(Protocol):
    """Keeps the journal small and says whether it can be written."""

    async def prunable(
        self, *, before: datetime, after: int, limit: int
    ) -> Sequence[tuple[int, CommittedRecord]]:
        """Return records committed before then that every store has, each with its place.

        Oldest first, those behind the place `after` (0: from the beginning).
        """
        ...

    async def prune(self, records: Sequence[CommittedRecord]) -> int:
        """Forget records but for `Pruned`, as far as they are still as given and delivered."""
        ...

    async def shrink(self) -> bool:
        """Give a little of the file's unused room back to the disk; True: there is more."""
        ...

    async def probe(self) -> None:
        """Write something and wait until it is on disk. Raises `JournalFailed`."""
        ...

    async def room(self) -> JournalRoom:
        """Measure. Raises `JournalFailed`."""
        ...
