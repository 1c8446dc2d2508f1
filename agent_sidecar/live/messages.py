"""What subscribers are told, as plain values for the wire."""

from collections.abc import Mapping

from agent_sidecar.domain.events import PublishHint, PublishScore, PublishTransfer
from agent_sidecar.domain.types import CallId, LegId

Message = Mapping[str, object]


def hint_message(effect: PublishHint, call_id: CallId, leg_id: LegId | None) -> Message:
    """Say what to try next."""
    hint = effect.hint
    return {
        "type": "hint",
        "call_control_id": leg_id,
        "call_id": call_id,
        "hint_id": hint.hint_id,
        "strategy": hint.strategy,
        "say": hint.say,
        "why": list(hint.why),
        "confidence": hint.confidence,
        "evidence": {"tried": hint.tried, "lifted": hint.lifted, "won": hint.won},
        "phase": hint.phase,
        "objection": hint.objection,
        "engagement": hint.engagement,
        "degraded": list(hint.degraded),
        "latency_ms": round(effect.latency_ms, 2),
        "at": hint.given_at,
        "expires_at": hint.expires_at,
    }


def score_message(effect: PublishScore, call_id: CallId, leg_id: LegId | None) -> Message:
    """Say how a line was understood."""
    return {
        "type": "score",
        "call_control_id": leg_id,
        "call_id": call_id,
        "segment": effect.segment,
        "speaker": effect.party,
        "text": effect.text,
        "phase": effect.phase,
        "phase_name": effect.phase_name,
        "sentiment": effect.sentiment,
        "objection": effect.objection,
        "strategy": effect.strategy,
        "engagement": effect.engagement,
        "call_engagement": effect.call_engagement,
        "parts": [{"name": p.name, "points": p.points, "why": p.why} for p in effect.parts],
        "at": effect.at,
    }


def transfer_message(effect: PublishTransfer, call_id: CallId, leg_id: LegId | None) -> Message:
    """Say how a transfer goes."""
    progress = effect.progress
    return {
        "type": "transfer",
        "call_control_id": leg_id,
        "call_id": call_id,
        "transfer_id": progress.transfer_id,
        "step": progress.step,
        "closer": progress.closer,
        "reason": progress.reason,
        "outcome": progress.outcome,
        "at": progress.at,
    }


def call_message(state: str, call_id: CallId, leg_id: LegId | None, **more: object) -> Message:
    """Say what became of a call: open, ended, recorded, delivered, parked."""
    return {
        "type": "call",
        "call_control_id": leg_id,
        "call_id": call_id,
        "state": state,
        **more,
    }
