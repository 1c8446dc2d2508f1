"""Leads as rows that can be forgotten, on a real PostgreSQL."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from agent_sidecar.adapters.pg import PgPool
from agent_sidecar.adapters.postgres_crm import PostgresCrm
from agent_sidecar.adapters.postgres_lead_rows import PostgresLeadRows
from agent_sidecar.adapters.postgres_leads import PostgresLeads
from agent_sidecar.domain.erasure import Person, person
from agent_sidecar.domain.types import CallId, Lead
from tests.builders import rich_record

pytestmark = pytest.mark.contract

PHONE = "+12025550143"


@pytest_asyncio.fixture
async def pool(postgres_url: str) -> AsyncIterator[PgPool]:
    async with PgPool(postgres_url) as pool:
        await PostgresCrm(pool).migrate()
        yield pool


async def test_a_lead_is_found_by_any_name_and_goes_after_his_calls(pool: PgPool):
    leads, rows, crm = PostgresLeads(pool), PostgresLeadRows(pool), PostgresCrm(pool)
    him = await leads.find_or_create(Lead(phone=PHONE, external_id="crm-7", email="a@b.co"))
    other = await leads.find_or_create(Lead(phone="+12025550144"))
    asked = [
        person(lead_id=him.lead_id),
        person(lead_id="crm-7"),
        person(phone=PHONE),
        person(phone="202 555 0143"),
        Person(emails=frozenset({"a@b.co"})),
    ]
    for one in asked:
        assert [lead.lead_id for lead in await rows.named(one)] == [him.lead_id]
    assert await rows.named(person(phone="+12025550100")) == []
    assert await rows.named(person(phone="0143")) == []

    await crm.apply(rich_record("his", lead=him))
    await crm.apply(rich_record("of-another", lead=other))
    assert await rows.calls_of([him.lead_id]) == ["his"]
    # whose call is still there stays
    assert await rows.forget([him.lead_id]) == 0
    await crm.forget([CallId("his")])
    assert await rows.forget([him.lead_id]) == 1
    assert await rows.forget([him.lead_id]) == 0
    assert await rows.named(person(phone=PHONE)) == []
    assert await rows.calls_of([other.lead_id]) == ["of-another"]


async def test_a_number_that_was_none_is_found_too(pool: PgPool):
    leads, rows = PostgresLeads(pool), PostgresLeadRows(pool)
    odd = await leads.find_or_create(Lead(email="c@d.co", extra={"phone": "x 202.555.0143 x"}))
    assert [lead.lead_id for lead in await rows.named(person(phone=PHONE))] == [odd.lead_id]
