"""How a call ended: the first rule that fits, and what follows from it."""

from dataclasses import replace
from datetime import UTC, datetime, tzinfo

from agent_sidecar.domain.log import CallLog
from agent_sidecar.domain.next_time import agreed_time
from agent_sidecar.domain.playbook import Playbook
from agent_sidecar.domain.record import FinalStatus, Outcome, Result
from agent_sidecar.domain.words import Phrases
from agent_sidecar.domain.zones import zone_named

# a prospect who hangs up in an earlier phase has abandoned the call
ABANDONED_BEFORE_PHASE = 6
# with these a prospect agrees on a next time, or asks for one
_NEXT_TIME = Phrases(
    f"{what} {when}"
    for what in ("call me", "call back", "try me", "talk", "talk to you", "speak", "speak to you")
    for when in ("back", "again", "later", "tomorrow", "next week", "next month")
)
_RESULTS: dict[FinalStatus, Result] = {
    "hot_transfer": "transferred",
    "video_sent": "qualified",
    "follow_up": "callback",
    "disqualified": "not_qualified",
    "no_answer": "no_answer",
    "abandoned": "not_qualified",
    "unknown": "callback",
}
# no next contact follows these, whatever was said before
_NOTHING_AFTER: frozenset[FinalStatus] = frozenset({"hot_transfer", "disqualified", "no_answer"})
# None: not counted (yet)
_QUALIFIED: dict[FinalStatus, bool | None] = {
    "hot_transfer": True,
    "video_sent": True,
    "disqualified": False,
    "no_answer": None,
    "abandoned": False,
    "unknown": None,
}


def conclude(log: CallLog, playbook: Playbook) -> Outcome:
    """Return the outcome of a finished call."""
    ends = _used_ends(log, playbook)
    if log.posted is not None:
        status, qualified = log.posted
    else:
        status, qualified = _final_status(log, ends, playbook), None
    outcome = outcome_of(
        status,
        qualified=qualified,
        engagement=log.progression[-1] if log.progression else None,
        playbook=playbook,
        posted=log.posted is not None,
    )
    return replace(
        outcome, booked="booking" in ends, follow_up_at=_next_time(log, status, playbook)
    )


def outcome_of(
    status: FinalStatus,
    *,
    qualified: bool | None,
    engagement: float | None,
    playbook: Playbook,
    posted: bool,
) -> Outcome:
    """Return what follows from a final status; `qualified` given by a person stands."""
    if qualified is None and status == "follow_up":
        qualified = (engagement or 0.0) >= playbook.thresholds.follow_up_engagement
    elif qualified is None:
        qualified = _QUALIFIED[status]
    return Outcome(final_status=status, result=_RESULTS[status], qualified=qualified, posted=posted)


def _final_status(log: CallLog, ends: set[str], playbook: Playbook) -> FinalStatus:
    if log.bridged:
        return "hot_transfer"
    if log.machine or (log.taken_at is None and not log.segments):
        return "no_answer"
    if "video" in ends:
        return "video_sent"
    if "booking" in ends or _agreed_on_next_time(log, playbook):
        return "follow_up"
    if log.refused:
        return "disqualified"
    reached = max((s.phase for s in log.segments), default=1)
    if log.hangup_source == "callee" and reached < ABANDONED_BEFORE_PHASE:
        return "abandoned"
    return "unknown"


def _agreed_on_next_time(log: CallLog, playbook: Playbook) -> bool:
    """Say whether the prospect agreed on a next time; not if he wants no call any more."""
    if log.refused:
        return False
    asked = (s.speaker == "prospect" and _NEXT_TIME.find(s.text) for s in log.segments)
    return any(asked) or agreed_time(log.segments, _zone(log, playbook)) is not None


def _next_time(log: CallLog, status: FinalStatus, playbook: Playbook) -> datetime | None:
    """Return when the next contact was agreed for; none with whom nothing more is to be talked."""
    if log.refused or status in _NOTHING_AFTER:
        return None
    return agreed_time(log.segments, _zone(log, playbook))


def _zone(log: CallLog, playbook: Playbook) -> tzinfo:
    """Return the lead's zone; a lead without one is taken to live where the first closer does."""
    names = (log.lead.timezone or "", playbook.closers[0].timezone)
    return next((zone for zone in map(zone_named, names) if zone is not None), UTC)


def _used_ends(log: CallLog, playbook: Playbook) -> set[str]:
    """Return which second-best ends the agent used, hinted or by himself."""
    used = {s.strategy for s in log.segments if s.strategy is not None}
    used |= {shown.hint.strategy for shown in log.hints.values() if shown.status == "used"}
    return {s.ends_with for s in playbook.strategies if s.ends_with and s.name in used}
