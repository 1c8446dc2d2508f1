"""The graph on ArcadeDB, and on a real Neo4j where `NEO4J_TEST_URL` names one: it is emptied."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from importlib import resources
from math import sqrt
from random import Random
from typing import LiteralString

import pytest

from agent_sidecar.adapters.bolt import Bolt, BoltAddress, Row
from agent_sidecar.adapters.neo4j_audit import Neo4jAudit
from agent_sidecar.adapters.neo4j_evidence import Neo4jEvidence
from agent_sidecar.adapters.neo4j_graph import Neo4jGraph
from agent_sidecar.domain.hints import Evidence, Question
from agent_sidecar.domain.record import CallRecord, Credit, ObjectionMet, Outcome, Pattern
from agent_sidecar.domain.tally import Answers, counts, days, scope
from agent_sidecar.domain.types import CallId, Lead, ObjectionType, StrategyName
from agent_sidecar.embedded import StackUrls
from agent_sidecar.errors import RecordRejected, SettingsInvalid, StoreUnavailable
from tests.builders import PRICE, REFRAME, STARTED_AT, at, rich_lead, rich_record, stranger_record
from tests.contract.silent import silent_server

pytestmark = pytest.mark.contract

NO_PASSWORD = "no password"  # noqa: S105
# every call of the tests is over, and has hardly faded
NOW = at(300)
ASK_BACK = StrategyName("ask_back")
TIME = ObjectionType("time")


@pytest.fixture
def graph(bolt: Bolt) -> Neo4jGraph:
    return Neo4jGraph(bolt)


@pytest.fixture
def evidence(bolt: Bolt) -> Neo4jEvidence:
    return Neo4jEvidence(bolt)


def question(**changes: object) -> Question:
    asked = Question(
        question_id="q1",
        call_id=None,
        text="that is too expensive",
        vector=None,
        phase=5,
        objection=PRICE,
        lead_kind=(("experience_level", "beginner"), ("motivation", "high")),
    )
    return replace(asked, **changes)  # type: ignore[arg-type]  # fields by name


def lost(call_id: str, **changes: object) -> CallRecord:
    """Return a call in which the same answer did not help."""
    record = rich_record(
        call_id,
        outcome=Outcome(final_status="disqualified", result="not_qualified", qualified=False),
        transfers=(),
        engagement=31.0,
    )
    missed = replace(record.credits[0], lifted=False, score_change=-9.0)
    objection = replace(record.objections[0], resolved=False)
    changes = {"credits": (missed,), "objections": (objection,), **changes}
    return replace(record, **changes)  # type: ignore[arg-type]  # fields by name


async def all_of(evidence: Neo4jEvidence) -> Mapping[tuple[str, str], tuple[int, int, int]]:
    return {
        (e.scope, e.strategy): (e.tried, e.lifted, e.won) for e in await evidence.everything(NOW)
    }


async def one(bolt: Bolt, statement: str) -> Mapping[str, object]:
    (row,) = await bolt.read(statement)
    return row


async def test_the_schema_is_applied_once_and_may_be_applied_again(graph: Neo4jGraph):
    assert await graph.migrate() == []
    await graph.ping()
    assert graph.engine.startswith(("ArcadeDB 26.", "Neo4j 5."))


async def test_a_record_becomes_one_node_with_its_edges(graph: Neo4jGraph, bolt: Bolt):
    await graph.apply(rich_record())

    call = (await one(bolt, "MATCH (c:Conversation:Call) RETURN properties(c) AS c"))["c"]
    assert isinstance(call, dict)
    assert call["id"] == call["callId"] == "call-rich"
    assert call["startTime"] == rich_record().started_at
    assert call["engagement_progression"] == [55.0, 71.5, 82.25]
    assert (call["outcome"], call["result"], call["qualified"]) == (
        "hot_transfer",
        "transferred",
        True,
    )
    lead = (await one(bolt, "MATCH (l:Lead) RETURN properties(l) AS l"))["l"]
    assert isinstance(lead, dict)
    assert lead["experience"] == "beginner"
    assert lead["skepticism_level"] == pytest.approx(0.4)
    kinds = await bolt.read("MATCH (:Call)-[r]-() RETURN type(r) AS kind ORDER BY kind")
    assert [row["kind"] for row in kinds] == [
        "ENCOUNTERED_OBJECTION",
        "EXHIBITED_PATTERN",
        "HAD_CALL",
        "HAD_CONVERSATION",
        "HINTED",
        "KEVIN_AVAILABLE",
        "LED_TO_OUTCOME",
        "TRANSFER_ATTEMPTED",
        "USED_STRATEGY",
    ]
    used = await one(bolt, "MATCH ()-[r:USED_STRATEGY]->(s) RETURN s.name AS s, properties(r) AS r")
    assert used["s"] == REFRAME
    assert isinstance(used["r"], dict)
    assert used["r"]["effectiveness"] == pytest.approx(20 / 3)
    assert used["r"]["led_to_transfer"] is True
    assert used["r"]["hinted"] is True


async def test_a_record_applied_twice_changes_nothing(graph: Neo4jGraph, evidence: Neo4jEvidence):
    await graph.apply(rich_record())
    once, counts = await all_of(evidence), await graph.counts()

    await graph.apply(rich_record())

    assert await all_of(evidence) == once
    assert await graph.counts() == counts
    assert once["phase:5", REFRAME] == (1, 1, 1)
    assert await graph.differences([rich_record()]) == {}


async def test_calls_that_end_together_are_all_counted(
    graph: Neo4jGraph, evidence: Neo4jEvidence, bolt: Bolt
):
    records = [rich_record(f"call-{n}") for n in range(12)] + [lost(f"lost-{n}") for n in range(8)]

    async with asyncio.TaskGroup() as tasks:
        for record in records:
            tasks.create_task(graph.apply(record))

    assert (await all_of(evidence))["objection:price", REFRAME] == (20, 12, 12)
    strategy = (await one(bolt, "MATCH (s:Strategy) RETURN properties(s) AS s"))["s"]
    assert isinstance(strategy, dict)
    assert strategy["success_rate"] == pytest.approx(0.6)
    assert strategy["context_effectiveness"] == [
        "objection:price: 0.60 (20)",
        "phase:5: 0.60 (20)",
    ]
    objection = (await one(bolt, "MATCH (o:Objection) RETURN properties(o) AS o"))["o"]
    assert isinstance(objection, dict)
    assert objection["frequency"] == 20
    assert objection["successful_responses"] == [REFRAME]
    assert objection["context_triggers"] == ["too expensive"]
    assert await graph.differences(records) == {}


async def test_one_record_applied_by_many_at_once_is_one_call(
    graph: Neo4jGraph, evidence: Neo4jEvidence
):
    async with asyncio.TaskGroup() as tasks:
        for _ in range(10):
            tasks.create_task(graph.apply(rich_record()))

    assert (await all_of(evidence))["phase:5", REFRAME] == (1, 1, 1)
    assert (await graph.counts())["calls"] == 1


async def test_a_corrected_record_replaces_the_former_one_exactly(
    graph: Neo4jGraph, evidence: Neo4jEvidence, bolt: Bolt
):
    await graph.apply(rich_record("other"))
    other_evidence, other_counts = await all_of(evidence), await graph.counts()
    strategies = await bolt.read("MATCH (s:Strategy) RETURN properties(s) AS s ORDER BY s.name")
    await graph.apply(rich_record())

    move = Credit(
        segment=1,
        strategy=ASK_BACK,
        phase=3,
        objection=None,
        hinted=False,
        lifted=False,
        score_change=None,
    )
    corrected = lost("call-rich", credits=(move,), objections=(), patterns=())
    await graph.apply(corrected)

    counts = await all_of(evidence)
    assert {k: v for k, v in counts.items() if k[1] == REFRAME} == other_evidence
    assert counts["phase:3", ASK_BACK] == (1, 0, 0)
    assert await graph.differences([corrected, rich_record("other")]) == {}
    assert "call-rich" in await graph.differences([rich_record()])
    # and back: as if the correction had never been
    await graph.apply(rich_record())
    await graph.apply(replace(rich_record(), source="replay", credits=(), objections=()))
    assert await all_of(evidence) == other_evidence
    assert (await graph.counts())["calls"] == other_counts["calls"] + 1
    again = await bolt.read(f"MATCH (s:Strategy {{name: '{REFRAME}'}}) RETURN properties(s) AS s")
    assert again == strategies


async def test_a_replayed_call_is_a_fact_but_no_evidence(
    graph: Neo4jGraph, evidence: Neo4jEvidence, bolt: Bolt
):
    replayed = rich_record(source="replay")

    await graph.apply(replayed)

    assert await evidence.everything(NOW) == ()
    assert (await graph.counts())["calls"] == 1
    assert await bolt.read("MATCH (:Call)-[:USED_STRATEGY]->(s) RETURN s.name AS name")
    assert await graph.differences([replayed]) == {}


async def test_a_stranger_who_hung_up_is_stored_without_a_lead(graph: Neo4jGraph, bolt: Bolt):
    await graph.apply(stranger_record())
    await graph.apply(stranger_record("another"))

    counts = await graph.counts()
    assert (counts["calls"], counts["leads"]) == (2, 0)
    assert await graph.differences([stranger_record(), stranger_record("another")]) == {}


async def test_what_is_newer_counts_for_a_lead_whatever_came_first(graph: Neo4jGraph, bolt: Bolt):
    later = rich_record("later", lead=rich_lead(status="qualified", phone=None), ended_at=at(900))
    earlier = rich_record("earlier", traits=replace(rich_record().traits, motivation=0.2))
    traits = replace(rich_record().traits, motivation=0.6)

    await graph.apply(replace(later, traits=traits))
    await graph.apply(earlier)

    lead = (await one(bolt, "MATCH (l:Lead) RETURN properties(l) AS l"))["l"]
    assert isinstance(lead, dict)
    assert lead["status"] == "qualified"
    assert lead["phone"] == rich_lead().phone
    assert lead["motivation_level"] == pytest.approx(0.4)
    assert await graph.differences([replace(later, traits=traits), earlier]) == {}


async def test_differences_name_what_was_changed_and_what_is_missing(graph: Neo4jGraph, bolt: Bolt):
    record = rich_record()
    await graph.apply(record)
    await bolt.run("MATCH (c:Call) SET c.engagement_score = 10.0, c.surprise = true")
    await bolt.run("MATCH ()-[r:USED_STRATEGY]->() DELETE r")
    await bolt.run("MATCH ()-[r:ENCOUNTERED_OBJECTION]->() SET r.resolution_successful = false")
    await bolt.run("MATCH (l:Lead) SET l.phone = 'wrong'")
    await bolt.run("MATCH (c:Call), (o:Outcome) CREATE (x:Outcome {type: 'made up'})")
    await bolt.run(
        "MATCH (c:Call), (x:Outcome {type: 'made up'}) CREATE (c)-[:LED_TO_OUTCOME]->(x)"
    )

    found = await graph.differences([record, rich_record("never")])

    assert found[CallId("never")] == ["the call is missing"]
    text = "\n".join(found[record.call_id])
    for part in (
        "engagement_score is 10.0 instead of 82.25",
        "surprise is True instead of nothing",
        "the edge USED_STRATEGY",
        "resolution_successful is False instead of True",
        "phone is 'wrong'",
        "LED_TO_OUTCOME with made up too many",
    ):
        assert part in text
    await graph.apply(record)
    assert await graph.differences([record]) == {}


DAMAGE = {
    "MATCH (:Phase)-[r:ANSWERED_BY]->() SET r.tried = r.tried + 1": "tried is 3 instead of 2",
    "MATCH (:Objection)-[r:ANSWERED_BY]->() DELETE r": "of objection:price: tried is 0",
    "MATCH (:Kind)-[r:ANSWERED_BY]->() SET r.sums = [9.0, 9.0, 9.0, 9.0, 9.0, 9.0]": "faded sums",
    "MATCH (s:Strategy) DETACH DELETE s": "tally of all is nothing instead of (2, ",
    "MATCH (s:Strategy) SET s.success_rate = 0.01": "success_rate is 0.01 instead of 0.5",
    "MATCH (o:Objection) SET o.tally = '{\"all\":[7,7]}'": "tally of all is (7, 7)",
    "MATCH (p:Pattern) SET p.effectiveness = 1.0": "effectiveness is 1.0 instead of",
    "MATCH (e:Evidence) SET e.calls = 99": "is (99, 1) instead of (2, 1)",
    "MATCH (x:Phase), (s:Strategy) CREATE (x)-[:ANSWERED_BY {tried: 1, lifted: 1, won: 1}]->(s)": (
        "of phase:5 is there 2 times"
    ),
    # its share is still in the counts
    "MATCH (c:Call {id: 'b'}) DETACH DELETE c": "tried is 2 instead of 1",
}


@pytest.mark.parametrize(("statement", "sentence"), DAMAGE.items())
async def test_every_count_that_is_not_the_sum_of_the_calls_is_named_and_mended(
    graph: Neo4jGraph, bolt: Bolt, statement: LiteralString, sentence: str
):
    audit = Neo4jAudit(bolt)
    assert await audit.differences() == ()
    await graph.apply_all([rich_record("a"), lost("b"), rich_record("c", source="replay")])
    assert await audit.differences() == ()
    await bolt.run(statement)
    found = await audit.differences()
    assert sentence in "\n".join(found or ())
    assert await audit.mend() == found
    assert await audit.differences() == ()
    assert await audit.mend() == ()
    # and whoever comes again finds them right
    await graph.apply_all([rich_record("a"), lost("b"), rich_record("c", source="replay")])
    assert await audit.differences() == ()


async def test_counts_that_move_all_the_time_cannot_be_compared(graph: Neo4jGraph, bolt: Bolt):
    class Restless(Bolt):
        async def read(self, statement: LiteralString, **parameters: object) -> list[Row]:
            await bolt.run("MATCH (e:Evidence) SET e.revision = e.revision + 1")
            return await bolt.read(statement, **parameters)

    await graph.apply(rich_record())
    address = BoltAddress(url="bolt://127.0.0.1:1", user="neo4j", password=NO_PASSWORD)
    async with Restless(address) as restless:
        assert await Neo4jAudit(restless).differences() is None
        assert await Neo4jAudit(restless).mend() is None


def without_rounding(row: Evidence) -> Evidence:
    return replace(row, recent=tuple((round(n, 6), round(k, 6)) for n, k in row.recent))


async def test_newer_calls_fade_less_and_a_call_is_taken_out_as_it_came_in(
    graph: Neo4jGraph, evidence: Neo4jEvidence
):
    day = timedelta(days=1)
    old = lost("old", started_at=STARTED_AT - 4 * day)
    new = rich_record("new")
    for order in ([old, new], [new, old, new, old]):
        for record in order:
            await graph.apply(record)
        asked = question(lead_kind=(), objection=None, at=STARTED_AT + 4 * day)
        (row,) = (await evidence.retrieve(asked)).evidence
        assert (row.tried, row.lifted, row.sunk) == (2, 1, 1)
        long, usual, short = row.recent
        assert [*usual] == pytest.approx([0.5 + 0.25, 0.5])
        assert [*long] == pytest.approx([2**-0.125 + 2**-0.25, 2**-0.125])
        assert [*short] == pytest.approx([2**-8 + 2**-16, 2**-8])
    await graph.apply(replace(new, source="replay", credits=(), objections=(), hints=()))
    (row,) = (await evidence.retrieve(asked)).evidence
    assert without_rounding(row).recent[1] == (0.25, 0.0)


async def test_any_order_and_any_batches_make_the_same_graph(
    graph: Neo4jGraph, evidence: Neo4jEvidence, bolt: Bolt
):
    """Won and lost, other kinds of lead, twice, corrected: counted anew from the last versions."""
    random = Random(7)  # noqa: S311
    final = [
        (rich_record if n % 3 else lost)(
            f"call-{n}",
            started_at=STARTED_AT - timedelta(hours=7 * n),
            lead_kind=(("experience_level", ("none", "some")[n % 2]),)[: n % 5],
            source=("live", "import", "replay")[n % 7 % 3],
        )
        for n in range(24)
    ]
    earlier = [lost(record.call_id, started_at=record.started_at) for record in final[::2]]
    todo = [*earlier, *final]
    random.shuffle(todo)
    todo += random.sample(final, len(final))
    while todo:
        size = random.choice((1, 2, 7))
        await graph.apply_all(todo[:size])
        todo = todo[size:]

    assert await graph.differences(final) == {}
    expected: dict[tuple[str, str], Answers] = {}
    hinted = 0
    for record in final:
        hinted += record.is_evidence
        for count in counts(record):
            if count.counter == "answered":
                context, kind, strategy = count.key
                key = scope(context, kind), strategy
                kept = expected.get(key, Answers())
                expected[key] = kept.plus(count.amounts, days(record.started_at))
    found = {(row.scope, row.strategy): row for row in await evidence.everything(NOW)}
    assert found.keys() == expected.keys()
    for key, answers in expected.items():
        row = found[key[0], StrategyName(key[1])]
        amounts = (answers.tried, answers.lifted, answers.sunk, answers.won)
        assert (row.tried, row.lifted, row.sunk, row.won) == amounts
        for pair, wanted in zip(row.recent, answers.recent(days(NOW)), strict=True):
            assert pair == pytest.approx(wanted, rel=1e-6, abs=1e-9)
    shown = await one(bolt, f"MATCH (s:Strategy {{name: '{REFRAME}'}}) RETURN properties(s) AS s")
    assert isinstance(shown["s"], dict)
    assert shown["s"]["hinted"] == hinted


async def test_counts_of_an_older_version_go_on(
    graph: Neo4jGraph, evidence: Neo4jEvidence, bolt: Bolt
):
    await graph.apply(rich_record("old"))
    await bolt.run(
        "MATCH ()-[r:ANSWERED_BY]->()"
        " SET r.at = null, r.sums = null, r.sunk = null, r.hinted = null"
    )
    await bolt.run("MATCH (c:Call) SET c.contribution_at = null")
    (row,) = (await evidence.retrieve(question(lead_kind=(), objection=None))).evidence
    assert (row.tried, row.lifted, row.sunk, row.recent) == (1, 1, 0, ((0.0, 0.0),) * 3)
    await graph.apply(rich_record("new"))
    await graph.apply(rich_record("old"))
    (row,) = (await evidence.retrieve(question(lead_kind=(), objection=None, at=NOW))).evidence
    assert (row.tried, row.lifted) == (2, 2)
    assert [*row.recent[0]] == pytest.approx([2.0, 2.0], abs=1e-3)


async def test_evidence_is_kept_per_kind_of_lead(graph: Neo4jGraph, evidence: Neo4jEvidence):
    await graph.apply(rich_record("a"))
    await graph.apply(lost("b", lead_kind=(("experience_level", "beginner"),)))
    await graph.apply(lost("c", lead_kind=()))

    found = (await evidence.retrieve(question())).evidence

    def row(scope: str, tried: int, lifted: int, won: int) -> Evidence:
        return Evidence(
            strategy=REFRAME,
            scope=scope,
            tried=tried,
            lifted=lifted,
            won=won,
            sunk=tried - lifted,
            recent=((float(tried), float(lifted)),) * 3,
        )

    assert {without_rounding(one) for one in found} == {
        row(f"{context}{kind}", tried, 1, 1)
        for context in ("phase:5", "objection:price")
        for kind, tried in (
            ("", 3),
            ("|experience_level=beginner", 2),
            ("|experience_level=beginner|motivation=high", 1),
        )
    }
    of_a_stranger = await evidence.retrieve(question(lead_kind=(), objection=None))
    assert [without_rounding(one) for one in of_a_stranger.evidence] == [row("phase:5", 3, 1, 1)]
    assert (await evidence.retrieve(question(phase=9, objection=TIME))).evidence == ()


async def test_the_correlation_with_transfers_follows_every_call(graph: Neo4jGraph, bolt: Bolt):
    """Used in 3 of 6 calls, of which 2 were transferred, as was 1 of the others."""
    used = [rich_record("a"), rich_record("b"), lost("c")]
    nothing: dict[str, object] = {"credits": (), "objections": ()}
    unused = [lost("d", **nothing), lost("e", **nothing), rich_record("f", **nothing)]
    for record in [*unused, *used]:
        await graph.apply(record)

    row = await one(bolt, "MATCH (s:Strategy) RETURN s.kevin_transfer_correlation AS phi")
    assert row["phi"] == pytest.approx((2 * 2 - 1 * 1) / sqrt(3 * 3 * 3 * 3))


async def test_the_learning_queries_answer_as_they_were_meant(graph: Neo4jGraph, bolt: Bolt):
    await seed(graph)
    folder = resources.files("agent_sidecar.adapters") / "schema" / "graph" / "queries"

    async def answers(name: str) -> list[tuple[object, ...]]:
        text = (folder / f"{name}.cypher").read_text(encoding="utf-8").strip().rstrip(";")
        return [tuple(row.values()) for row in await bolt.read(text)]

    assert await answers("strategies_by_lead") == [
        ("beginner", "50-75k", "evenings", REFRAME, 2, 3, pytest.approx(2 / 3)),
        ("expert", "50-75k", "evenings", ASK_BACK, 1, 1, 1.0),
    ]
    assert await answers("objections_before_success") == [
        ("price", pytest.approx(82.25), 2),
        ("time", pytest.approx(95.0), 1),
    ]
    assert await answers("patterns_of_qualified_calls") == [
        ("burst_of_questions", pytest.approx(9.0)),
        # 7.5 twice and 7.5 in the call that was lost
        ("objection_answered", pytest.approx(7.5)),
    ]
    assert await answers("closer_availability") == [
        ("Kevin", True, 2, pytest.approx(82.25)),
        ("Kevin", False, 1, pytest.approx(95.0)),
    ]
    assert await answers("best_patterns") == [
        ("objection:price>reframe_price_as_investment>rise", "objection_answered", 7.5, 2),
        ("burst:3", "burst_of_questions", 9.0, 1),
    ]


async def seed(graph: Neo4jGraph) -> None:
    """Two beginners won and one lost by one strategy, an expert won by another, one replay."""
    expert = rich_record(
        "expert",
        lead=Lead(
            lead_id="expert",
            experience_level="expert",
            current_income_range="50-75k",
            time_availability="evenings",
        ),
        closer_available=False,
        engagement=95.0,
        credits=(replace(rich_record().credits[0], strategy=ASK_BACK, objection=TIME),),
        objections=(
            ObjectionMet(
                type=TIME, phase=5, at=at(20), resolved=True, strategy=ASK_BACK, trigger="no time"
            ),
        ),
        patterns=(Pattern(id="burst:3", type="burst_of_questions", effectiveness=9.0),),
    )
    replayed = rich_record("replayed", source="replay", engagement=99.0)
    for record in (rich_record("a"), rich_record("b"), lost("c"), expert, replayed):
        await graph.apply(record)


async def test_what_a_server_cannot_hold_is_rejected_by_name(graph: Neo4jGraph):
    with pytest.raises(RecordRejected):
        await graph.apply(rich_record(phase_reached=2**70))


async def test_a_server_that_is_gone_is_said_at_once(unused_tcp_port: int):
    address = BoltAddress(
        url=f"bolt://127.0.0.1:{unused_tcp_port}", user="neo4j", password=NO_PASSWORD
    )
    async with Bolt(address) as bolt:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="SIDECAR_NEO4J_URL"):
            await Neo4jGraph(bolt).apply(rich_record())
        with pytest.raises(StoreUnavailable):
            await Neo4jEvidence(bolt).retrieve(question())
        with pytest.raises(StoreUnavailable):
            await Neo4jGraph(bolt).ping()
        assert time.monotonic() - began < 2.0


async def test_a_server_that_hangs_costs_no_more_than_the_limit():
    async with silent_server() as port:
        address = BoltAddress(url=f"bolt://127.0.0.1:{port}", user="neo4j", password=NO_PASSWORD)
        async with Bolt(address, read_s=0.2, ask_s=0.2) as bolt:
            began = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await Neo4jEvidence(bolt).retrieve(question())
            with pytest.raises(StoreUnavailable):
                await Neo4jEvidence(bolt).everything(NOW)
            assert time.monotonic() - began < 1.0


async def test_a_wrong_password_is_said_with_the_setting_to_mend(stack: StackUrls):
    assert stack.neo4j
    async with Bolt(BoltAddress(url=stack.neo4j, user="root", password=NO_PASSWORD)) as bolt:
        with pytest.raises(StoreUnavailable, match="SIDECAR_NEO4J_PASSWORD"):
            await Neo4jGraph(bolt).ping()


async def test_a_url_of_another_kind_is_refused_at_once():
    with pytest.raises(SettingsInvalid, match="SIDECAR_NEO4J_URL"):
        Bolt(BoltAddress(url="http://127.0.0.1:7474", user="neo4j", password=NO_PASSWORD))
