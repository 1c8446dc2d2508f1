"""Attaching to calls: opened when new, listened to, told when there is no such call."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

import structlog

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.types import CommandId, LegId, Party
from agent_sidecar.errors import CallEnded, CallUnknown, JournalFailed, LegGone
from agent_sidecar.live.admission import Admission
from agent_sidecar.live.attaching import Attacher, Started, new_command
from agent_sidecar.live.directory import Directory
from agent_sidecar.live.legs import Legs
from agent_sidecar.live.live_call import LiveCall
from agent_sidecar.live.requests import Attached, AttachRequest
from agent_sidecar.live.strangers import is_identified
from agent_sidecar.live.tokens import Tokens, key_of, new_token
from agent_sidecar.ports import Clock

log = structlog.get_logger()

# opens a call by its prospect's leg; the second ends when its first events are on disk
OpenCall = Callable[[LegId, AttachRequest, str], "tuple[LiveCall, asyncio.Future[list[None]]]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentParts:
    """What attaching works with."""

    attacher: Attacher
    admission: Admission
    clock: Clock
    open_call: OpenCall
    # the number of live calls has changed
    note_calls: Callable[[], None]


class Attachments:
    """Attaches this process to calls and their legs."""

    def __init__(
        self, directory: Directory, tokens: Tokens, legs: Legs, parts: AttachmentParts
    ) -> None:
        self._directory = directory
        self._tokens = tokens
        self._legs = legs
        self._parts = parts

    async def attach(self, leg_id: LegId, request: AttachRequest) -> Attached:
        """Attach to a leg; `Registry.attach` says what it raises."""
        owner = self._directory.owner(leg_id)
        known_as = owner[1] if owner else "prospect"
        role = request.role or known_as
        if role != "prospect" or known_as != "prospect":
            return await self._attach_other(leg_id, role, request)
        token, text_only = new_token(), None
        call = self._directory.find(leg_id)
        is_new = call is None
        kept: list[Awaitable[object]] = []
        self._legs.check(request.legs, leg_id, call)
        if call is None:
            text_only = self._parts.admission.admit()
            call, opening = self._parts.open_call(leg_id, request, token)
            kept.append(opening)
        elif is_identified(request.lead) and not is_identified(call.call.log.lead):
            kept.append(call.feed(ev.LeadKnown(at=call.now(), lead=request.lead)))
            call.find_lead()
        # at once: whose they are must stand before anybody else takes them for another's
        for party, other in request.legs.items():
            kept.append(self._legs.attach(other, party, call, None)[1])
        await self._wait_until_kept(call, kept, is_new=is_new)
        self._tokens.grant(
            key_of(token), now=self._parts.clock.now(), request=None, call_id=call.call_id
        )
        started = Started()
        if not call.call.log.opened.passive:
            record = await self._decide_recording(call)
            started = await self._parts.attacher.start(
                leg_id, token, text_only=text_only, record=record
            )
            if record is not None:
                call.recording = started.recording
            if started.gone is not None:
                await self._end(call, started.gone, is_new=is_new)
            if started.streaming or started.transcribing:
                self._prove_answered(call, leg_id)
        return self._attached(call, leg_id, token, started)

    async def _wait_until_kept(
        self, call: LiveCall, kept: Sequence[Awaitable[object]], *, is_new: bool
    ) -> None:
        """Wait for the disk: lines that are acknowledged later must find their call after a crash.

        Raises `JournalFailed`.
        """
        try:
            await asyncio.shield(asyncio.gather(*kept))
        except JournalFailed as exc:
            if is_new and not call.was_heard:
                # asked again it must be kept, and not be found here as if it had been
                self._forget(call, str(exc))
            raise

    async def _attach_other(self, leg_id: LegId, role: Party, request: AttachRequest) -> Attached:
        """Let another leg join its call."""
        call, kept = self._legs.attach(leg_id, role, None, request.call)
        if role == "agent":
            # below, where what fails is answered, and not by the task that its joining has begun
            call.transcribed.add(leg_id)
        await asyncio.shield(kept)
        token, started = self.new_token(call), Started()
        if role == "agent" and not call.call.log.opened.passive:
            started = await self._start_agent(call, leg_id)
            if started.gone is not None:
                call.feed(ev.LegLeft(at=call.now(), leg_id=leg_id, cause="gone"))
                raise _gone(started.gone)
        return self._attached(call, leg_id, token, started)

    async def transcribe_agent(self, leg_id: LegId) -> None:
        """Transcribe an agent's leg that is answered, where that is needed and was not done."""
        call, party = self._directory.owner(leg_id) or (None, None)
        if call is None or party != "agent" or call.call.log.opened.passive:
            return
        if leg_id in call.transcribed:
            return
        started = await self._start_agent(call, leg_id)
        for problem in started.problems:
            log.warning("agent_not_transcribed", call_id=call.call_id, reason=problem.text)

    async def stop(self, call: LiveCall) -> None:
        """Stop what was started on the legs of a call."""
        if call.call.log.opened.passive:
            return
        if call.leg_id is not None:
            await self._parts.attacher.stop(call.leg_id)
        if (agent_s := call.call.log.leg_of("agent")) is not None:
            await self._parts.attacher.stop_agent_leg(agent_s.leg_id)

    async def _start_agent(self, call: LiveCall, leg_id: LegId) -> Started:
        call.transcribed.add(leg_id)
        started = await self._parts.attacher.start_agent_leg(leg_id)
        if started.problems:
            # it may have rung still: then it is tried again when it is answered
            call.transcribed.discard(leg_id)
        return started

    async def _decide_recording(self, call: LiveCall) -> CommandId | None:
        """Return the command that starts a call's recording, kept; None: it is not to be started.

        A call is recorded once: what Telnyx makes of a second command is not documented.
        """
        if not self._parts.attacher.records or call.recording or call.leg_id is None:
            return None
        call.recording, command_id = True, new_command()
        await asyncio.shield(
            call.feed(
                ev.CommandDecided(
                    at=call.now(),
                    leg_id=call.leg_id,
                    command="record_start",
                    command_id=command_id,
                    reason="attached",
                )
            )
        )
        return command_id

    async def _end(self, call: LiveCall, gone: LegGone, *, is_new: bool) -> NoReturn:
        """Say that there is no such call; one that nobody was heard in leaves no record."""
        if is_new and not call.was_heard:
            self._forget(call, str(gone))
        else:
            call.wrap_up(str(gone), interrupted=True)
        raise _gone(gone)

    def _forget(self, call: LiveCall, reason: str) -> None:
        """Let there be no such call."""
        self._directory.forget(call)
        self._tokens.forget(call.call_id)
        self._parts.note_calls()
        call.discard(reason)

    def _prove_answered(self, call: LiveCall, leg_id: LegId) -> None:
        """Note that a leg is answered whose webhook never came: only such a leg takes commands."""
        log_of_call = call.call.log
        if log_of_call.voices.is_ringing(leg_id):
            leg = log_of_call.legs[leg_id]
            call.feed(ev.LegJoined(at=call.now(), leg=leg, answered=True))

    def new_token(self, call: LiveCall) -> str:
        """Return a token that lets another stream of this call in."""
        token = new_token()
        self._tokens.grant(
            key_of(token), now=self._parts.clock.now(), request=None, call_id=call.call_id
        )
        return token

    def _attached(self, call: LiveCall, leg_id: LegId, token: str, started: Started) -> Attached:
        return Attached(
            call_id=call.call_id,
            leg_id=leg_id,
            token=token,
            stream_url=self._parts.attacher.stream_url(token),
            streaming=started.streaming,
            transcribing=started.transcribing,
            recording=call.recording,
            problems=tuple(problem.text for problem in started.problems),
        )


def _gone(gone: LegGone) -> CallEnded | CallUnknown:
    return CallEnded(str(gone)) if gone.has_ended else CallUnknown(str(gone))
