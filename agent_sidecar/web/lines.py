"""A line that somebody else recognised, as the call hears it."""

from datetime import UTC, datetime
from uuid import uuid4

from agent_sidecar.domain.events import LineHeard
from agent_sidecar.web.json_body import Transcript


def line_heard(said: Transcript, now: datetime) -> LineHeard:
    """Return the event; `now` is the time of the call."""
    return LineHeard(
        line_id=f"api:{uuid4().hex}",
        at=now if said.at is None else said.at.astimezone(UTC),
        party=said.speaker,
        text=said.text,
        is_final=said.is_final,
        confidence=said.confidence,
    )
