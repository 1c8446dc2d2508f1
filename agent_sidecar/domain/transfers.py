"""The transfers of one call: when one starts, and what its record says of each step.

At most one attempt runs at a time. The shell performs it (lease, dial, ask, bridge) and reports
each step; every attempt ends in exactly one outcome, at the latest when the call is closed.

    started ─leased─dialing─answered─briefing─accepted─bridging─▶ bridged ─▶ ended(bridged)
       └────────────── any step ──────────────▶ ended(declined | voicemail | … | unavailable)
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from agent_sidecar.domain.events import (
    CancelTransfer,
    Effect,
    PublishTransfer,
    StartTransfer,
    TransferProgressed,
    TransferWanted,
)
from agent_sidecar.domain.log import CallLog
from agent_sidecar.domain.playbook import Playbook
from agent_sidecar.domain.policy import Moment, TransferPolicy
from agent_sidecar.domain.record import KeyMoment, TransferAttempt
from agent_sidecar.domain.types import LegId, TransferId


class Transferring:
    """Proposes and follows the transfers of one call."""

    def __init__(self, log: CallLog, playbook: Playbook) -> None:
        self._log = log
        self._policy = TransferPolicy(playbook)
        # the attempt that runs
        self._open: TransferId | None = None

    def consider(self, moment: Moment) -> Iterator[Effect]:
        """Start a transfer if the policy has reasons to and we may command at all."""
        reasons = self._policy.consider(moment)
        if reasons and not self._log.opened.passive:
            yield self._start(reasons, engagement=moment.score.call, phase=moment.phase)

    def want(
        self, event: TransferWanted, *, engagement: float | None, phase: int
    ) -> Iterator[Effect]:
        """Do what a person or the agent asks: start one, or never do."""
        if event.veto:
            self._policy.veto()
            yield from self.cancel(f"vetoed by {event.by}")
        elif self._open is None and not self._log.bridged and not self._log.opened.passive:
            yield self._start((f"asked by {event.by}",), engagement=engagement, phase=phase)

    def progress(self, event: TransferProgressed) -> Iterator[Effect]:
        """Note one step of the running attempt."""
        attempt = self._log.transfers.get(event.transfer_id)
        if attempt is None:
            return
        self._log.transfers[event.transfer_id] = self._noted(attempt, event)
        if self._log.closer_at_decision is None and event.step in {"leased", "ended"}:
            self._log.closer_at_decision = event.step == "leased"
        yield PublishTransfer(progress=event)
        if event.step == "ended" and self._open == event.transfer_id:
            self._open = None
            self._policy.ended(self._log.seconds(event.at), event.outcome)

    def cancel(self, reason: str) -> Iterator[Effect]:
        """Stop the attempt that runs, if any."""
        if self._open is not None and not self._log.bridged:
            yield CancelTransfer(transfer_id=self._open, reason=reason)

    def closer_left(self, leg_id: LegId, at: datetime) -> None:
        """Note that the closer hung up: his time with the prospect is known."""
        for attempt in self._log.transfers.values():
            if attempt.leg_id == leg_id and attempt.completed_at is None:
                self._log.transfers[attempt.transfer_id] = replace(attempt, completed_at=at)

    def close(self, at: datetime) -> None:
        """Give what never ended its end: the call is over."""
        for attempt in self._log.transfers.values():
            if attempt.bridged_at is not None and attempt.completed_at is None:
                self._log.transfers[attempt.transfer_id] = replace(attempt, completed_at=at)
            elif attempt.transfer_id == self._open:
                self._log.transfers[attempt.transfer_id] = replace(
                    attempt, reason=attempt.reason or "the call ended before the transfer did"
                )
        self._open = None

    def _start(
        self, reasons: tuple[str, ...], *, engagement: float | None, phase: int
    ) -> StartTransfer:
        log = self._log
        self._open = TransferId(f"{log.opened.call_id}:t{len(log.transfers) + 1}")
        self._policy.started()
        log.transfers[self._open] = TransferAttempt(
            transfer_id=self._open,
            closer=log.closer,
            initiated_at=log.last_at or log.opened.at,
            outcome="unknown",
            reason="",
            engagement=engagement,
            phase=phase,
            key_indicators=reasons,
        )
        return StartTransfer(
            transfer_id=self._open,
            engagement=engagement,
            phase=phase,
            reasons=reasons,
            last_objection=log.last_objection,
        )

    def _noted(self, attempt: TransferAttempt, event: TransferProgressed) -> TransferAttempt:
        noted = replace(
            attempt,
            closer=event.closer or attempt.closer,
            reason=event.reason or attempt.reason,
            leg_id=event.leg_id or attempt.leg_id,
        )
        match event.step:
            case "answered":
                return replace(noted, answered_at=event.at)
            case "accepted":
                return replace(noted, accepted=True)
            case "bridged":
                self._log.moments.append(
                    KeyMoment(at=event.at, kind="transfer", text=f"bridged to {noted.closer}")
                )
                return replace(noted, outcome="bridged", accepted=True, bridged_at=event.at)
            case "ended":
                outcome = event.outcome or "unknown"
                declined = False if outcome == "declined" else noted.accepted
                bridged = noted.bridged_at is not None
                return replace(noted, outcome="bridged" if bridged else outcome, accepted=declined)
            case _:
                return noted
