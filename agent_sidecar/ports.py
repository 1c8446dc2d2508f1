"""Every side effect the service can have, as Protocols on one page.

Adapters implement them, fakes in `tests/fakes.py` too, and one contract suite runs on both. What a
port cannot do it raises as one of `errors`: `StoreUnavailable` (try again later), `RecordRejected`
(never again), `CommandRefused`, `CommandUncertain`.
"""

from collections.abc import AsyncIterator, Awaitable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from agent_sidecar.domain.availability import Step
from agent_sidecar.domain.events import CallEvent
from agent_sidecar.domain.hints import Question, Retrieved
from agent_sidecar.domain.playbook import Closer
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.telephony import TelephonyEvent as TelephonyEvent
from agent_sidecar.domain.telephony import TelephonyKind as TelephonyKind
from agent_sidecar.domain.types import (
    CallId,
    CommandId,
    DeliveryState,
    Lead,
    LegId,
    StoreName,
    TransferId,
    Vector,
)


class Clock(Protocol):
    """The wall's clock."""

    def now(self) -> datetime:
        """Return the time, aware, UTC."""
        ...


class Embedder(Protocol):
    """Turns texts into vectors of unit length."""

    @property
    def name(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        """Return one vector per text. Raises `EmbeddingFailed`."""
        ...


class Retriever(Protocol):
    """One source of what has worked; named as it appears in `degraded`."""

    @property
    def name(self) -> str: ...

    async def retrieve(self, question: Question) -> Retrieved:
        """Answer as well as it can. Raises `StoreUnavailable`. Safe to cancel at any time."""
        ...


# --- the journal --------------------------------------------------------------------------------


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
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryStatus:
    state: DeliveryState
    attempts: int
    next_try_at: datetime | None
    delivered_at: datetime | None
    last_error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedRecord:
    record: CallRecord
    version: int
    committed_at: datetime
    deliveries: Mapping[StoreName, DeliveryStatus]


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

        Every store gets one pending delivery. Again for the same call: a new version, delivered
        anew. Returns the version.
        """
        ...

    async def discard(self, call_id: CallId) -> None:
        """Forget the events of an open call that never became a conversation."""
        ...

    async def open_calls(self) -> Sequence[OpenCall]:
        """Return the calls that have events and no record yet, oldest first."""
        ...

    async def claim(self, store: StoreName, *, limit: int) -> Sequence[Delivery]:
        """Return what is due for this store, oldest first. One caller per store at a time."""
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

    async def record(self, call_id: CallId) -> CommittedRecord | None:
        """Return the newest version of a record with its delivery states."""
        ...

    def records(self, *, batch: int = 100) -> AsyncIterator[Sequence[CommittedRecord]]:
        """Walk over all records, oldest first."""
        ...

    async def recent(self, *, limit: int) -> Sequence[CommittedRecord]:
        """Return the newest records first."""
        ...

    async def find_external(self, external_id: str) -> CallId | None:
        """Return the imported call of that file id."""
        ...

    async def backlog(self) -> Mapping[StoreName, Mapping[DeliveryState, int]]:
        """Count deliveries by store and state."""
        ...


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


class Recordings(Protocol):
    """Where copies of recorded calls are kept."""

    async def keep(self, url: str, name: str) -> str:
        """Copy what the link gives; return where. The same name is the same copy, made once.

        Raises `RecordingUnavailable` (try again) or `RecordingRefused` (do not).
        """
        ...


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


class Closers(Protocol):
    """Who may take over, when, and whether he is free now: leases are atomic over all processes."""

    async def load(self, closers: Sequence[Closer]) -> None:
        """Store the playbook's closers and hours where the store has none of its own."""
        ...

    async def is_available(self, name: str, at: datetime) -> bool:
        """He is working and nobody has him. Raises `StoreUnavailable`."""
        ...

    async def lease(self, name: str, transfer_id: TransferId) -> bool:
        """Reserve him for one transfer; False when somebody else has him, or he wraps up."""
        ...

    # how far the transfer is that holds him; never blocks and never fails
    def note(self, name: str, transfer_id: TransferId, step: Step) -> None: ...

    async def release(self, name: str, transfer_id: TransferId) -> None:
        """End the lease if this transfer still holds it; after a talk he wraps up first."""
        ...

    async def holder(self, name: str) -> TransferId | None: ...

    async def untended(self, name: str) -> TransferId | None:
        """Return who holds him if his process has not said for a minute that it looks after it."""
        ...


# --- telephony ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DialedLeg:
    leg_id: LegId
    call_leg_id: str | None
    call_session_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial:
    """Ring the closer, linked to the prospect's leg; detects machines, never bridges by itself."""

    to: str
    from_: str
    link_to: LegId
    client_state: str
    timeout_s: int


class CallControl(Protocol):
    """Telnyx's commands. 200 means accepted, not done; the proof is a webhook.

    Raises `CommandRefused` (do not repeat) or `CommandUncertain` (ask before anything else).
    """

    async def start_stream(
        self, leg_id: LegId, *, url: str, token: str, command_id: CommandId
    ) -> None: ...

    async def start_transcription(self, leg_id: LegId, *, command_id: CommandId) -> None: ...

    async def start_recording(self, leg_id: LegId, *, command_id: CommandId) -> None:
        """Record both sides of the leg, each in a channel of its own."""
        ...

    async def stop_recording(self, leg_id: LegId, *, command_id: CommandId) -> None: ...

    async def stop_stream(self, leg_id: LegId, *, command_id: CommandId) -> None: ...

    async def stop_transcription(self, leg_id: LegId, *, command_id: CommandId) -> None: ...

    async def dial(self, dial: Dial, *, command_id: CommandId) -> DialedLeg: ...

    async def ask_for_digit(
        self, leg_id: LegId, *, text: str, digits: str, command_id: CommandId
    ) -> None:
        """Speak and wait for one of `digits`; the answer is `call.gather.ended`."""
        ...

    async def add_assistant_message(
        self, leg_id: LegId, *, text: str, command_id: CommandId
    ) -> None:
        """Tell the leg's AI assistant something for its next turn; nobody is interrupted."""
        ...

    async def speak(self, leg_id: LegId, *, text: str, command_id: CommandId) -> None:
        """Say something to who is on this leg, and to nobody else; its end is told by webhook."""
        ...

    async def bridge(self, leg_id: LegId, *, to: LegId, command_id: CommandId) -> None: ...

    async def hang_up(self, leg_id: LegId, *, command_id: CommandId) -> None:
        """End a leg; one that has ended already counts as hung up."""
        ...

    async def is_alive(self, leg_id: LegId) -> bool: ...

    async def live_legs(self) -> Mapping[str, LegId]:
        """Return every live leg that we dialled, by its client state, of which it has one."""
        ...


# --- who listens --------------------------------------------------------------------------------

MessageType = Literal["hint", "score", "transfer", "call"]


class Publisher(Protocol):
    """Tells everybody who listens: sockets of this process, and the hint channel in Redis."""

    def publish(self, call_id: CallId, message: Mapping[str, object]) -> None:
        """Never blocks and never fails: a slow listener loses messages, not the call."""
        ...
