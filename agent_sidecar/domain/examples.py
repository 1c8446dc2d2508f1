"""Stored conversations as examples: for which kinds of lead a call is one, and where it turned."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import cast

from agent_sidecar.domain.insights import ExampleCall
from agent_sidecar.domain.record import CallRecord, FinalStatus
from agent_sidecar.domain.tally import kinds
from agent_sidecar.domain.types import CallId

# what a call is remembered for: the first sort that it has
_TURNS = ("rise", "buying_signal", "transfer", "objection", "drop")
# lines shown up to the moment it turned
_LINES = 3

_Document = Mapping[str, object]


def example_kinds(record: CallRecord) -> list[str]:
    """Return the kinds of lead that the call may be an example for, from everybody on.

    None for a call that is no evidence: a replay teaches nothing.
    """
    return list(kinds(record.lead_kind)) if record.is_evidence else []


def example_call(document: _Document, kind: str) -> ExampleCall:
    """Read a stored conversation document (`document.conversation_document`) as an example."""
    transcript, analysis = _part(document, "transcript"), _part(document, "analysis")
    moments = cast(Sequence[_Document], analysis["keyMoments"])
    turn = min(moments, key=lambda m: _TURNS.index(str(m["kind"])), default=None)
    segments = cast(Sequence[_Document], transcript["segments"])
    lines: Sequence[str] = ()
    if turn is not None:
        at = cast(datetime, turn["at"])
        before = [s for s in segments if s["text"] and cast(datetime, s["timestamp"]) <= at]
        lines = [f"{segment['speaker']}: {segment['text']}" for segment in before[-_LINES:]]
    return ExampleCall(
        call_id=CallId(str(document["_id"])),
        started_at=cast(datetime, _part(document, "metadata")["startTime"]),
        outcome=cast(FinalStatus, _part(document, "outcome")["finalStatus"]),
        score=cast("float | None", _part(document, "engagement")["overallScore"]),
        kind=kind,
        turned=None if turn is None else str(turn["text"]),
        lines=tuple(lines),
    )


def _part(document: _Document, name: str) -> _Document:
    return cast(_Document, document[name])
