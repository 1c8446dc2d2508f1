"""Attaching to a call: its stream and its transcription are started, each with one retry."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from urllib.parse import quote

import structlog

from agent_sidecar.domain.types import CommandId, LegId
from agent_sidecar.errors import CommandRefused, CommandUncertain
from agent_sidecar.ports import CallControl

log = structlog.get_logger()

RETRY_PAUSE_S = 0.5
Problem = str


class Attacher:
    """Commands Telnyx to stream and transcribe a leg."""

    def __init__(self, control: CallControl | None, media_url: Callable[[], str]) -> None:
        """`media_url` is our media socket's address, known once the port is open."""
        # None: no Telnyx account is set
        self.control = control
        self._media_url = media_url

    def stream_url(self, token: str) -> str:
        """Return the address that lets one media stream in."""
        return f"{self._media_url()}?token={quote(token)}"

    async def start(
        self, leg_id: LegId, token: str, *, text_only: Problem | None = None
    ) -> tuple[bool, bool, tuple[Problem, ...]]:
        """Start both at once; return whether each works, and what does not and why.

        `text_only` is a reason not to start the stream at all.
        """
        control = self.control
        if control is None:
            missing = "no Telnyx account is set: set SIDECAR_TELNYX_API_KEY, or attach passively"
            return False, False, (missing,)
        streaming, transcribing = await asyncio.gather(
            self.start_stream(leg_id, token) if text_only is None else _because(text_only),
            _twice(
                "transcription_start",
                lambda cmd: control.start_transcription(leg_id, command_id=cmd),
            ),
        )
        problems = tuple(p for p in (streaming, transcribing) if p is not None)
        return streaming is None, transcribing is None, problems

    async def start_stream(self, leg_id: LegId, token: str) -> Problem | None:
        """Start the media stream; return why it does not work."""
        control, url = self.control, self.stream_url(token)
        if control is None:
            return "no Telnyx account is set"
        return await _twice(
            "streaming_start",
            lambda cmd: control.start_stream(leg_id, url=url, token=token, command_id=cmd),
        )

    async def stop(self, leg_id: LegId) -> None:
        """Stop both; a leg that is gone needs no stopping."""
        if self.control is None:
            return
        for stop in (self.control.stop_stream, self.control.stop_transcription):
            try:
                await stop(leg_id, command_id=_new_command())
            except (CommandRefused, CommandUncertain) as exc:
                log.info("stop_not_confirmed", error=str(exc))


async def _because(reason: Problem) -> Problem:
    return reason


async def _twice(name: str, send: Callable[[CommandId], Awaitable[None]]) -> Problem | None:
    """Send a command, once more when it fails.

    With the same id when the first may have worked, so that it is carried out once; with another
    when it was refused, since a known id would be ignored and answered as if all were well.
    """
    command_id = _new_command()
    problem = ""
    for attempt in (1, 2):
        try:
            await send(command_id)
        except CommandRefused as exc:
            problem = f"{name} was refused: {exc}"
            command_id = _new_command()
        except CommandUncertain as exc:
            problem = f"{name} may not have worked, its answer never came: {exc}"
        else:
            return None
        log.warning("attach_command_failed", command=name, attempt=attempt, reason=problem)
        if attempt == 1:
            await asyncio.sleep(RETRY_PAUSE_S)
    return problem


def _new_command() -> CommandId:
    return CommandId(str(uuid.uuid4()))
