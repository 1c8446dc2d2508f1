"""The calls this process owns: opened, found by any of their legs, told what happens, forgotten."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.audio import OpenDecoders
from agent_sidecar.domain.call import Call
from agent_sidecar.domain.engagement import Weights
from agent_sidecar.domain.interrupted import Interrupted, interrupted
from agent_sidecar.domain.language import Reader
from agent_sidecar.domain.media import StreamStart
from agent_sidecar.domain.playbook import Closer
from agent_sidecar.domain.record import FinalStatus
from agent_sidecar.domain.transfer_result import TransferResult
from agent_sidecar.domain.types import AgentKind, CallId, Lead, LegId, Track, TransferId
from agent_sidecar.errors import CallEnded, CallUnknown, TokenInvalid
from agent_sidecar.live.admission import Admission
from agent_sidecar.live.attaching import Attacher
from agent_sidecar.live.attachments import AttachmentParts, Attachments
from agent_sidecar.live.call_parts import CallParts
from agent_sidecar.live.directory import Directory
from agent_sidecar.live.finished import FinishedCalls
from agent_sidecar.live.ids import new_call_id
from agent_sidecar.live.judging import Judging
from agent_sidecar.live.legs import Legs, names_another
from agent_sidecar.live.live_call import LiveCall
from agent_sidecar.live.media_stream import MediaStream
from agent_sidecar.live.mending import Mender
from agent_sidecar.live.messages import call_message
from agent_sidecar.live.recordings import RecordingCopier
from agent_sidecar.live.requests import Attached, AttachRequest, StreamGrant
from agent_sidecar.live.routing import PROSPECT_STATE, ROLE_STATE
from agent_sidecar.live.strangers import Strangers, is_identified, lead_of, our_number, prospect_s
from agent_sidecar.live.taking_up import TakenUp
from agent_sidecar.live.telling import Teller, alone
from agent_sidecar.live.tokens import Tokens, key_of, new_token
from agent_sidecar.live.transfer import CLIENT_STATE, Transfer, TransferParts
from agent_sidecar.ports import OpenCall, ReceivedWebhook, Recordings, TelephonyEvent

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryParts:
    """What the registry works with."""

    call: CallParts
    transfer: TransferParts
    reader: Reader
    weights: Weights
    open_decoders: OpenDecoders
    attacher: Attacher
    # None: recordings are not copied
    recordings: Recordings | None
    admission: Admission
    agent: AgentKind
    # attach by ourselves when a leg nobody announced is answered
    auto_attach: bool
    # our own number where a leg does not say it
    caller_number: str | None
    # whose words a line of the prospect's leg is that names no track; None: nobody's
    untracked: Track | None
    # how long somebody may speak without words before his transcription is restarted
    silence_s: float
    # each call's tasks run in here
    tasks: asyncio.TaskGroup
    on_recorded: Callable[[], None]


class Registry:
    """The live calls of this process."""

    def __init__(self, parts: RegistryParts) -> None:
        self._parts = parts
        self._directory = Directory()
        self._tokens = Tokens()
        self._strangers = Strangers()
        self._legs = Legs(
            self._directory,
            self._strangers,
            self._tokens,
            frozenset(closer.number for closer in parts.transfer.roster if closer.number),
            on_agent=self._transcribe,
        )
        self._finished = FinishedCalls(
            parts.call.journal, parts.call.conversations, parts.reader.playbook
        )
        self._judging = Judging(self._directory, self._finished, parts.on_recorded)
        self.recordings = RecordingCopier(parts.recordings, self._judging, parts.call, parts.tasks)
        self._teller = Teller(
            self._directory,
            self._strangers,
            self._legs,
            parts.call.journal,
            parts.transfer,
            parts.tasks,
            parts.call.metrics,
            parts.untracked,
            self.recordings,
        )
        self._attachments = Attachments(
            self._directory,
            self._tokens,
            self._legs,
            AttachmentParts(
                attacher=parts.attacher,
                admission=parts.admission,
                clock=parts.call.clock,
                open_call=self._open,
                note_calls=self._note_calls,
            ),
        )
        self._mender = Mender(parts.attacher, self._attachments.new_token)

    # --- finding ----------------------------------------------------------------------------

    def find(self, name: str) -> LiveCall | None:
        """Return the live call with that call_id, or with a leg of that call_control_id."""
        return self._directory.find(name)

    def knows(self, call_id: CallId) -> bool:
        """Say whether a call is live, or was recorded a moment ago: it has tasks of its own."""
        return self._directory.known(call_id) is not None

    def live_calls(self) -> Sequence[LiveCall]:
        """Return every call that is up."""
        return self._directory.live

    def call_of_hint(self, hint_id: str) -> LiveCall | None:
        """Return the live call that a hint was given in."""
        return self.find(hint_id.rpartition(":")[0])

    async def finished(self, name: str) -> Mapping[str, object] | None:
        """Return a finished call as the API shows it."""
        call = self._directory.known(name)
        return await self._finished.view(call.call_id if call else CallId(name))

    async def finished_calls(self, limit: int) -> Sequence[Mapping[str, object]]:
        """Return the newest finished calls, briefly."""
        return await self._finished.newest(limit)

    # --- opening ----------------------------------------------------------------------------

    async def attach(self, leg_id: LegId, request: AttachRequest) -> Attached:
        """Listen to a call that is up: its stream and transcription start, unless passive.

        Any leg but the prospect's joins a call that is known. Raises `CallUnknown` and `CallEnded`
        as Telnyx says it; `Overloaded` or `JournalFailed` for a call that is not known yet.
        """
        return await self._attachments.attach(leg_id, request)

    async def detach(self, name: str) -> None:
        """Stop listening to a call and keep its record. Raises `CallUnknown`."""
        call = self.find(name)
        if call is None:
            raise CallUnknown(f"no live call {name!r} here")
        await self._attachments.stop(call)
        call.wrap_up("detached", grace_s=self._parts.call.late_lines_s)

    def new_stream(self, request: AttachRequest) -> StreamGrant:
        """Return a token for a stream that the user's own dial or answer command will name."""
        token = new_token()
        expires_at = self._tokens.grant(
            key_of(token), now=self._now(), request=request, call_id=None
        )
        return StreamGrant(
            token=token,
            stream_url=self._parts.attacher.stream_url(token),
            expires_at=expires_at,
        )

    def admit(self, token: str | None, start: StreamStart) -> MediaStream:
        """Let a media stream in; a newer one of the same call takes over. Raises `TokenInvalid`."""
        token = token or start.custom_parameters.get("token")
        call, joining = self.find(start.leg_id), None
        if call is None and token and (found := self._legs.of_stream(token, start)):
            call, joining = found
        if token is None or not self._tokens.opens(
            token, call.call_id if call else None, self._now()
        ):
            raise TokenInvalid(
                "this token opens no media stream of this call: attach first, or get one from"
                " POST /v1/streams"
            )
        if call is None:
            request = self._tokens.request_of(token)
            if names_another(request):
                raise TokenInvalid("the prospect's leg of this call is not known here yet")
            request = request or AttachRequest(lead=Lead(), agent=None)
            call, _ = self._open(start.leg_id, request, token, start)
        if joining is not None:
            self._legs.join(joining, call, answered=True)
        self._tokens.bind(token, call.call_id)
        self._legs.learn_session(call, start)
        if (old := call.streams.of(start.leg_id)) is not None:
            old.end("a newer stream took over")
        stream = MediaStream(call, start, self._parts.open_decoders)
        call.streams.take(start.leg_id, stream)
        return stream

    def restore(self, open_call: OpenCall) -> LiveCall | None:
        """Rebuild a call that a crash left open; None when its first event is missing."""
        opened = open_call.events[0] if open_call.events else None
        if not isinstance(opened, ev.CallOpened):
            log.error("open_call_without_beginning", what_to_do="report this")
            return None
        call = self._new(opened)
        call.restore(open_call.events[1:])
        for leg in call.call.log.legs.values():
            self._directory.bind(leg.leg_id, call, leg.party)
        if opened.stream_key:
            self._tokens.grant(
                opened.stream_key, now=self._now(), request=None, call_id=call.call_id
            )
        if self._parts.transfer.control is not None:
            # without an account nobody can say what became of them
            for so_far in interrupted(open_call.events, call.call.log):
                call.attempts.add(self._take_up(call, so_far))
        self._own(call)
        return call

    # --- telling ----------------------------------------------------------------------------

    def already(self, event_id: str) -> Awaitable[None] | None:
        """Return None for a new webhook; for a repeated one, what ends when the first is kept."""
        return self._parts.call.journal.seen(event_id)

    def receive(
        self,
        event: TelephonyEvent,
        webhook: ReceivedWebhook,
        *,
        arrived_s: float | None = None,
    ) -> Awaitable[None]:
        """Tell the event's call now; what is returned ends when everything of it is on disk.

        `arrived_s`: when it reached this process, loop time; None: now.
        """
        kept = self._teller.receive(event, webhook, arrived_s=arrived_s)
        if self._is_to_attach(event) and event.leg_id is not None:
            work = alone(self._auto_attach(event.leg_id))
            self._parts.tasks.create_task(work, name=f"attach:{event.leg_id}")
        elif event.leg_id is not None and event.kind == "answered":
            self._transcribe(event.leg_id)
        return kept

    async def post_outcome(
        self, name: str, status: FinalStatus, qualified: bool | None
    ) -> Mapping[str, object]:
        """Take a person's word on how a call ended, at any time. Raises `CallUnknown`."""
        return await self._judging.post_outcome(name, status, qualified)

    async def post_result(
        self, transfer_id: TransferId, result: TransferResult
    ) -> Mapping[str, object]:
        """Take a closer's word on what came of a transfer. Raises `TransferUnknown`."""
        return await self._judging.post_result(transfer_id, result)

    def _transcribe(self, leg_id: LegId) -> None:
        async def work() -> None:
            await alone(self._attachments.transcribe_agent(leg_id))

        self._parts.tasks.create_task(work(), name=f"transcribe:{leg_id}")

    def _is_to_attach(self, event: TelephonyEvent) -> bool:
        """Say whether this is a prospect's leg that was answered and nobody announced."""
        if not self._parts.auto_attach or event.kind != "answered" or event.leg_id is None:
            return False
        if self._directory.owner(event.leg_id) or event.client_state.startswith(CLIENT_STATE):
            return False
        if event.client_state.startswith(ROLE_STATE) and event.client_state != PROSPECT_STATE:
            return False
        # another leg of a call that we have: its agent, or a closer
        return self._directory.in_session(event.call_session_id) is None

    # --- within -----------------------------------------------------------------------------

    def _now(self) -> datetime:
        return self._parts.call.clock.now()

    def _open(
        self,
        leg_id: LegId,
        request: AttachRequest,
        token: str,
        start: StreamStart | None = None,
    ) -> "tuple[LiveCall, asyncio.Future[list[None]]]":
        """Return the new call, and what is done when its first events are on disk."""
        seen = self._strangers.take(leg_id)
        at = request.started_at or (seen.at if seen else self._now())
        opened = ev.CallOpened(
            call_id=new_call_id(self._now()),
            at=at,
            source=request.source,
            agent=request.agent or self._parts.agent,
            lead=lead_of(request.lead, seen, start),
            external_id=request.external_id,
            passive=request.passive,
            stream_key=key_of(token),
            our_number=our_number(seen, start),
        )
        call = self._new(opened)
        kept = [call.feed(opened)]
        self._directory.bind(leg_id, call, "prospect")
        leg = prospect_s(leg_id, seen, start)
        answered = seen is None or seen.kind == "answered"
        kept.append(call.feed(ev.LegJoined(at=at, leg=leg, answered=answered)))
        opening = asyncio.gather(*kept)
        opening.add_done_callback(_look)
        if is_identified(opened.lead):
            call.find_lead()
        self._own(call)
        self._publish_open(call)
        self._legs.adopt_session(leg.call_session_id)
        return call, opening

    def _new(self, opened: ev.CallOpened) -> LiveCall:
        call = LiveCall(
            Call(opened, self._parts.reader, self._parts.weights, self._parts.silence_s),
            self._parts.call,
            start_transfer=self._start_transfer,
            mend=self._mender.mend,
            on_recorded=self._note_recorded,
        )
        self._directory.add(call)
        self._note_calls()
        return call

    def _own(self, call: LiveCall) -> None:
        self._parts.tasks.create_task(self._run(call), name=f"call:{call.call_id}")

    async def _run(self, call: LiveCall) -> None:
        try:
            await alone(call.run())
        finally:
            self._directory.forget(call)
            self._tokens.forget(call.call_id)

    def _note_recorded(self, call: LiveCall) -> None:
        self._directory.note_recorded(call)
        self._tokens.forget(call.call_id)
        self._note_calls()
        self._parts.on_recorded()

    async def _auto_attach(self, leg_id: LegId) -> None:
        try:
            attached = await self.attach(leg_id, AttachRequest(lead=Lead(), agent=None))
        except (CallUnknown, CallEnded) as exc:
            log.info("call_gone_before_attach", leg_id=leg_id, error=str(exc))
            return
        if attached.problems:
            log.warning("attach_incomplete", call_id=attached.call_id, problems=attached.problems)

    def _note_calls(self) -> None:
        self._parts.call.metrics.open_calls(len(self._directory.live))

    def _start_transfer(self, call: LiveCall, start: ev.StartTransfer) -> Transfer:
        # where the leg did not say it, or where the user wants another one
        caller = self._parts.caller_number or call.our_number
        return Transfer(
            start,
            call,
            self._parts.transfer,
            caller_number=caller,
            on_dialed=lambda leg_id: self._teller.bind_closer(leg_id, call),
        )

    def _take_up(self, call: LiveCall, so_far: Interrupted) -> Transfer:
        parts = self._parts.transfer
        # whom the playbook has no more has no number any more
        his = [closer for closer in parts.roster if closer.name == so_far.closer]
        parts = replace(parts, roster=tuple(his) or (Closer(name=so_far.closer),))
        return TakenUp(
            so_far,
            call,
            parts,
            caller_number=self._parts.caller_number or call.our_number,
            on_dialed=lambda leg_id: self._teller.bind_closer(leg_id, call),
        )

    def _publish_open(self, call: LiveCall) -> None:
        message = call_message(
            "open",
            call.call_id,
            call.leg_id,
            at=call.now(),
            source=call.call.log.opened.source,
            external_id=call.call.log.opened.external_id,
        )
        self._parts.call.publisher.publish(call.call_id, message)


def _look(kept: "asyncio.Future[list[None]]") -> None:
    if not kept.cancelled() and (error := kept.exception()) is not None:
        log.error("call_not_kept", error=str(error))
