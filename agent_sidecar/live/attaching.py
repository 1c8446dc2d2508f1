"""Attaching to a call: its stream and its transcription are started, each with one retry."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

import structlog

from agent_sidecar.domain.types import CommandId, LegId
from agent_sidecar.errors import CommandRefused, CommandUncertain, LegGone
from agent_sidecar.ports import CallControl

log = structlog.get_logger()


class _Stop(Protocol):
    def __call__(self, leg_id: LegId, *, command_id: CommandId) -> Awaitable[None]: ...


RETRY_PAUSE_S = 0.5
_NO_ACCOUNT = "no Telnyx account is set: set SIDECAR_TELNYX_API_KEY, or attach passively"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why something does not work."""

    text: str
    # the leg is over, or was never there: nothing will ever work
    gone: LegGone | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What works of a leg's stream and transcription, and what does not and why."""

    streaming: bool = False
    transcribing: bool = False
    recording: bool = False
    problems: tuple[Problem, ...] = ()

    @property
    def gone(self) -> LegGone | None:
        """That there is no such leg, when that was said."""
        return next((p.gone for p in self.problems if p.gone is not None), None)


class Attacher:
    """Commands Telnyx to stream and transcribe a leg."""

    def __init__(
        self,
        control: CallControl | None,
        media_url: Callable[[], str],
        *,
        transcribes_each_leg: bool = False,
        records: bool = False,
    ) -> None:
        """`media_url` is our media socket's address, known once the port is open.

        `transcribes_each_leg`: a transcription has the voice of its own leg only. `records`: the
        prospect's leg is to be recorded.
        """
        self.records = records
        # None: no Telnyx account is set
        self.control = control
        self._media_url = media_url
        self._transcribes_each_leg = transcribes_each_leg

    def stream_url(self, token: str) -> str:
        """Return the address that lets one media stream in."""
        return f"{self._media_url()}?token={quote(token)}"

    async def start(
        self,
        leg_id: LegId,
        token: str,
        *,
        text_only: str | None = None,
        record: CommandId | None = None,
    ) -> Started:
        """Start the prospect's stream and transcription at once.

        `text_only` is a reason not to start the stream at all; `record` the command that starts the
        recording, if that is to be.
        """
        control = self.control
        if control is None:
            return Started(problems=(Problem(text=_NO_ACCOUNT),))
        streaming, transcribing, recording = await asyncio.gather(
            self._stream(control, leg_id, token) if text_only is None else _because(text_only),
            _transcribe(control, leg_id),
            _nothing() if record is None else _record(control, leg_id, record),
        )
        return Started(
            streaming=streaming is None,
            transcribing=transcribing is None,
            recording=record is not None and recording is None,
            problems=tuple(p for p in (streaming, transcribing, recording) if p is not None),
        )

    async def start_agent_leg(self, leg_id: LegId) -> Started:
        """Transcribe the agent's own leg where the prospect's does not carry his words.

        His voice needs no stream of its own: the prospect's has both tracks.
        """
        if not self._transcribes_each_leg:
            return Started()
        if self.control is None:
            return Started(problems=(Problem(text=_NO_ACCOUNT),))
        problem = await _transcribe(self.control, leg_id)
        return Started(transcribing=problem is None, problems=() if problem is None else (problem,))

    async def _stream(self, control: CallControl, leg_id: LegId, token: str) -> Problem | None:
        url = self.stream_url(token)
        return await _twice(
            "streaming_start",
            lambda cmd: control.start_stream(leg_id, url=url, token=token, command_id=cmd),
        )

    async def stop(self, leg_id: LegId) -> None:
        """Stop both; a leg that is gone needs no stopping."""
        if self.control is not None:
            await _stop(self.control.stop_stream, leg_id)
            await _stop(self.control.stop_transcription, leg_id)
            if self.records:
                await _stop(self.control.stop_recording, leg_id)

    async def stop_agent_leg(self, leg_id: LegId) -> None:
        """Stop what `start_agent_leg` started."""
        if self.control is not None and self._transcribes_each_leg:
            await _stop(self.control.stop_transcription, leg_id)


def new_command() -> CommandId:
    """Return the id of a command that was just decided."""
    return CommandId(str(uuid.uuid4()))


async def _stop(stop: _Stop, leg_id: LegId) -> None:
    try:
        await stop(leg_id, command_id=new_command())
    except (CommandRefused, CommandUncertain) as exc:
        log.info("stop_not_confirmed", error=str(exc))


async def _because(reason: str) -> Problem:
    return Problem(text=reason)


async def _nothing() -> None:
    """Be no problem."""


async def _record(control: CallControl, leg_id: LegId, command_id: CommandId) -> Problem | None:
    return await _twice(
        "record_start",
        lambda cmd: control.start_recording(leg_id, command_id=cmd),
        command_id,
    )


async def _transcribe(control: CallControl, leg_id: LegId) -> Problem | None:
    return await _twice(
        "transcription_start", lambda cmd: control.start_transcription(leg_id, command_id=cmd)
    )


async def _twice(
    name: str, send: Callable[[CommandId], Awaitable[None]], first: CommandId | None = None
) -> Problem | None:
    """Send a command, once more when it fails.

    With the same id when the first may have worked, so that it is carried out once; with another
    when it was refused, since a known id would be ignored and answered as if all were well.
    """
    command_id = first or new_command()
    problem = ""
    for attempt in (1, 2):
        try:
            await send(command_id)
        except LegGone as exc:
            return Problem(text=f"{name} was refused: {exc}", gone=exc)
        except CommandRefused as exc:
            problem = f"{name} was refused: {exc}"
            command_id = new_command()
        except CommandUncertain as exc:
            problem = f"{name} may not have worked, its answer never came: {exc}"
        else:
            return None
        log.warning("attach_command_failed", command=name, attempt=attempt, reason=problem)
        if attempt == 1:
            await asyncio.sleep(RETRY_PAUSE_S)
    return Problem(text=problem)
