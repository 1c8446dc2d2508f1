"""The hot transfer, step by step: lease, dial, human?, brief, accept digit, bridge, proof.

The closer is reserved before his phone rings and released only on evidence: his leg's hangup, or a
dial that Telnyx refused. Every command's id is decided and in the journal before it is sent. The
prospect stays with the agent until `call.bridged`; whatever goes wrong before, the agent goes on.

    lease ─▶ dial ─▶ answered ─▶ human? ─▶ briefing ─▶ “1” ─▶ bridge ─▶ bridged ─▶ closer left
      │       │         │           │          │               │
      ▼       ▼         ▼           ▼          ▼               ▼
   unavailable  busy/no_answer   voicemail   declined        failed        (always: one outcome)
"""

import asyncio
import uuid
from dataclasses import dataclass
from typing import Protocol

import structlog

from agent_sidecar.domain.events import StartTransfer, TransferProgressed, TransferStep
from agent_sidecar.domain.playbook import Closer
from agent_sidecar.domain.record import TransferOutcome
from agent_sidecar.domain.types import CommandId, LegId
from agent_sidecar.errors import CommandRefused, CommandUncertain, JournalFailed, StoreUnavailable
from agent_sidecar.live.live_call import LiveCall
from agent_sidecar.ports import CallControl, Clock, Closers, Dial, TelephonyEvent

log = structlog.get_logger()

ACCEPT, DECLINE = "1", "2"
# what a leg's client_state begins with, so that its webhooks find their transfer
CLIENT_STATE = "transfer:"
# a bridge that Telnyx refuses by race is tried again so often, so far apart
BRIDGE_TRIES, BRIDGE_PAUSE_S = 3, 0.5
# how long the end of a leg that we hung up is waited for
HANGUP_S = 10.0
# machine detection is done by then; no answer from it counts as not sure, which means human
DETECTION_S = 8.0
BRIDGED_S = 10.0
_MACHINES = frozenset({"machine", "fax_detected", "silence"})
_CAUSES: dict[str, TransferOutcome] = {
    "user_busy": "busy",
    "call_rejected": "declined",
    "no_answer": "no_answer",
    "timeout": "no_answer",
    "not_found": "invalid_number",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferParts:
    """What every transfer works with."""

    # None: no Telnyx account is set
    control: CallControl | None
    closers: Closers
    closer: Closer
    clock: Clock
    ring_s: float
    accept_s: float


class Switchboard(Protocol):
    """What a transfer needs of the registry."""

    def caller_number(self, leg_id: LegId) -> str | None:
        """Return our own number on the prospect's leg: what the closer sees."""
        ...

    def bind_closer(self, leg_id: LegId, call: LiveCall, transfer: "Transfer") -> None:
        """Say that a leg belongs to this call's closer."""
        ...


class _Over(Exception):
    """The attempt has its outcome."""

    def __init__(self, outcome: TransferOutcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason


class Transfer:
    """One attempt to hand one prospect to one closer."""

    def __init__(
        self,
        start: StartTransfer,
        call: LiveCall,
        parts: TransferParts,
        switchboard: Switchboard,
    ) -> None:
        self._switchboard = switchboard
        self._start = start
        self._call = call
        self._parts = parts
        self._inbox: asyncio.Queue[TelephonyEvent | str] = asyncio.Queue()
        self._leg: LegId | None = None
        self._leg_is_up = False
        self._leased = False
        self._bridged = False

    def receive(self, event: TelephonyEvent) -> None:
        """Take an event of the closer's leg, or of the bridge."""
        self._inbox.put_nowait(event)

    def cancel(self, reason: str) -> None:
        """Stop as soon as possible; the closer's phone stops ringing."""
        self._inbox.put_nowait(reason)

    async def run(self) -> None:
        """Try once, to the one outcome."""
        try:
            await self._attempt()
            outcome: TransferOutcome = "bridged"
            reason = f"{self._parts.closer.name} talked to the prospect"
        except _Over as over:
            outcome, reason = over.outcome, over.reason
        except CommandRefused as exc:
            outcome, reason = "failed", str(exc)
        except CommandUncertain as exc:
            outcome, reason = "unknown", str(exc)
        except JournalFailed as exc:
            outcome, reason = "failed", f"the step could not be kept, so nothing was sent: {exc}"
        await self._unwind()
        await self._step("ended", outcome=outcome, reason=reason)

    async def _attempt(self) -> None:
        await self._lease()
        leg = await self._dial()
        await self._expect("answered", within_s=self._parts.ring_s + 5.0)
        await self._step("answered")
        await self._wait_for_human()
        await self._brief(leg)
        await self._bridge(leg)
        # he keeps the lease until his own leg has ended
        while self._leg_is_up:
            await self._next()

    async def _lease(self) -> None:
        name = self._parts.closer.name
        if self._parts.control is None:
            raise _Over("unavailable", "no Telnyx account is set (SIDECAR_TELNYX_API_KEY)")
        if self._parts.closer.number is None:
            raise _Over("unavailable", f"no number for {name} (SIDECAR_CLOSER_NUMBER)")
        if self._call.leg_id is None:
            raise _Over("failed", "the prospect's leg is not known")
        try:
            if not await self._parts.closers.is_available(name, self._parts.clock.now()):
                raise _Over("unavailable", f"{name} is off or with another prospect")
            self._leased = await self._parts.closers.lease(name, self._start.transfer_id)
        except StoreUnavailable as exc:
            raise _Over("unavailable", f"nobody knows whether {name} is free: {exc}") from exc
        if not self._leased:
            raise _Over("unavailable", f"{name} was taken by another call a moment ago")
        await self._step("leased")

    async def _dial(self) -> LegId:
        prospect, number = self._call.leg_id, self._parts.closer.number
        caller = self._switchboard.caller_number(prospect) if prospect else None
        if prospect is None or number is None or caller is None:
            raise _Over("failed", "our own number is not known: set SIDECAR_CALLER_NUMBER")
        command_id = await self._step("dialing", command=True)
        dialed = await self._control.dial(
            Dial(
                to=number,
                from_=caller,
                link_to=prospect,
                client_state=f"{CLIENT_STATE}{self._start.transfer_id}",
                timeout_s=int(self._parts.ring_s),
            ),
            command_id=command_id,
        )
        self._leg, self._leg_is_up = dialed.leg_id, True
        self._switchboard.bind_closer(dialed.leg_id, self._call, self)
        return dialed.leg_id

    async def _wait_for_human(self) -> None:
        found = await self._expect("machine_detected", within_s=DETECTION_S, missing_is_fine=True)
        if found is not None and found.status in _MACHINES:
            raise _Over("voicemail", f"a machine answered ({found.status})")

    async def _brief(self, leg: LegId) -> None:
        command_id = await self._step("briefing", command=True)
        await self._control.ask_for_digit(
            leg, text=self._briefing(), digits=ACCEPT + DECLINE, command_id=command_id
        )
        answer = await self._expect(
            "gather_ended", within_s=self._parts.accept_s + 15.0, missing_is_fine=True
        )
        if answer is None or answer.digits != ACCEPT:
            said = "no digit" if answer is None or not answer.digits else f"“{answer.digits}”"
            raise _Over("declined", f"{self._parts.closer.name} answered {said} to the briefing")
        await self._step("accepted")

    async def _bridge(self, leg: LegId) -> None:
        prospect = self._call.leg_id
        if prospect is None:
            raise _Over("failed", "the prospect's leg is not known")
        for attempt in range(1, BRIDGE_TRIES + 1):
            command_id = await self._step("bridging", command=True)
            try:
                await self._control.bridge(prospect, to=leg, command_id=command_id)
                break
            except CommandRefused:
                if attempt == BRIDGE_TRIES:
                    raise
                await asyncio.sleep(BRIDGE_PAUSE_S)
        await self._expect("bridged", within_s=BRIDGED_S)
        self._bridged = True
        await self._step("bridged")

    async def _expect(
        self, kind: str, *, within_s: float, missing_is_fine: bool = False
    ) -> TelephonyEvent | None:
        """Wait for one kind of event; his hangup or a cancellation ends the attempt."""
        try:
            async with asyncio.timeout(within_s):
                while True:
                    event = await self._next()
                    if event is not None and event.kind == kind:
                        return event
        except TimeoutError:
            if missing_is_fine:
                return None
            outcome: TransferOutcome = "no_answer" if kind == "answered" else "failed"
            raise _Over(outcome, f"no {kind} within {within_s:.0f} s") from None

    async def _next(self) -> TelephonyEvent | None:
        """Return the next event; None once the closer has left after the bridge."""
        event = await self._inbox.get()
        if isinstance(event, str):
            if self._bridged:
                return None
            prospect_left = "hung up" in event
            raise _Over("prospect_hung_up" if prospect_left else "cancelled", event)
        if event.kind != "hangup":
            return event
        self._leg_is_up = False
        if self._bridged:
            return None
        raise _Over(
            _CAUSES.get(event.cause or "", "closer_hung_up"),
            f"{self._parts.closer.name}'s leg ended: {event.cause or 'no cause given'}",
        )

    async def _unwind(self) -> None:
        """End the closer's leg if it is up; release him only when it is proven to be down."""
        if self._leg is not None and self._leg_is_up:
            try:
                await self._control.hang_up(self._leg, command_id=_new_command())
                async with asyncio.timeout(HANGUP_S):
                    while self._leg_is_up:
                        event = await self._inbox.get()
                        if not isinstance(event, str) and event.kind == "hangup":
                            self._leg_is_up = False
            except (CommandRefused, CommandUncertain, TimeoutError) as exc:
                log.warning(
                    "closer_leg_not_proven_down",
                    error=repr(exc),
                    what_to_do="he stays reserved until the lease expires",
                )
        if self._leased and not self._leg_is_up:
            try:
                await self._parts.closers.release(self._parts.closer.name, self._start.transfer_id)
            except StoreUnavailable as exc:
                log.warning("lease_not_released", error=str(exc))

    async def _step(
        self,
        step: TransferStep,
        *,
        reason: str = "",
        outcome: TransferOutcome | None = None,
        command: bool = False,
    ) -> CommandId:
        """Report a step; with `command` only once its command_id is on disk."""
        command_id = _new_command()
        kept = self._call.feed(
            TransferProgressed(
                transfer_id=self._start.transfer_id,
                at=self._call.now(),
                step=step,
                closer=self._parts.closer.name,
                reason=reason,
                leg_id=self._leg,
                command_id=command_id if command else None,
                outcome=outcome,
            )
        )
        if command:
            await kept
        return command_id

    def _briefing(self) -> str:
        """Return what the closer hears, in a few seconds, before he decides."""
        start, lead = self._start, self._call.call.log.lead
        engagement = "" if start.engagement is None else f" Engagement {start.engagement:.0f}."
        objection = f" Last objection: {start.last_objection}." if start.last_objection else ""
        moved = f" {start.reasons[0]}." if start.reasons else ""
        return (
            f"Hot prospect: {lead.name or 'name unknown'}, phase {start.phase}.{engagement}"
            f"{moved}{objection} Press {ACCEPT} to take the call, {DECLINE} to decline."
        )

    @property
    def _control(self) -> CallControl:
        if self._parts.control is None:
            raise CommandRefused("no Telnyx account is set (SIDECAR_TELNYX_API_KEY)")
        return self._parts.control


def _new_command() -> CommandId:
    return CommandId(str(uuid.uuid4()))
