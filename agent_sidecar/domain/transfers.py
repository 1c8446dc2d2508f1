"""The transfers of one call: when one starts, and what its record says of each step.

At most one attempt runs at a time, and only while the prospect is with the agent. The shell
performs it (lease, dial, ask, bridge) and reports each step; every attempt ends in exactly one
outcome, at the latest when the call is closed: the first that is reported stands, except that a
proven bridge outranks what was concluded without it.

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
    TransferJudged,
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
        self._closer = playbook.closers[0].name
        # the attempt that runs
        self._open: TransferId | None = None

    def consider(self, moment: Moment) -> Iterator[Effect]:
        """Start a transfer if the policy has reasons to and one may start at all."""
        reasons = self._policy.consider(moment)
        if reasons and self._may_start():
            yield self._start(reasons, engagement=moment.score.call, phase=moment.phase)

    def want(
        self, event: TransferWanted, *, engagement: float | None, phase: int
    ) -> Iterator[Effect]:
        """Do what a person or the agent asks: start one, or never do."""
        if event.veto:
            self._policy.veto()
            yield from self.cancel(f"vetoed by {event.by}")
        elif self._may_start():
            yield self._start((f"asked by {event.by}",), engagement=engagement, phase=phase)

    def progress(self, event: TransferProgressed) -> Iterator[Effect]:
        """Note one step of the running attempt."""
        attempt = self._log.transfers.get(event.transfer_id)
        runs = self._open == event.transfer_id
        proof = event.step == "bridged" and attempt is not None and attempt.bridged_at is None
        if attempt is None or not (runs or proof):
            return
        noted = self._noted(attempt, event)
        if noted.bridged_at is not None and self._log.closed_at is not None:
            noted = _completed(noted, noted.completed_at or self._log.closed_at)
        self._log.transfers[event.transfer_id] = noted
        self._note_availability(event)
        yield PublishTransfer(progress=event)
        if event.step == "ended":
            self._open = None
            self._policy.ended(self._log.seconds(event.at), noted.outcome)

    def judge(self, event: TransferJudged) -> None:
        """Note what the closer says of an attempt."""
        attempt = self._log.transfers.get(event.transfer_id)
        if attempt is not None:
            self._log.transfers[event.transfer_id] = attempt.judged(event.result)

    def cancel(self, reason: str) -> Iterator[Effect]:
        """Stop the attempt that runs, if any."""
        if self._open is not None and not self._log.bridged:
            yield CancelTransfer(transfer_id=self._open, reason=reason)

    def closer_left(self, leg_id: LegId, at: datetime) -> None:
        """Note that the closer hung up: his time with the prospect is known."""
        for attempt in self._log.transfers.values():
            if attempt.leg_id == leg_id and attempt.completed_at is None:
                self._log.transfers[attempt.transfer_id] = _completed(attempt, at)

    def close(self, at: datetime) -> None:
        """Give what never ended its end: the call is over. What is reported later corrects it."""
        for attempt in self._log.transfers.values():
            if attempt.bridged_at is not None and attempt.completed_at is None:
                self._log.transfers[attempt.transfer_id] = _completed(attempt, at)
            elif attempt.transfer_id == self._open:
                self._log.transfers[attempt.transfer_id] = replace(
                    attempt, reason=attempt.reason or "the call ended before the transfer did"
                )

    def _may_start(self) -> bool:
        log = self._log
        free = self._open is None and not log.bridged
        return free and log.is_with_agent and not log.opened.passive

    def _start(
        self, reasons: tuple[str, ...], *, engagement: float | None, phase: int
    ) -> StartTransfer:
        log = self._log
        self._open = TransferId(f"{log.opened.call_id}:t{len(log.transfers) + 1}")
        self._policy.started()
        log.transfers[self._open] = TransferAttempt(
            transfer_id=self._open,
            closer=log.closer or self._closer,
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

    def _note_availability(self, event: TransferProgressed) -> None:
        """Remember whether a closer could have taken the call when it first mattered."""
        if self._log.closer_at_decision is not None:
            return
        if event.step == "leased":
            self._log.closer_at_decision = True
        elif event.step == "ended":
            gone = event.outcome == "unavailable"
            self._log.closer_at_decision = not gone and self._log.closer_now

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
            case "bridged" if noted.bridged_at is None:
                self._log.moments.append(
                    KeyMoment(at=event.at, kind="transfer", text=f"bridged to {noted.closer}")
                )
                return replace(noted, outcome="bridged", accepted=True, bridged_at=event.at)
            case "ended" if noted.bridged_at is None:
                outcome = event.outcome or "unknown"
                accepted = False if outcome == "declined" else noted.accepted
                return replace(noted, outcome=outcome, accepted=accepted)
            case _:
                return noted


def _completed(attempt: TransferAttempt, at: datetime) -> TransferAttempt:
    """Return the attempt with its end: never before its bridge, whatever order times came in."""
    return replace(attempt, completed_at=max(at, attempt.bridged_at or at))
