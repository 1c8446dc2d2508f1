"""The hot transfer, step by step: lease, dial, human?, brief, accept digit, bridge, proof.

The closer is reserved before his phone rings and released only on evidence: his leg's hangup, a
dial that Telnyx refused, or Telnyx's word that there is no such leg. Every command's id is decided
and in the journal before it is sent. The prospect stays with the agent until `call.bridged`;
whatever goes wrong before, the agent goes on. The outcome is told as soon as it is known; then the
closer's leg is ended and he is released.

    lease ─▶ dial ─▶ answered ─▶ human? ─▶ briefing ─▶ “1” ─▶ bridge ─▶ bridged ─▶ closer left
      │       │         │           │          │               │
      ▼       ▼         ▼           ▼          ▼               ▼
   unavailable  busy/no_answer   voicemail   declined        failed        (always: one outcome)

A command whose answer never came is not repeated: the events that follow say whether it was done,
and of a dial also Telnyx, which is asked for legs with our client state.
"""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from agent_sidecar.domain.events import (
    LegLeft,
    StartTransfer,
    TransferProgressed,
    TransferStep,
)
from agent_sidecar.domain.playbook import Closer
from agent_sidecar.domain.record import TransferOutcome
from agent_sidecar.domain.types import CommandId, LegId, TransferId
from agent_sidecar.errors import CommandRefused, CommandUncertain, JournalFailed
from agent_sidecar.live.briefing import ACCEPT, DECLINE, briefing
from agent_sidecar.live.closer_leg import AttemptOver, CloserLeg
from agent_sidecar.live.giving_back import give_back
from agent_sidecar.live.lease import Lease
from agent_sidecar.live.live_call import LiveCall
from agent_sidecar.ports import CallControl, Clock, Closers, Dial, Publisher, TelephonyEvent

log = structlog.get_logger()

# what a leg's client_state begins with, so that its webhooks find their transfer
CLIENT_STATE = "transfer:"
# a bridge that Telnyx refuses by race is tried again so often, so far apart
BRIDGE_TRIES, BRIDGE_PAUSE_S = 3, 0.5
# machine detection is done by then; no answer from it counts as not sure, which means human
DETECTION_S = 8.0
BRIDGED_S = 10.0
# beyond the time that his phone may ring, and that he may think after the briefing was read out
RING_SLACK_S, BRIEFING_S = 5.0, 15.0
_MACHINES = frozenset({"machine", "fax_detected", "silence"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferParts:
    """What every transfer works with."""

    # None: no Telnyx account is set
    control: CallControl | None
    closers: Closers
    # whoever may take over; the first who is free is asked
    roster: tuple[Closer, ...]
    clock: Clock
    # hears who has the prospect
    publisher: Publisher
    ring_s: float
    accept_s: float


class Transfer:
    """One attempt to hand one prospect to one closer."""

    def __init__(
        self,
        start: StartTransfer,
        call: LiveCall,
        parts: TransferParts,
        *,
        caller_number: str | None,
        on_dialed: Callable[[LegId], None],
    ) -> None:
        """`caller_number` is our own, as the closer will see it; `on_dialed` hears of his leg."""
        self._start = start
        self._call = call
        self._parts = parts
        self._caller_number = caller_number
        self._on_dialed = on_dialed
        self._leg = CloserLeg(f"{CLIENT_STATE}{start.transfer_id}")
        # the first is the one that is hoped for
        self._turn_to(parts.roster[0])
        self._answered = self._accepted = False
        self._asked_to_bridge = False
        self._bridged = False
        # they were being bridged, and nobody knows what came of it
        self._may_talk = False
        self._is_over = False

    @property
    def transfer_id(self) -> TransferId:
        return self._start.transfer_id

    @property
    def awaits_leg(self) -> bool:
        """The closer is dialled, and nobody knows yet on which leg."""
        return self._leg.leg_id is None and self._leg.is_up is not False

    def receive(self, event: TelephonyEvent) -> bool:
        """Take an event of the closer's leg, or of the bridge; False: it is not this attempt's."""
        is_proof = self._is_proof(event)
        if is_proof and not self._bridged:
            # at once, and also when the attempt is over: events may come late and reversed
            self._bridged = True
            self._lease.note("on_call")
            self._tell("bridged", at=event.at)
        expected = not self._is_over and (is_proof or self._leg.owns(event))
        if expected:
            self._leg.put(event)
            self._note(event)
        return expected

    def _note(self, event: TelephonyEvent) -> None:
        """Keep what the closer's leg tells before it is acknowledged: it will not come again."""
        if event.kind in ("answered", "machine_detected") and not self._answered:
            # whoever was judged man or machine has answered, also when that webhook is late
            self._answered = True
            self._tell("answered", at=event.at)
        if event.kind == "machine_detected":
            self._tell("detected", at=event.at, reason=event.status or "")
        if event.kind == "gather_ended" and event.digits == ACCEPT and not self._accepted:
            self._accepted = True
            self._tell("accepted", at=event.at)

    def cancel(self, reason: str) -> None:
        """Stop as soon as possible; the closer's phone stops ringing."""
        self._leg.stop(reason)

    async def run(self) -> None:
        """Try once, to the one outcome; return when the closer is free again."""
        outcome, reason = await self._try()
        # before his leg is ended: the call may be over before that is proven
        ends_leg = self._leg.is_up is not False and not self._goes_on
        command_id = _new_command() if ends_leg else None
        told = self._tell("ended", outcome=outcome, reason=reason, command_id=command_id)
        if command_id is not None:
            try:
                await told
            except JournalFailed:
                log.warning("hangup_not_kept", what_to_do="nothing: to hang up twice is harmless")
        await self._clear_up(command_id)
        if self._bridged and self._leg.is_up is False:
            await give_back(self._call, self._control, self._parts.publisher)

    async def _clear_up(self, hangup: CommandId | None) -> None:
        """End his leg, if it is to end, and give him free once it is proven to be down."""
        if hangup is not None:
            await self._leg.hang_up(self._control, hangup)
        if self._leg.is_up is False:
            if self._leg.leg_id is not None and not self._leg.end_is_told:
                # nobody will tell: this ends the time that he had with the prospect
                now = self._call.now()
                self._call.feed(LegLeft(at=now, leg_id=self._leg.leg_id, cause=None, source=None))
            await self._lease.release()
        self._is_over = True

    async def _try(self) -> tuple[TransferOutcome, str]:
        try:
            await self._attempt()
        except AttemptOver as over:
            left = over.outcome == "cancelled" and self._prospect_left
            return "prospect_hung_up" if left else over.outcome, over.reason
        except CommandRefused as exc:
            return "failed", str(exc)
        except JournalFailed as exc:
            return "failed", f"the step could not be kept, so nothing was sent: {exc}"
        except Exception as exc:  # his phone must not ring on, nor his lease last, for a bug
            log.exception("transfer_broke", what_to_do="report this")
            return "failed", repr(exc)
        return "bridged", f"{self._closer.name} talked to the prospect"

    async def _attempt(self) -> None:
        await self._reserve()
        await self._dial()
        leg = await self._be_answered()
        await self._wait_for_human()
        await self._brief(leg)
        await self._bridge(leg)
        # he keeps the lease until his own leg has ended
        await self._leg.follow(self._control)

    async def _reserve(self) -> None:
        if self._parts.control is None:
            raise AttemptOver("unavailable", "no Telnyx account is set (SIDECAR_TELNYX_API_KEY)")
        reasons = []
        for closer in self._parts.roster:
            self._turn_to(closer)
            reason = await self._why_not(closer)
            if not reason:
                self._tell("leased")
                return
            reasons.append(reason)
        self._turn_to(self._parts.roster[0])
        raise AttemptOver("unavailable", "; ".join(reasons))

    async def _why_not(self, closer: Closer) -> str:
        """Reserve a closer; return why he is not to be had, empty: he is reserved."""
        if closer.number is None:
            return f"no number for {closer.name} (SIDECAR_CLOSER_NUMBER, or in the playbook)"
        return await self._lease.take(self._parts.clock)

    def _turn_to(self, closer: Closer) -> None:
        self._closer, self._leg.closer = closer, closer.name
        self._lease = Lease(self._parts.closers, closer.name, self.transfer_id)

    async def _dial(self) -> None:
        prospect, number = self._call.leg_id, self._closer.number
        caller = self._caller_number
        if prospect is None or number is None or caller is None:
            raise AttemptOver("failed", "our own number is not known: set SIDECAR_CALLER_NUMBER")
        await self._ring(await self._decide("dialing"), prospect, number, caller)

    async def _ring(self, command_id: CommandId, prospect: LegId, number: str, caller: str) -> None:
        why = ""
        self._leg.is_up = None
        self._lease.note("ringing")
        try:
            dialed = await self._control.dial(
                Dial(
                    to=number,
                    from_=caller,
                    link_to=prospect,
                    client_state=f"{CLIENT_STATE}{self.transfer_id}",
                    timeout_s=int(self._parts.ring_s),
                ),
                command_id=command_id,
            )
        except CommandRefused:
            self._leg.is_up = False
            raise
        except CommandUncertain as exc:
            log.warning("dial_uncertain", error=str(exc))
            why = str(exc)
            await self._leg.find(self._control)
            self._leg.check_stop()
        else:
            self._leg.dialed(dialed.leg_id)
        self._note_leg(why)

    def _note_leg(self, why: str) -> None:
        """Tell which leg is his; `why`: why nobody was sure that there is one."""
        if self._leg.leg_id is None:
            raise AttemptOver("failed", f"his phone was not dialled: {why}")
        self._on_dialed(self._leg.leg_id)
        if not self._answered and self._leg.is_up:
            self._tell("ringing")

    async def _be_answered(self) -> LegId:
        answered = await self._leg.expect(
            ("answered", "machine_detected"), within_s=self._parts.ring_s + RING_SLACK_S
        )
        leg_id = self._leg.leg_id
        if leg_id is None or answered is None:
            raise AttemptOver("no_answer", "his leg neither answered nor ended")
        return leg_id

    async def _wait_for_human(self) -> None:
        if self._leg.detected is None:
            await self._leg.expect(("machine_detected",), within_s=DETECTION_S)
        if self._leg.detected in _MACHINES:
            raise AttemptOver("voicemail", f"a machine answered ({self._leg.detected})")

    async def _brief(self, leg: LegId, command_id: CommandId | None = None) -> None:
        text = briefing(self._start, self._call.call.log.lead)
        command_id = command_id or await self._decide("briefing")
        try:
            await self._control.ask_for_digit(
                leg, text=text, digits=ACCEPT + DECLINE, command_id=command_id
            )
        except CommandUncertain as exc:
            log.warning("briefing_uncertain", error=str(exc))
        except CommandRefused:
            # most likely he has just hung up: then that is the outcome
            await self._leg.expect((), within_s=BRIDGE_PAUSE_S)
            raise
        answer = await self._leg.expect(
            ("gather_ended",), within_s=self._parts.accept_s + BRIEFING_S
        )
        name = self._closer.name
        if answer is not None and answer.status == "call_hangup":
            raise AttemptOver("closer_hung_up", f"{name} hung up during the briefing")
        if answer is None or answer.digits != ACCEPT:
            said = "no digit" if answer is None or not answer.digits else f"“{answer.digits}”"
            raise AttemptOver("declined", f"{name} answered {said} to the briefing")

    async def _bridge(self, leg: LegId, command_id: CommandId | None = None) -> None:
        prospect = self._call.leg_id
        if prospect is None:
            raise AttemptOver("failed", "the prospect's leg is not known")
        for left in reversed(range(BRIDGE_TRIES)):
            command_id = command_id or await self._decide("bridging")
            self._asked_to_bridge = True
            refused: CommandRefused | None = None
            try:
                await self._control.bridge(prospect, to=leg, command_id=command_id)
            except CommandRefused as exc:
                refused = exc
            except CommandUncertain as exc:
                log.warning("bridge_uncertain", error=str(exc))
            within_s = BRIDGED_S if refused is None else BRIDGE_PAUSE_S
            proof = await self._leg.expect(("bridged",), within_s=within_s)
            if proof is not None:
                return
            if refused is None:
                raise AttemptOver("failed", f"no call.bridged within {BRIDGED_S:.0f} s")
            if not left:
                raise refused
            command_id = None

    async def _decide(self, step: TransferStep) -> CommandId:
        """Return the id of the next command once it is on disk; raises if there is to be none."""
        self._leg.check_stop()
        command_id = _new_command()
        await self._tell(step, command_id=command_id)
        self._leg.check_stop()
        return command_id

    def _tell(
        self,
        step: TransferStep,
        *,
        at: datetime | None = None,
        reason: str = "",
        outcome: TransferOutcome | None = None,
        command_id: CommandId | None = None,
    ) -> Awaitable[None]:
        """Report a step; whoever sends a command of that id waits until it is kept."""
        return self._call.feed(
            TransferProgressed(
                transfer_id=self.transfer_id,
                at=at or self._call.now(),
                step=step,
                closer=self._closer.name,
                reason=reason,
                leg_id=self._leg.leg_id,
                command_id=command_id,
                outcome=outcome,
            )
        )

    def _is_proof(self, event: TelephonyEvent) -> bool:
        """Say whether an event shows the bridge; the prospect's own need not name his peer."""
        if event.kind != "bridged" or not self._asked_to_bridge:
            return False
        is_prospect_s = event.leg_id == self._call.leg_id
        return self._leg.owns(event) or (
            is_prospect_s and event.peer_leg_id in (None, self._leg.leg_id)
        )

    @property
    def _prospect_left(self) -> bool:
        return self._call.call.log.hung_up_at is not None

    @property
    def _goes_on(self) -> bool:
        """The closer talks with the prospect, or may: nobody may end that but them."""
        return (self._bridged or self._may_talk) and not self._prospect_left

    @property
    def _control(self) -> CallControl:
        if self._parts.control is None:
            raise CommandRefused("no Telnyx account is set (SIDECAR_TELNYX_API_KEY)")
        return self._parts.control


def _new_command() -> CommandId:
    return CommandId(str(uuid.uuid4()))
