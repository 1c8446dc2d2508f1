"""Tells the agent himself what is hinted: an AI assistant by message, a person in his ear.

Beside the hints socket and after it: nothing here is ever waited for. At most one command of a call
is under way; meanwhile the newest hint waits, one that waited before gives way to it, and one that
has expired is not told any more. A command that fails is not repeated: the next hint is newer.

    silent ──hint──▶ telling ──answered, and said where it is spoken──▶ silent
                      │   ▲
                      └───┘ the newest hint that came meanwhile
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

import structlog

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.hints import Hint
from agent_sidecar.domain.log import CallLog
from agent_sidecar.domain.types import CallCommand, LegId
from agent_sidecar.errors import CommandRefused, CommandUncertain, JournalFailed
from agent_sidecar.live.attaching import new_command
from agent_sidecar.live.briefing import advice, whisper
from agent_sidecar.live.call_parts import CallParts
from agent_sidecar.live.messages import call_message
from agent_sidecar.ports import TelephonyEvent

log = structlog.get_logger()

# a slow voice, and how late the end of its speech may be told; then it counts as over
_SLOWEST_WORDS_S: Final = 1.5
_TOLD_WITHIN_S: Final = 5.0

_Spawn = Callable[[Callable[[], Awaitable[None]], str], None]


class Prompter:
    """Tells the agent of one call."""

    def __init__(
        self,
        call_log: CallLog,
        parts: CallParts,
        *,
        feed: Callable[[ev.CallEvent], Awaitable[None]],
        now: Callable[[], datetime],
        spawn: _Spawn,
    ) -> None:
        """`now` is the time of the conversation; `spawn` runs work."""
        self._log = call_log
        self._prompting = parts.prompting
        self._publisher = parts.publisher
        self._metrics = parts.metrics
        self._feed = feed
        self._now = now
        self._spawn = spawn
        self._next: Hint | None = None
        self._is_telling = False
        # that something does not work is told once
        self._has_complained = False
        self._is_said = asyncio.Event()

    def take(self, hint: Hint) -> None:
        """Tell this hint as soon as nothing else is being told."""
        if self._way() is None:
            return
        self._next = hint
        if not self._is_telling:
            self._is_telling = True
            self._spawn(self._tell_newest, "prompt")

    def receive(self, event: TelephonyEvent) -> None:
        """Hear of the agent's leg that something has been said there."""
        if event.kind == "speak_ended":
            self._is_said.set()

    async def _tell_newest(self) -> None:
        try:
            while (hint := self._next) is not None:
                self._next = None
                if hint.expires_at > self._now():
                    await self._tell(hint)
        finally:
            self._is_telling = False

    async def _tell(self, hint: Hint) -> None:
        control, way = self._prompting.control, self._way()
        if control is None or way is None:
            return
        command, leg_id = way
        command_id = new_command()
        self._is_said.clear()
        try:
            await self._feed(
                ev.CommandDecided(
                    at=self._now(),
                    leg_id=leg_id,
                    command=command,
                    command_id=command_id,
                    reason=hint.hint_id,
                )
            )
            # meanwhile somebody may have hung up, or the closer come
            if self._way() != way:
                return
            if command == "speak":
                await control.speak(leg_id, text=whisper(hint), command_id=command_id)
            else:
                await control.add_assistant_message(
                    leg_id, text=advice(hint), command_id=command_id
                )
        except CommandRefused as exc:
            self._complain(command, "refused", exc)
            return
        except JournalFailed as exc:
            self._complain(command, "not_kept", exc)
            return
        except CommandUncertain as exc:
            self._complain(command, "uncertain", exc)
        else:
            self._metrics.count("prompts", command)
        if command == "speak":
            await self._until_said(whisper(hint))

    async def _until_said(self, text: str) -> None:
        longest_s = len(text.split()) / _SLOWEST_WORDS_S + _TOLD_WITHIN_S
        try:
            async with asyncio.timeout(longest_s):
                await self._is_said.wait()
        except TimeoutError:
            log.debug("speech_end_not_told", waited_s=longest_s)

    def _way(self) -> tuple[CallCommand, LegId] | None:
        """Return how the agent can be told now, and on which leg; None: he cannot."""
        call, prompting = self._log, self._prompting
        if prompting.control is None or call.opened.passive or not call.is_with_agent:
            return None
        command: CallCommand
        if call.opened.agent == "assistant" and prompting.assistant:
            leg, command = call.prospect_leg, "ai_assistant_add_messages"
        elif call.opened.agent == "human" and prompting.aloud:
            leg, command = call.leg_of("agent"), "speak"
        else:
            return None
        if leg is None or call.voices.is_ringing(leg.leg_id):
            return None
        return command, leg.leg_id

    def _complain(self, command: CallCommand, why: str, exc: Exception) -> None:
        self._metrics.count("prompts_failed", why)
        if self._has_complained:
            return
        self._has_complained = True
        log.warning(
            "agent_not_prompted",
            command=command,
            error=str(exc),
            what_to_do="is a Telnyx AI assistant on the call? if not, set SIDECAR_AGENT or"
            " SIDECAR_HINT_ASSISTANT=false; the hints socket has every hint"
            if command == "ai_assistant_add_messages"
            else "look at the agent's leg; the hints socket has every hint",
        )
        call_id, leg = self._log.opened.call_id, self._log.prospect_leg
        leg_id = leg.leg_id if leg else None
        self._publisher.publish(
            call_id,
            call_message("not_prompted", call_id, leg_id, at=self._now(), reason=str(exc)),
        )
