"""Plays recorded calls through the domain as if they were live, and says how each line scored.

Labels, strategies and outcomes of the file are not looked at.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.call import Call
from agent_sidecar.domain.engagement import Weights
from agent_sidecar.domain.language import Reader
from agent_sidecar.domain.record import TranscriptSegment
from agent_sidecar.domain.recorded import RecordedCall, SpokenSegment
from agent_sidecar.domain.types import CallId, Party, Vector
from agent_sidecar.errors import RecordedCallInvalid
from agent_sidecar.learning.hearing import hear_segment

# only differences of time count; a fixed one keeps the answer the same
STARTED_AT = datetime(2026, 1, 5, 15, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentScore:
    """One segment of a recorded call as the live call would have scored it."""

    call_id: str
    # its place in the file's call, from 0
    segment: int
    speaker: Party
    # the segment's own, of the prospect's; None: the agent's
    engagement: float | None
    # the call's after it; None before the prospect spoke
    call_engagement: float | None
    sentiment: float
    objection: str | None
    phase: int
    # the agent's, where one was recognised
    strategy: str | None
    strategy_confidence: float | None


def score_call(
    recorded: RecordedCall, vectors: Mapping[str, Vector], reader: Reader, weights: Weights
) -> Iterator[SegmentScore]:
    """Yield one score for every segment, in order; `vectors` by text."""
    call = open_call(recorded, reader, weights)
    for index, segment in enumerate(recorded.segments):
        told = hear(call, index, segment, vectors[segment.text])
        yield SegmentScore(
            call_id=recorded.call_id,
            segment=index,
            speaker=segment.speaker,
            engagement=told.engagement,
            call_engagement=told.call_engagement,
            sentiment=told.sentiment,
            objection=told.objection,
            phase=told.phase,
            strategy=told.strategy,
            strategy_confidence=told.strategy_confidence,
        )


def open_call(recorded: RecordedCall, reader: Reader, weights: Weights) -> Call:
    """Return the call before anything was said in it."""
    opened = ev.CallOpened(
        call_id=CallId(recorded.call_id),
        at=STARTED_AT,
        source="replay",
        agent="external",
        lead=recorded.lead,
        passive=True,
    )
    return Call(opened, reader, weights)


def hear(call: Call, index: int, segment: SpokenSegment, vector: Vector) -> TranscriptSegment:
    """Let the call hear one segment; return what it made of it."""
    hear_segment(call, index, segment, vector)
    if len(call.log.segments) != index + 1:
        # else the score of another segment would be told as this one's
        raise RecordedCallInvalid(
            f"call {call.log.opened.call_id}: segment {index} became no segment of the call;"
            " leave it out"
        )
    return call.log.segments[index]
