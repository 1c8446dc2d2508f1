"""A finished call as a recorded one: what `import` needs to learn the same from it again."""

from typing import Literal, cast

from agent_sidecar.domain.record import CallRecord, TranscriptSegment
from agent_sidecar.domain.recorded import RecordedCall, RecordedOutcome, SpokenSegment


def recorded_of(record: CallRecord) -> RecordedCall:
    """Return what agent and prospect said, when and with which strategies, and how it ended.

    Closers are never learnt from, and neither is speech without words: both are left out.
    """
    outcome = record.outcome
    return RecordedCall(
        call_id=record.call_id,
        segments=tuple(_spoken(s) for s in record.segments if _is_learnt_from(s)),
        lead=record.lead,
        model=record.configuration.model,
        started_at=record.started_at,
        outcome=RecordedOutcome(success=outcome.qualified, final_status=outcome.final_status),
    )


def _is_learnt_from(segment: TranscriptSegment) -> bool:
    return segment.speaker != "closer" and bool(segment.text.strip())


def _spoken(segment: TranscriptSegment) -> SpokenSegment:
    return SpokenSegment(
        speaker=cast(Literal["agent", "prospect"], segment.speaker),
        text=segment.text,
        start_s=max(segment.start_s, 0.0),
        end_s=max(segment.end_s, segment.start_s, 0.0),
        strategy=segment.strategy,
        vector=segment.vector,
    )
