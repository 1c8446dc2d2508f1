"""Finished calls from elsewhere: through the same domain code as live ones, into the journal.

A call keeps the id it has in its file, so taking the same file twice changes nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.call import Call
from agent_sidecar.domain.engagement import Weights
from agent_sidecar.domain.language import Reader
from agent_sidecar.domain.record import CallRecord, Configuration, FinalStatus
from agent_sidecar.domain.recorded import RecordedCall
from agent_sidecar.domain.types import CallId, Lead, Leg, LegId, Vector
from agent_sidecar.errors import RecordedCallInvalid, StoreUnavailable
from agent_sidecar.learning.hearing import hear_segment
from agent_sidecar.ports import Clock, Embedder, Journal, Leads

STATUSES: dict[str, FinalStatus] = {
    name: name
    for name in (
        "hot_transfer",
        "video_sent",
        "follow_up",
        "disqualified",
        "no_answer",
        "abandoned",
        "unknown",
    )
}


# beyond these no time is of a telephone call, and sums of times would leave the calendar
_EARLIEST, _LATEST = datetime(1970, 1, 2, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_LONGEST_S = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestParts:
    """What taking in a call works with."""

    journal: Journal
    embedder: Embedder
    leads: Leads
    reader: Reader
    clock: Clock
    configuration: Configuration
    weights: Weights
    # labels that are strategies; empty: only `strategy` names one
    strategies: frozenset[str] = frozenset()


async def ingest(recorded: RecordedCall, parts: IngestParts) -> bool:
    """Take in one finished call; False when it had been taken in before.

    Raises `RecordedCallInvalid`, `EmbeddingFailed`, `JournalFailed`.
    """
    if await parts.journal.record(CallId(recorded.call_id)) is not None:
        return False
    _check_status(recorded)
    _check_times(recorded)
    lead = await _stored_lead(recorded.lead, parts.leads)
    vectors = await parts.embedder.embed([segment.text for segment in recorded.segments])
    await parts.journal.commit(make_imported(recorded, lead, vectors, parts))
    return True


def make_imported(
    recorded: RecordedCall, lead: Lead, vectors: Iterable[Vector], parts: IngestParts
) -> CallRecord:
    """Return the record of a finished call as if we had heard it."""
    started_at = recorded.started_at or parts.clock.now() - timedelta(seconds=recorded.duration_s)
    opened = ev.CallOpened(
        call_id=CallId(recorded.call_id),
        at=started_at,
        source="import",
        agent="external",
        lead=lead,
        external_id=recorded.call_id,
        passive=True,
    )
    call = Call(opened, parts.reader, parts.weights)
    leg = Leg(leg_id=LegId(f"import:{recorded.call_id}"), party="prospect")
    call.receive(ev.LegJoined(at=started_at, leg=leg, answered=True))
    for index, (segment, vector) in enumerate(zip(recorded.segments, vectors, strict=True)):
        strategy = segment.strategy
        if strategy is None and segment.label in parts.strategies:
            strategy = segment.label
        hear_segment(call, index, segment, vector, strategy)
    ended_at = started_at + timedelta(seconds=recorded.duration_s)
    _take_outcome(recorded, call, ended_at)
    call.receive(ev.CallClosed(at=ended_at, reason="imported"))
    return call.record(parts.configuration)


def _check_status(recorded: RecordedCall) -> None:
    status = recorded.outcome.final_status
    if status is not None and status not in STATUSES:
        raise RecordedCallInvalid(
            f"call {recorded.call_id}: outcome.final_status: {status!r} is none of"
            f" {', '.join(STATUSES)}"
        )


def _take_outcome(recorded: RecordedCall, call: Call, at: datetime) -> None:
    """Take the file's word on how the call ended; `success` means qualified."""
    outcome = recorded.outcome
    if outcome.final_status is None and outcome.success is None:
        return
    status = STATUSES[outcome.final_status or "unknown"]
    call.receive(ev.OutcomePosted(at=at, final_status=status, qualified=outcome.success))


async def _stored_lead(lead: Lead, leads: Leads) -> Lead:
    if not (lead.lead_id or lead.external_id or lead.phone or lead.email):
        # nobody can be found again by less: the relay makes one lead for the call
        return lead
    try:
        return await leads.find_or_create(lead)
    except StoreUnavailable:
        # the relay makes the lead when the record is delivered
        return lead


def _check_times(recorded: RecordedCall) -> None:
    at = recorded.started_at
    if at is not None and (at.tzinfo is None or not _EARLIEST <= at <= _LATEST):
        raise RecordedCallInvalid(
            f"{recorded.call_id}: started_at {at.isoformat()} must be the time of a call, with its"
            " zone: 2026-03-01T15:00:00Z"
        )
    for place, segment in enumerate(recorded.segments):
        if not 0.0 <= segment.start_s <= segment.end_s <= _LONGEST_S:
            raise RecordedCallInvalid(
                f"{recorded.call_id}: segments[{place}] must have 0 <= start_s <= end_s <="
                f" {_LONGEST_S:.0f}, seconds from the start of the call"
            )
