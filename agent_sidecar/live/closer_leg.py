"""What one transfer hears: the events of its closer's leg, of the bridge, and whether to stop.

The leg is up from the dial on, down on evidence only: its hangup, a dial that was refused, or
Telnyx's word that there is no such leg. A dial whose answer never came makes a leg that may be up:
its own events, which carry our client state, say what it is, and so does Telnyx when it is asked
which legs live.
"""

import asyncio
import uuid
from collections.abc import Sequence
from contextlib import suppress
from itertools import count

import structlog

from agent_sidecar.domain.record import TransferOutcome
from agent_sidecar.domain.types import CommandId, LegId
from agent_sidecar.errors import CommandRefused, CommandUncertain
from agent_sidecar.ports import CallControl, TelephonyEvent, TelephonyKind

log = structlog.get_logger()

# how long the end of a leg that we hung up is waited for before anybody is asked
HANGUP_S = 10.0
# when a leg that nobody has heard of is asked for, twice as long after each time; it is not there
# when it is missing in so many answers
LOOK_S, LONGEST_LOOK_S, LOOKS = 2.0, 60.0, 3
# a leg that is silent is asked after so often: its hangup may have been lost
ASK_S = 60.0
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

    def __init__(self, client_state: str) -> None:
        self.leg_id: LegId | None = None
        # None: nobody knows
        self.is_up: bool | None = False
        # its hangup was told, not only found out
        self.end_is_told = False
        # why the attempt is to stop
        self.stop_reason: str | None = None
        # what machine detection said
        self.detected: str | None = None
        # whose it is
        self.closer = ""
        self._client_state = client_state
        # None wakes whoever waits, for what has changed otherwise
        self._inbox: asyncio.Queue[TelephonyEvent | None] = asyncio.Queue()
        # something came in
        self._stirred = asyncio.Event()

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
                self.is_up, self.end_is_told = False, True
        if event.kind == "machine_detected":
            self.detected = event.status
        self._inbox.put_nowait(event)
        self._stirred.set()

    def stop(self, reason: str) -> None:
        """Say that the attempt is to stop; the first reason stands."""
        self.stop_reason = self.stop_reason or reason
        self._inbox.put_nowait(None)
        self._stirred.set()

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
                            f"{self.closer}'s leg ended: {event.cause or 'no cause given'}",
                        )
                    if event is not None and event.kind in kinds:
                        return event
        except TimeoutError:
            return None

    def check_stop(self) -> None:
        """Raise `AttemptOver` when the attempt is to stop."""
        if self.stop_reason is not None:
            raise AttemptOver("cancelled", self.stop_reason)

    async def find(self, control: CallControl, *, to_the_end: bool = False) -> None:
        """Return once it is known which leg was dialled, or that there is none.

        Its own events say so as well; what they say is still there to be heard afterwards.
        `to_the_end`: also when the attempt is to stop.
        """
        missing, pause_s = 0, LOOK_S
        while self.leg_id is None and self.is_up is not False:
            if self.stop_reason is not None and not to_the_end:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stirred.wait()
            self._stirred.clear()
            if self.leg_id is not None:
                return
            pause_s = min(2 * pause_s, LONGEST_LOOK_S)
            try:
                leg_id = (await control.live_legs()).get(self._client_state)
            except (CommandRefused, CommandUncertain) as exc:
                log.warning("closer_leg_not_found_out", closer=self.closer, error=str(exc))
                continue
            missing += leg_id is None
            if leg_id is not None:
                self.dialed(leg_id)
            elif missing >= LOOKS and self.leg_id is None:
                self.is_up = False

    async def learn(self, control: CallControl) -> None:
        """Return once it is known whether the leg, of which the id is known, is up."""
        pause_s = LOOK_S
        while self.is_up is None and await self.ask(control) is None:
            if self.stop_reason is not None:
                return
            self._stirred.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stirred.wait()
            pause_s = min(2 * pause_s, LONGEST_LOOK_S)

    async def follow(self, control: CallControl) -> None:
        """Return when the leg has ended, or the attempt is to stop."""
        while self.is_up is not False and self.stop_reason is None:
            try:
                async with asyncio.timeout(ASK_S):
                    await self.next()
            except TimeoutError:
                await self.ask(control)

    async def hang_up(self, control: CallControl, command_id: CommandId) -> None:
        """End the leg and return once it is proven to be down, however long that takes."""
        await self.find(control, to_the_end=True)
        for number in count():
            if self.leg_id is None or self.is_up is False:
                return
            try:
                await control.hang_up(self.leg_id, command_id=_derived(command_id, number))
            except (CommandRefused, CommandUncertain) as exc:
                log.warning("closer_not_hung_up", error=str(exc))
            if await self._is_down_within(HANGUP_S) or await self.ask(control) is False:
                return
            if not number:
                log.warning(
                    "closer_leg_not_proven_down",
                    closer=self.closer,
                    what_to_do="nothing: he stays reserved until his leg's end is seen",
                )
            await self._is_down_within(min(LOOK_S * 2**number, LONGEST_LOOK_S))

    async def _is_down_within(self, length_s: float) -> bool:
        try:
            async with asyncio.timeout(length_s):
                while self.is_up is not False:
                    await self.next()
        except TimeoutError:
            return False
        return True

    async def ask(self, control: CallControl) -> bool | None:
        """Ask whether the leg is up; None: nobody knows."""
        try:
            alive = self.leg_id is not None and await control.is_alive(self.leg_id)
        except (CommandRefused, CommandUncertain):
            return None
        if self.is_up is not False:
            self.is_up = alive
        return self.is_up


def _derived(command_id: CommandId, number: int) -> CommandId:
    """Return the id of a command's repetition: Telnyx ignores one that it has seen."""
    if not number:
        return command_id
    return CommandId(str(uuid.uuid5(uuid.UUID(command_id), str(number))))
