"""What must leave the stores for good, kept durably until it has."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from agent_sidecar.domain.erasure import Person
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.types import CallId, Lead, StoreName

Reason = Literal["archived", "erased"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenErasure:
    """A lead who is being erased."""

    id: str
    asked_at: datetime
    person: Person
    # what webhooks of his calls are known by: numbers, ids of legs
    traces: frozenset[str] = frozenset()
    # calls, files and rows that were removed, by place
    removed: Mapping[str, int] = field(default_factory=dict)


class ForgettingBook(Protocol):
    """The journal as the book of what has to go."""

    async def mark(
        self, call_ids: Collection[CallId], reason: Reason, *, live: Collection[CallId] = ()
    ) -> None:
        """Forget records, deliveries and events of these calls; every store has to follow.

        Durable, in one transaction. Events of `live` ones stay until these have ended; an erased
        one is never kept again.
        """
        ...

    async def waiting(self, store: StoreName, *, limit: int) -> Sequence[CallId]:
        """Return calls that this store still has to forget."""
        ...

    async def forgotten(self, store: StoreName, call_ids: Collection[CallId]) -> None:
        """Note that the store has forgotten them."""
        ...

    async def left(self) -> Mapping[StoreName, int]:
        """Count what each store still has to forget; stores with nothing are left out."""
        ...

    async def erased(self) -> frozenset[CallId]:
        """Return all calls that were erased, ever."""
        ...

    async def held(self, call_ids: Collection[CallId]) -> int:
        """Count rows of the journal that are about these calls, but for the marks."""
        ...

    async def oldest_webhook_at(self) -> datetime | None:
        """Return when the oldest webhook that is kept came."""
        ...

    async def webhooks_about(self, texts: Collection[str]) -> Sequence[str]:
        """Return the ids of kept webhooks whose body has one of these texts."""
        ...

    async def blank(self, event_ids: Collection[str]) -> None:
        """Empty webhooks; they are still known when they come again."""
        ...

    async def open_erasure(self, erasure: OpenErasure) -> None:
        """Keep an erasure until it is closed; again: what is known by now."""
        ...

    async def erasures(self) -> Sequence[OpenErasure]:
        """Return those that are open, oldest first."""
        ...

    async def close_erasure(self, erasure_id: str) -> None:
        """Forget who it was."""
        ...

    async def compact(self) -> None:
        """Write the file anew, so that nothing of what was deleted is left in it.

        Nothing else is written meanwhile.
        """
        ...


class Archives(Protocol):
    """Compressed files of calls that have left the stores."""

    async def add(self, records: Sequence[CallRecord]) -> None:
        """Keep them, each once, newest version; on disk when it returns."""
        ...

    async def find(self, person: Person) -> Sequence[CallId]:
        """Return his calls. Raises `ArchiveFailed`."""
        ...

    async def remove(self, call_ids: Collection[CallId]) -> int:
        """Write the files that have them anew without them; return how many there were."""
        ...


class LeadRows(Protocol):
    """Leads where they are rows: found by whatever names them, and removed."""

    async def named(self, person: Person) -> Sequence[Lead]: ...

    async def calls_of(self, lead_ids: Collection[str]) -> Sequence[CallId]: ...

    async def forget(self, lead_ids: Collection[str]) -> int:
        """Remove the rows; return how many. Their calls must have gone before."""
        ...


class RecordingFolder(Protocol):
    """Copies of recorded calls, as files of ours."""

    async def of_calls(self, call_ids: Collection[CallId]) -> Sequence[str]:
        """Return the names of the files that hold these calls."""
        ...

    async def forget(self, names: Collection[str]) -> int:
        """Remove files by name; return how many there were."""
        ...
