"""What to do with the calls that a crash left open.

Their events are in the journal and rebuild them; here is only the question whether they go on.
"""

from collections.abc import Sequence
from typing import Literal

import structlog

from agent_sidecar.domain.events import CallClosed, CallEvent, CallOpened, LegJoined, LegLeft
from agent_sidecar.domain.types import LegId
from agent_sidecar.errors import CommandRefused, CommandUncertain
from agent_sidecar.ports import CallControl, OpenCall

log = structlog.get_logger()

Verdict = Literal[
    # its end is among its events: make the record now
    "finish",
    # the prospect is still on the line: attach again
    "resume",
    # the prospect is gone, nobody saw how: close it as interrupted
    "close",
    # nobody can tell: wait `resume_s` for a sign of life, then close it as interrupted
    "wait",
    # it never became a call: discard its events
    "discard",
]


async def judge(open_call: OpenCall, control: CallControl | None) -> Verdict:
    """Decide for one call; asks the provider only when its own events do not tell."""
    events = open_call.events
    opened = next((event for event in events if isinstance(event, CallOpened)), None)
    if opened is None:
        return "discard"
    prospect = _prospect_leg(events)
    if any(_ends(event, prospect) for event in events):
        return "finish"
    if control is None or opened.passive or prospect is None:
        return "wait"
    try:
        alive = await control.is_alive(prospect)
    except (CommandUncertain, CommandRefused) as exc:
        log.warning("open_call_uncertain", call_id=open_call.call_id, error=str(exc))
        return "wait"
    return "resume" if alive else "close"


def _prospect_leg(events: Sequence[CallEvent]) -> LegId | None:
    legs = [e.leg.leg_id for e in events if isinstance(e, LegJoined) and e.leg.party == "prospect"]
    return legs[-1] if legs else None


def _ends(event: CallEvent, prospect: LegId | None) -> bool:
    match event:
        case CallClosed():
            return True
        case LegLeft(leg_id=leg_id):
            return leg_id == prospect
        case _:
            return False
