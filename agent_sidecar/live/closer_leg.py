"""What one transfer hears: the events of its closer's leg, of the bridge, and whether to stop.

The leg is up from the dial on, down on evidence only: its hangup, a dial that was refused, or
Telnyx's word that there is no such leg. A dial whose answer never came makes a leg that may be up;
its own events, which carry our client state, say what it is.
"""

import asyncio
from collections.abc import Sequence

import structlog

from agent_sidecar.domain.record import TransferOutcome
from agent_sidecar.domain.types import CommandId, LegId
from agent_sidecar.errors import CommandRefused, CommandUncertain
from agent_sidecar.ports import CallControl, TelephonyEvent, TelephonyKind

log = structlog.get_logger()

# how long the end of a leg that we hung up is waited for before anybody is asked
HANGUP_S = 10.0
_CAUSES: dict[str, TransferOutcome] = {
    "user_busy": "busy",
    "call_rejected": "declined",
    "no_answer": "no_answer",
    "timeout": "no_answer",
    "not_found": "invalid_number",
}


class AttemptOver(Exception):
    """The attempt has its outcome."""

    def __init__(self, outcome: TransferOutcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason


class CloserLeg:
    """The closer's leg of one attempt."""

    def __init__(self, closer: str, client_state: str) -> None:
        self.leg_id: LegId | None = None
        # None: nobody knows
        self.is_up: bool | None = False
        # why the attempt is to stop
        self.stop_reason: str | None = None
        # what machine detection said
        self.detected: str | None = None
        self._closer = closer
        self._client_state = client_state
        # None wakes whoever waits, for what has changed otherwise
        self._inbox: asyncio.Queue[TelephonyEvent | None] = asyncio.Queue()

    def dialed(self, leg_id: LegId) -> None:
        """Note which leg it is; it may have ended already."""
        self.leg_id = leg_id
        if self.is_up is None:
            self.is_up = True

    def owns(self, event: TelephonyEvent) -> bool:
        """Say whether an event is about this leg."""
        return event.leg_id == self.leg_id or event.client_state == self._client_state

    def put(self, event: TelephonyEvent) -> None:
        """Take an event of this leg, or of the bridge."""
        if self.owns(event) and event.leg_id is not None:
            self.dialed(event.leg_id)
            if event.kind == "hangup":
                self.is_up = False
        if event.kind == "machine_detected":
            self.detected = event.status
        self._inbox.put_nowait(event)

    def stop(self, reason: str) -> None:
        """Say that the attempt is to stop; the first reason stands."""
        self.stop_reason = self.stop_reason or reason
        self._inbox.put_nowait(None)

    async def next(self) -> TelephonyEvent | None:
        """Return the next event; None: look at `stop_reason`."""
        return await self._inbox.get()

    async def expect(
        self, kinds: Sequence[TelephonyKind], *, within_s: float
    ) -> TelephonyEvent | None:
        """Return the first event of these kinds, None after `within_s`.

        Raises `AttemptOver` when he hangs up or the attempt is to stop.
        """
        try:
            async with asyncio.timeout(within_s):
                while True:
                    self.check_stop()
                    event = await self.next()
                    if event is not None and event.kind == "hangup":
                        raise AttemptOver(
                            _CAUSES.get(event.cause or "", "closer_hung_up"),
                            f"{self._closer}'s leg ended: {event.cause or 'no cause given'}",
                        )
                    if event is not None and event.kind in kinds:
                        return event
        except TimeoutError:
            return None

    def check_stop(self) -> None:
        """Raise `AttemptOver` when the attempt is to stop."""
        if self.stop_reason is not None:
            raise AttemptOver("cancelled", self.stop_reason)

    async def hang_up(self, control: CallControl, command_id: CommandId) -> None:
        """End the leg and return once it is proven to be down, however long that takes."""
        while self.leg_id is None and self.is_up is not False:
            # a dial whose answer never came: it may show itself yet
            await self.next()
        if self.leg_id is None or self.is_up is False:
            return
        try:
            await control.hang_up(self.leg_id, command_id=command_id)
        except (CommandRefused, CommandUncertain) as exc:
            log.warning("closer_not_hung_up", error=str(exc))
        if not await self._is_down_within(HANGUP_S) and not await self._is_gone(control):
            log.warning(
                "closer_leg_not_proven_down",
                closer=self._closer,
                what_to_do="nothing: he stays reserved until his leg's end is seen",
            )
            while self.is_up:
                await self.next()

    async def _is_down_within(self, length_s: float) -> bool:
        try:
            async with asyncio.timeout(length_s):
                while self.is_up:
                    await self.next()
        except TimeoutError:
            return False
        return True

    async def _is_gone(self, control: CallControl) -> bool:
        try:
            gone = self.leg_id is not None and not await control.is_alive(self.leg_id)
        except (CommandRefused, CommandUncertain):
            return False
        self.is_up = not gone
        return gone
