"""Finished calls from elsewhere: through the same domain code as live ones, into the journal.

A call keeps the id it has in its file, so taking the same file twice changes nothing.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

import numpy as np

from agent_sidecar.domain.discretion import Discretion
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.recorded import RecordedCall, SpokenSegment
from agent_sidecar.domain.redaction import Redaction
from agent_sidecar.domain.types import CallId, Lead, Vector
from agent_sidecar.errors import RecordedCallInvalid, StoreUnavailable
from agent_sidecar.learning.imported import STATUSES, Finished
from agent_sidecar.ports import Clock, Embedder, Journal, Leads

# beyond these no time is of a telephone call, and sums of times would leave the calendar
_EARLIEST, _LATEST = datetime(1970, 1, 2, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_LONGEST_S = 7 * 24 * 3600.0


class MakeRecords(Protocol):
    """Makes records of finished calls; `strategies`: labels that are strategies."""

    async def __call__(
        self, calls: Sequence[Finished], strategies: frozenset[str], now: datetime
    ) -> Sequence[CallRecord]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestParts:
    """What taking in a call works with."""

    journal: Journal
    embedder: Embedder
    leads: Leads
    clock: Clock
    records: MakeRecords
    # labels that are strategies; empty: only `strategy` names one
    strategies: frozenset[str] = frozenset()
    redaction: Redaction = field(default_factory=Redaction)


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
        new[recorded.call_id] = _discreet(recorded, parts.redaction)
    if new:
        vectors = await _vectors(list(new.values()), parts.embedder)
        finished = await _finished(list(new.values()), vectors, parts)
        records = await parts.records(finished, parts.strategies, parts.clock.now())
        await asyncio.gather(*(parts.journal.commit(record) for record in records))
    if wrong is not None:
        raise wrong
    return len(new)


def _discreet(recorded: RecordedCall, redaction: Redaction) -> RecordedCall:
    """Return the call without what must not be kept; lines that lose words are embedded anew."""
    discretion = Discretion(redaction)

    def heard(segment: SpokenSegment) -> SpokenSegment:
        text = discretion.hear("", segment.end_s, segment.text)
        return segment if text == segment.text else replace(segment, text=text, vector=None)

    if not discretion:
        return recorded
    return replace(recorded, segments=tuple(heard(segment) for segment in recorded.segments))


async def _is_known(recorded: RecordedCall, parts: IngestParts) -> bool:
    return await parts.journal.knows(CallId(recorded.call_id))


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


async def _finished(
    calls: Sequence[RecordedCall], vectors: Mapping[str, Sequence[Vector]], parts: IngestParts
) -> Sequence[Finished]:
    return [
        Finished(
            recorded=recorded,
            lead=await _stored_lead(recorded.lead, parts.leads),
            vectors=vectors[recorded.call_id],
        )
        for recorded in calls
    ]


def _check_status(recorded: RecordedCall) -> None:
    status = recorded.outcome.final_status
    if status is not None and status not in STATUSES:
        raise RecordedCallInvalid(
            f"call {recorded.call_id}: outcome.final_status: {status!r} is none of"
            f" {', '.join(STATUSES)}"
        )


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
