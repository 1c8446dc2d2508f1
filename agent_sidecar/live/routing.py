"""What a telephony event means for the call whose leg it is about."""

from collections.abc import Iterator

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.types import Leg, Party
from agent_sidecar.live.live_call import LiveCall
from agent_sidecar.ports import TelephonyEvent

_MACHINES = frozenset({"machine", "fax_detected"})


def call_events(event: TelephonyEvent, call: LiveCall, party: Party) -> Iterator[ev.CallEvent]:
    """Yield what the call is told; `party` is who the event's leg belongs to."""
    if event.leg_id is None:
        return
    match event.kind:
        case "initiated" | "answered":
            yield ev.LegJoined(
                at=event.at, leg=_leg(event, party), answered=event.kind == "answered"
            )
        case "hangup":
            yield ev.LegLeft(
                at=event.at, leg_id=event.leg_id, cause=event.cause, source=event.source
            )
        case "line":
            yield ev.LineHeard(
                line_id=event.event_id,
                at=event.at,
                party=_speaker(event, call, party),
                text=event.text,
                is_final=event.is_final,
                confidence=event.confidence,
            )
        case "machine_detected" if party == "prospect" and event.status in _MACHINES:
            yield ev.MachineAnswered(at=event.at)
        case "stream_failed":
            yield ev.StreamChanged(at=event.at, kind="failed", reason=event.cause or "")
        case "recording_saved" if event.recording_url is not None:
            yield ev.RecordingSaved(
                at=event.at, url=event.recording_url, recording_id=event.recording_id
            )


def _leg(event: TelephonyEvent, party: Party) -> Leg:
    assert event.leg_id is not None  # noqa: S101  # checked by the only caller
    return Leg(
        leg_id=event.leg_id,
        party=party,
        call_leg_id=event.call_leg_id,
        call_session_id=event.call_session_id,
    )


def _speaker(event: TelephonyEvent, call: LiveCall, party: Party) -> Party:
    """Say who spoke: by the leg, and on the prospect's leg by the track where one is given."""
    if party != "prospect" or event.track != "outbound":
        return party
    return call.other
