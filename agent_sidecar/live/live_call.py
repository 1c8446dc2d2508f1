"""Drives one `Call`: feeds it events, keeps them in the journal, performs its effects as tasks.

`feed` awaits nothing: the event takes its place in the journal and is taken by the call at once.
What it returns is done when the event is on disk; only who acknowledges something waits for it.

    up ──hangup, detach, lost sight of──▶ grace ──▶ closed ──▶ recorded ──LATE_S──▶ forgotten

What completes a closed call (its prospect's last words, late) makes a new version of its record;
only then it counts as kept.
"""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial
from typing import NoReturn

import structlog

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.call import COMPLETES, Call
from agent_sidecar.domain.hints import Question
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.types import CallId, LegId, Party
from agent_sidecar.errors import JournalFailed
from agent_sidecar.live import asking
from agent_sidecar.live.ahead import Ahead
from agent_sidecar.live.attempts import Attempts
from agent_sidecar.live.call_parts import CallParts, RunningTransfer
from agent_sidecar.live.degrading import Degrading
from agent_sidecar.live.keeping import RecordKeeper, forget_events
from agent_sidecar.live.messages import (
    call_message,
    hint_message,
    score_message,
    transfer_message,
)
from agent_sidecar.live.prompter import Prompter
from agent_sidecar.live.streams import Streams
from agent_sidecar.live.views import live_view
from agent_sidecar.telemetry import Metrics

log = structlog.get_logger()

# a recorded call hears what comes late for so long: Telnyx repeats a webhook for about a minute
LATE_S = 60.0
# answers to what the call asked itself: no sign that the conversation goes on
_ANSWERS = (ev.LineEmbedded, ev.HintsRetrieved, ev.LeadKnown, ev.CloserChecked, ev.CallClosed)

_Work = Callable[[], Awaitable[None]]


class _Forgotten(Exception):
    """Ends what is left of a call's tasks."""


class LiveCall:
    """One call of this process; its tasks live in `run`."""

    def __init__(
        self,
        call: Call,
        parts: CallParts,
        *,
        start_transfer: Callable[["LiveCall", ev.StartTransfer], RunningTransfer],
        mend: Callable[["LiveCall", ev.RestartTranscription | ev.RestartStream], Awaitable[None]],
        on_recorded: Callable[["LiveCall"], None],
    ) -> None:
        """`on_recorded` is told of every version of the record that is on disk."""
        self.call = call
        self.our_number = call.log.opened.our_number
        self.streams = Streams()
        # wall time of the newest sign of life, for calls that a crash left open
        self.touched_at = parts.clock.now()
        self.recorded = asyncio.Event()
        self.attempts = Attempts()
        # the agent's legs that were commanded to be transcribed, each once
        self.transcribed: set[LegId] = set()
        # its recording was commanded, here or before a restart
        self.recording = False
        self._parts = parts
        self._new_transfer = start_transfer
        self._mend = mend
        self._keeper = RecordKeeper(
            call, parts.journal, parts.configuration, on_kept=self._note_kept
        )
        self._on_recorded = on_recorded
        self._tasks: asyncio.TaskGroup | None = None
        self._context = contextvars.copy_context()
        self._early: list[tuple[_Work, str]] = []
        self._wrapping = False
        # nothing more is expected: recorded long ago, or it never was a call
        self._over = asyncio.Event()
        self._is_ghost = False
        # loop time at which each line came that is not understood yet, and the event taken now
        self._heard_at: dict[str, float] = {}
        self._was_heard = False
        self._degrading = Degrading(parts.metrics)
        self._arrived_s = 0.0
        # that of the line understood last: its hint's deadline counts from there
        self._since = 0.0
        self._ahead = Ahead(parts, foresee=call.foresee, spawn=self._spawn)
        self.prompter = Prompter(call.log, parts, feed=self.feed, now=self.now, spawn=self._spawn)

    @property
    def call_id(self) -> CallId:
        return self.call.log.opened.call_id

    @property
    def leg_id(self) -> LegId | None:
        """The prospect's leg."""
        leg = self.call.log.prospect_leg
        return leg.leg_id if leg else None

    @property
    def metrics(self) -> Metrics:
        """Where what comes of its streams is counted."""
        return self._parts.metrics

    @property
    def is_ending(self) -> bool:
        """The call hung up or is being wrapped up."""
        return self._wrapping or self.call.log.hung_up_at is not None

    @property
    def other(self) -> Party:
        """Who talks with the prospect now."""
        return self.call.log.voices.other

    @property
    def was_heard(self) -> bool:
        """Somebody has said something in it."""
        return self._was_heard or self.streams.any_open

    def now(self) -> datetime:
        """Return the time of the conversation: the wall's only for a call that is really live."""
        newest = self.call.log.last_at or self.call.log.opened.at
        if self.call.log.opened.source == "live":
            return max(newest, self._parts.clock.now())
        return newest

    def view(self) -> Mapping[str, object]:
        """Return the call as `GET /v1/calls/{id}` shows it while it lives."""
        return live_view(self.call, ending=self.is_ending)

    def feed(self, event: ev.CallEvent, *, arrived_s: float | None = None) -> Awaitable[None]:
        """Take an event that arrived then (loop time; None: now); ends when it is on disk."""
        if self._is_ghost:
            return _done()
        if not isinstance(event, _ANSWERS):
            self.touched_at = self._parts.clock.now()
        if self.call.is_closed:
            return self._complete(event)
        self._was_heard |= isinstance(event, ev.LineHeard | ev.SpeechHeard)
        self._arrived_s = _now_s() if arrived_s is None else arrived_s
        self._ahead.hear(event, counts=self.call.log.is_with_agent)
        self.streams.before(event)
        kept = self._keep(event)
        effects = self.call.receive(event)
        for effect in effects:
            self._perform(effect)
        if isinstance(event, ev.HintsRetrieved) and not effects:
            self._parts.metrics.hint_silent()
        self.streams.after(event, self.other)
        return kept

    def restore(self, events: tuple[ev.CallEvent, ...]) -> None:
        """Rebuild the call from what the journal kept, then ask again what was left unanswered."""
        for event in events:
            self.recording |= getattr(event, "command", None) == "record_start"
            try:
                self.call.receive(event)
            except Exception:  # one event must not keep the service from starting
                log.exception(
                    "event_not_understood",
                    call_id=self.call_id,
                    kind=type(event).__name__,
                    what_to_do="report this; the call goes on without it",
                )
        for effect in self.call.unfinished():
            self._perform(effect)
        if self.call.log.hung_up_at is not None:
            self._perform(ev.WrapUp(reason="hung up before the restart"))

    async def run(self) -> None:
        """Own the call's tasks until nothing more is expected of it."""
        with structlog.contextvars.bound_contextvars(call_id=self.call_id):
            self._context = contextvars.copy_context()
            try:
                async with asyncio.TaskGroup() as tasks:
                    self._tasks = tasks
                    early, self._early = self._early, []
                    for work, name in early:
                        self._spawn(work, name)
                    # nothing is made ready in a group that ends
                    with self._ahead:
                        await self._over.wait()
                        await (
                            forget_events(self._parts.journal, self.call_id)
                            if self._is_ghost
                            else asyncio.sleep(LATE_S)
                        )
                    _forget()
            except* _Forgotten:
                log.debug("call_forgotten")
            finally:
                self._tasks = None

    def find_lead(self) -> None:
        """Ask the lead store who this is; the call goes on meanwhile."""
        self._spawn(self._find_lead, "lead")

    def wrap_up(self, reason: str, *, interrupted: bool = False, grace_s: float = 0.0) -> None:
        """Close the call after the grace and commit its record; twice is once."""
        if self._wrapping:
            return
        self._wrapping = True
        # now, so that its outcome is in the record
        self.attempts.cancel_all(reason)
        work = partial(self._wrap_up, reason, interrupted=interrupted, grace_s=grace_s)
        self._spawn(work, "wrap-up")

    def lose_prospect(self, reason: str) -> None:
        """Close the call, for the prospect's leg is gone and nobody saw how."""
        self.wrap_up(reason, interrupted=True)
        if self.leg_id is not None:
            self.feed(ev.LegLeft(at=self.now(), leg_id=self.leg_id, cause=None, source=None))

    def take_up_transfers(self, stop: str | None = None) -> None:
        """Finish the transfers that a crash interrupted; `stop`: why they are to be unwound."""
        if self.is_ending or stop is not None:
            self.attempts.cancel_all(stop or "the call is over")
        for transfer in self.attempts.all:
            self._spawn(transfer.run, "transfer")

    def discard(self, reason: str) -> None:
        """Forget a call that never was one, here and in the journal: no record of it is made."""
        self._is_ghost = True
        self._over.set()
        self._tell("ended", reason=reason)

    def _keep(self, event: ev.CallEvent) -> Awaitable[None]:
        if isinstance(event, ev.LineHeard) and not event.is_final:
            return _done()
        return self._parts.journal.append(self.call_id, event)

    def _complete(self, event: ev.CallEvent) -> Awaitable[None]:
        """Take an event of a closed call; it is kept once a version of the record has it."""
        if not isinstance(event, COMPLETES):
            return _done()
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        kept.add_done_callback(_hear)
        if self._tasks is None and self.recorded.is_set():
            kept.set_exception(JournalFailed("the call is over and forgotten"))
        else:
            self._spawn(partial(self._amend, event, kept), "amend")
        return kept

    def _spawn(self, work: _Work, name: str) -> None:
        if self._tasks is None:
            self._early.append((work, name))
            return
        self._tasks.create_task(
            self._guard(work, name), name=f"{name}:{self.call_id}", context=self._context.copy()
        )

    async def _guard(self, work: _Work, name: str) -> None:
        """Do the work; an effect that fails must not end its call."""
        try:
            await work()
        except Exception:
            log.exception("effect_failed", effect=name, what_to_do="report this; the call goes on")

    def _perform(self, effect: ev.Effect) -> None:
        publish = self._parts.publisher.publish
        match effect:
            case ev.Embed():
                self._heard_at[effect.text.strip()] = self._arrived_s
                self._spawn(partial(self._embed, effect), "embed")
            case ev.AskForHints(question=question):
                self._spawn(partial(self._ask, question, self._since), "ask")
            case ev.PublishScore():  # before what is asked because of the line; sound: heard now
                self._since = self._heard_at.pop(effect.text, _now_s())
                publish(self.call_id, score_message(effect, self.call_id, self.leg_id))
            case ev.PublishHint():
                publish(self.call_id, hint_message(effect, self.call_id, self.leg_id))
                self._parts.metrics.hint_shown(effect.latency_ms)
                self.prompter.take(effect.hint)
            case ev.PublishTransfer():
                publish(self.call_id, transfer_message(effect, self.call_id, self.leg_id))
            case _:
                self._follow(effect)

    def _follow(self, effect: ev.Effect) -> None:
        """Do what a conclusion about the whole call asks for."""
        match effect:
            case ev.StartTransfer():
                transfer = self._new_transfer(self, effect)
                self.attempts.add(transfer)
                self._spawn(transfer.run, "transfer")
            case ev.CancelTransfer(transfer_id=transfer_id, reason=reason):
                self.attempts.cancel(transfer_id, reason)
            case ev.RestartTranscription() | ev.RestartStream():
                self._spawn(partial(self._mend, self, effect), "mend")
            case ev.PublishDegraded():
                self._degrading.tell(effect, self._tell)
            case ev.WrapUp(reason=reason):
                self.wrap_up(reason, grace_s=self._parts.late_lines_s)

    async def _embed(self, effect: ev.Embed) -> None:
        self.feed(await self._embedded(effect))

    async def _embedded(self, effect: ev.Embed) -> ev.LineEmbedded:
        heard_s = self._heard_at.get(effect.text.strip(), _now_s())
        vector = await asking.embed(self._parts, self._ahead, effect.text, heard_s=heard_s)
        return ev.LineEmbedded(line_id=effect.line_id, vector=vector)

    async def _ask(self, question: Question, heard_s: float) -> None:
        answer = await asking.retrieve(self._parts, self._ahead, question, heard_s=heard_s)
        if answer is not None:
            retrieved, latency_ms = answer
            self.feed(
                ev.HintsRetrieved(
                    question_id=question.question_id,
                    at=self.now(),
                    retrieved=retrieved,
                    latency_ms=latency_ms,
                )
            )

    async def _find_lead(self) -> None:
        lead = await asking.find_lead(self._parts, self.call.log.lead)
        if lead is not None:
            self.feed(ev.LeadKnown(at=self.now(), lead=lead))

    async def _wrap_up(self, reason: str, *, interrupted: bool, grace_s: float) -> None:
        self._tell("ended", reason=reason)
        await asyncio.sleep(grace_s)
        free = await asking.available_closer(self._parts)
        closer = free or self._parts.roster[0]
        self.feed(ev.CloserChecked(at=self.now(), closer=closer, available=free is not None))
        self.streams.end("the call is over")
        self.feed(ev.CallClosed(at=self.now(), interrupted=interrupted, reason=reason))
        await self._keeper.keep()

    async def _amend(self, event: ev.CallEvent, kept: asyncio.Future[None]) -> None:
        failure: JournalFailed | None = JournalFailed("the record could not be completed")
        try:
            await self._keeper.amend(partial(self._take_late, event))
            failure = None
        except JournalFailed as exc:
            failure = exc
        finally:
            # whoever acknowledges is told in any case; he may have left
            if kept.done():
                log.debug("nobody_waits_for_the_record")
            elif failure is None:
                kept.set_result(None)
            else:
                kept.set_exception(failure)

    async def _take_late(self, event: ev.CallEvent) -> None:
        for effect in self.call.receive(event):
            if isinstance(effect, ev.Embed):
                await self._take_late(await self._embedded(effect))
            else:
                self._perform(effect)

    def _note_kept(self, record: CallRecord) -> None:
        self._over.set()
        self.recorded.set()
        self._on_recorded(self)
        self._tell("recorded", final_status=record.outcome.final_status)

    def _tell(self, state: str, **more: object) -> None:
        self._parts.publisher.publish(
            self.call_id, call_message(state, self.call_id, self.leg_id, at=self.now(), **more)
        )


def _forget() -> NoReturn:
    raise _Forgotten


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _done() -> Awaitable[None]:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done


def _hear(kept: asyncio.Future[None]) -> None:
    """Nobody needs to await it: its failure is not logged as never retrieved."""
    if not kept.cancelled():
        kept.exception()
