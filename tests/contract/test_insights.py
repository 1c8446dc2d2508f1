"""What each store knows of a kind of lead, on real servers."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import asyncpg
import numpy as np
import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient

from agent_sidecar.adapters.bolt import Bolt
from agent_sidecar.adapters.chroma_client import ChromaServer
from agent_sidecar.adapters.chroma_index import ChromaIndex
from agent_sidecar.adapters.chroma_insights import ChromaInsights
from agent_sidecar.adapters.chroma_reads import ChromaReads
from agent_sidecar.adapters.mongo_conversations import MongoConversations
from agent_sidecar.adapters.neo4j_graph import Neo4jGraph
from agent_sidecar.adapters.neo4j_insights import Neo4jInsights
from agent_sidecar.adapters.pg import PgPool
from agent_sidecar.adapters.postgres_conversations import PostgresConversations
from agent_sidecar.adapters.postgres_crm import PostgresCrm
from agent_sidecar.adapters.postgres_insights import PostgresInsights
from agent_sidecar.domain.insights import (
    Profile,
    Rates,
    availability_effect,
    relationships,
    success_patterns,
)
from agent_sidecar.domain.record import CallRecord, Outcome
from agent_sidecar.domain.tally import kinds
from agent_sidecar.domain.types import Lead, ObjectionType, Vector
from tests.builders import PRICE, REFRAME, STARTED_AT, at, rich_record, stranger_record
from tests.contract import test_vectors
from tests.contract.test_graph import lost
from tests.contract.test_vectors import vector

pytestmark = pytest.mark.contract

# the fixtures of the stores' own suites
server, index = test_vectors.server, test_vectors.index

KIND = (("experience_level", "beginner"), ("motivation", "high"))
NARROW = "experience_level=beginner|motivation=high"
LOST = Outcome(final_status="disqualified", result="not_qualified", qualified=False)
UNKNOWN = Outcome(final_status="unknown", result="callback", qualified=None)
TRUST = ObjectionType("trust")


def a_profile(
    kind: tuple[tuple[str, str], ...] = KIND,
    *,
    objection: ObjectionType | None = None,
    phase: int | None = None,
) -> Profile:
    return Profile(lead_id=None, kind=kind, text=None, objection=objection, phase=phase)


# --- the tables -----------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def pool(postgres_url: str) -> AsyncIterator[PgPool]:
    async with PgPool(postgres_url) as pool:
        await PostgresCrm(pool).migrate()
        yield pool


def of(lead: Lead, call_id: str, **changes: object) -> CallRecord:
    return stranger_record(call_id, lead=lead, transfers=(), **changes)


async def test_calls_are_grouped_by_what_they_share_with_the_profile(pool: PgPool):
    ann = Lead(phone="+13125550101", experience_level="beginner", extra={"motivation": "high"})
    bob = Lead(phone="+13125550102", experience_level="beginner")
    cid = Lead(phone="+13125550103", experience_level="expert", extra={"motivation": "high"})
    won = Outcome(final_status="hot_transfer", result="transferred", qualified=True)
    now = datetime.now(UTC)
    calls = [
        of(ann, "a1", outcome=won, closer_available=True),
        of(ann, "a2", outcome=LOST),
        of(bob, "b1", outcome=won, closer_available=True, source="import"),
        of(cid, "c1", outcome=LOST),
        # nobody knows how it ended: lost after a day, not counted before
        of(bob, "b2", outcome=UNKNOWN, started_at=now - timedelta(hours=30), ended_at=now),
        of(bob, "b3", outcome=UNKNOWN, started_at=now - timedelta(hours=2), ended_at=now),
        # not answered; played again: neither is evidence
        of(bob, "b4"),
        of(ann, "a3", outcome=won, source="replay"),
    ]
    await PostgresCrm(pool).apply_all(calls)
    groups = await PostgresInsights(pool).success(a_profile())
    found = success_patterns(a_profile(), groups)
    assert found.everybody == Rates(calls=5, qualified=2, transferred=2)
    assert [(k.kind, k.rates) for k in found.kinds] == [
        (NARROW, Rates(calls=2, qualified=1, transferred=1)),
        ("experience_level=beginner", Rates(calls=4, qualified=2, transferred=2)),
        ("", found.everybody),
    ]
    assert [(f.field, f.rates.calls) for f in found.fields] == [
        ("experience_level", 4),
        ("motivation", 3),
    ]
    effect = availability_effect(a_profile(), groups)
    assert effect.free == Rates(calls=2, qualified=2, transferred=2)
    assert effect.not_free == Rates(calls=3)


async def test_of_a_stranger_everybody_is_told_of_and_of_nobody_nothing(pool: PgPool):
    reads = PostgresInsights(pool)
    assert await reads.success(a_profile()) == []
    await PostgresCrm(pool).apply(of(Lead(phone="+13125550101"), "a1", outcome=LOST))
    [group] = await reads.success(a_profile(()))
    assert (group.matches, group.rates.calls) == ((), 1)


# --- the graph ------------------------------------------------------------------------------------


async def test_the_graph_tells_what_worked_for_such_leads(bolt: Bolt):
    graph = Neo4jGraph(bolt)
    expert = (("experience_level", "expert"),)
    await graph.apply_all(
        [
            rich_record("won-1"),
            rich_record("won-2"),
            lost("lost-1"),
            lost("lost-2", lead_kind=expert),
            # a replay teaches nothing
            rich_record("again", source="replay"),
        ]
    )
    answer = await Neo4jInsights(bolt).relationships(a_profile(), [PRICE, TRUST])
    counts = {(e.scope, e.strategy): (e.tried, e.lifted, e.sunk, e.won) for e in answer.strategies}
    assert counts == {
        ("", REFRAME): (4, 2, 2, 2),
        ("experience_level=beginner", REFRAME): (3, 2, 1, 2),
        (NARROW, REFRAME): (3, 2, 1, 2),
    }
    assert {(e.scope, e.tried) for e in answer.answers} == {
        ("objection:price", 4),
        ("objection:price|experience_level=beginner", 3),
        (f"objection:price|{NARROW}", 3),
    }
    [objection] = answer.objections
    assert (objection.type, objection.met, objection.resolved) == (PRICE, 4, 2)
    assert objection.responses == (REFRAME,)
    [pattern] = answer.patterns
    assert (pattern.effectiveness, pattern.calls) == (7.5, 4)
    [record] = relationships(a_profile(), answer).strategies
    assert (record.strategy, record.tried) == (REFRAME, 4)


async def test_the_graph_tells_of_one_phase_and_of_one_objection(bolt: Bolt):
    await Neo4jGraph(bolt).apply(rich_record())
    reads = Neo4jInsights(bolt)
    used_in_5 = await reads.relationships(a_profile(phase=5), [PRICE])
    assert {e.scope for e in used_in_5.strategies} == {
        "",
        "experience_level=beginner",
        NARROW,
    }
    elsewhere = await reads.relationships(a_profile(phase=6, objection=TRUST), [TRUST])
    assert elsewhere.strategies == ()
    assert relationships(a_profile(objection=TRUST), elsewhere).objections == ()


async def test_an_empty_graph_knows_nothing(bolt: Bolt):
    answer = await Neo4jInsights(bolt).relationships(a_profile(()), [PRICE])
    assert (answer.strategies, answer.answers, answer.objections, answer.patterns) == (
        (),
        (),
        (),
        (),
    )


# --- the vectors ----------------------------------------------------------------------------------


async def test_moments_are_found_by_words_and_by_how_objections_sound(
    index: ChromaIndex, server: ChromaServer
):
    record = rich_record()
    await index.apply_all(
        [
            record,
            rich_record("lost", outcome=LOST),
            rich_record("again", source="replay"),
        ]
    )
    objection = next(s for s in record.segments if s.objection == PRICE)
    answer = record.segments[record.credits[0].segment]
    assert objection.vector is not None
    async with ChromaReads(server) as reads:
        insights = ChromaInsights(reads)
        by_words = await insights.similar(_read(objection.vector), {})
        by_objection = await insights.similar(
            None, {PRICE: _read(objection.vector), TRUST: vector(77)}
        )
        nothing = await insights.similar(None, {})
    # the answer that worked, and the whole call
    assert {(m.call_id, m.like) for m in by_words} == {("call-rich", None)}
    [proven] = [m for m in by_words if m.strategy is not None]
    assert (proven.text, proven.strategy, proven.objection) == (answer.text, REFRAME, PRICE)
    assert proven.outcome == "hot_transfer"
    assert proven.closeness == pytest.approx(1.0, abs=1e-3)
    assert {m.like: m.text for m in by_objection} == {PRICE: answer.text, TRUST: answer.text}
    assert max(by_objection, key=lambda m: m.closeness).like == PRICE
    assert nothing == ()


async def test_an_import_that_says_no_more_than_that_it_succeeded_is_found(
    index: ChromaIndex, server: ChromaServer
):
    await index.apply(rich_record(outcome=replace(UNKNOWN, qualified=True), source="import"))
    async with ChromaReads(server) as reads:
        found = await ChromaInsights(reads).similar(vector(1), {})
    assert {m.outcome for m in found} == {"unknown"}


def _read(raw: bytes) -> Vector:
    return np.frombuffer(raw, dtype="<f4").astype(np.float32)


# --- the conversations ----------------------------------------------------------------------------


@dataclass
class Place:
    """A store, and a way to make it one of an older version."""

    store: PostgresConversations | MongoConversations
    forget_kinds: Callable[[], Awaitable[None]]


@pytest.fixture(params=["postgres", "mongodb"])
def parts(request: pytest.FixtureRequest) -> Place:
    """Make a store without asking it anything: servers are not waited for in a running loop."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    if request.param == "mongodb":
        return Place(MongoConversations(url), lambda: _forget_in_mongodb(url))
    return Place(PostgresConversations(PgPool(url)), lambda: _forget_in_postgres(url))


@pytest_asyncio.fixture
async def place(parts: Place) -> AsyncIterator[Place]:
    try:
        await parts.store.migrate()
        yield parts
    finally:
        await parts.store.aclose()


async def _forget_in_mongodb(url: str) -> None:
    async with AsyncMongoClient[dict[str, object]](url) as client:
        conversations = client.get_default_database().get_collection("conversations")
        await conversations.update_many({}, {"$unset": {"exampleKinds": 1}})


async def _forget_in_postgres(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("UPDATE conversations SET example_kinds = NULL, qualified = NULL")
    await connection.close()


def some_calls() -> list[CallRecord]:
    beginner, expert = KIND[:1], (("experience_level", "expert"),)
    return [
        rich_record("narrow", engagement=61.0),
        rich_record("wider", engagement=90.0, lead_kind=beginner),
        rich_record("other-best", engagement=99.0, lead_kind=expert),
        rich_record("other", engagement=98.0, lead_kind=expert),
        rich_record("stranger", engagement=97.0, lead_kind=()),
        rich_record("lost", engagement=99.5, outcome=LOST),
        rich_record("again", engagement=99.5, source="replay"),
        rich_record("silent", engagement=None, lead_kind=expert),
    ]


async def names(place: Place, kind: tuple[tuple[str, str], ...], most: int = 3) -> list[str]:
    return [f"{e.call_id}|{e.kind}" for e in await place.store.examples(kinds(kind), most=most)]


async def test_the_best_calls_of_such_leads_come_first_from_the_narrowest_kind(place: Place):
    await place.store.apply_all(some_calls())
    assert await names(place, KIND) == [
        f"narrow|{NARROW}",
        "wider|experience_level=beginner",
        "other-best|",
    ]
    assert await names(place, ()) == ["other-best|", "other|", "stranger|"]
    assert (await names(place, (("experience_level", "expert"),), most=9))[:3] == [
        "other-best|experience_level=expert",
        "other|experience_level=expert",
        "silent|experience_level=expert",
    ]


async def test_an_example_says_when_it_was_and_where_it_turned(place: Place):
    await place.store.apply(rich_record())
    [example] = await place.store.examples(kinds(KIND), most=3)
    assert abs(example.started_at - STARTED_AT) < timedelta(milliseconds=1)
    assert (example.outcome, example.score) == ("hot_transfer", 82.25)
    assert example.turned == "when could I start"
    before = [s.text for s in rich_record().segments if s.text and s.at <= at(40)]
    assert example.lines[-1].endswith(before[-1])


async def test_a_corrected_call_is_no_example_any_more(place: Place):
    await place.store.apply(rich_record())
    await place.store.apply(rich_record(outcome=LOST))
    assert await names(place, KIND) == []


async def test_calls_of_an_older_version_become_examples_by_a_migration(place: Place):
    await place.store.apply_all(some_calls())
    before = await names(place, KIND)
    await place.forget_kinds()
    assert await place.store.differences(some_calls()) == {}
    assert list(await place.store.migrate()) == []
    assert await names(place, KIND) == before
