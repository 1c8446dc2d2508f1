"""The record of a finished call from elsewhere: made by the same domain code as a live one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.call import Call
from agent_sidecar.domain.engagement import Weights
from agent_sidecar.domain.language import Reader
from agent_sidecar.domain.record import CallRecord, Configuration, FinalStatus
from agent_sidecar.domain.recorded import RecordedCall
from agent_sidecar.domain.types import CallId, Lead, Leg, LegId, Vector
from agent_sidecar.learning.hearing import hear_segment

STATUSES: dict[str, FinalStatus] = {
    name: name
    for name in (
        "hot_transfer",
        "video_sent",
        "follow_up",
        "disqualified",
        "no_answer",
        "abandoned",
        "unknown",
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ears:
    """What finished calls are heard with."""

    reader: Reader
    weights: Weights
    configuration: Configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A finished call with what its file does not have."""

    recorded: RecordedCall
    lead: Lead
    # one for each segment
    vectors: Sequence[Vector]


def make_imported(
    finished: Finished, ears: Ears, strategies: frozenset[str], now: datetime
) -> CallRecord:
    """Return the record of a finished call as if we had heard it.

    `strategies`: labels that are strategies; without, only `strategy` names one. `now`: when a call
    ended whose file does not say when it began.
    """
    recorded = finished.recorded
    started_at = recorded.started_at or now - timedelta(seconds=recorded.duration_s)
    opened = ev.CallOpened(
        call_id=CallId(recorded.call_id),
        at=started_at,
        source="import",
        agent="external",
        lead=finished.lead,
        external_id=recorded.call_id,
        passive=True,
    )
    call = Call(opened, ears.reader, ears.weights)
    leg = Leg(leg_id=LegId(f"import:{recorded.call_id}"), party="prospect")
    call.receive(ev.LegJoined(at=started_at, leg=leg, answered=True))
    said = zip(recorded.segments, finished.vectors, strict=True)
    for index, (segment, vector) in enumerate(said):
        strategy = segment.strategy
        if strategy is None and segment.label in strategies:
            strategy = segment.label
        hear_segment(call, index, segment, vector, strategy)
    ended_at = started_at + timedelta(seconds=recorded.duration_s)
    _take_outcome(recorded, call, ended_at)
    call.receive(ev.CallClosed(at=ended_at, reason="imported"))
    return call.record(ears.configuration)


def _take_outcome(recorded: RecordedCall, call: Call, at: datetime) -> None:
    """Take the file's word on how the call ended; `success` means qualified."""
    outcome = recorded.outcome
    if outcome.final_status is None and outcome.success is None:
        return
    status = STATUSES[outcome.final_status or "unknown"]
    call.receive(ev.OutcomePosted(at=at, final_status=status, qualified=outcome.success))
