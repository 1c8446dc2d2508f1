"""Commands to the telephone network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from agent_sidecar.domain.types import CommandId, LegId


@dataclass(frozen=True, slots=True, kw_only=True)
class DialedLeg:
    leg_id: LegId
    call_leg_id: str | None
    call_session_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dial:
    """Ring the closer, linked to the prospect's leg; detects machines, never bridges by itself."""

    to: str
    from_: str
    link_to: LegId
    client_state: str
    timeout_s: int


class CallControl(Protocol):
    """Telnyx's commands. 200 means accepted, not done; the proof is a webhook.

    Raises `CommandRefused` (do not repeat) or `CommandUncertain` (ask before anything else).
    """

    async def start_stream(
        self, leg_id: LegId, *, url: str, token: str, command_id: CommandId
    ) -> None: ...

    async def start_transcription(self, leg_id: LegId, *, command_id: CommandId) -> None: ...

    async def start_recording(self, leg_id: LegId, *, command_id: CommandId) -> None:
        """Record both sides of the leg, each in a channel of its own."""
        ...

    async def stop_recording(self, leg_id: LegId, *, command_id: CommandId) -> None: ...

    async def stop_stream(self, leg_id: LegId, *, command_id: CommandId) -> None: ...

    async def stop_transcription(self, leg_id: LegId, *, command_id: CommandId) -> None: ...

    async def dial(self, dial: Dial, *, command_id: CommandId) -> DialedLeg: ...

    async def ask_for_digit(
        self, leg_id: LegId, *, text: str, digits: str, command_id: CommandId
    ) -> None:
        """Speak and wait for one of `digits`; the answer is `call.gather.ended`."""
        ...

    async def add_assistant_message(
        self, leg_id: LegId, *, text: str, command_id: CommandId
    ) -> None:
        """Tell the leg's AI assistant something for its next turn; nobody is interrupted."""
        ...

    async def speak(self, leg_id: LegId, *, text: str, command_id: CommandId) -> None:
        """Say something to who is on this leg, and to nobody else; its end is told by webhook."""
        ...

    async def bridge(self, leg_id: LegId, *, to: LegId, command_id: CommandId) -> None: ...

    async def hang_up(self, leg_id: LegId, *, command_id: CommandId) -> None:
        """End a leg; one that has ended already counts as hung up."""
        ...

    async def is_alive(self, leg_id: LegId) -> bool: ...

    async def live_legs(self) -> Mapping[str, LegId]:
        """Return every live leg that we dialled, by its client state, of which it has one."""
        ...
