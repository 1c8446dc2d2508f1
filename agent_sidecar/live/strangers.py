"""Legs that belong to no call of ours, yet: what their first events said, for a later attach."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

from agent_sidecar.domain.media import StreamStart
from agent_sidecar.domain.types import Lead, Leg, LegId
from agent_sidecar.ports import TelephonyEvent

MOST = 2000


class Strangers:
    """The newest unknown legs; older ones are forgotten."""

    def __init__(self) -> None:
        self._seen: OrderedDict[LegId, TelephonyEvent] = OrderedDict()

    def meet(self, leg_id: LegId, event: TelephonyEvent) -> None:
        """Note an event of a leg that no call owns."""
        if event.kind == "hangup":
            self._seen.pop(leg_id, None)
        elif event.kind in ("initiated", "answered"):
            self._seen[leg_id] = _together(event, self._seen.pop(leg_id, None))
            if len(self._seen) > MOST:
                self._seen.popitem(last=False)

    def in_session(self, session: str) -> Sequence[TelephonyEvent]:
        """Return what is known of unknown legs of one session."""
        return [event for event in self._seen.values() if event.call_session_id == session]

    def seen(self, leg_id: LegId) -> TelephonyEvent | None:
        """Return what is known of a leg."""
        return self._seen.get(leg_id)

    def session_of(self, leg_id: LegId) -> str | None:
        """Return the session that a leg has said it is of."""
        seen = self._seen.get(leg_id)
        return seen.call_session_id if seen is not None else None

    def take(self, leg_id: LegId) -> TelephonyEvent | None:
        """Return what is known of a leg that now belongs to a call."""
        return self._seen.pop(leg_id, None)


def lead_of(lead: Lead, seen: TelephonyEvent | None, start: StreamStart | None) -> Lead:
    """Complete who is called with the number that the leg or the stream names."""
    if lead.phone is not None or lead.lead_id:
        return lead
    if seen is not None:
        return replace(lead, phone=seen.from_ if seen.direction == "incoming" else seen.to)
    return replace(lead, phone=start.to) if start is not None else lead


def is_identified(lead: Lead) -> bool:
    """Say whether it can be told which lead this is; until then nobody is asked or made."""
    return bool(lead.lead_id or lead.external_id or lead.phone or lead.email)


def our_number(seen: TelephonyEvent | None, start: StreamStart | None) -> str | None:
    """Return the number on our side of the prospect's leg."""
    if seen is not None:
        return seen.to if seen.direction == "incoming" else seen.from_
    return start.from_ if start is not None else None


def prospect_s(leg_id: LegId, seen: TelephonyEvent | None, start: StreamStart | None) -> Leg:
    """Return the leg that a new call begins with."""
    session = seen.call_session_id if seen else start.call_session_id if start else None
    call_leg_id = seen.call_leg_id if seen else None
    return Leg(leg_id=leg_id, party="prospect", call_leg_id=call_leg_id, call_session_id=session)


def _together(event: TelephonyEvent, known: TelephonyEvent | None) -> TelephonyEvent:
    """Return what both say, in whatever order they came: only one of them has the direction."""
    if known is None:
        return event
    newest, other = (known, event) if event.kind == "initiated" else (event, known)
    return replace(
        newest,
        direction=newest.direction or other.direction,
        from_=newest.from_ or other.from_,
        to=newest.to or other.to,
        call_leg_id=newest.call_leg_id or other.call_leg_id,
        call_session_id=newest.call_session_id or other.call_session_id,
    )
