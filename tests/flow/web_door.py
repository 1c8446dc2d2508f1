"""The front door on a free port of this machine, with everything behind it made up."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from agent_sidecar.adapters.telnyx_wire import decode_frame, decode_webhook
from agent_sidecar.domain.events import CallEvent
from agent_sidecar.domain.insights import (
    CallGroup,
    ExampleCall,
    InsightRequest,
    Insights,
    Moment,
    Rates,
    availability_effect,
    profile_of,
    success_patterns,
)
from agent_sidecar.domain.media import MediaFrame, StreamStart
from agent_sidecar.domain.playbook import Closer
from agent_sidecar.domain.record import FinalStatus
from agent_sidecar.domain.recorded import RecordedCall
from agent_sidecar.domain.transfer_result import TransferResult
from agent_sidecar.domain.types import CallId, LegId, StoreName, TransferId
from agent_sidecar.errors import CallUnknown, TokenInvalid, TransferUnknown
from agent_sidecar.live.hub import Hub
from agent_sidecar.live.requests import (
    Attached,
    AttachRequest,
    StreamGrant,
    Suggestion,
    SuggestRequest,
)
from agent_sidecar.ports import ReceivedWebhook, TelephonyEvent
from agent_sidecar.web.parts import Finding
from agent_sidecar.web.server import FrontDoor, FrontDoorParts, Limits
from tests.domain.playbooks import a_playbook
from tests.fakes import FakeClosers, FakeJournal, FakeLeads

CALL, LEG = CallId("call-1"), LegId("v3:prospect/+x==")
TRANSFER = TransferId("call-0:t1")
OPENS = "opens-it"
NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)  # a Monday
# the conversation runs ahead of the wall's clock
CALL_NOW = NOW + timedelta(minutes=10)


async def done() -> None:
    """Be on disk."""


async def eventually(happened: Callable[[], bool]) -> None:
    """Wait for what happens on the other side of a socket and has no event here."""
    async with asyncio.timeout(2):
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


class FixedClock:
    def now(self) -> datetime:
        return NOW


class MadeUpCall:
    def __init__(self) -> None:
        self.events: list[CallEvent] = []
        self.arrived = asyncio.Event()
        # what feeding returns; raises when the journal is to fail
        self.kept: Awaitable[None] | None = None
        # loop times at which events are said to have come
        self.arrived_s: list[float | None] = []

    call_id = CALL
    leg_id: LegId | None = LEG

    def now(self) -> datetime:
        return CALL_NOW

    def view(self) -> Mapping[str, object]:
        return {"call_id": CALL, "call_control_id": LEG, "state": "live"}

    def feed(self, event: CallEvent, *, arrived_s: float | None = None) -> Awaitable[None]:
        self.events.append(event)
        self.arrived_s.append(arrived_s)
        self.arrived.set()
        return self.kept or done()


class MadeUpStream:
    def __init__(self, start: StreamStart) -> None:
        self.start = start
        self.superseded = asyncio.Event()
        self.frames: list[MediaFrame] = []
        self.ended: list[str] = []
        self.has_ended = asyncio.Event()
        self.breaks = False

    def receive(self, frame: MediaFrame) -> None:
        if self.breaks:
            raise ZeroDivisionError
        self.frames.append(frame)

    def stopped(self, reason: str) -> None:
        self.ended.append(reason)
        self.has_ended.set()


@dataclass
class MadeUpRegistry:
    call: MadeUpCall = field(default_factory=MadeUpCall)
    attached: list[tuple[LegId, AttachRequest]] = field(default_factory=list)
    streams: list[MadeUpStream] = field(default_factory=list)
    admitted: asyncio.Event = field(default_factory=asyncio.Event)
    webhooks: list[tuple[TelephonyEvent, ReceivedWebhook]] = field(default_factory=list)
    seen: dict[str, Awaitable[None]] = field(default_factory=dict)
    # what the journal makes of the next webhook
    writing: Awaitable[None] | None = None
    defect: Exception | None = None
    breaks_streams: bool = False
    results: list[TransferResult] = field(default_factory=list)

    def find(self, name: str) -> MadeUpCall | None:
        return self.call if name in {CALL, LEG} else None

    def live_calls(self) -> Sequence[MadeUpCall]:
        return [self.call]

    def call_of_hint(self, hint_id: str) -> MadeUpCall | None:
        return self.call if hint_id == "hint-1" else None

    async def attach(self, leg_id: LegId, request: AttachRequest) -> Attached:
        if self.defect:
            raise self.defect
        self.attached.append((leg_id, request))
        return Attached(
            call_id=CALL,
            leg_id=leg_id,
            token=OPENS,
            stream_url="wss://us.example/telnyx/media",
            streaming=True,
            transcribing=False,
            recording=False,
            problems=("transcription: refused",),
        )

    async def detach(self, name: str) -> None:
        if self.find(name) is None:
            raise CallUnknown(f"there is no call {name}")

    def new_stream(self, request: AttachRequest) -> StreamGrant:
        self.attached.append((LegId(""), request))
        return StreamGrant(
            token=OPENS, stream_url="wss://us.example/telnyx/media", expires_at=CALL_NOW
        )

    def admit(self, token: str | None, start: StreamStart) -> MadeUpStream:
        if token != OPENS:
            raise TokenInvalid("this token opens no stream")
        stream = MadeUpStream(start)
        stream.breaks = self.breaks_streams
        self.streams.append(stream)
        self.admitted.set()
        return stream

    def already(self, event_id: str) -> Awaitable[None] | None:
        return self.seen.get(event_id)

    def receive(
        self,
        event: TelephonyEvent,
        webhook: ReceivedWebhook,
        *,
        arrived_s: float | None = None,
    ) -> Awaitable[None]:
        self.webhooks.append((event, webhook))
        self.call.arrived_s.append(arrived_s)
        kept = asyncio.ensure_future(self.writing or done())
        self.seen[event.event_id] = kept
        return kept

    async def finished(self, name: str) -> Mapping[str, object] | None:
        return {"call_id": name, "state": "finished"} if name == "call-0" else None

    async def finished_calls(self, limit: int) -> Sequence[Mapping[str, object]]:
        return [{"call_id": "call-0", "limit": limit}]

    async def post_outcome(
        self, name: str, status: FinalStatus, qualified: bool | None
    ) -> Mapping[str, object]:
        if name != "call-0":
            raise CallUnknown(f"there is no call {name}")
        return {"call_id": name, "final_status": status, "qualified": qualified}

    async def post_result(
        self, transfer_id: TransferId, result: TransferResult
    ) -> Mapping[str, object]:
        if transfer_id != TRANSFER:
            raise TransferUnknown(transfer_id)
        self.results.append(result)
        return {"transfer_id": transfer_id, "result": result.conversion}


class MadeUpDesk:
    def __init__(self) -> None:
        self.asked: list[SuggestRequest] = []

    async def suggest(self, request: SuggestRequest) -> Suggestion:
        self.asked.append(request)
        return Suggestion(hints=({"strategy": "ask_back"},), degraded=("neo4j",), latency_ms=3.5)


class MadeUpInsights:
    def __init__(self) -> None:
        self.asked: list[InsightRequest] = []
        # what the next answers lack, one after the other; later ones lack nothing
        self.lacks: list[tuple[str, ...]] = [("neo4j",)]

    async def ask(self, request: InsightRequest) -> Insights:
        self.asked.append(request)
        degraded = self.lacks.pop(0) if self.lacks else ()
        profile = profile_of(request, None, a_playbook())
        groups = [
            CallGroup(
                matches=(True,) * len(profile.kind),
                closer_free=free,
                rates=Rates(calls=20, qualified=12 if free else 4, transferred=3),
            )
            for free in (True, False)
        ]
        return Insights(
            profile=profile,
            success=success_patterns(profile, groups),
            availability=availability_effect(profile, groups),
            relationships=None,
            moments=(
                Moment(
                    call_id=CALL, text="What if it worked?", outcome="video_sent", closeness=0.9
                ),
            ),
            examples=(
                ExampleCall(
                    call_id=CALL,
                    started_at=NOW,
                    outcome="hot_transfer",
                    score=88.0,
                    kind="",
                    turned="when can I start",
                    lines=("agent: Shall we?", "prospect: when can I start"),
                ),
            ),
            synthesis=("12 of 20 qualified.",),
            degraded=degraded,
            latency_ms=12.5,
        )


class Counts:
    def __init__(self) -> None:
        self.of: dict[tuple[str, str], int] = {}

    def count(self, name: str, reason: str = "") -> None:
        self.of[name, reason] = self.of.get((name, reason), 0) + 1

    def render(self) -> bytes:
        return b"sidecar_up 1\n"


class MadeUpCare:
    """Does nothing, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.found: list[Finding] = []
        self.rebuilt: list[StoreName] = []

    async def verify(self) -> Mapping[str, object]:
        return {"clean": True, "summary": [], "differences": []}

    async def mend(self, found: Sequence[Finding]) -> Mapping[str, object]:
        self.found += found
        return {"summary": [], "left": []}

    async def rebuild(self, store: StoreName) -> Mapping[str, object]:
        self.rebuilt.append(store)
        return self.rebuild_progress(store)

    def rebuild_progress(self, store: StoreName) -> Mapping[str, object]:
        return {"store": store, "state": "clearing" if store in self.rebuilt else "none"}


@dataclass
class House:
    """An open front door, what is behind it, and a client in front."""

    port: int
    client: aiohttp.ClientSession
    door: FrontDoor
    registry: MadeUpRegistry
    desk: MadeUpDesk
    hub: Hub
    leads: FakeLeads
    closers: FakeClosers
    counts: Counts
    insights: MadeUpInsights
    care: MadeUpCare
    journal: FakeJournal
    # somebody wants the relay to try at once
    hurried: asyncio.Event

    async def ask(self, method: str, path: str, **request: Any) -> tuple[int, Any]:
        """Return status and decoded body."""
        async with self.client.request(method, path, **request) as answer:
            return answer.status, await answer.json()


async def stores() -> Mapping[str, object]:
    return {"stores": [{"store": "postgres", "answering": True}]}


class Archive:
    """Knows the calls that it took in."""

    def __init__(self) -> None:
        self.taken: dict[str, tuple[RecordedCall, frozenset[str]]] = {}

    async def take_in(self, calls: Sequence[RecordedCall], strategies: frozenset[str]) -> int:
        new = {call.call_id for call in calls} - self.taken.keys()
        self.taken |= {call.call_id: (call, strategies) for call in calls}
        return len(new)


async def learning(days: int) -> Mapping[str, object]:
    return {"beast_mode_score": 5.0, "days": [{"metric_date": "2026-03-02"}] * days}


@asynccontextmanager
async def open_house(
    *, host: str = "127.0.0.1", port: int = 0, **changes: Any
) -> AsyncIterator[House]:
    """Open a front door; `changes` are fields of its parts, or of its limits."""
    limits = {k: changes.pop(k) for k in list(changes) if k in Limits.__dataclass_fields__}
    registry, desk, counts = MadeUpRegistry(), MadeUpDesk(), Counts()
    hub, leads = Hub(), FakeLeads()
    insights, care = MadeUpInsights(), MadeUpCare()
    journal, hurried = FakeJournal(), asyncio.Event()
    closers = FakeClosers([Closer(name="Kevin", number="+13125550100")])
    parts = FrontDoorParts(
        registry=registry,
        hub=hub,
        desk=desk,
        leads=leads,
        closers=closers,
        closer_names=("Kevin",),
        insights=insights,
        lead_fields=a_playbook().lead_kind,
        stores=stores,
        care=care,
        learning=learning,
        take_in=Archive().take_in,
        deliveries=journal,
        hurry=hurried.set,
        metrics=counts,
        ready=lambda: (True, {"journal": "ok"}),
        decode_frame=decode_frame,
        decode_webhook=decode_webhook,
        signature=None,
        api_token=None,
        forward_url=None,
        public_url=None,
        clock=FixedClock(),
        limits=Limits(**{"stop_s": 0.5, "forward_drain_s": 0.5} | limits),
    )
    door = FrontDoor(replace(parts, **changes))
    bound = await door.start(host, port)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{bound}") as client:
        try:
            yield House(
                port=bound,
                client=client,
                door=door,
                registry=registry,
                desk=desk,
                hub=hub,
                leads=leads,
                closers=closers,
                counts=counts,
                insights=insights,
                care=care,
                journal=journal,
                hurried=hurried,
            )
        finally:
            await door.aclose()
