"""Transfers that a crash interrupted: how far each had come, by what the journal kept of it.

A command is kept before it is sent, and what Telnyx told of the closer's leg before it was
acknowledged: so a step that is not among the events was not taken, and one that is may have been.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from agent_sidecar.domain.events import (
    CallEvent,
    LegLeft,
    StartTransfer,
    TransferProgressed,
    TransferStep,
)
from agent_sidecar.domain.log import CallLog
from agent_sidecar.domain.record import TransferAttempt, TransferOutcome
from agent_sidecar.domain.types import CommandId, LegId


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A command that may have been sent."""

    at: datetime
    command_id: CommandId


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """One transfer as far as it was kept."""

    start: StartTransfer
    closer: str
    steps: frozenset[TransferStep]
    # the newest command of each step
    decided: Mapping[TransferStep, Decided]
    leg_id: LegId | None
    # what machine detection said
    detected: str | None
    # None: it had none yet
    outcome: TransferOutcome | None
    # his leg's hangup was seen
    leg_left: bool

    @property
    def may_have_leg(self) -> bool:
        """His phone may be up: it was dialled, and nobody has seen it end."""
        if self.leg_left or "dialing" not in self.decided:
            return False
        # an attempt that had its outcome ended a leg that was up then
        return self.outcome is None or self.outcome == "bridged" or "ended" in self.decided


def interrupted(events: Sequence[CallEvent], log: CallLog) -> Sequence[Interrupted]:
    """Return the transfers of a call that was rebuilt from these events, oldest first."""
    left = {event.leg_id for event in events if isinstance(event, LegLeft)}
    steps = [event for event in events if isinstance(event, TransferProgressed)]
    return [
        _interrupted(
            attempt,
            [step for step in steps if step.transfer_id == attempt.transfer_id],
            log.last_objection,
            left,
        )
        for attempt in log.transfers.values()
    ]


def _interrupted(
    attempt: TransferAttempt,
    steps: Sequence[TransferProgressed],
    last_objection: str | None,
    left: set[LegId],
) -> Interrupted:
    leg_id = next((step.leg_id for step in reversed(steps) if step.leg_id), None)
    return Interrupted(
        start=StartTransfer(
            transfer_id=attempt.transfer_id,
            engagement=attempt.engagement,
            phase=attempt.phase,
            reasons=attempt.key_indicators,
            last_objection=last_objection,
        ),
        closer=attempt.closer,
        steps=frozenset(step.step for step in steps),
        decided={
            step.step: Decided(at=step.at, command_id=step.command_id)
            for step in steps
            if step.command_id is not None
        },
        leg_id=leg_id,
        detected=next((step.reason for step in steps if step.step == "detected"), None),
        outcome=next((step.outcome for step in steps if step.step == "ended"), None),
        leg_left=leg_id in left,
    )
