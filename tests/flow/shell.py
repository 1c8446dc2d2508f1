"""The live shell of one process, on fakes, and a telephone that says what a test wants."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, NoReturn

from agent_sidecar.adapters.av_decoder import AvDecoders
from agent_sidecar.codecs import Codecs
from agent_sidecar.domain.engagement import STARTING_WEIGHTS
from agent_sidecar.domain.events import LineHeard, TransferWanted
from agent_sidecar.domain.hints import Candidate
from agent_sidecar.domain.media import MediaFormat, StreamStart
from agent_sidecar.domain.playbook import Closer
from agent_sidecar.domain.record import CallRecord, Configuration
from agent_sidecar.domain.types import CallId, Lead, LegId, Party, Track, Vector
from agent_sidecar.live.admission import Admission
from agent_sidecar.live.attaching import Attacher
from agent_sidecar.live.call_parts import CallParts, Prompting
from agent_sidecar.live.hints import HintDesk
from agent_sidecar.live.live_call import LiveCall
from agent_sidecar.live.registry import Registry, RegistryParts
from agent_sidecar.live.requests import AttachRequest
from agent_sidecar.live.spare import SpareTime
from agent_sidecar.live.transfer import CLIENT_STATE, TransferParts
from agent_sidecar.live.warm import WarmCopy
from agent_sidecar.ports import ReceivedWebhook, TelephonyEvent, TelephonyKind
from agent_sidecar.telemetry import Metrics
from tests.domain.playbooks import NOTHING, REFRAME, reader
from tests.fakes import (
    FakeCallControl,
    FakeClock,
    FakeClosers,
    FakeConversations,
    FakeEmbedder,
    FakeJournal,
    FakeLeads,
    FakePublisher,
    FakeRecordings,
    FakeRetriever,
)

PROSPECT, CLOSER = LegId("v3:prospect"), LegId("v3:closer-1")
KEVIN = Closer(name="Kevin", number="+12125550100")
OURS, THEIRS = "+12125550199", "+12125550142"
PRICE = "that is too expensive"
PCMU = MediaFormat(encoding="PCMU", sample_rate_hz=8000)
CODECS = Codecs(AvDecoders.load(), l16_byte_order=None)


class WordsEmbedder(FakeEmbedder):
    """Knows the vectors that a test chose; all other words are about nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.knows: dict[str, Vector] = {}

    def vector(self, text: str) -> Vector:
        return self.knows.get(text, NOTHING)


@dataclass
class Shell:
    """Everything of the live shell, made of fakes that can be made to misbehave."""

    clock: FakeClock = field(default_factory=FakeClock)
    journal: FakeJournal = field(init=False)
    conversations: FakeConversations = field(init=False)
    embedder: WordsEmbedder = field(default_factory=WordsEmbedder)
    chroma: FakeRetriever = field(
        default_factory=lambda: FakeRetriever(
            "chroma", [Candidate(strategy=REFRAME, closeness=0.9, origin="playbook")]
        )
    )
    neo4j: FakeRetriever = field(default_factory=lambda: FakeRetriever("neo4j"))
    publisher: FakePublisher = field(default_factory=FakePublisher)
    leads: FakeLeads = field(default_factory=FakeLeads)
    closers: FakeClosers = field(default_factory=lambda: FakeClosers([KEVIN]))
    control: FakeCallControl | None = field(default_factory=FakeCallControl)
    roster: tuple[Closer, ...] = (KEVIN,)
    caller_number: str | None = OURS
    # how late the event loop claims to be
    lag_ms: float = 0.0
    auto_attach: bool = False
    untracked: Track | None = "inbound"
    transcribes_each_leg: bool = False
    recordings: FakeRecordings | None = None
    hints_assistant: bool = False
    speaks_hints: bool = False
    metrics: Metrics = field(default_factory=Metrics)
    recorded: int = 0
    numbers: "count[int]" = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.journal = FakeJournal(self.clock)
        self.conversations = FakeConversations()

    def open(self, tasks: asyncio.TaskGroup) -> None:
        """Begin with what has been set so far."""
        self.tasks = tasks
        self.warm = WarmCopy(reader())
        self.desk = HintDesk(
            retrievers=(self.chroma, self.neo4j),
            warm=self.warm,
            reader=reader(),
            embedder=self.embedder,
            orphans=tasks,
            retrieval_s=0.35,
        )
        self.attacher = Attacher(
            self.control,
            lambda: "ws://us/telnyx/media",
            transcribes_each_leg=self.transcribes_each_leg,
            records=self.recordings is not None,
        )
        self.parts = CallParts(
            journal=self.journal,
            conversations=self.conversations,
            embedder=self.embedder,
            desk=self.desk,
            publisher=self.publisher,
            leads=self.leads,
            closers=self.closers,
            roster=tuple(closer.name for closer in self.roster),
            clock=self.clock,
            metrics=self.metrics,
            spare=SpareTime(lambda: self.lag_ms),
            prompting=Prompting(
                control=self.control, assistant=self.hints_assistant, aloud=self.speaks_hints
            ),
            configuration=Configuration(
                system_version="1", playbook="small", weights="w", model="m"
            ),
            hint_deadline_s=0.5,
            retrieval_s=0.35,
            late_lines_s=2.0,
        )
        transfer = TransferParts(
            control=self.control,
            closers=self.closers,
            roster=self.roster,
            clock=self.clock,
            publisher=self.publisher,
            ring_s=25.0,
            accept_s=20.0,
        )
        self.registry = Registry(
            RegistryParts(
                call=self.parts,
                transfer=transfer,
                reader=reader(),
                weights=STARTING_WEIGHTS,
                open_decoders=CODECS.open,
                attacher=self.attacher,
                recordings=self.recordings,
                admission=Admission(lambda: self.lag_ms, 100.0),
                agent="assistant",
                auto_attach=self.auto_attach,
                caller_number=self.caller_number,
                untracked=self.untracked,
                silence_s=20.0,
                tasks=tasks,
                on_recorded=self._note_recorded,
            )
        )

    async def attach(self, leg_id: LegId = PROSPECT, **request: Any) -> LiveCall:
        """Attach to a leg; return its call."""
        announced = AttachRequest(lead=Lead(first_name="Ada"), agent=None)
        await self.registry.attach(leg_id, replace(announced, **request))
        return self.call(leg_id)

    def call(self, name: str = PROSPECT) -> LiveCall:
        call = self.registry.find(name)
        assert call is not None
        return call

    def event(
        self, kind: TelephonyKind, leg_id: LegId | None = PROSPECT, **said: Any
    ) -> TelephonyEvent:
        number = next(self.numbers)
        event = TelephonyEvent(
            event_id=f"e{number}",
            event_type=f"call.{kind}",
            kind=kind,
            at=self.clock.now(),
            leg_id=leg_id,
        )
        return replace(event, **said)

    def tell(
        self, kind: TelephonyKind, leg_id: LegId | None = PROSPECT, **said: Any
    ) -> "asyncio.Future[None]":
        """Send a webhook; what is returned ends when it may be acknowledged."""
        return self.pass_on(self.event(kind, leg_id, **said))

    def pass_on(
        self, event: TelephonyEvent, *, arrived_s: float | None = None
    ) -> "asyncio.Future[None]":
        webhook = ReceivedWebhook(
            event_id=event.event_id,
            event_type=event.event_type,
            leg_id=event.leg_id,
            received_at=self.clock.now(),
            body=b"{}",
        )
        return asyncio.ensure_future(self.registry.receive(event, webhook, arrived_s=arrived_s))

    def line(self, text: str, party: Party = "prospect", *, is_final: bool = True) -> LineHeard:
        return LineHeard(
            line_id=f"l{next(self.numbers)}",
            at=self.clock.now(),
            party=party,
            text=text,
            is_final=is_final,
        )

    async def record(self, call_id: CallId) -> CallRecord:
        """Return the newest version of the call's record."""
        committed = await self.journal.record(call_id)
        assert committed is not None
        return committed.record

    async def version(self, call_id: CallId) -> int:
        committed = await self.journal.record(call_id)
        return committed.version if committed else 0

    async def want_transfer(self, call: LiveCall) -> str:
        """Ask for a transfer; return its id."""
        await call.feed(TransferWanted(at=call.now(), by="test"))
        return str(list(call.call.log.transfers)[-1])

    def told_steps(self) -> Sequence[object]:
        """Return the steps of transfers that subscribers were told of."""
        return [m["outcome"] or m["step"] for m in self.publisher.of_type("transfer")]

    def states(self) -> Sequence[object]:
        """Return what subscribers were told of calls."""
        return [m["state"] for m in self.publisher.of_type("call")]

    def counted(self, name: str, reason: str = "") -> float:
        """Return what was counted so far."""
        wanted = f'sidecar_{name}_total{{reason="{reason}"}} '
        lines = self.metrics.render().decode().splitlines()
        return sum(float(x.removeprefix(wanted)) for x in lines if x.startswith(wanted))

    def _note_recorded(self) -> None:
        self.recorded += 1


class _Stop(Exception):
    """Ends the process's tasks."""


def _stop() -> NoReturn:
    raise _Stop


@asynccontextmanager
async def running(shell: Shell | None = None) -> AsyncIterator[Shell]:
    """Run a shell until the block ends; a task that breaks the process's group breaks the test."""
    shell = shell or Shell()
    try:
        async with asyncio.TaskGroup() as tasks:
            shell.open(tasks)
            yield shell
            _stop()
    except* _Stop:
        pass


def start(leg_id: LegId = PROSPECT, media_format: MediaFormat = PCMU, **said: Any) -> StreamStart:
    """Return the first frame of a media stream."""
    return StreamStart(stream_id="s1", leg_id=leg_id, format=media_format, **said)


def client_state(transfer_id: str) -> str:
    """Return what comes back on each webhook of the closer's leg."""
    return f"{CLIENT_STATE}{transfer_id}"
