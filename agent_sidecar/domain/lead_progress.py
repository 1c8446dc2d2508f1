"""Where a lead stands after its calls: a fold over all of them, so that corrections are exact.

A call moves its lead, except from `closed` and `disqualified`: those only a person ends, by
changing the lead or by correcting the call that disqualified it. What a person says of the lead
outranks every call that ended before he said it. What a closer says of a transfer counts from when
he said it, but not before its call has ended: a meeting moves the lead on, a sale closes it
wherever it stood.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from agent_sidecar.domain.record import FinalStatus
from agent_sidecar.domain.transfer_result import TransferResult

LEAD_STATUSES = (
    "new",
    "contacted",
    "qualified",
    "hot_transfer",
    "video_sent",
    "zoom_scheduled",
    "closed",
    "disqualified",
)
# from the second answered call on a relationship develops
_DEVELOPING_CALLS = 2
_FINAL = frozenset({"closed", "disqualified"})
_AFTER: Mapping[FinalStatus, str] = {
    "hot_transfer": "hot_transfer",
    "video_sent": "video_sent",
    "follow_up": "contacted",
    "disqualified": "disqualified",
    "abandoned": "contacted",
    "unknown": "contacted",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PastCall:
    """What a finished call means for its lead."""

    call_id: str
    ended_at: datetime
    final_status: FinalStatus
    booked: bool
    transferred: bool
    # 0..100; None: the prospect never spoke
    engagement: float | None
    follow_up_at: datetime | None
    # what closers said of its transfers
    results: tuple[TransferResult, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadProgress:
    """Where the lead stands now."""

    status: str
    # end of the last call that was answered
    last_contacted_at: datetime | None
    # as agreed in that call
    next_followup_at: datetime | None
    # engagement at the end of the last call in which he spoke, 0..100
    qualification_score: int
    relationship: Literal["new", "developing", "strong"]
    # what closers said of him last; None: nothing yet
    closer_rating: int | None = None
    closer_notes: str | None = None


def lead_progress(
    calls: Sequence[PastCall], *, set_status: str = "new", set_at: datetime | None = None
) -> LeadProgress:
    """Fold the lead's calls, in any order; `set_status` is what a person said last, at `set_at`."""
    in_order = sorted(calls, key=lambda call: (call.ended_at, call.call_id))
    results = [result for call in in_order for result in call.results]
    said = sorted(results, key=lambda result: result.posted_at, reverse=True)
    answered = [call for call in in_order if call.final_status != "no_answer"]
    scores = [call.engagement for call in in_order if call.engagement is not None]
    return LeadProgress(
        status=_status(in_order, set_status, set_at),
        last_contacted_at=answered[-1].ended_at if answered else None,
        next_followup_at=answered[-1].follow_up_at if answered else None,
        qualification_score=round(scores[-1]) if scores else 0,
        relationship=_relationship(answered),
        closer_rating=next((r.rating for r in said if r.rating is not None), None),
        closer_notes=next((r.notes for r in said if r.notes is not None), None),
    )


def _status(calls: Sequence[PastCall], set_status: str, set_at: datetime | None) -> str:
    news: list[tuple[datetime, PastCall | TransferResult]] = [(c.ended_at, c) for c in calls]
    news += [(max(r.posted_at, call.ended_at), r) for call in calls for r in call.results]
    status = set_status
    # sorting is stable: what was said of a call comes after it
    for at, one in sorted(news, key=lambda timed: timed[0]):
        if set_at is not None and at < set_at:
            continue
        if isinstance(one, TransferResult):
            status = _status_said(one, status)
        elif status not in _FINAL:
            status = _status_after(one, status)
    return status


def _status_said(result: TransferResult, status: str) -> str:
    if result.conversion == "closed":
        return "closed"
    moves_on = result.conversion == "scheduled" and status not in _FINAL
    return "zoom_scheduled" if moves_on else status


def _status_after(call: PastCall, status: str) -> str:
    if call.final_status == "follow_up" and call.booked:
        return "zoom_scheduled"
    return _AFTER.get(call.final_status, status)


def _relationship(answered: Sequence[PastCall]) -> Literal["new", "developing", "strong"]:
    if any(call.transferred for call in answered):
        return "strong"
    return "developing" if len(answered) >= _DEVELOPING_CALLS else "new"
