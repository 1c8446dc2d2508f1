"""Builds webhook bodies in the shape of Telnyx's own; one function an event.

`at` is always the conversation's time: at `--speed 20` events lie as far apart as they did when
they were recorded. The wall's time is only in the signature.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import msgspec

from agent_sidecar.simulator.legs import RecordingOrder, SimulatedLeg
from agent_sidecar.simulator.transcript import HeardLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One event; a repeated delivery keeps its id."""

    event_id: str
    event_type: str
    occurred_at: datetime
    payload: dict[str, object]

    def body(self, *, attempt: int, delivered_to: str) -> bytes:
        """Return the bytes that are signed and posted."""
        return msgspec.json.encode(
            {
                "data": {
                    "record_type": "event",
                    "event_type": self.event_type,
                    "id": self.event_id,
                    "occurred_at": stamp(self.occurred_at),
                    "payload": self.payload,
                },
                "meta": {"attempt": attempt, "delivered_to": delivered_to},
            }
        )


def stamp(at: datetime) -> str:
    """Write a time as Telnyx does: UTC with microseconds and a Z."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def call_initiated(leg: SimulatedLeg, at: datetime) -> Webhook:
    state = "parked" if leg.direction == "incoming" else "bridging"
    return _webhook(
        "call.initiated",
        leg,
        at,
        **_numbers(leg),
        direction=leg.direction,
        state=state,
        start_time=stamp(leg.started_at),
    )


def call_answered(leg: SimulatedLeg, at: datetime) -> Webhook:
    return _webhook(
        "call.answered",
        leg,
        at,
        **_numbers(leg),
        state="answered",
        start_time=stamp(leg.started_at),
    )


def call_bridged(leg: SimulatedLeg, at: datetime) -> Webhook:
    """Leave the peer out, as Telnyx may: only both legs' events together prove a bridge."""
    return _webhook("call.bridged", leg, at, **_numbers(leg))


def call_hangup(leg: SimulatedLeg, at: datetime, *, cause: str, source: str) -> Webhook:
    sip_causes = {"user_busy": "486", "timeout": "487", "originator_cancel": "487"}
    return _webhook(
        "call.hangup",
        leg,
        at,
        **_numbers(leg),
        state="hangup",
        start_time=stamp(leg.started_at),
        hangup_cause=cause,
        hangup_source=source,
        sip_hangup_cause=sip_causes.get(cause, "200"),
    )


def call_transcription(leg: SimulatedLeg, at: datetime, line: HeardLine) -> Webhook:
    """Name the track only where the leg's transcription does."""
    words: dict[str, object] = {
        "transcript": line.text,
        "is_final": line.is_final,
        "confidence": line.confidence,
    }
    if leg.transcription is not None and leg.transcription.names_track:
        words["transcription_track"] = line.track
    return _webhook("call.transcription", leg, at, transcription_data=words)


def call_speak_started(leg: SimulatedLeg, at: datetime) -> Webhook:
    return _webhook("call.speak.started", leg, at)


def call_speak_ended(leg: SimulatedLeg, at: datetime, *, status: str) -> Webhook:
    return _webhook("call.speak.ended", leg, at, status=status)


def call_gather_ended(leg: SimulatedLeg, at: datetime, *, status: str, digits: str) -> Webhook:
    return _webhook("call.gather.ended", leg, at, **_numbers(leg), status=status, digits=digits)


def call_machine_detected(
    leg: SimulatedLeg, at: datetime, *, is_machine: bool, premium: bool
) -> Webhook:
    """Give the result in the words of the detection that was asked for."""
    if premium:
        result = "machine" if is_machine else "human_residence"
        event_type = "call.machine.premium.detection.ended"
    else:
        result = "machine" if is_machine else "human"
        event_type = "call.machine.detection.ended"
    return _webhook(event_type, leg, at, **_numbers(leg), result=result)


def call_machine_greeting_ended(leg: SimulatedLeg, at: datetime) -> Webhook:
    return _webhook(
        "call.machine.premium.greeting.ended", leg, at, **_numbers(leg), result="beep_detected"
    )


def streaming_started(leg: SimulatedLeg, at: datetime, *, url: str) -> Webhook:
    """Carry no stream id: Telnyx gives it in the socket's frames only."""
    return _webhook("streaming.started", leg, at, stream_url=url)


def streaming_stopped(leg: SimulatedLeg, at: datetime, *, url: str) -> Webhook:
    return _webhook("streaming.stopped", leg, at, stream_url=url)


def streaming_failed(
    leg: SimulatedLeg, at: datetime, *, stream_id: str, params: dict[str, str], reason: str
) -> Webhook:
    return _webhook(
        "streaming.failed",
        leg,
        at,
        stream_id=stream_id,
        stream_params=params,
        stream_type="websocket",
        failure_reason=reason,
    )


def call_recording_saved(
    leg: SimulatedLeg, at: datetime, *, order: RecordingOrder, url: str
) -> Webhook:
    """Name no leg but by its `call_leg_id`, as Telnyx does."""
    webhook = _webhook(
        "call.recording.saved",
        leg,
        at,
        channels=order.channels,
        recording_urls={order.format: url},
        public_recording_urls={},
        recording_started_at=stamp(order.since_at),
        recording_ended_at=stamp(at),
    )
    del webhook.payload["call_control_id"]
    return webhook


def _numbers(leg: SimulatedLeg) -> dict[str, object]:
    return {"from": leg.from_, "to": leg.to}


def _webhook(event_type: str, leg: SimulatedLeg, at: datetime, **fields: object) -> Webhook:
    payload: dict[str, object] = {
        "call_control_id": leg.leg_id,
        "call_leg_id": leg.call_leg_id,
        "call_session_id": leg.call_session_id,
        "client_state": leg.client_state,
        "connection_id": leg.connection_id,
        **fields,
    }
    return Webhook(event_id=str(uuid4()), event_type=event_type, occurred_at=at, payload=payload)
