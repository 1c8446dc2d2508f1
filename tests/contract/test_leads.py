"""Leads and closers' hours on a real PostgreSQL: each person once, nobody refused."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import fields, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from agent_sidecar.adapters.pg import PgPool
from agent_sidecar.adapters.postgres_crm import PostgresCrm
from agent_sidecar.adapters.postgres_leads import PostgresLeads
from agent_sidecar.adapters.postgres_schedule import PostgresSchedule
from agent_sidecar.domain.availability import Override
from agent_sidecar.domain.playbook import Closer, Window
from agent_sidecar.domain.types import Lead
from agent_sidecar.errors import RecordRejected, StoreUnavailable
from tests.builders import rich_lead

pytestmark = pytest.mark.contract


@pytest_asyncio.fixture
async def pool(gated_postgres_url: str) -> AsyncIterator[PgPool]:
    async with PgPool(gated_postgres_url) as pool:
        await PostgresCrm(pool).migrate()
        yield pool


@pytest.fixture
def leads(pool: PgPool) -> PostgresLeads:
    return PostgresLeads(pool)


@pytest.fixture
def schedule(pool: PgPool) -> PostgresSchedule:
    return PostgresSchedule(pool)


# --- find or create -------------------------------------------------------------------------------


async def test_a_rich_lead_comes_back_as_it_was(leads: PostgresLeads):
    made = await leads.find_or_create(rich_lead())
    assert made == rich_lead()
    assert await leads.get(made.lead_id) == rich_lead()
    empty = [field.name for field in fields(made) if not getattr(made, field.name)]
    assert empty == []


async def test_a_stranger_with_a_withheld_number_is_a_lead(leads: PostgresLeads):
    for phone in (None, "", "anonymous", "Restricted", "sip:anonymous@anonymous.invalid"):
        made = await leads.find_or_create(Lead(phone=phone))
        assert made == Lead(lead_id=made.lead_id)
    assert len(await leads.find()) == 5


@pytest.mark.parametrize(
    "known",
    [
        Lead(lead_id=rich_lead().lead_id),
        Lead(external_id="crm-4711"),
        Lead(lead_id="crm-4711"),
        Lead(phone="(212) 555-0142"),
        Lead(phone="sip:+12125550142@sip.telnyx.com"),
        Lead(email="ADA@example.com"),
    ],
)
async def test_a_lead_is_found_by_whatever_names_it(leads: PostgresLeads, known: Lead):
    made = await leads.find_or_create(rich_lead())
    assert await leads.find_or_create(known) == made


async def test_the_id_decides_before_the_external_id_and_that_before_the_phone(
    leads: PostgresLeads,
):
    by_phone = await leads.find_or_create(Lead(phone="+12125550101"))
    by_external = await leads.find_or_create(Lead(external_id="x"))
    by_id = await leads.find_or_create(Lead(external_id="y"))
    asked = Lead(lead_id=by_id.lead_id, external_id="x", phone="+12125550101")
    assert (await leads.find_or_create(asked)).lead_id == by_id.lead_id
    asked = replace(asked, lead_id="")
    found = await leads.find_or_create(asked)
    assert found.lead_id == by_external.lead_id
    # a key that is another lead's is not taken from it, and not lost
    assert found.phone is None
    assert found.extra == {"phone": "+12125550101"}
    assert await leads.find(phone="+12125550101") == [by_phone]


async def test_an_id_of_ours_that_nobody_knows_makes_the_lead_of_that_id(leads: PostgresLeads):
    lead_id = str(uuid4())
    assert (await leads.find_or_create(Lead(lead_id=lead_id))).lead_id == lead_id


async def test_what_is_given_completes_what_is_stored_and_changes_nothing(leads: PostgresLeads):
    await leads.find_or_create(Lead(phone="+12125550142", city="Boston", extra={"a": 1}))
    found = await leads.find_or_create(
        Lead(phone="+12125550142", city="New York", first_name="Ada", extra={"a": 2, "b": 3})
    )
    assert (found.city, found.first_name, found.country) == ("Boston", "Ada", "US")
    assert found.extra == {"a": 1, "b": 3}


@pytest.mark.parametrize(
    "lead", [Lead(phone="+12125550142"), Lead(external_id="e"), rich_lead(), Lead(email="a@b.c")]
)
async def test_twenty_at_once_make_one(leads: PostgresLeads, lead: Lead):
    found = await asyncio.gather(*(leads.find_or_create(lead) for _ in range(20)))
    assert len({one.lead_id for one in found}) == 1
    assert len(await leads.find()) == 1


async def test_twenty_that_meet_in_different_keys_make_one(leads: PostgresLeads):
    both = Lead(external_id="e", phone="+12125550142")
    asked = [both, Lead(external_id="e"), replace(both, email="a@b.c"), replace(both, city="x")]
    # from here on either key leads to the same lead
    await leads.find_or_create(both)
    await asyncio.gather(*(leads.find_or_create(lead) for lead in asked * 5))
    (lead,) = await leads.find(phone="+12125550142")
    assert (lead.external_id, lead.email, lead.city) == ("e", "a@b.c", "x")


async def test_a_wrong_number_is_kept_beside_and_refuses_nobody(leads: PostgresLeads):
    made = await leads.find_or_create(Lead(external_id="e", phone="call me"))
    assert made.phone is None
    assert made.extra == {"phone": "call me"}


async def test_an_unknown_status_of_a_recorded_lead_is_kept_beside(leads: PostgresLeads):
    made = await leads.find_or_create(Lead(status="lukewarm"))
    assert (made.status, made.extra) == ("new", {"status": "lukewarm"})


async def test_what_postgresql_cannot_hold_is_left_out(leads: PostgresLeads):
    made = await leads.find_or_create(
        Lead(first_name="A\x00da\ud800", last_name=" ", extra={"a\x00": ["b\x00", {"c": "\x00"}]})
    )
    assert (made.first_name, made.last_name) == ("Ada?", None)
    assert made.extra == {"a": ["b", {"c": ""}]}


# --- put, get, find -------------------------------------------------------------------------------


async def test_put_makes_changes_and_leaves_what_it_does_not_name(leads: PostgresLeads):
    made = await leads.put(rich_lead())
    changed = await leads.put(Lead(lead_id=made.lead_id, city="Boston", status="qualified"))
    assert changed == replace(made, city="Boston", status="qualified")
    assert await leads.get(made.lead_id) == changed


async def test_put_by_phone_changes_the_lead_of_that_phone(leads: PostgresLeads):
    made = await leads.find_or_create(rich_lead())
    changed = await leads.put(Lead(phone="212-555-0142", first_name="Augusta"))
    assert changed.lead_id == made.lead_id
    assert changed.first_name == "Augusta"


async def test_put_refuses_a_key_of_another_lead_and_says_whose(leads: PostgresLeads):
    other = await leads.put(Lead(phone="+12125550142"))
    mine = await leads.put(Lead(phone="+12125550143"))
    with pytest.raises(RecordRejected, match=f"phone of this lead is that of lead {other.lead_id}"):
        await leads.put(Lead(lead_id=mine.lead_id, phone="+12125550142"))
    with pytest.raises(RecordRejected, match="phone of this lead is that of"):
        await leads.put(Lead(lead_id=str(uuid4()), phone="+12125550142"))


async def test_put_refuses_an_unknown_status_and_names_the_known(leads: PostgresLeads):
    with pytest.raises(RecordRejected, match="'lukewarm' of a lead must be one of: new, contacted"):
        await leads.put(Lead(status="lukewarm"))


async def test_find_knows_a_number_however_it_is_written(leads: PostgresLeads):
    made = await leads.put(Lead(phone="+12125550142"))
    assert await leads.find(phone="(212) 555-0142") == [made]
    assert await leads.find(phone="+12125550199") == []
    assert await leads.find(phone="anonymous") == ()
    assert await leads.get("no uuid") is None
    assert await leads.get(str(uuid4())) is None


async def test_the_leads_changed_last_come_first(leads: PostgresLeads):
    first, second = await leads.put(Lead(city="a")), await leads.put(Lead(city="b"))
    assert await leads.find(limit=1) == [second]
    again = await leads.put(replace(first, city="c"))
    assert await leads.find() == [again, second]


async def test_numbers_without_a_country_code_are_of_the_region(pool: PgPool):
    made = await PostgresLeads(pool, region="GB").put(Lead(phone="020 7946 0958"))
    assert (made.phone, made.country) == ("+442079460958", "GB")


async def test_a_lookup_by_phone_is_quick(leads: PostgresLeads):
    await leads.put(Lead(phone="+12125550142"))
    loop = asyncio.get_running_loop()
    took_s = []
    for _ in range(20):
        began = loop.time()
        await leads.find(phone="+12125550142")
        took_s.append(loop.time() - began)
    assert min(took_s) < 0.1


async def test_without_its_tables_it_says_what_to_do(postgres_url: str):
    async with PgPool(postgres_url) as pool:
        with pytest.raises(StoreUnavailable, match="run `agent-sidecar migrate`"):
            await PostgresLeads(pool).find()


# --- lists of leads -------------------------------------------------------------------------------


async def test_a_list_makes_and_changes_leads_and_twice_is_as_once(leads: PostgresLeads):
    listed = [
        Lead(external_id="a", phone="+12125550101", first_name="Ada"),
        Lead(phone="+12125550102", city="Oslo"),
        # the first again, by another name, and more of him
        Lead(phone="+12125550101", city="Rome"),
    ]
    assert await leads.take_in(listed) == ["created", "created", "changed"]
    assert await leads.take_in(listed) == ["unchanged"] * 3
    (ada,) = await leads.find(phone="+12125550101")
    assert (ada.external_id, ada.first_name, ada.city) == ("a", "Ada", "Rome")


async def test_a_list_does_not_move_a_lead_back(leads: PostgresLeads):
    listed = [Lead(phone="+12125550101", status="contacted", city="Oslo")]
    assert await leads.take_in(listed) == ["created"]
    (ada,) = await leads.find()
    await leads.put(Lead(lead_id=ada.lead_id, status="closed", city="Rome"))
    assert await leads.take_in(listed) == ["changed"]
    (ada,) = await leads.find()
    assert (ada.status, ada.city) == ("closed", "Oslo")


async def test_a_lead_of_a_list_that_cannot_be_taken_hinders_no_other(leads: PostgresLeads):
    await leads.put(Lead(external_id="a", phone="+12125550101"))
    said = await leads.take_in(
        [
            Lead(external_id="b", phone="+12125550101"),
            Lead(external_id="c", status="won"),
            Lead(external_id="d"),
        ]
    )
    assert said[2] == "created"
    assert "whose external_id is another one" in said[0]
    assert "must be one of" in said[1]


# --- closers' hours -------------------------------------------------------------------------------

KEVIN = Closer(
    name="Kevin",
    number="+12125550100",
    timezone="America/New_York",
    hours=(
        Window(day_of_week=0, start=time(10), end=time(14)),
        Window(day_of_week=1, start=time(9), end=time(12)),
        Window(day_of_week=1, start=time(13), end=time(17, 30)),
        # into Saturday
        Window(day_of_week=5, start=time(20), end=time(2)),
    ),
)


async def hours(schedule: PostgresSchedule, name: str = "Kevin") -> Closer | None:
    stored = await schedule.schedule(name)
    return None if stored is None else stored.closer


async def test_hours_come_back_as_they_were(schedule: PostgresSchedule):
    await schedule.load([KEVIN])
    assert await hours(schedule) == KEVIN
    assert await schedule.schedule("nobody") is None


async def test_the_playbook_does_not_replace_hours_of_the_store(schedule: PostgresSchedule):
    changed = replace(KEVIN, hours=KEVIN.hours[:1], number=None)
    await schedule.load([KEVIN])
    await schedule.set_schedule(changed)
    await schedule.load([KEVIN, Closer(name="Ann")])
    assert await hours(schedule) == changed
    assert await hours(schedule, "Ann") == Closer(name="Ann")


async def test_any_time_is_seven_whole_days_to_whoever_asks_the_table(
    schedule: PostgresSchedule, postgres_url: str
):
    any_time = Closer(name="Kevin", timezone="Europe/Berlin")
    await schedule.set_schedule(any_time)
    assert await hours(schedule) == any_time
    connection = await asyncpg.connect(postgres_url)
    rows = await connection.fetch("SELECT day_of_week, timezone FROM kevin_availability")
    assert sorted(row["day_of_week"] for row in rows) == list(range(7))
    assert {row["timezone"] for row in rows} == {"Europe/Berlin"}
    # hours that were all switched off are none, not any
    await connection.execute("UPDATE kevin_availability SET is_active = false")
    await connection.close()
    assert await schedule.schedule("Kevin") is None


async def test_overrides_outlive_a_change_of_hours(schedule: PostgresSchedule, postgres_url: str):
    await schedule.load([KEVIN])
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(
        "INSERT INTO kevin_availability (override_start, override_end, is_available)"
        " VALUES ('2026-03-02', '2026-03-09', false)"
    )
    await schedule.set_schedule(replace(KEVIN, hours=()))
    assert await connection.fetchval(
        "SELECT count(*) FROM kevin_availability WHERE day_of_week IS NULL"
    )
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute("INSERT INTO kevin_availability (day_of_week) VALUES (1)")
    await connection.close()


async def test_hours_written_at_once_are_one_writers(schedule: PostgresSchedule):
    variants = [replace(KEVIN, hours=(window,) * 2) for window in KEVIN.hours]
    await asyncio.gather(*(schedule.set_schedule(closer) for closer in variants))
    assert await hours(schedule) in variants


async def test_a_day_that_is_none_is_refused(schedule: PostgresSchedule):
    wrong = replace(KEVIN, hours=(Window(day_of_week=7, start=time(9), end=time(10)),))
    with pytest.raises(RecordRejected, match="kevin_availability"):
        await schedule.set_schedule(wrong)
    assert await schedule.schedule("Kevin") is None


# --- overrides ------------------------------------------------------------------------------------


def an_override(**changes: Any) -> Override:
    """Return one from an hour ago until in an hour."""
    now = datetime.now(UTC)
    off = Override(
        override_id=str(uuid4()),
        start_at=now - timedelta(hours=1),
        end_at=now + timedelta(hours=1),
        is_available=False,
        reason="at the dentist's",
    )
    return replace(off, **changes)


async def overrides(schedule: PostgresSchedule) -> tuple[Override, ...]:
    stored = await schedule.schedule("Kevin")
    assert stored is not None
    return stored.overrides


async def test_overrides_come_back_as_they_were_the_newest_first(schedule: PostgresSchedule):
    await schedule.load([KEVIN])
    first = an_override()
    until_taken_back = an_override(end_at=None, is_available=True, reason="")
    for override in (first, until_taken_back):
        changed = await schedule.add_override("Kevin", override)
        assert changed == await schedule.schedule("Kevin")
    assert await overrides(schedule) == (until_taken_back, first)
    assert await schedule.add_override("nobody", first) is None


async def test_an_override_that_is_stored_twice_is_there_once(schedule: PostgresSchedule):
    await schedule.load([KEVIN])
    override = an_override()
    await asyncio.gather(*(schedule.add_override("Kevin", override) for _ in range(5)))
    assert await overrides(schedule) == (override,)


async def test_each_change_makes_a_newer_revision(schedule: PostgresSchedule):
    await schedule.load([KEVIN])
    override = an_override()
    changed = [
        await schedule.schedule("Kevin"),
        await schedule.set_schedule(replace(KEVIN, number=None)),
        await schedule.add_override("Kevin", override),
        await schedule.remove_override("Kevin", override.override_id),
        await schedule.end_absence("Kevin", datetime.now(UTC)),
    ]
    assert [one and one.revision for one in changed] == [0, 1, 2, 3, 4]


async def test_what_is_taken_back_stays_in_the_table(schedule: PostgresSchedule, postgres_url: str):
    await schedule.load([KEVIN])
    override = an_override()
    await schedule.add_override("Kevin", override)
    assert await schedule.remove_override("Kevin", str(uuid4())) is None
    assert await schedule.remove_override("Kevin", "no id") is None
    assert await schedule.remove_override("Ann", override.override_id) is None
    assert await schedule.remove_override("Kevin", override.override_id) is not None
    assert await schedule.remove_override("Kevin", override.override_id) is None
    assert await overrides(schedule) == ()
    connection = await asyncpg.connect(postgres_url)
    kept = await connection.fetchrow(
        "SELECT is_active, reason, timezone FROM kevin_availability WHERE day_of_week IS NULL"
    )
    await connection.close()
    assert kept is not None
    assert tuple(kept) == (False, "at the dentist's", "America/New_York")


async def test_who_is_back_was_away_until_then(schedule: PostgresSchedule):
    await schedule.load([KEVIN])
    now = datetime.now(UTC)
    tomorrow = an_override(start_at=now + timedelta(days=1), end_at=now + timedelta(days=2))
    on = an_override(is_available=True)
    # said a moment ago by a process whose clock is ahead
    ahead = an_override(start_at=now + timedelta(seconds=2), end_at=None)
    for override in (an_override(), an_override(end_at=None), ahead, tomorrow, on):
        await schedule.add_override("Kevin", override)
    await schedule.end_absence("Kevin", now)
    left = await overrides(schedule)
    assert left[:2] == (on, tomorrow)
    assert [one.end_at for one in left[2:]] == [now, now]


async def test_overrides_that_are_long_past_are_left_out(schedule: PostgresSchedule):
    await schedule.load([KEVIN])
    ago = datetime.now(UTC) - timedelta(hours=5)
    await schedule.add_override("Kevin", an_override(start_at=ago, end_at=ago + timedelta(hours=1)))
    assert await overrides(schedule) == ()


async def test_times_beyond_every_calendar_are_read_all_the_same(
    schedule: PostgresSchedule, postgres_url: str
):
    await schedule.load([KEVIN])
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(
        "INSERT INTO kevin_availability (override_start, override_end, is_available)"
        " VALUES ('-infinity', '20000-01-01', false), ('20000-01-01', 'infinity', true)"
    )
    await connection.close()
    [always] = await overrides(schedule)
    assert (always.start_at, always.end_at) == (datetime(1970, 1, 1, tzinfo=UTC), None)


async def test_an_override_that_ends_before_it_begins_is_refused(schedule: PostgresSchedule):
    await schedule.load([KEVIN])
    wrong = an_override(end_at=datetime.now(UTC) - timedelta(hours=2))
    with pytest.raises(RecordRejected, match="kevin_availability"):
        await schedule.add_override("Kevin", wrong)
    assert await overrides(schedule) == ()
