"""Moves a lead to where its calls have brought it; runs inside the caller's transaction."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from agent_sidecar.adapters.pg.pool import Connection
from agent_sidecar.domain.lead_progress import LeadProgress, PastCall, lead_progress
from agent_sidecar.domain.transfer_result import TransferResult

_LOCK_LEADS = """
SELECT id, status, set_status, set_status_at, calls_status FROM leads
WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE
"""
_CALLS_OF_LEADS = """
SELECT id, lead_id, call_id, end_time, final_status, booked, transfer_successful, engagement_score,
    next_followup
FROM calls WHERE lead_id = ANY($1::uuid[]) AND end_time IS NOT NULL
"""
# without a time it was written by somebody's own SQL, who moves leads himself
_RESULTS_OF_LEADS = """
SELECT transfers.call_id, kevin_rating, conversion_result, notes, result_at
FROM transfers JOIN calls ON calls.id = transfers.call_id
WHERE calls.lead_id = ANY($1::uuid[]) AND result_at IS NOT NULL
ORDER BY transfers.transfer_id
"""
# a rating or note that somebody's own SQL gave stays until a closer says another
_MOVE_LEAD = """
UPDATE leads SET status = $2, calls_status = $2, set_status = $3, set_status_at = $4,
    last_contacted = $5, next_followup = $6, qualification_score = $7, relationship_strength = $8,
    kevin_rating = coalesce($9, kevin_rating), kevin_notes = coalesce($10, kevin_notes),
    updated_at = now()
WHERE id = $1
"""


async def move_leads(connection: Connection, news_at: Mapping[UUID, datetime | None]) -> None:
    """Fold each lead's calls; `news_at`: since when a call, or a word on it, says something new."""
    leads = await connection.fetch(_LOCK_LEADS, list(news_at))
    past = await past_calls(connection, list(news_at))
    moved = []
    for lead in leads:
        set_status, set_at = lead["set_status"] or "new", lead["set_status_at"]
        if lead["status"] != (lead["calls_status"] or set_status):
            # Somebody's own SQL changed it, at a time that nobody wrote down: before the call that
            # comes only now, and after every other.
            set_status, set_at = lead["status"], news_at[lead["id"]] or datetime.now(UTC)
        progress = lead_progress(past.get(lead["id"], ()), set_status=set_status, set_at=set_at)
        moved.append((lead["id"], *_progress_values(progress, set_status, set_at)))
    await connection.executemany(_MOVE_LEAD, moved)


async def past_calls(
    connection: Connection, lead_ids: Sequence[UUID]
) -> Mapping[UUID, Sequence[PastCall]]:
    """Return the finished calls of each lead, with what closers said of them."""
    results: dict[UUID, list[TransferResult]] = {}
    for row in await connection.fetch(_RESULTS_OF_LEADS, lead_ids):
        result = TransferResult(
            posted_at=row["result_at"],
            rating=row["kevin_rating"],
            conversion=row["conversion_result"],
            notes=row["notes"],
        )
        results.setdefault(row["call_id"], []).append(result)
    past: dict[UUID, list[PastCall]] = {}
    for row in await connection.fetch(_CALLS_OF_LEADS, lead_ids):
        score = row["engagement_score"]
        call = PastCall(
            call_id=row["call_id"],
            ended_at=row["end_time"],
            # a row that others wrote may lack it
            final_status=row["final_status"] or "unknown",
            booked=row["booked"],
            transferred=row["transfer_successful"],
            engagement=None if score is None else float(score),
            follow_up_at=row["next_followup"],
            results=tuple(results.get(row["id"], ())),
        )
        past.setdefault(row["lead_id"], []).append(call)
    return past


def _progress_values(
    progress: LeadProgress, set_status: str, set_at: datetime | None
) -> Sequence[object]:
    return (
        progress.status,
        None if set_status == "new" else set_status,
        set_at,
        progress.last_contacted_at,
        progress.next_followup_at,
        progress.qualification_score,
        progress.relationship,
        progress.closer_rating,
        progress.closer_notes,
    )
