"""A transfer that a crash interrupted: finished where it still can be, else unwound.

Which steps were taken says the journal, what became of them Telnyx: whether his leg lives, and, for
a dial whose answer never came, on which leg. Within a minute of a command the same command may be
sent again, since Telnyx carries out one of an id only once; later nothing is repeated, for nobody
knows what came of it. Who talks to the prospect is left alone, whatever is not known.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from agent_sidecar.domain.events import TransferStep
from agent_sidecar.domain.interrupted import Interrupted
from agent_sidecar.domain.record import TransferOutcome
from agent_sidecar.domain.types import CommandId, LegId
from agent_sidecar.live.closer_leg import AttemptOver
from agent_sidecar.live.live_call import LiveCall
from agent_sidecar.live.transfer import BRIDGED_S, Transfer, TransferParts

# Telnyx ignores a command whose id it has seen within 60 s; ours is on its way for some of them
REPEATABLE = timedelta(seconds=50)
_AWAY = "while the sidecar was away"


class TakenUp(Transfer):
    """An attempt of an earlier process."""

    def __init__(
        self,
        so_far: Interrupted,
        call: LiveCall,
        parts: TransferParts,
        *,
        caller_number: str | None,
        on_dialed: Callable[[LegId], None],
    ) -> None:
        super().__init__(
            so_far.start, call, parts, caller_number=caller_number, on_dialed=on_dialed
        )
        self._so_far = so_far
        self._leg.leg_id = so_far.leg_id
        # None: it was dialled, and nobody knows
        self._leg.is_up = None if so_far.may_have_leg else False
        self._leg.detected = so_far.detected
        self._answered = "answered" in so_far.steps
        self._accepted = "accepted" in so_far.steps
        self._asked_to_bridge = "bridging" in so_far.steps
        self._bridged = "bridged" in so_far.steps

    async def run(self) -> None:
        """Bring it to its one outcome, or end what its outcome left behind."""
        if self._so_far.outcome is None:
            await super().run()
            return
        await self._keep_lease()
        if self._goes_on:
            await self._leg.learn(self._control)
            await self._leg.follow(self._control)
        decided = self._so_far.decided.get("ended")
        await self._clear_up(None if self._goes_on or decided is None else decided.command_id)

    async def _try(self) -> tuple[TransferOutcome, str]:
        outcome, reason = await super()._try()
        if outcome in ("cancelled", "prospect_hung_up") and self._asked_to_bridge:
            # it ended before anybody told what came of the bridge: they may have talked
            return "unknown", f"they were being bridged {_AWAY}"
        return outcome, reason

    async def _attempt(self) -> None:
        if self._bridged:
            await self._keep_lease()
            await self._leg.learn(self._control)
        else:
            await self._go_on(await self._be_found())
        await self._leg.follow(self._control)

    async def _keep_lease(self) -> None:
        """Reserve him further; where another one has him, what is up must be ended all the same."""
        with suppress(AttemptOver):
            await self._lease.hold()

    async def _be_found(self) -> LegId:
        """Return his leg, which is up."""
        if "dialing" not in self._so_far.decided:
            await self._keep_lease()
            raise AttemptOver("failed", "the sidecar restarted before his phone was dialled")
        await self._lease.hold()
        self._leg.check_stop()
        prospect, number = self._call.leg_id, self._closer.number
        again = self._repeatable("dialing")
        if self._leg.leg_id is not None:
            await self._leg.learn(self._control)
        elif again and prospect and number and self._caller_number:
            await self._ring(again, prospect, number, self._caller_number)
        else:
            await self._leg.find(self._control)
            self._leg.check_stop()
            self._note_leg("Telnyx knows of no such leg")
        if self._leg.leg_id is None or self._leg.is_up is False:
            raise AttemptOver("unknown", f"his leg ended {_AWAY}")
        self._on_dialed(self._leg.leg_id)
        return self._leg.leg_id

    async def _go_on(self, leg: LegId) -> None:
        self._leg.check_stop()
        if not self._answered:
            await self._be_answered()
        if not self._accepted:
            await self._wait_for_human()
            again = self._repeatable("briefing")
            if again is None and "briefing" in self._so_far.decided:
                raise AttemptOver("failed", f"what he answered to the briefing came {_AWAY}")
            await self._brief(leg, again)
        again = self._repeatable("bridging")
        if again is None and self._asked_to_bridge:
            await self._wait_for_proof()
        else:
            await self._bridge(leg, again)

    async def _wait_for_proof(self) -> None:
        """Leave two people alone who may be talking: nobody can tell any more."""
        if await self._leg.expect(("bridged",), within_s=BRIDGED_S) is None:
            self._may_talk = True
            await self._leg.follow(self._control)
            raise AttemptOver("unknown", f"they were being bridged {_AWAY}")

    def _repeatable(self, step: TransferStep) -> CommandId | None:
        """Return the id of a step's command that may be sent once more."""
        decided = self._so_far.decided.get(step)
        if decided is None or self._call.now() - decided.at > REPEATABLE:
            return None
        return decided.command_id
