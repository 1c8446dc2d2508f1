"""What every store of finished calls does when a call is to leave it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from agent_sidecar.adapters.bolt import Bolt
from agent_sidecar.adapters.neo4j_graph import Neo4jGraph
from agent_sidecar.adapters.pg import Connection, PgPool
from agent_sidecar.adapters.postgres_crm import PostgresCrm
from agent_sidecar.adapters.postgres_leads import PostgresLeads
from agent_sidecar.domain.record import CallRecord, Outcome, Pattern
from agent_sidecar.domain.transfer_result import TransferResult
from agent_sidecar.domain.types import CallId, Lead, StrategyName
from agent_sidecar.ports import Projection
from tests.builders import at, rich_lead, rich_record, rich_transfer, stranger_record
from tests.contract.projections import graph_content

pytestmark = pytest.mark.contract

UNKNOWN = CallId("never heard of")
LOST = Outcome(final_status="disqualified", result="not_qualified", qualified=False)


def rich(call_id: str, *, hour: int = 0, **changes: object) -> CallRecord:
    """Return a rich call that ended so many hours after the first."""
    later = timedelta(hours=hour)
    record = rich_record(call_id, started_at=at(0) + later, ended_at=at(244) + later, **changes)
    return replace(record, transfers=(rich_transfer(call_id),))


async def held(projection: Projection, batch: int = 500) -> list[CallId]:
    return sorted([i async for some in projection.call_ids(batch=batch) for i in some])


async def test_what_is_forgotten_is_gone_and_the_rest_is_as_it_was(projection: Projection):
    stay, go = rich("stay"), rich("go", outcome=LOST)
    await projection.apply_all([stay])
    before = await projection.counts()
    await projection.apply_all([go])
    for _ in range(2):
        await projection.forget([go.call_id, UNKNOWN])
        assert await projection.counts() == before
        assert await projection.differences([stay]) == {}
        assert list(await projection.differences([go])) == [go.call_id]
        assert await held(projection) == [stay.call_id]
    await projection.apply(go)
    assert await projection.differences([stay, go]) == {}


async def test_a_forgotten_call_may_come_again_and_nothing_may_be_forgotten(
    projection: Projection,
):
    await projection.forget([])
    await projection.forget([UNKNOWN])
    assert await held(projection) == []


async def test_every_call_is_walked_over_once(projection: Projection):
    records = [rich(f"call-{n}", outcome=LOST if n % 2 else rich("x").outcome) for n in range(7)]
    await projection.apply_all(records)
    for batch in (1, 3, 500):
        assert await held(projection, batch) == [record.call_id for record in records]


async def test_a_cleared_store_holds_no_call_and_takes_all_again(projection: Projection):
    records = [rich(f"call-{n}", hour=n) for n in range(3)]
    await projection.apply_all(records)
    before = await projection.counts()
    await projection.clear()
    assert await held(projection) == []
    counts = {kind: n for kind, n in (await projection.counts()).items() if kind != "leads"}
    assert set(counts.values()) == {0}
    await projection.clear()
    await projection.apply_all(records)
    assert await projection.differences(records) == {}
    assert await projection.counts() == before


# --- the graph ------------------------------------------------------------------------------------


async def test_the_graph_is_as_if_the_call_had_never_been(emptied_graph: Bolt):
    graph = Neo4jGraph(emptied_graph)
    await graph.migrate()
    empty = await graph_content(emptied_graph)
    stay = [rich("stay-1"), stranger_record("stay-2"), rich("stay-3", hour=1, outcome=LOST)]
    own = StrategyName("only_here")
    credit = replace(rich("x").credits[0], strategy=own, phase=9)
    go = [
        rich(
            "go-1",
            hour=2,
            lead=rich_lead(lead_id="lead-go", experience_level="expert"),
            lead_kind=(("experience_level", "expert"),),
            credits=(credit,),
            patterns=(Pattern(id="burst:9", type="burst_of_questions", effectiveness=2.0),),
        ),
        # of a lead who stays, and seen last in it
        rich("go-2", hour=3, closer_available=False, source="replay"),
        stranger_record("go-3", closer="Robin"),
    ]
    await graph.apply_all(stay)
    before = await graph_content(emptied_graph)
    for record in go:
        await graph.apply(record)
    assert await graph_content(emptied_graph) != before
    await graph.forget([record.call_id for record in go])
    assert await graph_content(emptied_graph) == before
    await graph.forget([record.call_id for record in stay])
    assert await graph_content(emptied_graph) == empty


async def test_a_cleared_graph_is_a_new_one(emptied_graph: Bolt):
    graph = Neo4jGraph(emptied_graph)
    await graph.migrate()
    empty = await graph_content(emptied_graph)
    await graph.apply_all([rich("a"), rich("b", hour=1)])
    # a count that no call explains goes, too
    await emptied_graph.run("MATCH (:Phase)-[a:ANSWERED_BY]->() SET a.tried = a.tried + 40")
    await graph.clear()
    assert await graph_content(emptied_graph) == empty


# --- PostgreSQL -----------------------------------------------------------------------------------


async def test_a_lead_stays_and_stands_where_its_other_calls_brought_it(emptied_postgres: PgPool):
    crm, leads = PostgresCrm(emptied_postgres), PostgresLeads(emptied_postgres)
    await crm.migrate()
    known = await leads.put(Lead(phone="+12125550142", first_name="Ada"))
    lead = Lead(phone="+12125550142")
    said = TransferResult(posted_at=at(900), rating=9, conversion="closed", notes="signed")
    won = replace(rich("won", hour=1, lead=lead), transfers=(rich_transfer("won", result=said),))
    video = Outcome(final_status="video_sent", result="qualified", qualified=True)
    await crm.apply(stranger_record("first", lead=lead, outcome=video))
    before = await leads.get(known.lead_id)
    await crm.apply(won)
    assert await leads.get(known.lead_id) != before
    await crm.forget([won.call_id])
    assert await leads.get(known.lead_id) == before

    async def rating(connection: Connection) -> Sequence[object]:
        (row,) = await connection.fetch(
            "SELECT kevin_rating, kevin_notes, qualification_score, relationship_strength"
            " FROM leads"
        )
        return tuple(row.values())

    assert await emptied_postgres.transact(rating) == (None, None, 0, "new")
    await crm.clear()
    after = await leads.get(known.lead_id)
    assert after is not None
    assert (after.first_name, after.status) == ("Ada", "new")
