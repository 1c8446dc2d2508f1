"""What a telephony event means for the call whose leg it is about; whose leg that is."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.types import Leg, LegId, Party, Track
from agent_sidecar.live.live_call import LiveCall
from agent_sidecar.ports import TelephonyEvent

# what a leg's client_state says when whoever dialled it names its party: `sidecar:agent`
ROLE_STATE = "sidecar:"
PROSPECT_STATE = f"{ROLE_STATE}prospect"
_ROLES: dict[str, Party] = {f"{ROLE_STATE}agent": "agent", f"{ROLE_STATE}closer": "closer"}
_MACHINES = frozenset({"machine", "fax_detected"})


def role_of(event: TelephonyEvent, call: LiveCall, closer_numbers: frozenset[str]) -> Party | None:
    """Say who is on another leg of this call; None: nobody knows, so nobody guesses."""
    if (named := _ROLES.get(event.client_state)) is not None:
        return named
    if event.to in closer_numbers:
        return "closer"
    # a human agent has one leg, and no leg but a closer's is ever added while a transfer runs
    log = call.call.log
    may_be = log.opened.agent == "human" and not call.attempts.any_running
    return "agent" if may_be and log.leg_of("agent") is None else None


def call_events(
    event: TelephonyEvent, call: LiveCall, party: Party, untracked: Track | None
) -> Iterator[ev.CallEvent]:
    """Yield what the call is told; `party` is who the event's leg belongs to.

    `untracked` is the voice of a line of the prospect's leg that names no track; None: nobody's.
    """
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
        case "bridged":
            yield ev.LegsBridged(at=event.at, leg_id=event.leg_id, peer_leg_id=event.peer_leg_id)
        case "line":
            yield from _line(event, event.leg_id, call, party, untracked)
        case "machine_detected" if party == "prospect" and event.status in _MACHINES:
            yield ev.MachineAnswered(at=event.at)
        case "stream_failed" if party == "prospect":
            yield ev.StreamChanged(at=event.at, kind="failed", reason=event.cause or "")
        case "recording_saved" if event.recording_url is not None:
            yield ev.RecordingSaved(
                at=event.at, url=event.recording_url, recording_id=event.recording_id
            )


def _line(
    event: TelephonyEvent, leg_id: LegId, call: LiveCall, party: Party, untracked: Track | None
) -> Iterator[ev.CallEvent]:
    voices = call.call.log.voices
    # whoever transcribes another leg does so because each leg has a voice of its own
    track = event.track or (untracked if party == "prospect" else "inbound")
    speaker = track and voices.speaker(leg_id, track, _spoken_at(event, leg_id, track, call))
    if not track or not speaker:
        return
    if voices.is_ringing(leg_id):
        # who speaks has answered, also when that webhook never came
        yield ev.LegJoined(at=event.at, leg=_leg(event, party), answered=True)
    yield ev.LineHeard(
        line_id=event.event_id,
        at=event.at,
        party=speaker,
        text=event.text,
        is_final=event.is_final,
        confidence=event.confidence,
        source="own_leg" if track == "inbound" else "other_leg",
    )


def _spoken_at(event: TelephonyEvent, leg_id: LegId, track: Track, call: LiveCall) -> datetime:
    """Return when a line was said: it is recognised later, when somebody else may have the word."""
    stream = call.streams.of(leg_id)
    if stream is None or not event.is_final:
        return event.at
    log_of_call = call.call.log
    second = stream.spoken_s(track, event.text, log_of_call.seconds(event.at))
    return event.at if second is None else log_of_call.opened.at + timedelta(seconds=second)


def _leg(event: TelephonyEvent, party: Party) -> Leg:
    assert event.leg_id is not None  # noqa: S101  # checked by the only caller
    return Leg(
        leg_id=event.leg_id,
        party=party,
        call_leg_id=event.call_leg_id,
        call_session_id=event.call_session_id,
    )
