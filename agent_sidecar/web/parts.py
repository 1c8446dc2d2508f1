"""Everything behind the front door, as it is seen from here."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from agent_sidecar.domain.availability import Override, Standing
from agent_sidecar.domain.discretion import Discretion
from agent_sidecar.domain.erasure import Person
from agent_sidecar.domain.events import CallEvent
from agent_sidecar.domain.insights import InsightRequest, Insights
from agent_sidecar.domain.media import (
    MediaFrame,
    StreamDigit,
    StreamError,
    StreamNotice,
    StreamStart,
    StreamStop,
)
from agent_sidecar.domain.playbook import Closer
from agent_sidecar.domain.record import FinalStatus
from agent_sidecar.domain.recorded import RecordedCall
from agent_sidecar.domain.transfer_result import TransferResult
from agent_sidecar.domain.types import CallId, LegId, StoreName, TransferId
from agent_sidecar.live.requests import (
    Attached,
    AttachRequest,
    StreamGrant,
    Suggestion,
    SuggestRequest,
)
from agent_sidecar.ports import Clock, DeliveryBook, Leads, ReceivedWebhook, TelephonyEvent

Message = Mapping[str, object]
Frame = StreamStart | MediaFrame | StreamStop | StreamError | StreamDigit | StreamNotice


class LiveCall(Protocol):
    """One call that is up."""

    @property
    def call_id(self) -> CallId: ...

    @property
    def leg_id(self) -> LegId | None: ...

    def now(self) -> datetime:
        """Return the time of the conversation, which may run faster than the wall's."""
        ...

    def view(self) -> Message: ...

    def feed(self, event: CallEvent, *, arrived_s: float | None = None) -> Awaitable[None]:
        """Take the event now; what is returned is done when it is on disk.

        `arrived_s`: when it reached this process, loop time; deadlines count from there.
        """
        ...


class MediaStream(Protocol):
    """A media socket's way into its call."""

    superseded: asyncio.Event

    def receive(self, frame: MediaFrame) -> None: ...

    def stopped(self, reason: str) -> None: ...


class Registry(Protocol):
    """The calls of this process."""

    def find(self, name: str) -> LiveCall | None:
        """Find a live call by its call_id or any of its legs' call_control_id."""
        ...

    def live_calls(self) -> Sequence[LiveCall]: ...

    def call_of_hint(self, hint_id: str) -> LiveCall | None: ...

    async def attach(self, leg_id: LegId, request: AttachRequest) -> Attached: ...

    async def detach(self, name: str) -> None:
        """Raise `CallUnknown`."""
        ...

    def new_stream(self, request: AttachRequest) -> StreamGrant: ...

    def admit(self, token: str | None, start: StreamStart) -> MediaStream:
        """Raise `TokenInvalid`."""
        ...

    def already(self, event_id: str) -> Awaitable[None] | None:
        """Return None for a new webhook; for a repeated one, what ends when the first is kept."""
        ...

    def receive(
        self,
        event: TelephonyEvent,
        webhook: ReceivedWebhook,
        *,
        arrived_s: float | None = None,
    ) -> Awaitable[None]:
        """Feed the call now; what is returned is done when the webhook is on disk.

        `arrived_s`: when it reached this process, loop time; deadlines count from there.
        It raises `JournalFailed`.
        """
        ...

    async def finished(self, name: str) -> Message | None: ...

    async def finished_calls(self, limit: int) -> Sequence[Message]: ...

    async def post_outcome(self, name: str, status: FinalStatus, qualified: bool | None) -> Message:
        """Raise `CallUnknown`."""
        ...

    async def post_result(self, transfer_id: TransferId, result: TransferResult) -> Message:
        """Return the transfer. Raise `TransferUnknown`."""
        ...


class RedactWebhook(Protocol):
    """Rewrites what a webhook's body says; one that is not understood stays as it is."""

    def __call__(self, raw: bytes, redact: Callable[[str], str], *, keys: bool) -> bytes: ...


# returns how many of the calls were not known before
TakeIn = Callable[[Sequence[RecordedCall], frozenset[str]], Awaitable[int]]


class Hub(Protocol):
    def subscribe(self, call: str | None) -> AbstractAsyncContextManager[AsyncIterator[Message]]:
        """Return a listener with a bounded queue of his own, who is told what he missed."""
        ...


class InsightDesk(Protocol):
    """Knows what the stores know of a kind of lead."""

    async def ask(self, request: InsightRequest) -> Insights: ...


class Desk(Protocol):
    """Answers agents that pull."""

    async def suggest(self, request: SuggestRequest) -> Suggestion: ...


class SignatureCheck(Protocol):
    def verify(self, raw: bytes, headers: Mapping[str, str], now: datetime) -> None:
        """Raise `SignatureInvalid`."""
        ...


class Metrics(Protocol):
    """Counts; `reason` is one of few fixed words."""

    def count(self, name: str, reason: str = "") -> None: ...

    def render(self) -> bytes:
        """Return everything in Prometheus' text format."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What we bear from outside."""

    # a media socket without a token in URL or header must send its start frame within ...
    start_s: float = 10.0
    # ... and one with a token, which may be opened before the callee answers, within
    start_with_token_s: float = 90.0
    # media sockets that were not let in yet
    waiting_sockets: int = 100
    frame_bytes: int = 256 * 1024
    malformed_frames: int = 1000
    message_bytes: int = 256 * 1024
    body_bytes: int = 1024 * 1024
    # a hints socket whose client does not answer a ping for this long is closed
    heartbeat_s: float = 20.0
    # Telnyx gives up on a webhook after 2 s: later it is better told to come again
    journal_s: float = 1.8
    # forwarding: webhooks that wait, per lane; one try; pauses between tries; last chance at a stop
    forward_queue: int = 500
    forward_s: float = 5.0
    forward_again_s: tuple[float, ...] = (0.5, 2.0, 8.0, 20.0)
    forward_drain_s: float = 3.0
    # open requests at a stop
    stop_s: float = 5.0


class Schedules(Protocol):
    """The closers: when they work, what they do now, and how people change that."""

    async def set_schedule(self, closer: Closer) -> None:
        """Replace his number, zone and weekly hours; overrides stay."""
        ...

    async def add_override(self, name: str, override: Override) -> bool:
        """Store it as the newest; False: there is no such closer."""
        ...

    async def remove_override(self, name: str, override_id: str) -> bool:
        """Take it back; False: he has none of that id."""
        ...

    async def end_absence(self, name: str, at: datetime) -> bool:
        """End every override that keeps him off at this moment; False: no such closer."""
        ...

    async def standing(self, name: str, at: datetime) -> Standing | None:
        """Return his schedule and what he does; None: no such closer. Raises `StoreUnavailable`.

        At most a second old, over all processes.
        """
        ...


class Erased(Protocol):
    """How far an erasure is."""

    @property
    def done_at(self) -> str | None: ...


class Retain(Protocol):
    """Applies the rules of retention."""

    def __call__(self, *, dry_run: bool = False) -> Awaitable[object]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgettingDoor:
    """What forgets."""

    retain: Retain
    erase: Callable[[Person], Awaitable[Erased]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One difference of a store, as the comparison names it."""

    store: StoreName
    kind: Literal["differs", "extra", "lost", "unreadable", "counts"]
    # None: it is about all calls
    call_id: CallId | None = None
    text: str = ""


class Care(Protocol):
    """Keeps the stores right."""

    async def verify(self) -> Message:
        """Compare every record with every store."""
        ...

    async def mend(self, found: Sequence[Finding]) -> Message:
        """Mend these; raises `StoreUnavailable`."""
        ...

    async def rebuild(self, store: StoreName) -> Message:
        """Begin to make a store anew, unless that is under way; return how far it is."""
        ...

    def rebuild_progress(self, store: StoreName) -> Message: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontDoorParts:
    """What the front door needs; nothing of it is global."""

    registry: Registry
    hub: Hub
    desk: Desk
    leads: Leads
    closers: Schedules
    # as the playbook names them
    closer_names: tuple[str, ...]
    insights: InsightDesk
    # of the lead's fields those that make his kind
    lead_fields: tuple[str, ...]
    # the stores, and what is beside them
    stores: Callable[[], Awaitable[Message]]
    care: Care
    # the learning metrics of the last so many days; raises `StoreUnavailable`
    learning: Callable[[int], Awaitable[Message]]
    take_in: TakeIn
    deliveries: DeliveryBook
    # what waits for a store is tried now, whatever the relay's pauses
    hurry: Callable[[], None]
    metrics: Metrics
    ready: Callable[[], tuple[bool, Message]]
    # Telnyx's words into ours; raise `FrameMalformed` and `WebhookMalformed`
    decode_frame: Callable[[bytes], Frame]
    decode_webhook: Callable[[bytes], TelephonyEvent]
    # None: webhooks are taken unsigned
    signature: SignatureCheck | None
    api_token: str | None = field(repr=False)
    forward_url: str | None
    public_url: str | None
    clock: Clock
    # what must not be kept of that which comes in, and how it leaves a webhook's body
    discretion: Discretion = field(default_factory=Discretion)
    forgetting: ForgettingDoor | None = None
    redact_webhook: RedactWebhook = field(default=lambda raw, redact, *, keys: raw)
    limits: Limits = field(default_factory=Limits)
