from dataclasses import replace

import pytest

from agent_sidecar.domain.facts import (
    TRAITS,
    Edge,
    effectiveness,
    graph_facts,
    is_from_crm,
    lead_facts,
    lead_properties,
    mean_traits,
    seen_later,
)
from agent_sidecar.domain.record import CallRecord, Credit, Outcome, Pattern
from agent_sidecar.domain.types import Lead, ObjectionType, StrategyName
from tests.builders import (
    PRICE,
    REFRAME,
    at,
    rich_lead,
    rich_record,
    rich_transfer,
    stranger_record,
)


def edges(record: CallRecord, kind: str) -> list[Edge]:
    return [edge for edge in graph_facts(record).edges if edge.type == kind]


def move(**changes: object) -> Credit:
    return replace(rich_record().credits[0], **changes)  # type: ignore[arg-type]  # fields by name


def test_a_call_is_one_flat_node():
    call = graph_facts(rich_record()).call
    assert call["id"] == call["callId"] == "call-rich"
    assert call["leadId"] == rich_lead().lead_id
    assert call["duration"] == 244.0
    assert call["phases_completed"] == 7
    assert call["engagement_progression"] == [55.0, 71.5, 82.25]
    assert call["engagement_score"] == call["final_engagement_score"] == 82.25
    assert call["transfer_successful"] is True
    assert call["skepticism_level"] == 0.4


def test_no_value_is_one_that_a_graph_cannot_hold():
    facts = graph_facts(rich_record())
    for properties in [facts.call, facts.lead, *(edge.properties for edge in facts.edges)]:
        for value in properties.values():
            assert not isinstance(value, dict | tuple | set)
            if isinstance(value, list):
                assert len({type(item) for item in value}) <= 1


def test_a_stranger_has_no_lead_to_draw_an_edge_to():
    facts = graph_facts(stranger_record())
    assert facts.lead_id == ""
    assert facts.call["leadId"] is None
    assert {edge.type for edge in facts.edges} == {"LED_TO_OUTCOME", "KEVIN_AVAILABLE"}


def test_nothing_is_ever_drawn_to_a_nameless_node():
    record = rich_record(
        lead=Lead(),
        closer="",
        hints=(),
        objections=(replace(rich_record().objections[0], type=ObjectionType("")),),
        credits=(move(strategy=StrategyName("")),),
        patterns=(Pattern(id="", type="t", effectiveness=1.0),),
        transfers=(rich_transfer(closer=""),),
    )
    facts = graph_facts(record)
    assert [edge.type for edge in facts.edges] == ["LED_TO_OUTCOME"]
    assert facts.patterns == ()


def test_an_objection_says_whether_and_by_what_it_was_resolved():
    twice = rich_record().objections * 2
    first, second = edges(rich_record(objections=twice), "ENCOUNTERED_OBJECTION")
    assert (first.to, first.position, second.position) == (PRICE, 0, 1)
    assert first.properties["resolution_successful"] is True
    assert first.properties["strategy_used"] == REFRAME
    assert first.properties["phase"] == 5


def test_a_strategy_used_again_in_a_phase_is_one_edge():
    moves = (move(), move(hinted=False, lifted=False), move(phase=6, hinted=False, lifted=None))
    fifth, sixth = edges(rich_record(credits=moves), "USED_STRATEGY")
    assert (fifth.position, sixth.position) == (5, 6)
    assert fifth.properties["tried"] == 2
    assert fifth.properties["lifted"] == 1
    assert fifth.properties["hinted"] is True
    assert sixth.properties["hinted"] is False
    assert fifth.properties["effectiveness"] == 5.0


@pytest.mark.parametrize(
    ("lifted", "expected"),
    [((), 5.0), ((None,), 5.0), ((True,), 20 / 3), ((False,), 10 / 3), ((True, True), 7.5)],
)
def test_effectiveness_is_pulled_towards_the_middle(
    lifted: tuple[bool | None, ...], expected: float
):
    assert effectiveness([move(lifted=each) for each in lifted]) == pytest.approx(expected)


def test_what_was_said_after_the_bridge_did_not_lead_to_it():
    before, after = (
        rich_record().segments[1],
        replace(rich_record().segments[1], index=9, at=at(90)),
    )
    record = rich_record(segments=(before, after), credits=(move(), move(segment=9, phase=9)))
    first, last = edges(record, "USED_STRATEGY")
    assert first.properties["led_to_transfer"] is True
    assert last.properties["led_to_transfer"] is False


def test_a_transfer_that_a_person_reported_credits_every_move():
    (used,) = edges(rich_record(transfers=()), "USED_STRATEGY")
    assert used.properties["led_to_transfer"] is True
    lost = Outcome(final_status="abandoned", result="not_qualified", qualified=False)
    (used,) = edges(rich_record(transfers=(), outcome=lost), "USED_STRATEGY")
    assert used.properties["led_to_transfer"] is False


def test_every_transfer_is_an_edge_of_its_own():
    failed = rich_transfer(number=2, outcome="voicemail", bridged_at=None)
    tries = edges(rich_record(transfers=(failed, rich_transfer())), "TRANSFER_ATTEMPTED")
    assert [(edge.position, edge.properties["successful"]) for edge in tries] == [
        (0, False),
        (1, True),
    ]


def test_a_pattern_seen_twice_in_a_call_is_one_edge_with_the_mean():
    seen = tuple(Pattern(id="p", type="t", effectiveness=e) for e in (4.0, 8.0))
    facts = graph_facts(rich_record(patterns=seen))
    assert facts.patterns == (("p", "t"),)
    (edge,) = [e for e in facts.edges if e.type == "EXHIBITED_PATTERN"]
    assert edge.properties == {"effectiveness": 6.0}


def test_the_later_call_counts_and_the_earlier_completes():
    facts = graph_facts(rich_record())
    earlier = {"seen_at": at(100), "seen_call": "z", "status": "new"}
    later = {"seen_at": at(900), "seen_call": "a", "status": "qualified"}

    assert seen_later(facts, {})
    assert seen_later(facts, earlier)
    assert not seen_later(facts, later)
    assert lead_properties(facts, earlier)["status"] == "contacted"
    assert lead_properties(facts, earlier)["seen_call"] == "call-rich"
    completed = lead_properties(facts, later)
    assert "status" not in completed
    assert "seen_at" not in completed
    assert completed["phone"] == rich_lead().phone


def test_of_two_calls_that_end_at_once_the_id_decides():
    facts = graph_facts(rich_record())
    assert seen_later(facts, {"seen_at": facts.seen_at, "seen_call": "a"})
    assert seen_later(facts, {"seen_at": facts.seen_at, "seen_call": "call-rich"})
    assert not seen_later(facts, {"seen_at": facts.seen_at, "seen_call": "z"})


def test_what_is_not_known_now_is_not_forgotten():
    facts = graph_facts(rich_record(lead=rich_lead(phone=None)))
    assert "phone" not in lead_properties(facts, {})


def test_traits_are_the_mean_of_what_was_heard_in_any_order():
    heard = (0.1, 0.7, None, 0.2)
    calls = [{"urgency": urgency} for urgency in heard]
    means = mean_traits(calls)
    assert means["urgency"] == pytest.approx(1 / 3)
    assert means == mean_traits(calls[::-1])
    assert set(means) == set(TRAITS)
    assert means["pace"] is None


def test_what_the_crm_says_of_a_lead_is_no_records_to_change():
    edited = {**lead_facts(rich_lead(status="closed", phone=None)), "from_crm": True}
    assert is_from_crm(edited)
    assert lead_properties(graph_facts(rich_record()), edited) == {}
    # a graph that was filled before the CRM told of anybody
    assert not is_from_crm({"status": "contacted"})
