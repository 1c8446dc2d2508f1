"""A line that somebody else recognised, as the call hears it."""

from datetime import timedelta
from typing import Final
from uuid import uuid4

from agent_sidecar.domain.discretion import Discretion
from agent_sidecar.domain.events import LineHeard
from agent_sidecar.web.json_body import Transcript, moment
from agent_sidecar.web.parts import LiveCall

# a call that is played faster than it was spoken runs ahead of its last line
_AHEAD: Final = timedelta(days=1)


def line_heard(said: Transcript, call: LiveCall, discretion: Discretion) -> LineHeard:
    """Return the event, without what must not be kept. Raises `RequestInvalid`.

    A line from the future would stop the call's clock for good.
    """
    now = call.now()
    at = now if said.at is None else min(moment(said.at, field="at"), now + _AHEAD)
    return LineHeard(
        line_id=f"api:{uuid4().hex}",
        at=at,
        party=said.speaker,
        text=discretion.hear(call.call_id, at.timestamp(), said.text),
        is_final=said.is_final,
        confidence=said.confidence,
        source="told",
    )
