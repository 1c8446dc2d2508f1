"""The composition root: opens every resource in order, closes them in reverse.

    data folder lock ─▶ embedded servers ─▶ journal ─▶ stores and schemas ─▶ model ─▶ playbook
      ─▶ relay ─▶ calls that a crash left open ─▶ front door

A stop goes the other way: the front door takes nothing new, calls that have hung up are wrapped up,
deliveries get until `DRAIN_S`, then everything closes. A call that is still up stays in the
journal, and the next start takes it up again.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import NoReturn

import structlog

from agent_sidecar import __version__
from agent_sidecar.adapters.backup_folder import half_restored
from agent_sidecar.adapters.recording_files import RecordingFiles
from agent_sidecar.adapters.telnyx_control import Account, TelnyxControl, Transcription
from agent_sidecar.adapters.yaml_playbook import read_playbook
from agent_sidecar.care import Care, open_care
from agent_sidecar.domain.playbook import Closer
from agent_sidecar.domain.record import Configuration
from agent_sidecar.embedded import DataFolderLock, Stack, StackUrls
from agent_sidecar.errors import BackupFailed
from agent_sidecar.forgetting import put_together
from agent_sidecar.front import check_port, open_front_door
from agent_sidecar.live.admission import Admission
from agent_sidecar.live.attaching import Attacher
from agent_sidecar.live.call_parts import CallParts, Prompting
from agent_sidecar.live.guard import GuardParts, TransferGuard
from agent_sidecar.live.hints import HintDesk
from agent_sidecar.live.incomplete import UnlessIncomplete
from agent_sidecar.live.messages import call_message
from agent_sidecar.live.registry import Registry, RegistryParts
from agent_sidecar.live.spare import ON_TIME_MS, SpareTime
from agent_sidecar.live.telling import alone
from agent_sidecar.live.transfer import TransferParts
from agent_sidecar.live.vigil import Vigil
from agent_sidecar.live.warm import WarmCopy
from agent_sidecar.parts import Parts, open_parts
from agent_sidecar.resume import resume_calls
from agent_sidecar.settings import Settings
from agent_sidecar.stores import servers_needed
from agent_sidecar.upkeep import (
    index_playbook,
    keep_metrics,
    keep_proven,
    keep_ready,
    keep_warm,
    load_closers,
)
from agent_sidecar.wrapup.lead_feed import LeadFeed
from agent_sidecar.wrapup.pruning import Pruner
from agent_sidecar.wrapup.relay import Relay, Settled

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A running service."""

    parts: Parts
    registry: Registry
    relay: Relay
    port: int


@asynccontextmanager
async def open_stack(
    settings: Settings, *, restores: bool = False
) -> AsyncIterator[StackUrls | None]:
    """Own the data folder and run the embedded servers that stand in for missing URLs.

    A folder that is half restored is for `restores` alone. Raises `BackupFailed`.
    """
    async with AsyncExitStack() as exits:
        lock = exits.enter_context(DataFolderLock(settings.data_dir))
        if not restores and (backup := half_restored(settings.data_dir)) is not None:
            raise BackupFailed(
                f"{settings.data_dir} is half restored: run `agent-sidecar restore {backup}` again"
            )
        if not (needed := servers_needed(settings)):
            yield None
            return
        stack = Stack(
            settings.data_dir,
            only=needed,
            lock=lock,
            on_event=lambda name, values: log.info(name, **values),
        )
        exits.push_async_callback(stack.aclose)
        urls = await stack.start()
        tasks = await exits.enter_async_context(_background())
        tasks.create_task(stack.run(), name="embedded")
        yield urls


@asynccontextmanager
async def open_service(settings: Settings) -> AsyncIterator[Service]:
    """Run the whole service until the block ends."""
    # what is wrong in a file should not be found after servers have started
    playbook = read_playbook(settings.playbook)
    check_port(settings)
    async with AsyncExitStack() as exits:
        urls = await exits.enter_async_context(open_stack(settings))
        parts = await open_parts(settings, urls, playbook, exits)
        control = _control(settings, exits)
        tasks = await exits.enter_async_context(_background())
        feed = LeadFeed(parts.stores.lead_changes, parts.stores.lead_nodes)
        relay = Relay(
            parts.journal,
            parts.stores.projections,
            parts.clock,
            on_settled=lambda settled: _tell_settled(parts, settled, feed),
            is_strained=lambda: _is_strained(parts, registry),
        )
        address = _Address(settings)
        attacher = Attacher(
            control,
            address.media_url,
            transcribes_each_leg=settings.transcription_tracks == "inbound",
            records=settings.record,
        )
        warm = WarmCopy(parts.reader)
        care = open_care(parts, relay, tasks)
        await care.resume()
        desk = HintDesk(
            retrievers=_retrievers(parts, care),
            warm=warm,
            reader=parts.reader,
            embedder=parts.embedder,
            orphans=tasks,
            retrieval_s=settings.retrieval_s,
        )
        call_parts = _call_parts(parts, desk, control)
        recordings = _recordings(settings, exits)
        registry = _registry(parts, call_parts, relay, attacher, recordings, tasks)
        _keep_up(parts, warm, desk, care, tasks)
        tasks.create_task(relay.run(), name="relay")
        tasks.create_task(alone(feed.run()), name="leads")
        tasks.create_task(alone(parts.closers.run()), name="leases")
        forgetting = put_together(parts, relay)
        forgetting.begin(tasks)
        vigil = Vigil(registry.live_calls, control, parts.clock, settings.quiet_call_s)
        tasks.create_task(alone(vigil.run()), name="vigil")
        exits.push_async_callback(_drain, settings, registry, relay)
        await resume_calls(parts.journal, registry, attacher, settings.resume_s, tasks)
        if control is not None:
            # now: before, a call that goes on would look like one that nobody takes care of
            guard = _guard(parts, control, registry)
            tasks.create_task(guard.run(), name="guard")
        await registry.recordings.resume()
        address.port = await exits.enter_async_context(
            open_front_door(
                parts, registry, desk, relay, care, forgetting, call_parts.configuration, tasks
            )
        )
        yield Service(parts=parts, registry=registry, relay=relay, port=address.port)


def _retrievers(parts: Parts, care: Care) -> tuple[UnlessIncomplete, UnlessIncomplete]:
    return (
        UnlessIncomplete(parts.stores.candidates, partial(care.is_rebuilt, "chroma")),
        UnlessIncomplete(parts.stores.evidence, partial(care.is_rebuilt, "neo4j")),
    )


def _keep_up(
    parts: Parts, warm: WarmCopy, desk: HintDesk, care: Care, tasks: asyncio.TaskGroup
) -> None:
    """Begin what goes on beside the calls."""
    tasks.create_task(parts.lag.run(), name="lag")
    tasks.create_task(alone(parts.watch.run()), name="journal")
    tasks.create_task(_pruner(parts).run(), name="pruning")
    lacks_graph, lacks_vectors = (partial(care.is_rebuilt, s) for s in ("neo4j", "chroma"))
    tasks.create_task(alone(keep_warm(parts, warm, lacks_graph)), name="warm")
    tasks.create_task(alone(keep_proven(parts, warm, lacks_vectors)), name="proven")
    lacks_calls = partial(care.is_rebuilt, "postgres")
    tasks.create_task(alone(keep_metrics(parts.learning, lacks_calls)), name="metrics")
    tasks.create_task(alone(keep_ready(desk)), name="ready")
    tasks.create_task(alone(index_playbook(parts)), name="playbook")
    tasks.create_task(alone(load_closers(parts)), name="closers")


class _Address:
    """Where Telnyx reaches our media socket; the port is known once it is open."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.port = settings.port

    def media_url(self) -> str:
        public = self._settings.public_url
        base = public or f"http://{self._settings.host}:{self.port}"
        return f"{base.replace('http', 'ws', 1)}/telnyx/media"


class _Stop(Exception):
    """Ends the tasks beside a block."""


@asynccontextmanager
async def _background() -> AsyncIterator[asyncio.TaskGroup]:
    """Run tasks beside a block: cancelled at its end; one that fails ends the block."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
            _stop()
    except* _Stop:
        pass


def _stop() -> NoReturn:
    raise _Stop


def _control(settings: Settings, exits: AsyncExitStack) -> TelnyxControl | None:
    if settings.telnyx_api_key is None:
        return None
    control = TelnyxControl(
        Account(
            api_key=settings.telnyx_api_key.get_secret_value(),
            base_url=settings.telnyx_api_base,
            connection_id=settings.telnyx_connection_id,
        ),
        transcription=Transcription.read(
            settings.transcription_engine,
            settings.transcription_config,
            settings.transcription_tracks,
        ),
    )
    exits.push_async_callback(control.aclose)
    return control


def _recordings(settings: Settings, exits: AsyncExitStack) -> RecordingFiles | None:
    if not settings.record:
        return None
    recordings = RecordingFiles(
        settings.data_dir / "recordings",
        loopback=settings.telnyx_api_base.startswith("http://127.0.0.1"),
    )
    exits.push_async_callback(recordings.aclose)
    return recordings


def _roster(parts: Parts) -> tuple[Closer, ...]:
    """Return the playbook's closers, the first with the number that the settings give him."""
    first, *others = parts.playbook.closers
    number = parts.settings.closer_number or first.number
    return (replace(first, number=number), *others)


def _call_parts(parts: Parts, desk: HintDesk, control: TelnyxControl | None) -> CallParts:
    settings = parts.settings
    return CallParts(
        journal=parts.journal,
        conversations=parts.stores.conversations,
        embedder=parts.embedder,
        desk=desk,
        publisher=parts.hub,
        leads=parts.stores.leads,
        closers=parts.closers,
        roster=tuple(closer.name for closer in parts.playbook.closers),
        clock=parts.clock,
        metrics=parts.metrics,
        spare=SpareTime(lambda: parts.lag.now_ms),
        prompting=Prompting(
            control=control,
            assistant=settings.hint_assistant,
            aloud=settings.speak_hints,
        ),
        configuration=Configuration(
            system_version=__version__,
            playbook=parts.playbook.name,
            weights=parts.weights.version,
            model=parts.embedder.name,
            sentiment_limit=parts.playbook.thresholds.sentiment,
        ),
        hint_deadline_s=settings.hint_deadline_s,
        retrieval_s=settings.retrieval_s,
        late_lines_s=settings.late_lines_s,
    )


def _registry(
    parts: Parts,
    call_parts: CallParts,
    relay: Relay,
    attacher: Attacher,
    recordings: RecordingFiles | None,
    tasks: asyncio.TaskGroup,
) -> Registry:
    settings = parts.settings
    return Registry(
        RegistryParts(
            call=call_parts,
            transfer=TransferParts(
                control=attacher.control,
                closers=parts.closers,
                roster=_roster(parts),
                clock=parts.clock,
                publisher=parts.hub,
                ring_s=settings.closer_ring_s,
                accept_s=settings.closer_accept_s,
            ),
            reader=parts.reader,
            open_decoders=parts.codecs.open,
            weights=parts.weights,
            attacher=attacher,
            recordings=recordings,
            admission=Admission(lambda: parts.lag.p99_ms, settings.admission_lag_ms),
            agent=settings.agent,
            auto_attach=settings.auto_attach,
            caller_number=settings.caller_number,
            untracked=None
            if settings.transcription_tracks == "both"
            else settings.transcription_tracks,
            silence_s=settings.transcription_silence_s,
            tasks=tasks,
            on_recorded=relay.wake,
        )
    )


def _guard(parts: Parts, control: TelnyxControl, registry: Registry) -> TransferGuard:
    return TransferGuard(
        GuardParts(
            control=control,
            closers=parts.closers,
            roster=tuple(closer.name for closer in parts.playbook.closers),
            journal=parts.journal,
            is_known=registry.knows,
        )
    )


def _pruner(parts: Parts) -> Pruner:
    keep = timedelta(days=parts.settings.journal_keep_days)
    return Pruner(parts.journal, parts.stores.conversations, parts.clock, keep=keep)


def _is_strained(parts: Parts, registry: Registry) -> bool:
    """Say whether live calls suffer just now, so that a backlog must take its time."""
    if not registry.live_calls():
        return False
    hint_ms = parts.metrics.worst_hint_ms(within_s=10.0)
    return parts.lag.now_ms > ON_TIME_MS or hint_ms > 500 * parts.settings.hint_deadline_s


def _tell_settled(parts: Parts, settled: Settled, feed: LeadFeed) -> None:
    parts.metrics.delivery(settled.store, settled.state)
    if settled.store == "postgres" and settled.state == "delivered":
        # the call has moved its lead on
        feed.wake()
    if settled.state == "pending":
        return
    engine = next(p.engine for p in parts.stores.projections if p.store == settled.store)
    parts.hub.publish(
        settled.call_id,
        call_message(
            settled.state,
            settled.call_id,
            None,
            store=settled.store,
            engine=engine,
            at=parts.clock.now(),
        ),
    )


async def _drain(settings: Settings, registry: Registry, relay: Relay) -> None:
    """Let calls that have hung up be wrapped up and delivered, for at most `DRAIN_S`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + settings.drain_s
    ending = [call for call in registry.live_calls() if call.is_ending]
    waiting = [asyncio.create_task(call.recorded.wait()) for call in ending]
    if waiting:
        await asyncio.wait(waiting, timeout=max(0.0, deadline - loop.time()))
    for task in waiting:
        task.cancel()
    if not await relay.drain(deadline):
        log.warning("stopped_with_deliveries", what_to_do="nothing: the next start delivers them")
    still_up = [call.call_id for call in registry.live_calls() if not call.is_ending]
    if still_up:
        log.info("stopped_with_calls_up", calls=len(still_up))
