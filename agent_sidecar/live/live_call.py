"""Drives one `Call`: feeds it events, keeps them in the journal, performs its effects as tasks.

`feed` awaits nothing: the event takes its place in the journal and is taken by the call at once.
What it returns is done when the event is on disk; only who acknowledges something waits for it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.call import Call
from agent_sidecar.domain.hints import Question
from agent_sidecar.domain.record import CallRecord, Configuration
from agent_sidecar.domain.types import CallId, LegId
from agent_sidecar.errors import EmbeddingFailed, JournalFailed, StoreUnavailable
from agent_sidecar.live.hints import HintDesk
from agent_sidecar.live.messages import (
    call_message,
    hint_message,
    score_message,
    transfer_message,
)
from agent_sidecar.live.views import live_view
from agent_sidecar.ports import Clock, Closers, Embedder, Journal, Leads, Publisher
from agent_sidecar.telemetry import Metrics

log = structlog.get_logger()


class RunningTransfer(Protocol):
    """A transfer that the call started."""

    async def run(self) -> None: ...

    def cancel(self, reason: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CallParts:
    """What every live call of this process works with."""

    journal: Journal
    embedder: Embedder
    desk: HintDesk
    publisher: Publisher
    leads: Leads
    closers: Closers
    closer: str
    clock: Clock
    metrics: Metrics
    configuration: Configuration
    # from the final text to the hint on the wire, and what of it retrieval may take
    hint_deadline_s: float
    retrieval_s: float
    late_lines_s: float


class LiveCall:
    """One call of this process; its tasks live in `run`."""

    def __init__(
        self,
        call: Call,
        parts: CallParts,
        *,
        start_transfer: Callable[["LiveCall", ev.StartTransfer], RunningTransfer],
    ) -> None:
        self.call = call
        self._parts = parts
        self._new_transfer = start_transfer
        self._transfer: RunningTransfer | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._early: list[Coroutine[object, object, None]] = []
        self._wrapping = False
        # loop time at which each line's text came in: the hint's deadline counts from there
        self._heard_at: dict[str, float] = {}
        self._since = 0.0
        # wall time of the newest sign of life, for calls that a crash left open
        self.touched_at = parts.clock.now()
        self.recorded = asyncio.Event()

    @property
    def call_id(self) -> CallId:
        return self.call.log.opened.call_id

    @property
    def leg_id(self) -> LegId | None:
        """The prospect's leg."""
        leg = self.call.log.prospect_leg
        return leg.leg_id if leg else None

    @property
    def is_ending(self) -> bool:
        """The call hung up or is being wrapped up."""
        return self._wrapping or self.call.log.hung_up_at is not None

    def now(self) -> datetime:
        """Return the time of the conversation: the wall's only for a call that is really live."""
        newest = self.call.log.last_at or self.call.log.opened.at
        if self.call.log.opened.source == "live":
            return max(newest, self._parts.clock.now())
        return newest

    def view(self) -> Mapping[str, object]:
        """Return the call as `GET /v1/calls/{id}` shows it while it lives."""
        return live_view(self.call, ending=self.is_ending)

    def feed(self, event: ev.CallEvent) -> Awaitable[None]:
        """Take an event; what is returned is done when it is on disk."""
        self.touched_at = self._parts.clock.now()
        kept = self._keep(event)
        if isinstance(event, ev.LineHeard) and event.is_final:
            self._heard_at[event.line_id] = asyncio.get_running_loop().time()
        if isinstance(event, ev.LineEmbedded):
            now = asyncio.get_running_loop().time()
            self._since = self._heard_at.pop(event.line_id, now)
        for effect in self.call.receive(event):
            self._perform(effect)
        return kept

    def restore(self, events: tuple[ev.CallEvent, ...]) -> None:
        """Rebuild the call from what the journal kept, then ask again what was left unanswered."""
        for event in events:
            self.call.receive(event)
        for effect in self.call.unfinished():
            self._perform(effect)
        if self.call.log.hung_up_at is not None:
            self._perform(ev.WrapUp(reason="hung up before the restart"))

    async def run(self) -> None:
        """Own the call's tasks until its record is in the journal."""
        with structlog.contextvars.bound_contextvars(call_id=self.call_id):
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                for early in self._early:
                    tasks.create_task(early)
                self._early.clear()
                await self.recorded.wait()
                if self._transfer is not None:
                    self._transfer.cancel("the call is over")

    def find_lead(self) -> None:
        """Ask the lead store who this is; the call goes on meanwhile."""
        self._spawn(self._find_lead(), "lead")

    def wrap_up(self, reason: str, *, interrupted: bool = False, grace_s: float = 0.0) -> None:
        """Close the call after the grace and commit its record; twice is once."""
        if not self._wrapping:
            self._wrapping = True
            self._spawn(self._wrap_up(reason, interrupted=interrupted, grace_s=grace_s), "wrap-up")

    def _keep(self, event: ev.CallEvent) -> Awaitable[None]:
        if isinstance(event, ev.LineHeard) and not event.is_final:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            done.set_result(None)
            return done
        return self._parts.journal.append(self.call_id, event)

    def _spawn(self, work: Coroutine[object, object, None], name: str) -> None:
        if self._tasks is None:
            self._early.append(work)
        else:
            self._tasks.create_task(self._guard(work, name), name=f"{name}:{self.call_id}")

    async def _guard(self, work: Coroutine[object, object, None], name: str) -> None:
        """Do the work; an effect that fails must not end its call."""
        try:
            await work
        except Exception:
            log.exception("effect_failed", effect=name, what_to_do="report this; the call goes on")

    def _perform(self, effect: ev.Effect) -> None:
        publish = self._parts.publisher.publish
        match effect:
            case ev.Embed():
                self._spawn(self._embed(effect), "embed")
            case ev.AskForHints(question=question):
                self._spawn(self._ask(question, self._since), "ask")
            case ev.PublishScore():
                publish(self.call_id, score_message(effect, self.call_id, self.leg_id))
            case ev.PublishHint():
                publish(self.call_id, hint_message(effect, self.call_id, self.leg_id))
                self._parts.metrics.hint_shown(effect.latency_ms)
            case ev.PublishTransfer():
                publish(self.call_id, transfer_message(effect, self.call_id, self.leg_id))
            case ev.StartTransfer():
                self._transfer = self._new_transfer(self, effect)
                self._spawn(self._transfer.run(), "transfer")
            case ev.CancelTransfer(reason=reason):
                if self._transfer is not None:
                    self._transfer.cancel(reason)
            case ev.WrapUp(reason=reason):
                self.wrap_up(reason, grace_s=self._parts.late_lines_s)

    async def _embed(self, effect: ev.Embed) -> None:
        raw = None
        try:
            async with asyncio.timeout(self._parts.hint_deadline_s):
                [vector] = await self._parts.embedder.embed([effect.text])
            raw = vector.astype("<f4").tobytes()
        except (EmbeddingFailed, TimeoutError) as exc:
            log.warning("line_not_embedded", error=repr(exc))
        self.feed(ev.LineEmbedded(line_id=effect.line_id, vector=raw))

    async def _ask(self, question: Question, since: float) -> None:
        loop = asyncio.get_running_loop()
        latest = since + self._parts.hint_deadline_s
        deadline = min(loop.time() + self._parts.retrieval_s, latest - 0.02)
        retrieved = await self._parts.desk.ask(question, deadline=deadline)
        latency_ms = (loop.time() - since) * 1000
        self._parts.metrics.degraded(retrieved.degraded)
        if loop.time() > latest:
            self._parts.metrics.hint_late()
            log.warning("hint_late", latency_ms=round(latency_ms, 1))
            return
        self.feed(
            ev.HintsRetrieved(
                question_id=question.question_id,
                at=self.now(),
                retrieved=retrieved,
                latency_ms=round(latency_ms, 2),
            )
        )

    async def _find_lead(self) -> None:
        try:
            lead = await self._parts.leads.find_or_create(self.call.log.lead)
        except StoreUnavailable as exc:
            # the relay makes the lead when the record is delivered
            log.warning("lead_not_found_yet", error=str(exc))
            return
        self.feed(ev.LeadKnown(at=self.now(), lead=lead))

    async def _wrap_up(self, reason: str, *, interrupted: bool, grace_s: float) -> None:
        self._tell("ended", reason=reason)
        await asyncio.sleep(grace_s)
        await self._check_closer()
        self.feed(ev.CallClosed(at=self.now(), interrupted=interrupted, reason=reason))
        record = self.call.record(self._parts.configuration)
        commit = asyncio.create_task(self._commit(record), name=f"commit:{self.call_id}")
        try:
            await asyncio.shield(commit)
        except asyncio.CancelledError:
            await commit  # bounded by the journal's own time
            raise

    async def _commit(self, record: CallRecord) -> None:
        while True:
            try:
                await self._parts.journal.commit(record)
                break
            except JournalFailed as exc:
                log.error(  # noqa: TRY400  # the journal has logged why; here is what it means
                    "record_not_kept",
                    error=str(exc),
                    what_to_do="make room on the data folder's disk: we try again every second",
                )
                await asyncio.sleep(1.0)
        self._tell("recorded", final_status=record.outcome.final_status)
        self.recorded.set()

    async def _check_closer(self) -> None:
        """Note whether a closer could have taken the call; without an answer: he could not."""
        closer, available = self._parts.closer, False
        try:
            async with asyncio.timeout(1.0):
                available = await self._parts.closers.is_available(closer, self._parts.clock.now())
        except (StoreUnavailable, TimeoutError) as exc:
            log.warning("closer_not_checked", error=repr(exc))
        self.feed(ev.CloserChecked(at=self.now(), closer=closer, available=available))

    def _tell(self, state: str, **more: object) -> None:
        self._parts.publisher.publish(
            self.call_id, call_message(state, self.call_id, self.leg_id, at=self.now(), **more)
        )
