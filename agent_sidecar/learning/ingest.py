"""Finished calls from elsewhere: through the same domain code as live ones, into the journal.

A call keeps the id it has in its file, so taking the same file twice changes nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

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
    return bool(await ingest_all([recorded], parts))


async def ingest_all(calls: Sequence[RecordedCall], parts: IngestParts) -> int:
    """Take in finished calls; return how many had not been taken in before.

    A call that cannot be right ends it; those before it have been taken in. Raises as `ingest`.
    """
    new: dict[str, RecordedCall] = {}
    wrong: RecordedCallInvalid | None = None
    for recorded in calls:
        if recorded.call_id in new or await _is_known(recorded, parts):
            continue
        try:
            _check(recorded, parts)
        except RecordedCallInvalid as exc:
            wrong = exc
            break
        new[recorded.call_id] = recorded
    vectors = await _vectors(list(new.values()), parts.embedder)
    commits = [
        asyncio.create_task(parts.journal.commit(record), name=f"commit:{record.call_id}")
        async for record in _records(list(new.values()), vectors, parts)
    ]
    await asyncio.gather(*commits)
    if wrong is not None:
        raise wrong
    return len(new)


async def _is_known(recorded: RecordedCall, parts: IngestParts) -> bool:
    return await parts.journal.record(CallId(recorded.call_id)) is not None


def _check(recorded: RecordedCall, parts: IngestParts) -> None:
    _check_status(recorded)
    _check_times(recorded)
    carried = {len(s.vector) // 4 for s in recorded.segments if s.vector is not None}
    ours = (parts.embedder.name, parts.embedder.dimension)
    if carried and (recorded.model, carried) != (ours[0], {ours[1]}):
        sizes = ", ".join(map(str, sorted(carried)))
        raise RecordedCallInvalid(
            f"{recorded.call_id}: its vectors are of the model {recorded.model} ({sizes} numbers),"
            f" but SIDECAR_MODEL is {ours[0]} ({ours[1]}): leave `vector` out of the file to have"
            " the words embedded anew, or start with that model"
        )


async def _vectors(
    calls: Sequence[RecordedCall], embedder: Embedder
) -> Mapping[str, Sequence[Vector]]:
    """Return the vectors of every call's segments: its own, or made here, all calls together."""
    texts = [s.text for call in calls for s in call.segments if s.vector is None]
    made = iter(await embedder.embed(texts) if texts else ())
    return {
        call.call_id: [
            next(made) if s.vector is None else np.frombuffer(s.vector, "<f4")
            for s in call.segments
        ]
        for call in calls
    }


async def _records(
    calls: Sequence[RecordedCall], vectors: Mapping[str, Sequence[Vector]], parts: IngestParts
) -> AsyncIterator[CallRecord]:
    for recorded in calls:
        lead = await _stored_lead(recorded.lead, parts.leads)
        yield make_imported(recorded, lead, vectors[recorded.call_id], parts)
        # live calls come first: one record takes some milliseconds
        await asyncio.sleep(0)


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
