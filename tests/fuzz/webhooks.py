"""One good webhook of every event that is known, and which of its fields it cannot do without."""

from random import Random
from typing import Any

_ENDS = {"from": "+12025550100", "to": "+12025550142"}
_QUALITY = {"mos": "4.5", "jitter_max_variance": "1.2", "packet_count": "100"}
_HEADERS = [{"name": "X-Customer", "value": "7"}]

EVENTS: dict[str, dict[str, Any]] = {
    "call.initiated": {
        **_ENDS,
        "direction": "outgoing",
        "state": "bridging",
        "start_time": "2026-03-02T15:00:00Z",
        "caller_id_name": "Ann",
        "custom_headers": _HEADERS,
        "sip_headers": [{"name": "Diversion", "value": "x"}],
        "tags": ["a"],
    },
    "call.answered": {
        **_ENDS,
        "state": "answered",
        "stream_url": "wss://us/telnyx/media",
        "stream_track": "both_tracks",
    },
    "call.bridged": {**_ENDS, "bridged_call_control_id": "v3:closer"},
    "call.hangup": {
        **_ENDS,
        "state": "hangup",
        "hangup_cause": "normal_clearing",
        "hangup_source": "callee",
        "sip_hangup_cause": "200",
        "call_quality_stats": {"inbound": _QUALITY, "outbound": _QUALITY},
    },
    "call.hold": _ENDS,
    "call.unhold": _ENDS,
    "call.transcription": {
        "transcription_data": {
            "transcript": "that is too expensive",
            "is_final": True,
            "confidence": 0.93,
            "transcription_track": "inbound",
        },
    },
    "call.machine.detection.ended": {**_ENDS, "result": "machine"},
    "call.machine.greeting.ended": {**_ENDS, "result": "beep_detected"},
    "call.machine.premium.detection.started": _ENDS,
    "call.machine.premium.detection.ended": {**_ENDS, "result": "human_residence"},
    "call.machine.premium.greeting.ended": {**_ENDS, "result": "no_beep_detected"},
    "call.machine.premium.call_screening.detected": {**_ENDS, "result": "screening"},
    "call.speak.started": _ENDS,
    "call.speak.ended": {**_ENDS, "status": "completed"},
    "call.playback.started": {"media_url": "https://x/y.mp3", "overlay": False},
    "call.playback.ended": {"media_url": "https://x/y.mp3", "status": "completed"},
    "call.dtmf.received": {**_ENDS, "digit": "1"},
    "call.gather.ended": {**_ENDS, "digits": "1", "status": "valid"},
    "call.recording.saved": {
        "recording_urls": {"mp3": "https://x/a.mp3", "wav": "https://x/a.wav"},
        "public_recording_urls": {},
        "recording_id": "r1",
        "recording_started_at": "2026-03-02T15:00:00Z",
        "channels": "dual",
    },
    "call.recording.error": {"reason": "no audio"},
    "call.cost": {"total_cost": "0.01", "billed_duration_secs": 60, "cost_parts": [{"rate": "1"}]},
    "call.enqueued": {"queue": "sales", "current_position": 1, "wait_time_secs": 3},
    "call.dequeued": {"queue": "sales", "queue_position": 1, "reason": "bridged"},
    "conference.participant.joined": {"conference_id": "c1"},
    "conference.participant.left": {"conference_id": "c1"},
    "call.conversation.ended": {
        "conversation_id": "c",
        "duration_sec": 33,
        "messages": [{"role": "assistant", "content": "hi", "tool_calls": []}],
    },
    "call.deepfake_detection.result": {"result": "real", "score": 0.2, "consistency": 0.9},
    "streaming.started": {"stream_url": "wss://us/telnyx/media"},
    "streaming.stopped": {"stream_url": "wss://us/telnyx/media"},
    "streaming.failed": {
        "failure_reason": "connection_failed",
        "stream_id": "S",
        "stream_params": {"stream_url": "wss://x", "track": "both_tracks"},
        "stream_type": "websocket",
    },
    "call.of.a.later.protocol": {"anything": [1, {"x": None}]},
}
# an event whose field this is, or is within, may be refused when it is changed
VITAL = (
    ("data",),
    ("data", "id"),
    ("data", "event_type"),
    ("data", "occurred_at"),
    ("data", "payload"),
    ("data", "payload", "call_control_id"),
    ("data", "payload", "transcription_data"),
    ("data", "payload", "transcription_data", "transcript"),
)


def webhook(number: int, leg_id: str, occurred_at: str, random: Random) -> dict[str, Any]:
    """Return a good webhook of any event."""
    event_type = random.choice(list(EVENTS))
    leg = {
        "call_control_id": leg_id,
        "call_leg_id": f"leg-{leg_id}",
        "call_session_id": f"session-{leg_id}",
        "client_state": "dHJhbnNmZXI6eA==",
        "connection_id": "7",
    }
    if event_type == "call.recording.saved":
        del leg["call_control_id"]
    return {
        "data": {
            "record_type": "event",
            "event_type": event_type,
            "id": f"fuzz-{number}",
            "occurred_at": occurred_at,
            "payload": {**leg, **EVENTS[event_type]},
        },
        "meta": {"attempt": 1, "delivered_to": "https://us/telnyx/webhooks"},
    }
