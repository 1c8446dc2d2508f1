"""A line that somebody else recognised, as the call hears it."""

from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from agent_sidecar.domain.events import LineHeard
from agent_sidecar.web.json_body import Transcript, moment

# a call that is played faster than it was spoken runs ahead of its last line
_AHEAD: Final = timedelta(days=1)


def line_heard(said: Transcript, now: datetime) -> LineHeard:
    """Return the event; `now` is the time of the call. Raises `RequestInvalid`.

    A line from the future would stop the call's clock for good.
    """
    at = now if said.at is None else min(moment(said.at, field="at"), now + _AHEAD)
    return LineHeard(
        line_id=f"api:{uuid4().hex}",
        at=at,
        party=said.speaker,
        text=said.text,
        is_final=said.is_final,
        confidence=said.confidence,
        source="told",
    )
