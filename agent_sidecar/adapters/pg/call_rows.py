"""A record as rows of `calls` and `transfers`: what is written, and what `verify` compares with.

The order of the columns is that of the parameters in the statements that write them.
"""

from collections.abc import Mapping
from decimal import Decimal

from agent_sidecar.adapters.pg.texts import storable
from agent_sidecar.domain.credits import judge_hints
from agent_sidecar.domain.record import CallRecord, TransferAttempt

_CENT = Decimal("0.01")


def call_values(record: CallRecord) -> Mapping[str, object]:
    """Return the columns of a call, less its keys."""
    leg = next((leg for leg in record.legs if leg.party == "prospect"), None)
    judged = list(judge_hints(record.segments, record.hints))
    return {
        "call_id": record.call_id,
        "source": record.source,
        "external_id": record.external_id,
        "start_time": record.started_at,
        "answered_at": record.answered_at,
        "end_time": record.ended_at,
        "duration": round(record.duration_s),
        "telnyx_call_control_id": leg and leg.leg_id,
        "telnyx_leg_id": leg and leg.call_leg_id,
        "telnyx_session_id": leg and leg.call_session_id,
        "recording_url": record.recording.place,
        "phases_completed": record.phase_reached,
        "phase_reached": record.phase_reached,
        "final_status": record.outcome.final_status,
        "outcome": record.outcome.result,
        "qualified": record.outcome.qualified,
        "booked": record.outcome.booked,
        "next_followup": record.outcome.follow_up_at,
        "engagement_score": _cents(record.engagement),
        "transfer_attempted": record.transfer_attempted,
        "transfer_successful": record.transfer_successful,
        "kevin_available": record.closer_available,
        # `_id` of the conversation's document, in MongoDB or the embedded store
        "conversation_mongodb_id": record.call_id,
        "hints_judged": len(judged),
        "hints_came_true": sum(judged),
    }


def transfer_values(attempt: TransferAttempt) -> Mapping[str, object]:
    """Return the columns of a transfer, less its keys and what the closer says of it later."""
    duration_s = attempt.duration_s
    return {
        "transfer_id": attempt.transfer_id,
        "closer": attempt.closer,
        "initiated_at": attempt.initiated_at,
        "answered_at": attempt.answered_at,
        "bridged_at": attempt.bridged_at,
        "completed_at": attempt.completed_at,
        "duration": None if duration_s is None else round(duration_s),
        "transfer_accepted": attempt.accepted,
        "outcome_type": attempt.outcome,
        "outcome_reason": storable(attempt.reason),
        "engagement_score_at_transfer": _cents(attempt.engagement),
        "conversation_phase": attempt.phase,
        "key_indicators": [storable(indicator) for indicator in attempt.key_indicators],
    }


def result_values(attempt: TransferAttempt) -> Mapping[str, object]:
    """Return the columns of what the closer says of it; None: nothing yet."""
    said = attempt.result
    return {
        "kevin_rating": said and said.rating,
        "conversion_result": said and said.conversion,
        "notes": said and said.notes and storable(said.notes),
        "result_at": said and said.posted_at,
    }


def _cents(score: float | None) -> Decimal | None:
    return None if score is None else Decimal(score).quantize(_CENT)
