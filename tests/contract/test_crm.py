"""The CRM on a real PostgreSQL: applied twice, late or corrected, it ends the same."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib import resources
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from agent_sidecar.adapters.pg import PgPool
from agent_sidecar.adapters.postgres_crm import PostgresCrm
from agent_sidecar.adapters.postgres_leads import PostgresLeads
from agent_sidecar.domain.record import CallRecord, FinalStatus, Outcome
from agent_sidecar.domain.transfer_result import TransferResult
from agent_sidecar.domain.types import CallId, Lead
from agent_sidecar.errors import RecordRejected, StoreUnavailable
from tests.builders import at, rich_lead, rich_record, rich_transfer, stranger_record

pytestmark = pytest.mark.contract

# of a rich call a person says these later
SAID_LATER = {"kevin_rating", "conversion_result", "notes", "result_at"}


_SCHEMA = resources.files("agent_sidecar.adapters") / "schema" / "postgres" / "crm"
MIGRATIONS = sorted(f"crm/{file.name}" for file in _SCHEMA.iterdir() if file.is_file())


class Tables:
    """The tables, past the adapter."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection

    async def execute(self, statement: str, *values: object) -> None:
        await self._connection.execute(statement, *values)

    async def row(self, query: str, *values: object) -> Mapping[str, Any]:
        (row,) = await self._connection.fetch(query, *values)
        return dict(row)

    async def lead(self) -> Mapping[str, Any]:
        return await self.row("SELECT * FROM leads")

    async def status(self) -> str:
        return str((await self.lead())["status"])


@pytest_asyncio.fixture
async def pool(gated_postgres_url: str) -> AsyncIterator[PgPool]:
    async with PgPool(gated_postgres_url) as pool:
        yield pool


@pytest_asyncio.fixture
async def crm(pool: PgPool) -> PostgresCrm:
    crm = PostgresCrm(pool)
    await crm.migrate()
    return crm


@pytest_asyncio.fixture
async def tables(crm: PostgresCrm, postgres_url: str) -> AsyncIterator[Tables]:
    connection = await asyncpg.connect(postgres_url)
    yield Tables(connection)
    await connection.close()


def ended(
    final_status: FinalStatus, *, hour: int = 0, lead: Lead | None = None, **changes: object
) -> CallRecord:
    """Return a call that ended so, that many hours after the first."""
    later = timedelta(hours=hour)
    return stranger_record(
        f"call-{hour}",
        lead=lead or Lead(phone="+12125550142"),
        started_at=at(0) + later,
        ended_at=at(60) + later,
        outcome=Outcome(final_status=final_status, result="callback", qualified=None),
        **changes,
    )


# --- one call -------------------------------------------------------------------------------------


async def test_it_says_what_it_is(crm: PostgresCrm):
    assert (crm.store, crm.engine) == ("postgres", "PostgreSQL")
    await crm.ping()


async def test_a_migration_says_what_it_applied_and_finds_nothing_the_second_time(pool: PgPool):
    crm = PostgresCrm(pool)
    assert await crm.migrate() == MIGRATIONS
    assert await crm.migrate() == []


async def test_two_migrations_at_once_apply_each_file_once(pool: PgPool):
    one, other = await asyncio.gather(PostgresCrm(pool).migrate(), PostgresCrm(pool).migrate())
    assert sorted([*one, *other]) == MIGRATIONS


async def test_tables_of_somebody_else_are_not_touched(pool: PgPool, postgres_url: str):
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("CREATE TABLE leads (theirs text)")
    with pytest.raises(StoreUnavailable, match="name a database of its own"):
        await PostgresCrm(pool).migrate()
    assert await connection.fetch("SELECT theirs FROM leads") == []
    await connection.close()


async def test_a_rich_record_leaves_no_column_empty(crm: PostgresCrm, tables: Tables):
    await crm.apply(rich_record())
    call = await tables.row("SELECT * FROM calls")
    transfer = await tables.row("SELECT * FROM transfers")
    lead = await tables.lead()
    assert [name for name, value in call.items() if value is None] == []
    assert {name for name, value in transfer.items() if value is None} == SAID_LATER
    # what only a person says
    assert {name for name, value in lead.items() if value is None} == {
        "kevin_notes",
        "kevin_rating",
        "set_status_at",
    }
    assert call["lead_id"] == transfer["lead_id"] == UUID(rich_lead().lead_id)
    assert call["engagement_score"] == Decimal("82.25")
    assert call["duration"] == 244
    assert (call["hints_judged"], call["hints_came_true"]) == (1, 1)
    assert transfer["duration"] == 170
    assert transfer["key_indicators"] == ["engagement", "buying signal: when could I start"]


async def test_a_lead_that_a_person_has_edited_is_no_difference(
    crm: PostgresCrm, pool: PgPool, tables: Tables
):
    await crm.apply(rich_record())
    leads = PostgresLeads(pool)
    await leads.put(Lead(lead_id=rich_lead().lead_id, status="closed", phone="+12125550199"))
    assert await crm.differences([rich_record()]) == {}
    assert await tables.status() == "closed"
    await tables.execute("UPDATE leads SET status = 'contacted', city = 'Oslo'")
    assert await crm.differences([rich_record()]) == {}


async def test_a_rich_record_moves_its_lead(crm: PostgresCrm, tables: Tables):
    await crm.apply(rich_record())
    lead = await tables.lead()
    assert lead["status"] == "hot_transfer"
    assert lead["last_contacted"] == at(244)
    assert lead["next_followup"] == at(86_400)
    assert lead["qualification_score"] == 82
    assert lead["relationship_strength"] == "strong"


async def test_a_stranger_who_hung_up_at_once_is_a_call_with_a_lead(
    crm: PostgresCrm, tables: Tables
):
    record = stranger_record()
    await crm.apply(record)
    await crm.apply(record)
    assert await crm.counts() == {"leads": 1, "calls": 1, "transfers": 0}
    assert await tables.status() == "new"
    assert (await tables.lead())["last_contacted"] is None
    assert await crm.differences([record]) == {}


async def test_each_stranger_is_a_lead_of_his_own(crm: PostgresCrm):
    await crm.apply(stranger_record("a"))
    await crm.apply(stranger_record("b"))
    assert (await crm.counts())["leads"] == 2


async def test_twice_is_as_once(crm: PostgresCrm, tables: Tables):
    await crm.apply(rich_record())
    first = await _everything(tables)
    await crm.apply(rich_record())
    assert await _everything(tables) == first


async def test_twenty_at_once_make_one(crm: PostgresCrm):
    record = rich_record(lead=replace(rich_lead(), lead_id=""))
    await asyncio.gather(*(crm.apply(record) for _ in range(20)))
    assert await crm.counts() == {"leads": 1, "calls": 1, "transfers": 1}
    assert await crm.differences([record]) == {}


async def test_twenty_calls_of_one_lead_at_once_are_all_counted(crm: PostgresCrm, tables: Tables):
    calls = [ended("follow_up", hour=hour) for hour in range(19)]
    await asyncio.gather(*(crm.apply(call) for call in [*calls, ended("video_sent", hour=19)]))
    assert await crm.counts() == {"leads": 1, "calls": 20, "transfers": 0}
    lead = await tables.lead()
    assert lead["status"] == "video_sent"
    assert lead["last_contacted"] == at(60) + timedelta(hours=19)


@pytest.mark.parametrize(
    "lead",
    [
        Lead(lead_id="their own id"),
        Lead(external_id="crm-1"),
        Lead(phone="+12125550142"),
        Lead(lead_id="0196f3c2-7c1e-7d2a-9f64-5d0c6b1e2a99"),
    ],
)
async def test_the_lead_of_a_call_is_found_as_leads_are(
    crm: PostgresCrm, pool: PgPool, tables: Tables, lead: Lead
):
    known = await PostgresLeads(pool).find_or_create(lead)
    await crm.apply(stranger_record(lead=lead))
    assert str((await tables.row("SELECT lead_id FROM calls"))["lead_id"]) == known.lead_id
    assert (await crm.counts())["leads"] == 1


async def test_a_lead_that_is_known_only_later_gets_the_call(crm: PostgresCrm, tables: Tables):
    await crm.apply(ended("hot_transfer", lead=Lead(external_id="wrong")))
    await crm.apply(ended("hot_transfer", lead=Lead(external_id="right")))
    wrong = await tables.row("SELECT * FROM leads WHERE external_id = 'wrong'")
    right = await tables.row("SELECT * FROM leads WHERE external_id = 'right'")
    assert (wrong["status"], wrong["relationship_strength"]) == ("new", "new")
    assert (right["status"], right["relationship_strength"]) == ("hot_transfer", "strong")


async def test_a_stranger_who_is_named_later_stays_the_same_lead(
    crm: PostgresCrm, pool: PgPool, tables: Tables
):
    await crm.apply(stranger_record())
    stranger = (await tables.lead())["id"]
    await crm.apply(stranger_record(lead=Lead(phone="+12125550142")))
    assert ((await tables.lead())["id"], (await tables.lead())["phone"]) == (
        stranger,
        "+12125550142",
    )
    await PostgresLeads(pool).put(Lead(lead_id=str(stranger), phone="+12125550143"))
    await crm.apply(stranger_record())
    assert (await tables.lead())["id"] == stranger


async def test_what_a_person_said_of_a_transfer_stays(crm: PostgresCrm, tables: Tables):
    await crm.apply(rich_record())
    await tables.execute("UPDATE transfers SET kevin_rating = 9, conversion_result = 'closed'")
    await crm.apply(rich_record())
    transfer = await tables.row("SELECT * FROM transfers")
    assert (transfer["kevin_rating"], transfer["conversion_result"]) == (9, "closed")


def judged(*, minute: float = 5, **words: object) -> CallRecord:
    """Return a rich record whose closer has said this of its transfer."""
    result = TransferResult(posted_at=at(60 * minute), **words)  # type: ignore[arg-type]
    return rich_record(transfers=(rich_transfer(result=result),))


async def test_what_a_closer_says_of_a_transfer_is_its_own_and_his_word_on_the_lead(
    crm: PostgresCrm, tables: Tables
):
    await crm.apply(rich_record())
    record = judged(rating=9, conversion="scheduled", notes="Tuesday\x00 at nine")
    for _ in range(2):
        await crm.apply(record)
        transfer, lead = await tables.row("SELECT * FROM transfers"), await tables.lead()
        assert (transfer["kevin_rating"], transfer["conversion_result"]) == (9, "scheduled")
        assert (transfer["notes"], transfer["result_at"]) == ("Tuesday at nine", at(300))
        assert (lead["kevin_rating"], lead["kevin_notes"]) == (9, "Tuesday at nine")
        assert lead["status"] == "zoom_scheduled"
        assert await crm.differences([record]) == {}
    await crm.apply(judged(minute=9, rating=9, conversion="closed", notes="signed"))
    assert await tables.status() == "closed"
    await crm.apply(ended("abandoned", hour=9, lead=rich_lead()))
    assert await tables.status() == "closed"


@pytest.mark.parametrize("conversion", ["followup", "declined", "no_show", None])
async def test_other_words_of_a_closer_leave_the_lead_where_its_call_left_it(
    crm: PostgresCrm, tables: Tables, conversion: str | None
):
    await crm.apply(judged(conversion=conversion, rating=2))
    assert (await tables.status(), (await tables.lead())["kevin_rating"]) == ("hot_transfer", 2)


async def test_a_closer_s_word_counts_after_a_status_that_others_wrote_before(
    crm: PostgresCrm, tables: Tables
):
    await crm.apply(rich_record())
    await tables.execute("UPDATE leads SET status = 'qualified'")
    await crm.apply(judged(conversion="closed"))
    assert await tables.status() == "closed"
    await tables.execute("UPDATE leads SET status = 'contacted'")
    await crm.apply(judged(conversion="closed"))
    assert await tables.status() == "contacted"


async def test_a_rating_that_is_not_the_closer_s_is_a_difference(crm: PostgresCrm, tables: Tables):
    record = judged(rating=9, notes="keen")
    await crm.apply(record)
    await tables.execute("UPDATE leads SET kevin_rating = 1, kevin_notes = 'x'")
    await tables.execute("UPDATE transfers SET kevin_rating = 2")
    assert (await crm.differences([record]))[record.call_id] == (
        "transfers.kevin_rating: found 2, expected 9",
        "leads.kevin_rating: found 1, expected 2",
        "leads.kevin_notes: not what the closer said last",
    )


async def test_a_corrected_record_replaces_the_first(crm: PostgresCrm, tables: Tables):
    second = rich_transfer(number=2, initiated_at=at(100))
    await crm.apply(rich_record(transfers=(rich_transfer(), second)))
    corrected = rich_record(
        transfers=(rich_transfer(bridged_at=None, completed_at=None, outcome="declined"),),
        outcome=Outcome(
            final_status="disqualified", result="not_qualified", qualified=False, posted=True
        ),
    )
    await crm.apply(corrected)
    assert await crm.differences([corrected]) == {}
    assert await crm.counts() == {"leads": 1, "calls": 1, "transfers": 1}
    lead = await tables.lead()
    assert (lead["status"], lead["relationship_strength"]) == ("disqualified", "new")
    assert lead["next_followup"] is None


async def test_the_database_refuses_a_wrong_value_for_good(crm: PostgresCrm):
    with pytest.raises(RecordRejected, match="violates check constraint"):
        await crm.apply(rich_record(phase_reached=99))
    with pytest.raises(RecordRejected):
        await crm.apply(rich_record("nul\x00"))
    assert (await crm.counts())["leads"] == 0


async def test_a_refusal_says_no_words_of_the_call(crm: PostgresCrm):
    with pytest.raises(RecordRejected) as refusal:
        await crm.apply(rich_record(external_id="\x00private words"))
    assert "private" not in str(refusal.value)


# --- where the lead stands ------------------------------------------------------------------------


# --- many at once ---------------------------------------------------------------------------------


async def test_a_batch_is_as_one_call_after_the_other(crm: PostgresCrm, tables: Tables):
    known = Lead(phone="+12125550177", external_id="crm-1")
    batch = [
        ended("unknown", hour=0, lead=known),
        # the same call again, and corrected
        ended("abandoned", hour=0, lead=known),
        # his again by one of his names, and twice more by one each
        ended("follow_up", hour=1, lead=Lead(phone="+12125550177", email="a@example.com")),
        ended("video_sent", hour=2, lead=Lead(external_id="crm-1", first_name="Ada")),
        ended("unknown", hour=3, lead=Lead(email="a@example.com", last_name="Byron")),
        ended("abandoned", hour=4, lead=Lead()),
        rich_record(),
        ended("hot_transfer", hour=5, lead=Lead(phone="+12125550199")),
    ]
    await crm.apply_all(batch)
    assert await crm.differences([*batch[1:]]) == {}
    assert await crm.counts() == {"leads": 4, "calls": 7, "transfers": 1}
    lead = await tables.row("SELECT * FROM leads WHERE external_id = 'crm-1'")
    assert (lead["first_name"], lead["last_name"], lead["email"]) == (
        "Ada",
        "Byron",
        "a@example.com",
    )
    calls = "SELECT count(*) AS n FROM calls WHERE lead_id = $1"
    assert (await tables.row(calls, lead["id"]))["n"] == 4
    assert (lead["status"], lead["relationship_strength"]) == ("contacted", "developing")
    where = """
    SELECT string_agg(concat_ws('|', id, status, calls_status, last_contacted, email, city,
        relationship_strength, qualification_score, extra), '; ' ORDER BY id) AS leads FROM leads
    """
    before = await tables.row(where)
    await crm.apply_all(batch)
    assert await crm.counts() == {"leads": 4, "calls": 7, "transfers": 1}
    assert await tables.row(where) == before


async def test_two_names_of_one_stored_lead_in_a_batch_are_him(crm: PostgresCrm, tables: Tables):
    both = Lead(phone="+12125550142", external_id="crm-1")
    await crm.apply(ended("unknown", hour=0, lead=both))
    by_phone = ended("unknown", hour=1, lead=Lead(phone="+12125550142", city="Troy"))
    by_id = ended("unknown", hour=2, lead=Lead(external_id="crm-1", state="NY"))
    await crm.apply_all([by_phone, by_id])
    lead = await tables.lead()
    assert (lead["city"], lead["state"]) == ("Troy", "NY")
    assert await crm.differences([by_phone, by_id]) == {}


async def test_batches_of_the_same_new_leads_at_once_make_each_once(crm: PostgresCrm):
    leads = [Lead(phone=f"+1212555{n:04}") for n in range(100, 120)]
    batches = [
        [
            ended("unknown", hour=20 * number + n, lead=lead)
            for n, lead in enumerate(leads[:: 1 if number % 2 else -1])
        ]
        for number in range(4)
    ]
    await asyncio.gather(*(crm.apply_all(batch) for batch in batches))
    assert await crm.counts() == {"leads": 20, "calls": 80, "transfers": 0}
    assert await crm.differences([call for batch in batches for call in batch]) == {}


async def test_late_delivery_does_not_move_a_lead_back(crm: PostgresCrm, tables: Tables):
    await crm.apply(ended("video_sent", hour=2))
    await crm.apply(ended("follow_up", hour=1))
    assert await tables.status() == "video_sent"


async def test_a_disqualified_lead_stays_until_its_call_is_corrected(
    crm: PostgresCrm, tables: Tables
):
    await crm.apply(ended("disqualified", hour=0))
    await crm.apply(ended("hot_transfer", hour=1))
    assert await tables.status() == "disqualified"
    await crm.apply(ended("follow_up", hour=0))
    assert await tables.status() == "hot_transfer"


async def test_a_closed_lead_stays_closed(crm: PostgresCrm, pool: PgPool, tables: Tables):
    await crm.apply(ended("follow_up"))
    await PostgresLeads(pool).put(Lead(phone="+12125550142", status="closed"))
    await crm.apply(ended("abandoned", hour=100_000))
    assert await tables.status() == "closed"


async def test_what_a_person_says_holds_until_the_next_call(
    crm: PostgresCrm, pool: PgPool, tables: Tables
):
    await crm.apply(ended("follow_up"))
    await PostgresLeads(pool).put(Lead(phone="+12125550142", status="qualified"))
    await crm.apply(ended("follow_up"))
    assert await tables.status() == "qualified"
    hours = int((datetime.now(UTC) - at(0)).total_seconds() // 3600) + 1
    await crm.apply(ended("video_sent", hour=hours))
    assert await tables.status() == "video_sent"


async def test_a_status_written_by_somebodys_own_sql_counts_as_a_persons(
    crm: PostgresCrm, tables: Tables
):
    await crm.apply(ended("follow_up"))
    await tables.execute("UPDATE leads SET status = 'qualified'")
    await crm.apply(ended("follow_up"))
    assert await tables.status() == "qualified"
    await tables.execute("UPDATE leads SET status = 'disqualified'")
    await crm.apply(ended("video_sent", hour=1))
    assert await tables.status() == "disqualified"
    await tables.execute("UPDATE leads SET status = 'contacted'")
    await crm.apply(ended("video_sent", hour=2))
    assert await tables.status() == "video_sent"


async def test_a_status_from_a_file_is_where_the_calls_begin(crm: PostgresCrm, tables: Tables):
    lead = Lead(phone="+12125550142", status="qualified")
    await crm.apply(ended("no_answer", lead=lead))
    assert await tables.status() == "qualified"
    await crm.apply(ended("video_sent", lead=lead, hour=1))
    assert await tables.status() == "video_sent"


# --- differences ----------------------------------------------------------------------------------


async def test_a_missing_call_and_tampered_columns_are_found(crm: PostgresCrm, tables: Tables):
    tampered, missing = rich_record("a"), rich_record("b")
    right = rich_record("c", lead=Lead(external_id="other"))
    await crm.apply(tampered)
    await crm.apply(right)
    await tables.execute("UPDATE calls SET engagement_score = 12 WHERE call_id = 'a'")
    await tables.execute(
        "UPDATE transfers SET transfer_accepted = false WHERE transfer_id = 'a:transfer:1'"
    )
    assert await crm.differences([tampered, missing, right]) == {
        "a": (
            "calls.engagement_score: found 12.00, expected 82.25",
            "transfers.transfer_accepted: found False, expected True",
        ),
        "b": ("missing",),
    }


async def test_a_lost_transfer_a_foreign_one_and_a_lost_lead_are_found(
    crm: PostgresCrm, tables: Tables
):
    await crm.apply(rich_record())
    await tables.execute("UPDATE transfers SET transfer_id = 'foreign'")
    await tables.execute("UPDATE calls SET lead_id = NULL")
    assert await crm.differences([rich_record()]) == {
        "call-rich": (
            "transfers: call-rich:transfer:1 is missing",
            "transfers: foreign is not of this call",
            "calls.lead_id: the call has no lead",
        )
    }


async def test_a_lead_that_its_calls_did_not_move_is_found(crm: PostgresCrm, tables: Tables):
    await crm.apply(rich_record())
    await tables.execute("UPDATE leads SET status = 'contacted', calls_status = 'contacted'")
    assert await crm.differences([rich_record()]) == {
        CallId("call-rich"): ("leads.calls_status: found contacted, expected hot_transfer",)
    }


async def _everything(tables: Tables) -> list[Mapping[str, Any]]:
    rows = [
        await tables.row("SELECT * FROM leads"),
        await tables.row("SELECT * FROM calls"),
        await tables.row("SELECT * FROM transfers"),
    ]
    return [{name: row[name] for name in row if name != "updated_at"} for row in rows]
