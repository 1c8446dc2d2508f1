"""The operational half of a call in PostgreSQL: lead, call and transfers, in one transaction.

The lead is moved by a fold over all of its calls, so a record may come twice, late, or with a
corrected outcome, and the lead stands where it would have stood anyway.
"""

from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias
from uuid import NAMESPACE_URL, UUID, uuid5

import asyncpg

from agent_sidecar.adapters.pg import Connection, PgPool, apply_schema, lead_rows
from agent_sidecar.adapters.pg.call_rows import call_values, result_values, transfer_values
from agent_sidecar.adapters.pg.lead_moves import move_leads, past_calls
from agent_sidecar.adapters.phones import DEFAULT_REGION
from agent_sidecar.domain.lead_progress import PastCall, lead_progress
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.types import CallId, StoreName

_GET_CALLS = """
SELECT call_id, lead_id, end_time, final_status, booked,
    (SELECT max(result_at) FROM transfers WHERE transfers.call_id = calls.id) AS result_at
FROM calls WHERE call_id = ANY($1::text[])
"""
# the parameters of both are in the order of `call_rows`
_UPSERT_CALL = """
INSERT INTO calls (id, call_id, lead_id, source, external_id, start_time, answered_at, end_time,
    duration, telnyx_call_control_id, telnyx_leg_id, telnyx_session_id, recording_url,
    phases_completed, phase_reached, final_status, outcome, qualified, booked, next_followup,
    engagement_score, transfer_attempted, transfer_successful, kevin_available,
    conversation_mongodb_id, hints_judged, hints_came_true)
VALUES ($1, $3, $2, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
    $21, $22, $23, $24, $25, $26, $27)
ON CONFLICT (call_id) DO UPDATE SET
    lead_id = excluded.lead_id, source = excluded.source, external_id = excluded.external_id,
    start_time = excluded.start_time, answered_at = excluded.answered_at,
    end_time = excluded.end_time, duration = excluded.duration,
    telnyx_call_control_id = excluded.telnyx_call_control_id,
    telnyx_leg_id = excluded.telnyx_leg_id, telnyx_session_id = excluded.telnyx_session_id,
    recording_url = excluded.recording_url, phases_completed = excluded.phases_completed,
    phase_reached = excluded.phase_reached, final_status = excluded.final_status,
    outcome = excluded.outcome, qualified = excluded.qualified, booked = excluded.booked,
    next_followup = excluded.next_followup, engagement_score = excluded.engagement_score,
    transfer_attempted = excluded.transfer_attempted,
    transfer_successful = excluded.transfer_successful, kevin_available = excluded.kevin_available,
    conversation_mongodb_id = excluded.conversation_mongodb_id,
    hints_judged = excluded.hints_judged, hints_came_true = excluded.hints_came_true,
    updated_at = now()
RETURNING id
"""
_FORGET_TRANSFERS = """
DELETE FROM transfers WHERE call_id = ANY($1::uuid[]) AND transfer_id <> ALL($2::text[])
"""
# where the record says no rating, result or notes, those of somebody's own SQL stay
_UPSERT_TRANSFER = """
INSERT INTO transfers (call_id, lead_id, transfer_id, closer, initiated_at, answered_at, bridged_at,
    completed_at, duration, transfer_accepted, outcome_type, outcome_reason,
    engagement_score_at_transfer, conversation_phase, key_indicators, kevin_rating,
    conversion_result, notes, result_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
ON CONFLICT (transfer_id) DO UPDATE SET
    call_id = excluded.call_id, lead_id = excluded.lead_id, closer = excluded.closer,
    initiated_at = excluded.initiated_at, answered_at = excluded.answered_at,
    bridged_at = excluded.bridged_at, completed_at = excluded.completed_at,
    duration = excluded.duration, transfer_accepted = excluded.transfer_accepted,
    outcome_type = excluded.outcome_type, outcome_reason = excluded.outcome_reason,
    engagement_score_at_transfer = excluded.engagement_score_at_transfer,
    conversation_phase = excluded.conversation_phase, key_indicators = excluded.key_indicators,
    kevin_rating = coalesce(excluded.kevin_rating, transfers.kevin_rating),
    conversion_result = coalesce(excluded.conversion_result, transfers.conversion_result),
    notes = coalesce(excluded.notes, transfers.notes),
    result_at = coalesce(excluded.result_at, transfers.result_at), updated_at = now()
"""
_FIND_CALLS = """
SELECT calls.*, leads.calls_status, leads.set_status, leads.set_status_at,
    leads.kevin_rating AS lead_rating, leads.kevin_notes AS lead_notes
FROM calls LEFT JOIN leads ON leads.id = calls.lead_id WHERE call_id = ANY($1::text[])
"""
_FIND_TRANSFERS = """
SELECT transfers.*, calls.call_id AS call FROM transfers JOIN calls ON calls.id = transfers.call_id
WHERE calls.call_id = ANY($1::text[])
"""
# in the order in which everybody locks leads: by id
_LEADS_OF_CALLS = """
SELECT id FROM leads WHERE id IN (SELECT lead_id FROM calls WHERE call_id = ANY($1::text[]))
ORDER BY id FOR UPDATE
"""
# what a closer said in these calls; a word of somebody's own SQL stays
_UNSAY = """
WITH said AS (
    SELECT calls.lead_id, transfers.kevin_rating, transfers.notes
    FROM transfers JOIN calls ON calls.id = transfers.call_id
    WHERE calls.call_id = ANY($1::text[]) AND result_at IS NOT NULL
)
UPDATE leads SET
    kevin_rating = CASE WHEN EXISTS (SELECT FROM said WHERE said.lead_id = leads.id
        AND said.kevin_rating = leads.kevin_rating) THEN NULL ELSE kevin_rating END,
    kevin_notes = CASE WHEN EXISTS (SELECT FROM said WHERE said.lead_id = leads.id
        AND said.notes = leads.kevin_notes) THEN NULL ELSE kevin_notes END
WHERE id IN (SELECT lead_id FROM said)
"""
# transfers go with their call
_FORGET_CALLS = "DELETE FROM calls WHERE call_id = ANY($1::text[])"
_IDS = "SELECT call_id FROM calls WHERE call_id > $1 ORDER BY call_id LIMIT $2"
_COUNT = """
SELECT (SELECT count(*) FROM leads) AS leads, (SELECT count(*) FROM calls) AS calls,
    (SELECT count(*) FROM transfers) AS transfers
"""
# calls removed in one transaction
_STEP = 100
# ids that follow from a call's, so that a record applied twice makes the same rows
_NAMESPACE = uuid5(NAMESPACE_URL, "agent-sidecar/calls")
# a record, and whom it names
_Named: TypeAlias = tuple[CallRecord, lead_rows.Named]


class PostgresCrm:
    """The projection `postgres`; `region` is where numbers without a country code are dialled."""

    def __init__(self, pool: PgPool, *, region: str = DEFAULT_REGION) -> None:
        self._pool = pool
        self._region = region

    @property
    def store(self) -> StoreName:
        return "postgres"

    @property
    def engine(self) -> str:
        return "PostgreSQL"

    async def migrate(self) -> Sequence[str]:
        """Bring the tables of leads, calls, closers, users and metrics to the newest version."""
        return await apply_schema(self._pool, "crm")

    async def apply(self, record: CallRecord) -> None:
        """Write call and transfers and move the lead, which is found or made if it must be."""
        await self.apply_all([record])

    async def apply_all(self, records: Sequence[CallRecord]) -> None:
        """Do so for several calls in one transaction: one wait for the disk."""
        together = list(self._waves(records))

        async def work(connection: Connection) -> None:
            for wave in together:
                await _write(connection, wave)

        await self._pool.transact(work)

    def _waves(self, records: Sequence[CallRecord]) -> Iterator[Sequence[_Named]]:
        """Cut the records, in their order, where one may change what the next one finds."""
        wave: list[_Named] = []
        taken: set[object] = set()
        for record in records:
            spare_id = uuid5(_NAMESPACE, f"lead of {record.call_id}")
            named = lead_rows.Named.read(record.lead, spare_id=spare_id, region=self._region)
            names = named.names | {("call", record.call_id)}
            if names & taken:
                yield wave
                wave, taken = [], set()
            wave.append((record, named))
            taken |= names
        if wave:
            yield wave

    async def differences(self, records: Sequence[CallRecord]) -> Mapping[CallId, Sequence[str]]:
        """Compare the rows of calls and transfers, and where their leads stand."""
        ids = [record.call_id for record in records]

        async def work(connection: Connection) -> Mapping[CallId, Sequence[str]]:
            calls = {row["call_id"]: row for row in await connection.fetch(_FIND_CALLS, ids)}
            transfers = await connection.fetch(_FIND_TRANSFERS, ids)
            leads = {row["lead_id"] for row in calls.values()} - {None}
            past = await past_calls(connection, list(leads))
            wrong = {
                record.call_id: tuple(
                    _differences(
                        record,
                        calls.get(record.call_id),
                        [row for row in transfers if row["call"] == record.call_id],
                        past,
                    )
                )
                for record in records
            }
            return {call_id: texts for call_id, texts in wrong.items() if texts}

        return await self._pool.transact(work, readonly=True)

    async def forget(self, call_ids: Collection[CallId]) -> None:
        """Remove calls and transfers, and move their leads back to where others left them."""
        ids = sorted(call_ids)
        for start in range(0, len(ids), _STEP):
            await self._forget(ids[start : start + _STEP])

    async def _forget(self, call_ids: Sequence[CallId]) -> None:
        async def work(connection: Connection) -> None:
            leads = await connection.fetch(_LEADS_OF_CALLS, call_ids)
            await connection.execute(_UNSAY, call_ids)
            await connection.execute(_FORGET_CALLS, call_ids)
            await move_leads(connection, {lead["id"]: None for lead in leads})

        await self._pool.transact(work)

    async def clear(self) -> None:
        """Remove all calls and transfers; what people say of leads stays."""
        async for ids in self.call_ids(batch=_STEP):
            await self._forget(ids)

    async def call_ids(self, *, batch: int = 500) -> AsyncIterator[Sequence[CallId]]:
        """Walk over the ids of all calls."""

        async def work(connection: Connection) -> list[CallId]:
            return [CallId(row["call_id"]) for row in await connection.fetch(_IDS, after, batch)]

        after = ""
        while ids := await self._pool.transact(work, readonly=True):
            after = ids[-1]
            yield ids

    async def counts(self) -> Mapping[str, int]:
        """Count leads, calls and transfers."""

        async def work(connection: Connection) -> Mapping[str, int]:
            row = await connection.fetchrow(_COUNT)
            return dict(row or {})

        return await self._pool.transact(work, readonly=True)

    async def ping(self) -> None:
        """Ask the server something. Raises `StoreUnavailable`."""
        await self._pool.ping()


async def _write(connection: Connection, wave: Sequence[_Named]) -> None:
    """Write calls and transfers, and move the leads of now and before."""
    records = [record for record, _ in wave]
    ids = [record.call_id for record in records]
    before = {row["call_id"]: row for row in await connection.fetch(_GET_CALLS, ids)}
    # locked; a stranger's is made with an id that follows from the call's
    lead_ids = await lead_rows.find_or_create_all(connection, [named for _, named in wave])
    await _write_calls(connection, records, lead_ids)
    news: dict[UUID, datetime | None] = {}
    for record, lead_id in zip(records, lead_ids, strict=True):
        news.setdefault(lead_id, _news_at(record, before.get(record.call_id)))
    for row in before.values():
        if row["lead_id"] is not None:
            news.setdefault(row["lead_id"], None)
    await move_leads(connection, news)


async def _write_calls(
    connection: Connection, records: Sequence[CallRecord], lead_ids: Sequence[UUID]
) -> None:
    rows = [
        (uuid5(_NAMESPACE, record.call_id), lead_id, *call_values(record).values())
        for record, lead_id in zip(records, lead_ids, strict=True)
    ]
    keys = [row["id"] for row in await connection.fetchmany(_UPSERT_CALL, rows)]
    transfers = [
        (key, lead_id, *transfer_values(attempt).values(), *result_values(attempt).values())
        for record, lead_id, key in zip(records, lead_ids, keys, strict=True)
        for attempt in record.transfers
    ]
    ids = [attempt.transfer_id for record in records for attempt in record.transfers]
    await connection.execute(_FORGET_TRANSFERS, keys, ids)
    if transfers:
        await connection.executemany(_UPSERT_TRANSFER, transfers)


def _news_at(record: CallRecord, before: asyncpg.Record | None) -> datetime | None:
    """Return from when on the record says something that was not known; None: nothing."""
    if before is None or (before["end_time"], before["final_status"], before["booked"]) != (
        record.ended_at,
        record.outcome.final_status,
        record.outcome.booked,
    ):
        return record.ended_at
    said = [a.result.posted_at for a in record.transfers if a.result is not None]
    newest = max(said, default=None)
    return newest if newest != before["result_at"] else None


def _differences(
    record: CallRecord,
    call: asyncpg.Record | None,
    transfers: Sequence[asyncpg.Record],
    past: Mapping[UUID, Sequence[PastCall]],
) -> Iterator[str]:
    if call is None:
        yield "missing"
        return
    yield from _wrong_columns("calls", call, call_values(record))
    found = {row["transfer_id"]: row for row in transfers}
    for attempt in record.transfers:
        row = found.pop(attempt.transfer_id, None)
        if row is None:
            yield f"transfers: {attempt.transfer_id} is missing"
        else:
            said = {k: v for k, v in result_values(attempt).items() if v is not None}
            yield from _wrong_columns("transfers", row, {**transfer_values(attempt), **said})
    for transfer_id in found:
        yield f"transfers: {transfer_id} is not of this call"
    if call["lead_id"] is None:
        yield "calls.lead_id: the call has no lead"
        return
    progress = lead_progress(
        past.get(call["lead_id"], ()),
        set_status=call["set_status"] or "new",
        set_at=call["set_status_at"],
    )
    # null: a person has said something since, and no call has come after it
    stands = call["calls_status"] or call["set_status"] or "new"
    if stands != progress.status:
        yield f"leads.calls_status: found {stands}, expected {progress.status}"
    rating, notes = progress.closer_rating, progress.closer_notes
    if rating is not None and call["lead_rating"] != rating:
        yield f"leads.kevin_rating: found {call['lead_rating']}, expected {rating}"
    if notes is not None and call["lead_notes"] != notes:
        yield "leads.kevin_notes: not what the closer said last"


def _wrong_columns(
    table: str, row: asyncpg.Record, expected: Mapping[str, object]
) -> Iterator[str]:
    for column, value in expected.items():
        if row[column] != value:
            yield f"{table}.{column}: found {row[column]}, expected {value}"
