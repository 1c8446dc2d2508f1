"""Mends what a call is heard by: a transcription that fell silent, a stream that failed.

The call says what is wrong and when to try (`domain/watch.py`); here it is tried, once each time.
A command's id is decided and in the journal before it is sent. Whether it helped is heard: nothing
is concluded from an answer.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.types import CallCommand, CommandId
from agent_sidecar.errors import CommandRefused, CommandUncertain, JournalFailed, LegGone
from agent_sidecar.live.attaching import Attacher, new_command
from agent_sidecar.live.live_call import LiveCall

log = structlog.get_logger()

STOPS_WITHIN_S = 0.5


class Mender:
    """Restarts streams and transcriptions of live calls."""

    def __init__(self, attacher: Attacher, new_token: Callable[[LiveCall], str]) -> None:
        """`new_token` lets another stream of that call in."""
        self._attacher = attacher
        self._new_token = new_token

    async def mend(
        self, call: LiveCall, effect: ev.RestartTranscription | ev.RestartStream
    ) -> None:
        """Carry out what the call asks for; what fails is only logged."""
        try:
            if isinstance(effect, ev.RestartStream):
                await self._restart_stream(call, effect)
            else:
                await self._restart_transcription(call, effect)
        except LegGone as exc:
            log.info("leg_is_gone", leg_id=effect.leg_id, error=str(exc))
        except (CommandRefused, CommandUncertain, JournalFailed) as exc:
            log.warning("not_mended", wanted=type(effect).__name__, error=str(exc))

    async def _restart_transcription(self, call: LiveCall, effect: ev.RestartTranscription) -> None:
        control, leg_id = self._attacher.control, effect.leg_id
        if control is None:
            return
        log.warning("transcription_restarted", reason=effect.reason)
        try:
            await self._send(
                call,
                effect,
                "transcription_stop",
                lambda cmd: control.stop_transcription(leg_id, command_id=cmd),
            )
        except LegGone:
            raise
        except (CommandRefused, CommandUncertain) as exc:
            # most likely there is none to stop
            log.info("stop_not_confirmed", error=str(exc))
        # accepted is not done: a start too early would be answered that one is in progress
        await asyncio.sleep(STOPS_WITHIN_S)
        await self._send(
            call,
            effect,
            "transcription_start",
            lambda cmd: control.start_transcription(leg_id, command_id=cmd),
        )

    async def _restart_stream(self, call: LiveCall, effect: ev.RestartStream) -> None:
        control = self._attacher.control
        if control is None:
            return
        log.warning("stream_restarted", reason=effect.reason)
        token = self._new_token(call)
        url = self._attacher.stream_url(token)
        await self._send(
            call,
            effect,
            "streaming_start",
            lambda cmd: control.start_stream(effect.leg_id, url=url, token=token, command_id=cmd),
        )

    async def _send(
        self,
        call: LiveCall,
        effect: ev.RestartTranscription | ev.RestartStream,
        command: CallCommand,
        send: Callable[[CommandId], Awaitable[None]],
    ) -> None:
        command_id = new_command()
        await call.feed(
            ev.CommandDecided(
                at=call.now(),
                leg_id=effect.leg_id,
                command=command,
                command_id=command_id,
                reason=effect.reason,
            )
        )
        if not call.is_ending:
            await send(command_id)
