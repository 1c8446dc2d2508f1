"""What is changed of a lead in PostgreSQL, by whomever, is in the graph: on real servers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

import asyncpg
import pytest
import pytest_asyncio

from agent_sidecar.adapters.bolt import Bolt, Row
from agent_sidecar.adapters.neo4j_graph import Neo4jGraph
from agent_sidecar.adapters.neo4j_leads import Neo4jLeads
from agent_sidecar.adapters.pg import PgPool
from agent_sidecar.adapters.postgres_crm import PostgresCrm
from agent_sidecar.adapters.postgres_lead_changes import PostgresLeadChanges
from agent_sidecar.adapters.postgres_leads import PostgresLeads
from agent_sidecar.domain.types import Lead
from agent_sidecar.errors import StoreUnavailable
from agent_sidecar.ports import ChangedLead
from agent_sidecar.wrapup.lead_feed import LeadFeed
from tests.builders import at, rich_lead, rich_record

pytestmark = pytest.mark.contract

LEAD = rich_lead().lead_id
WAITING = "SELECT count(*) FROM lead_changes"


class House:
    """A CRM and a graph, and what brings changes from one to the other."""

    def __init__(self, pool: PgPool, bolt: Bolt, url: str) -> None:
        self.crm, self.leads = PostgresCrm(pool), PostgresLeads(pool)
        self.graph = Neo4jGraph(bolt)
        self.changes, self.nodes = PostgresLeadChanges(pool), Neo4jLeads(bolt)
        self._bolt, self._url = bolt, url

    async def call(self, call_id: str = "call-rich", **changes: object) -> None:
        """Let a call end and be in both stores."""
        record = rich_record(call_id, **changes)
        await self.crm.apply(record)
        await self.graph.apply(record)

    async def sql(self, statement: str, *values: object) -> object:
        connection = await asyncpg.connect(self._url)
        try:
            return await connection.fetchval(statement, *values)
        finally:
            await connection.close()

    async def node(self, lead_id: str = LEAD) -> Row:
        rows = await self._bolt.read(
            "MATCH (l:Lead {id: $id}) RETURN properties(l) AS lead", id=lead_id
        )
        lead = rows[0]["lead"] if rows else {}
        assert isinstance(lead, dict)
        return lead

    async def told(self) -> None:
        """Tell everything there is to tell."""
        while await self.changes.tell(self.nodes.write, most=100):
            pass


@pytest_asyncio.fixture
async def house(postgres_url: str, bolt: Bolt) -> AsyncIterator[House]:
    async with PgPool(postgres_url) as pool:
        house = House(pool, bolt, postgres_url)
        await house.crm.migrate()
        yield house


async def test_where_a_call_leaves_the_lead_is_where_his_node_stands(house: House):
    await house.call(lead=rich_lead(status="new"))
    await house.told()
    node = await house.node()
    assert node["status"] == "hot_transfer"
    assert (node["phone"], node["income_range"]) == ("+12125550142", "50-75k")
    assert (node["experience"], node["availability"]) == ("beginner", "evenings")
    # what his lines told stays
    assert node["motivation_level"] == pytest.approx(0.8)
    assert await house.sql(WAITING) == 0


async def test_an_edit_after_the_call_reaches_the_node_and_no_record_takes_it_back(house: House):
    await house.call()
    await house.told()
    await house.leads.put(
        Lead(lead_id=LEAD, status="closed", phone="+12125550199", time_availability="mornings")
    )
    await house.told()
    # the relay brings the former call again, and a later one that was made of the former lead
    await house.graph.apply(rich_record())
    await house.graph.apply(rich_record("later", ended_at=at(90_000)))
    node = await house.node()
    assert node["status"] == "closed"
    assert (node["phone"], node["availability"]) == ("+12125550199", "mornings")
    assert await house.graph.differences([rich_record()]) == {}


async def test_somebodys_own_sql_reaches_it_too(house: House):
    await house.call()
    await house.told()
    await house.sql("UPDATE leads SET phone = NULL, experience_level = 'expert'")
    await house.told()
    node = await house.node()
    assert (node.get("phone"), node["experience"]) == (None, "expert")
    # what the graph does not hold is no change to it
    await house.sql("UPDATE leads SET kevin_notes = 'call him Ed', city = 'Oslo'")
    assert await house.sql(WAITING) == 0


async def test_a_lead_that_nobody_has_called_is_known(house: House):
    made = await house.leads.find_or_create(Lead(phone="+12125550177"))
    await house.told()
    assert (await house.node(made.lead_id))["phone"] == "+12125550177"


async def test_a_lead_that_is_deleted_goes(house: House):
    made = await house.leads.find_or_create(Lead(phone="+12125550177"))
    await house.told()
    await house.sql("DELETE FROM leads")
    await house.told()
    assert await house.node(made.lead_id) == {}


async def test_a_lead_called_under_the_users_own_id_is_the_same_lead(house: House):
    # PostgreSQL was down when he was called: the record has no id of ours
    named = replace(rich_lead(), lead_id="crm-4711", external_id=None)
    await house.call(lead=named)
    (stored,) = await house.leads.find()
    await house.leads.put(Lead(lead_id=stored.lead_id, status="closed"))
    await house.told()
    assert (await house.node("crm-4711"))["status"] == "closed"


async def test_a_graph_that_refuses_leaves_the_change_for_the_next_time(house: House):
    await house.call()

    async def refuse(leads: object) -> None:
        raise StoreUnavailable("the graph is down")

    with pytest.raises(StoreUnavailable, match="graph is down"):
        await house.changes.tell(refuse, most=100)
    assert await house.sql(WAITING) == 1
    await house.told()
    assert await house.sql(WAITING) == 0


async def test_a_change_that_comes_while_another_is_told_is_not_forgotten(house: House):
    await house.call()

    async def write_late(leads: object) -> None:
        await house.leads.put(Lead(lead_id=LEAD, status="closed"))

    await house.changes.tell(write_late, most=100)
    assert await house.sql(WAITING) == 1
    await house.told()
    assert (await house.node())["status"] == "closed"


async def test_only_one_process_tells_at_a_time(house: House):
    await house.call()
    others: list[int] = []

    async def ask_again(leads: object) -> None:
        others.append(await house.changes.tell(house.nodes.write, most=100))

    assert await house.changes.tell(ask_again, most=100) == 1
    assert others == [0]


async def test_the_feed_fills_a_graph_that_was_cleared(house: House):
    await house.call()
    await house.told()
    feed = LeadFeed(house.changes, house.nodes)
    async with _running(feed):
        await _until(house, lambda node: node.get("status") == "hot_transfer")
        await house.leads.put(Lead(lead_id=LEAD, status="closed"))
        feed.wake()
        await _until(house, lambda node: node.get("status") == "closed")
        await house.graph.clear()
        await house.graph.apply(rich_record())
        feed.wake()
        await _until(house, lambda node: node.get("status") == "closed")


async def test_changes_are_told_one_at_a_time_through_a_pooler_too(gated_postgres_url: str):
    async with PgPool(gated_postgres_url) as pool:
        await PostgresCrm(pool).migrate()
        made = await PostgresLeads(pool).find_or_create(rich_lead())
        changes = PostgresLeadChanges(pool)
        told: list[str] = []

        async def take(leads: Sequence[ChangedLead]) -> None:
            told.extend(changed.lead_id for changed in leads)
            assert await changes.tell(take, most=5) == 0

        assert await changes.tell(take, most=5) == 1
        assert await changes.tell(take, most=5) == 0
        await changes.change_all()
        assert await changes.tell(take, most=5) == 1
    assert told == [made.lead_id] * 2


@contextlib.asynccontextmanager
async def _running(feed: LeadFeed) -> AsyncIterator[None]:
    task = asyncio.create_task(feed.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _until(house: House, holds: Callable[[Row], bool]) -> None:
    async with asyncio.timeout(15):
        while not holds(await house.node()):  # noqa: ASYNC110  # the server tells nobody
            await asyncio.sleep(0.02)
