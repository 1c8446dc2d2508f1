"""The calls this process owns: opened, found by any of their legs, told what happens, forgotten.

An event finds its call by its leg; a closer's leg also by the client state that we gave it, since
its first events may come before the dial's own answer.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.call import Call
from agent_sidecar.domain.engagement import Weights
from agent_sidecar.domain.language import Reader
from agent_sidecar.domain.media import StreamStart
from agent_sidecar.domain.outcome import outcome_of
from agent_sidecar.domain.record import FinalStatus
from agent_sidecar.domain.types import AgentKind, CallId, Lead, Leg, LegId, Party
from agent_sidecar.errors import CallUnknown, TokenInvalid
from agent_sidecar.live.attaching import Attacher
from agent_sidecar.live.ids import new_call_id
from agent_sidecar.live.live_call import CallParts, LiveCall
from agent_sidecar.live.media_stream import MediaStream
from agent_sidecar.live.messages import call_message
from agent_sidecar.live.requests import Attached, AttachRequest, StreamGrant
from agent_sidecar.live.routing import call_events
from agent_sidecar.live.strangers import Strangers, lead_of, our_number
from agent_sidecar.live.tokens import Tokens, key_of, new_token
from agent_sidecar.live.transfer import CLIENT_STATE, Transfer, TransferParts
from agent_sidecar.live.views import finished_view
from agent_sidecar.ports import OpenCall, ReceivedWebhook, TelephonyEvent

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryParts:
    """What the registry works with."""

    call: CallParts
    transfer: TransferParts
    reader: Reader
    weights: Weights
    attacher: Attacher
    agent: AgentKind
    # attach by ourselves when a leg nobody announced is answered
    auto_attach: bool
    # our own number where a leg does not say it
    caller_number: str | None
    # each call's tasks run in here
    tasks: asyncio.TaskGroup
    on_recorded: Callable[[], None]


class Registry:
    """The live calls of this process."""

    def __init__(self, parts: RegistryParts) -> None:
        self._parts = parts
        self._calls: dict[CallId, LiveCall] = {}
        self._legs: dict[LegId, tuple[LiveCall, Party]] = {}
        self._transfers: dict[str, Transfer] = {}
        self._streams: dict[CallId, MediaStream] = {}
        self._tokens = Tokens()
        self._strangers = Strangers()
        # our own number on each prospect's leg
        self._numbers: dict[CallId, str] = {}

    # --- finding ----------------------------------------------------------------------------

    def find(self, name: str) -> LiveCall | None:
        """Return the live call with that call_id, or with a leg of that call_control_id."""
        if (call := self._calls.get(CallId(name))) is not None:
            return call
        found = self._legs.get(LegId(name))
        return found[0] if found else None

    def live_calls(self) -> Sequence[LiveCall]:
        """Return every call that is up."""
        return list(self._calls.values())

    def call_of_hint(self, hint_id: str) -> LiveCall | None:
        """Return the live call that a hint was given in."""
        return self._calls.get(CallId(hint_id.rpartition(":")[0]))

    async def finished(self, name: str) -> Mapping[str, object] | None:
        """Return a finished call as the API shows it."""
        committed = await self._parts.call.journal.record(CallId(name))
        return finished_view(committed) if committed else None

    async def finished_calls(self, limit: int) -> Sequence[Mapping[str, object]]:
        """Return the newest finished calls, briefly."""
        recent = await self._parts.call.journal.recent(limit=limit)
        return [finished_view(committed, brief=True) for committed in recent]

    # --- opening ----------------------------------------------------------------------------

    async def attach(self, leg_id: LegId, request: AttachRequest) -> Attached:
        """Listen to a call that is up: its stream and transcription start, unless passive."""
        token = new_token()
        call = self.find(leg_id) or self._open(leg_id, request, token)
        self._tokens.grant(key_of(token), now=self._now(), request=None, call_id=call.call_id)
        streaming = transcribing = False
        problems: tuple[str, ...] = ()
        if not call.call.log.opened.passive:
            streaming, transcribing, problems = await self._parts.attacher.start(leg_id, token)
        return Attached(
            call_id=call.call_id,
            leg_id=leg_id,
            token=token,
            stream_url=self._parts.attacher.stream_url(token),
            streaming=streaming,
            transcribing=transcribing,
            problems=problems,
        )

    async def detach(self, name: str) -> None:
        """Stop listening to a call and keep its record. Raises `CallUnknown`."""
        call = self._known(name)
        if call.leg_id is not None and not call.call.log.opened.passive:
            await self._parts.attacher.stop(call.leg_id)
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
        call = self.find(start.leg_id)
        if token is None or not self._tokens.opens(
            token, call.call_id if call else None, self._now()
        ):
            raise TokenInvalid(
                "this token opens no media stream of this call: attach first, or get one from"
                " POST /v1/streams"
            )
        if call is None:
            request = self._tokens.request_of(token) or AttachRequest(lead=Lead(), agent=None)
            call = self._open(start.leg_id, request, token, start)
        self._tokens.bind(token, call.call_id)
        if (before := self._streams.get(call.call_id)) is not None:
            before.stopped("a newer stream took over")
            before.superseded.set()
        stream = self._streams[call.call_id] = MediaStream(call, start)
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
            self._legs[leg.leg_id] = (call, leg.party)
        if opened.stream_key:
            self._tokens.grant(
                opened.stream_key, now=self._now(), request=None, call_id=call.call_id
            )
        self._own(call)
        return call

    # --- telling ----------------------------------------------------------------------------

    def already(self, event_id: str) -> Awaitable[None] | None:
        """Return None for a new webhook; for a repeated one, what ends when the first is kept."""
        return self._parts.call.journal.seen(event_id)

    def receive(self, event: TelephonyEvent, webhook: ReceivedWebhook) -> Awaitable[None]:
        """Tell the event's call now; what is returned ends when everything of it is on disk."""
        kept = [self._parts.call.journal.receive(webhook)]
        if event.leg_id is not None:
            kept += self._tell(event, event.leg_id)
        return _all(kept)

    async def post_outcome(
        self, name: str, status: FinalStatus, qualified: bool | None
    ) -> Mapping[str, object]:
        """Take a person's word on how a call ended, at any time. Raises `CallUnknown`."""
        if (call := self.find(name)) is not None:
            await call.feed(
                ev.OutcomePosted(at=call.now(), final_status=status, qualified=qualified)
            )
            return call.view()
        journal = self._parts.call.journal
        committed = await journal.record(CallId(name))
        if committed is None:
            raise CallUnknown(f"no call {name!r} is live or finished here")
        record = committed.record
        outcome = outcome_of(
            status,
            qualified=qualified,
            engagement=record.engagement,
            playbook=self._parts.reader.playbook,
            posted=True,
        )
        corrected = replace(outcome, booked=record.outcome.booked)
        await journal.commit(replace(record, outcome=corrected))
        self._parts.on_recorded()
        found = await self.finished(name)
        return found or {}

    # --- within -----------------------------------------------------------------------------

    def _known(self, name: str) -> LiveCall:
        call = self.find(name)
        if call is None:
            raise CallUnknown(f"no live call {name!r} here")
        return call

    def _now(self) -> datetime:
        return self._parts.call.clock.now()

    def _open(
        self,
        leg_id: LegId,
        request: AttachRequest,
        token: str = "",
        start: StreamStart | None = None,
    ) -> LiveCall:
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
            stream_key=key_of(token) if token else "",
        )
        call = self._new(opened)
        call.feed(opened)
        self._legs[leg_id] = (call, "prospect")
        if number := self._parts.caller_number or our_number(seen, start):
            self._numbers[call.call_id] = number
        session = seen.call_session_id if seen else start.call_session_id if start else None
        leg = Leg(
            leg_id=leg_id,
            party="prospect",
            call_leg_id=seen.call_leg_id if seen else None,
            call_session_id=session,
        )
        call.feed(ev.LegJoined(at=at, leg=leg, answered=seen is None or seen.kind == "answered"))
        call.find_lead()
        self._own(call)
        self._publish_open(call)
        return call

    def _new(self, opened: ev.CallOpened) -> LiveCall:
        call = LiveCall(
            Call(opened, self._parts.reader, self._parts.weights),
            self._parts.call,
            start_transfer=self._start_transfer,
        )
        self._calls[opened.call_id] = call
        return call

    def _own(self, call: LiveCall) -> None:
        self._parts.tasks.create_task(self._run(call), name=f"call:{call.call_id}")

    async def _run(self, call: LiveCall) -> None:
        try:
            await call.run()
        finally:
            self._forget(call)
            self._parts.on_recorded()

    def _forget(self, call: LiveCall) -> None:
        self._calls.pop(call.call_id, None)
        self._legs = {leg: owner for leg, owner in self._legs.items() if owner[0] is not call}
        self._streams.pop(call.call_id, None)
        self._numbers.pop(call.call_id, None)
        self._tokens.forget(call.call_id)
        prefix = f"{call.call_id}:"
        self._transfers = {k: t for k, t in self._transfers.items() if not k.startswith(prefix)}

    def _tell(self, event: TelephonyEvent, leg_id: LegId) -> list[Awaitable[None]]:
        owner = self._legs.get(leg_id) or self._claim_closer(event, leg_id)
        if owner is None:
            self._meet_stranger(event, leg_id)
            return []
        call, party = owner
        kept = [call.feed(e) for e in call_events(event, call, party)]
        if party == "closer" or event.kind == "bridged":
            for transfer_id, transfer in self._transfers.items():
                if transfer_id.startswith(f"{call.call_id}:"):
                    transfer.receive(event)
        if event.kind == "bridged" and (stream := self._streams.get(call.call_id)) is not None:
            stream.set_other("closer")
        return kept

    def _meet_stranger(self, event: TelephonyEvent, leg_id: LegId) -> None:
        self._strangers.meet(leg_id, event)
        if event.kind == "answered" and self._parts.auto_attach:
            self._parts.tasks.create_task(self._auto_attach(leg_id), name=f"attach:{leg_id}")

    async def _auto_attach(self, leg_id: LegId) -> None:
        attached = await self.attach(leg_id, AttachRequest(lead=Lead(), agent=None))
        if attached.problems:
            log.warning("attach_incomplete", call_id=attached.call_id, problems=attached.problems)

    def _start_transfer(self, call: LiveCall, start: ev.StartTransfer) -> Transfer:
        transfer = Transfer(start, call, self._parts.transfer, self)
        self._transfers[start.transfer_id] = transfer
        return transfer

    def _claim_closer(self, event: TelephonyEvent, leg_id: LegId) -> tuple[LiveCall, Party] | None:
        if not event.client_state.startswith(CLIENT_STATE):
            return None
        transfer_id = event.client_state.removeprefix(CLIENT_STATE)
        call = self._calls.get(CallId(transfer_id.rpartition(":")[0]))
        transfer = self._transfers.get(transfer_id)
        if call is None or transfer is None:
            return None
        self.bind_closer(leg_id, call, transfer)
        return self._legs[leg_id]

    def bind_closer(self, leg_id: LegId, call: LiveCall, transfer: Transfer) -> None:
        if leg_id not in self._legs:
            self._legs[leg_id] = (call, "closer")
            call.feed(
                ev.LegJoined(at=call.now(), leg=Leg(leg_id=leg_id, party="closer"), answered=False)
            )

    def caller_number(self, leg_id: LegId) -> str | None:
        call = self.find(leg_id)
        known = self._numbers.get(call.call_id) if call else None
        return known or self._parts.caller_number

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


async def _all(kept: Sequence[Awaitable[None]]) -> None:
    await asyncio.gather(*kept)
