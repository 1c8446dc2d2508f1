"""The stores of finished calls, their source, recordings and leads."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.types import CallId, Lead, StoreName


class Projection(Protocol):
    """A store as the relay sees it: takes records, and can be asked whether it holds them."""

    @property
    def store(self) -> StoreName: ...

    @property
    def engine(self) -> str:
        """The server's product name as a person should read it, for example `PostgreSQL`."""
        ...

    async def migrate(self) -> Sequence[str]:
        """Bring the schema to the newest version, repeatable; return what was applied."""
        ...

    async def apply(self, record: CallRecord) -> None:
        """Write the record's whole projection; twice is as once, a corrected one replaces it.

        Raises `StoreUnavailable` or `RecordRejected`.
        """
        ...

    async def apply_all(self, records: Sequence[CallRecord]) -> None:
        """Write several, in fewer steps than one after the other; the result is the same.

        What it raises leaves open which were written: applying each again is always right.
        """
        ...

    async def differences(self, records: Sequence[CallRecord]) -> Mapping[CallId, Sequence[str]]:
        """Compare content: for each record that is missing or differs here, what and how."""
        ...

    async def forget(self, call_ids: Collection[CallId]) -> None:
        """Remove all that these calls left here, their share of every count included.

        Twice is as once, and a call that is not here is no error. A lead's row stays, and stands
        where its other calls have brought it.
        """
        ...

    async def clear(self) -> None:
        """Remove all calls and set every count to nothing, in steps; leads' rows stay.

        Nobody else may write meanwhile. Cut short it leaves some: again goes on from there.
        """
        ...

    def call_ids(self, *, batch: int = 500) -> AsyncIterator[Sequence[CallId]]:
        """Walk over the ids of the calls that are stored here, each once, in any order."""
        ...

    async def counts(self) -> Mapping[str, int]:
        """Count what is stored, by kind, for `GET /v1/stores` and `doctor`."""
        ...

    async def ping(self) -> None:
        """Really ask the server something. Raises `StoreUnavailable` with what to do."""
        ...


class Conversations(Protocol):
    """The store of whole conversations, as a source of what the journal has forgotten."""

    def records(
        self, *, since: datetime | None, without: Collection[CallId], batch: int = 100
    ) -> AsyncIterator[Sequence[CallRecord]]:
        """Walk over calls started since then but those, oldest first; broken ones are left out."""
        ...

    def call_ids(self, *, batch: int = 500) -> AsyncIterator[Sequence[CallId]]:
        """Walk over the ids of all calls, broken ones too, each once, in any order."""
        ...

    async def find(self, call_ids: Collection[CallId]) -> Sequence[CallRecord]:
        """Return those of these calls that are stored, in any order; broken ones are left out.

        Raises `StoreUnavailable`.
        """
        ...

    async def newest(self, *, limit: int, without: Collection[CallId]) -> Sequence[CallRecord]:
        """Return the calls that began last but those, newest first; broken ones are left out.

        Raises `StoreUnavailable`.
        """
        ...


class Recordings(Protocol):
    """Where copies of recorded calls are kept."""

    async def keep(self, url: str, name: str) -> str:
        """Copy what the link gives; return where. The same name is the same copy, made once.

        Raises `RecordingUnavailable` (try again) or `RecordingRefused` (do not).
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedLead:
    """A lead as the CRM has him now."""

    lead_id: str
    # None: he was deleted
    lead: Lead | None


class Leads(Protocol):
    """Who is called."""

    async def find_or_create(self, lead: Lead) -> Lead:
        """Return the stored lead with that id, external id or phone; else create one.

        What is given completes what is stored. Safe to run twice at once.
        """
        ...

    async def get(self, lead_id: str) -> Lead | None: ...

    async def put(self, lead: Lead) -> Lead:
        """Change the stored lead, made if missing; fields that are None stay."""
        ...

    async def find(self, *, phone: str | None = None, limit: int = 50) -> Sequence[Lead]: ...
