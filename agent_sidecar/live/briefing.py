"""What is told in words during a call: to the closer, the assistant, the agent's own ear."""

from textwrap import shorten
from typing import Final

from agent_sidecar.domain.events import StartTransfer
from agent_sidecar.domain.hints import Hint
from agent_sidecar.domain.types import Lead

ACCEPT, DECLINE = "1", "2"
# about twelve seconds of speech: more cannot be listened to beside a prospect
_WHISPER_CHARACTERS: Final = 200
# as much as Telnyx speaks at once; for a message it names no limit
_ADVICE_CHARACTERS: Final = 3000


def briefing(start: StartTransfer, lead: Lead) -> str:
    """Return the moment in a few seconds of speech: who, where, what moved it, what to press."""
    engagement = "" if start.engagement is None else f" Engagement {start.engagement:.0f}."
    objection = f" Last objection: {start.last_objection}." if start.last_objection else ""
    moved = f" {start.reasons[0]}." if start.reasons else ""
    return (
        f"Hot prospect: {lead.name or 'name unknown'}, phase {start.phase}.{engagement}"
        f"{moved}{objection} Press {ACCEPT} to take the call, {DECLINE} to decline."
    )


def advice(hint: Hint) -> str:
    """Return a hint as a message to an AI assistant, for its next turn."""
    answers = "" if hint.objection is None else f" The prospect objects: {hint.objection}."
    text = (
        "Hint for your next turn; it replaces earlier hints, and the prospect must not hear of it."
        f"{answers} Strategy: {_in_words(hint)}. Say, in your own words and if it still fits:"
        f" {hint.say}"
    )
    return shorten(text, _ADVICE_CHARACTERS, placeholder=" …")


def whisper(hint: Hint) -> str:
    """Return a hint as a few seconds of speech."""
    return shorten(f"{_in_words(hint)}: {hint.say}", _WHISPER_CHARACTERS, placeholder=" …")


def _in_words(hint: Hint) -> str:
    return hint.strategy.replace("-", " ").replace("_", " ")
