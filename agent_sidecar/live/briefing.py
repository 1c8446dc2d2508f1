"""What a closer hears before he decides."""

from agent_sidecar.domain.events import StartTransfer
from agent_sidecar.domain.types import Lead

ACCEPT, DECLINE = "1", "2"


def briefing(start: StartTransfer, lead: Lead) -> str:
    """Return the moment in a few seconds of speech: who, where, what moved it, what to press."""
    engagement = "" if start.engagement is None else f" Engagement {start.engagement:.0f}."
    objection = f" Last objection: {start.last_objection}." if start.last_objection else ""
    moved = f" {start.reasons[0]}." if start.reasons else ""
    return (
        f"Hot prospect: {lead.name or 'name unknown'}, phase {start.phase}.{engagement}"
        f"{moved}{objection} Press {ACCEPT} to take the call, {DECLINE} to decline."
    )
