"""What we would have done in a finished call under another policy: its record, played again.

The record keeps every line with its vector and every segment with its sound, so nothing is embedded
again, and two policies that are played differ by the policy alone. What was said stays as it was
said, whatever is proposed meanwhile: what an agent or a prospect would have answered to another
hint, nobody knows. A call is played until a closer really took it over.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.call import Call
from agent_sidecar.domain.engagement import Weights
from agent_sidecar.domain.hints import Candidate, Evidence, Question, Retrieved
from agent_sidecar.domain.language import Reader
from agent_sidecar.domain.lines import LINE_GRACE_S
from agent_sidecar.domain.ranking import rank
from agent_sidecar.domain.record import CallRecord, TranscriptSegment, TransferOutcome
from agent_sidecar.domain.types import Leg, LegId, StrategyName, TransferId

# how long an attempt takes that the real call did not have: until the closer's phone stops ringing
USUAL_ATTEMPT_S = 25.0


class Memory(Protocol):
    """What has worked, answered from memory."""

    def candidates(self, question: Question) -> tuple[Candidate, ...]: ...

    def evidence(self, question: Question) -> tuple[Evidence, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A playbook ready to play calls by."""

    reader: Reader
    weights: Weights
    memory: Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What we would have done in one call."""

    # (segment, strategy) of every hint that was shown
    given: tuple[tuple[int, StrategyName], ...]
    # moments in which we asked and stayed silent, with the best of what we had then
    withheld: tuple[tuple[int, StrategyName | None], ...]
    # call time of every transfer that was proposed
    proposed_at_s: tuple[float, ...]


def play(record: CallRecord, policy: Policy) -> Played:
    """Play a call under a policy."""
    return _Replay(record, policy).run()


def without_vectors(record: CallRecord) -> CallRecord:
    """Return a call without the vectors of another embedding model: they would say nothing."""
    segments = (replace(segment, vector=None) for segment in record.segments)
    return replace(record, segments=tuple(segments))


class _Replay:
    def __init__(self, record: CallRecord, policy: Policy) -> None:
        self._record = record
        self._policy = policy
        # an imported call was only listened to; here it is asked what we would have done in it
        opened = ev.CallOpened(
            call_id=record.call_id,
            at=record.started_at,
            source="replay",
            agent="external",
            lead=record.lead,
        )
        self._call = Call(opened, policy.reader, policy.weights)
        self._given: list[tuple[int, StrategyName]] = []
        self._withheld: list[tuple[int, StrategyName | None]] = []
        self._proposed_at_s: list[float] = []
        # the attempt that runs: its end, when it comes
        self._ends: tuple[datetime, TransferId, TransferOutcome] | None = None

    def run(self) -> Played:
        record = self._record
        leg = Leg(leg_id=LegId(f"replay:{record.call_id}"), party="prospect")
        self._call.receive(ev.LegJoined(at=record.started_at, leg=leg, answered=True))
        over_at = min((t.bridged_at for t in record.transfers if t.bridged_at), default=None)
        for segment in record.segments:
            if over_at is not None and segment.at >= over_at:
                continue
            self._end_attempt(segment)
            for event in _events(segment, record):
                self._perform(self._call.receive(event), segment)
        return Played(
            given=tuple(self._given),
            withheld=tuple(self._withheld),
            proposed_at_s=tuple(self._proposed_at_s),
        )

    def _perform(self, effects: Sequence[ev.Effect], segment: TranscriptSegment) -> None:
        for effect in effects:
            match effect:
                case ev.AskForHints(question=question):
                    self._answer(question, segment)
                case ev.PublishHint(hint=hint):
                    self._given.append((segment.index, hint.strategy))
                case ev.StartTransfer(transfer_id=transfer_id):
                    self._propose(transfer_id, segment)

    def _answer(self, question: Question, segment: TranscriptSegment) -> None:
        memory = self._policy.memory
        retrieved = Retrieved(
            candidates=memory.candidates(question), evidence=memory.evidence(question)
        )
        shown = self._call.receive(
            ev.HintsRetrieved(
                question_id=question.question_id,
                at=segment.at,
                retrieved=retrieved,
                latency_ms=0.0,
            )
        )
        if shown:
            self._perform(shown, segment)
            return
        ranked = rank(self._policy.reader.playbook, question, retrieved, heard=self._heard())
        self._withheld.append((segment.index, ranked[0].strategy.name if ranked else None))

    def _heard(self) -> set[StrategyName]:
        log = self._call.log
        used = {s.strategy for s in log.segments if s.strategy is not None}
        return used | {shown.hint.strategy for shown in log.hints.values()}

    def _propose(self, transfer_id: TransferId, segment: TranscriptSegment) -> None:
        self._proposed_at_s.append(segment.end_s)
        took, outcome = _real_end(self._record, len(self._proposed_at_s) - 1)
        self._ends = (segment.at + took, transfer_id, outcome)

    def _end_attempt(self, segment: TranscriptSegment) -> None:
        """Let the attempt that runs end, if its time has come before this segment."""
        if self._ends is None or self._ends[0] > segment.at:
            return
        at, transfer_id, outcome = self._ends
        self._ends = None
        steps: tuple[ev.TransferStep, ...] = (
            ("bridged", "ended") if outcome == "bridged" else ("ended",)
        )
        for step in steps:
            progressed = ev.TransferProgressed(
                transfer_id=transfer_id,
                at=at,
                step=step,
                closer=self._record.closer,
                outcome=outcome if step == "ended" else None,
            )
            self._perform(self._call.receive(progressed), segment)


def _events(segment: TranscriptSegment, record: CallRecord) -> Iterator[ev.CallEvent]:
    """Yield what the live call was told of this segment, in an order that makes it the same."""
    heard = segment.acoustics and ev.SpeechHeard(
        party=segment.speaker,
        start_s=segment.start_s,
        end_s=segment.end_s,
        acoustics=segment.acoustics,
    )
    if not segment.text:
        # speech without words: no line came for it in time
        waited = timedelta(seconds=segment.end_s + LINE_GRACE_S)
        yield ev.LeadKnown(at=record.started_at + waited, lead=record.lead)
        if heard:
            yield heard
        return
    line_id = f"{record.call_id}:{segment.index}"
    yield ev.LineHeard(
        line_id=line_id,
        at=segment.at,
        party=segment.speaker,
        text=segment.text,
        is_final=True,
        confidence=segment.confidence,
        # certain is what a person said; what was recognised then is recognised again
        strategy=segment.strategy if segment.strategy_confidence == 1.0 else None,
        source="recorded",
    )
    # while a line waits for its vector, its sound waits for it
    if heard:
        yield heard
    yield ev.LineEmbedded(line_id=line_id, vector=segment.vector)


def _real_end(record: CallRecord, number: int) -> tuple[timedelta, TransferOutcome]:
    """Return how long an attempt takes and how it ends: as the call's own of that number did.

    One that the call did not have is declined, unless the call is known to have been handed over.
    """
    usual = timedelta(seconds=USUAL_ATTEMPT_S)
    if number >= len(record.transfers):
        handed_over = record.transfer_successful and not record.transfers
        return usual, "bridged" if handed_over else "declined"
    attempt = record.transfers[number]
    if attempt.bridged_at is not None:
        return attempt.bridged_at - attempt.initiated_at, "bridged"
    return usual, "declined" if attempt.outcome in {"bridged", "unknown"} else attempt.outcome
