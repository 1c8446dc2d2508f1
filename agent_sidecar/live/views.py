"""A call as the API shows it, live or finished, as plain values."""

from collections.abc import Iterable, Mapping, Sequence

from agent_sidecar.domain.call import Call
from agent_sidecar.domain.record import TranscriptSegment, TransferAttempt
from agent_sidecar.domain.types import STORES, Leg
from agent_sidecar.ports import CommittedRecord


def live_view(call: Call, *, ending: bool) -> Mapping[str, object]:
    """Show a call that is up."""
    log = call.log
    leg = log.prospect_leg
    return {
        "call_id": log.opened.call_id,
        "call_control_id": leg.leg_id if leg else None,
        "external_id": log.opened.external_id,
        "state": "ending" if ending else "live",
        "source": log.opened.source,
        "agent": log.opened.agent,
        "passive": log.opened.passive,
        "started_at": log.opened.at,
        "answered_at": log.answered_at,
        "lead": {"lead_id": log.lead.lead_id, "name": log.lead.name},
        "legs": _legs(log.legs.values()),
        "degraded": list(call.lacks),
        "phase": call.phase,
        "engagement": call.engagement,
        "progression": list(log.progression),
        "segments": _segments(log.segments),
        "hints": [
            {"hint_id": h.hint.hint_id, "strategy": h.hint.strategy, "status": h.status}
            for h in log.hints.values()
        ],
        "transfers": [transfer_view(attempt) for attempt in log.transfers.values()],
        "stores": dict.fromkeys(STORES, "pending"),
    }


def finished_view(committed: CommittedRecord, *, brief: bool = False) -> Mapping[str, object]:
    """Show a finished call with the state of its deliveries."""
    record = committed.record
    leg = next((leg for leg in record.legs if leg.party == "prospect"), None)
    shown: dict[str, object] = {
        "call_id": record.call_id,
        "call_control_id": leg.leg_id if leg else None,
        "external_id": record.external_id,
        "state": "finished",
        "source": record.source,
        "agent": record.agent,
        "started_at": record.started_at,
        "answered_at": record.answered_at,
        "ended_at": record.ended_at,
        "duration_s": record.duration_s,
        "interrupted": record.interrupted,
        "lead": {"lead_id": record.lead.lead_id, "name": record.lead.name},
        "phase": record.phase_reached,
        "engagement": record.engagement,
        "outcome": {
            "final_status": record.outcome.final_status,
            "outcome": record.outcome.result,
            "qualified": record.outcome.qualified,
        },
        "stores": {store: status.state for store, status in committed.deliveries.items()},
    }
    if brief:
        return shown
    return shown | {
        "version": committed.version,
        "deliveries": committed.deliveries,
        "legs": _legs(record.legs),
        "progression": list(record.progression),
        "segments": _segments(record.segments),
        "hints": [
            {
                "hint_id": given.hint.hint_id,
                "strategy": given.hint.strategy,
                "status": given.status,
                "latency_ms": given.latency_ms,
            }
            for given in record.hints
        ],
        # what the call taught
        "credits": record.credits,
        "transfers": [transfer_view(attempt) for attempt in record.transfers],
        "closer_available": record.closer_available,
    }


def transfer_view(attempt: TransferAttempt) -> Mapping[str, object]:
    """Show a transfer and what the closer says of it; `duration_s` is the time with him."""
    said = attempt.result
    return {
        "transfer_id": attempt.transfer_id,
        "closer": attempt.closer,
        "outcome": attempt.outcome,
        "reason": attempt.reason,
        "initiated_at": attempt.initiated_at,
        "bridged_at": attempt.bridged_at,
        "completed_at": attempt.completed_at,
        "duration_s": attempt.duration_s,
        "rating": said and said.rating,
        "result": said and said.conversion,
        "notes": said and said.notes,
        "result_at": said and said.posted_at,
    }


def _legs(legs: Iterable[Leg]) -> list[Mapping[str, object]]:
    return [
        {"call_control_id": x.leg_id, "role": x.party, "from_at": x.from_at, "to_at": x.to_at}
        for x in legs
    ]


def _segments(segments: Sequence[TranscriptSegment]) -> list[Mapping[str, object]]:
    return [
        {
            "index": s.index,
            "speaker": s.speaker,
            "text": s.text,
            "at": s.at,
            "phase": s.phase,
            "objection": s.objection,
            "strategy": s.strategy,
            "engagement": s.engagement,
            "call_engagement": s.call_engagement,
            "acoustics": s.acoustics,
        }
        for s in segments
    ]
