from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.count_audit import Corrections, Expected, Held, HeldNode
from agent_sidecar.domain.facts import graph_facts
from agent_sidecar.domain.record import CallRecord, Outcome
from agent_sidecar.domain.tally import (
    ALL,
    TRIGGERS_KEPT,
    Answers,
    Count,
    added,
    objection_figures,
    pattern_figures,
    strategy_figures,
    transfer_correlation,
)
from tests.builders import PRICE, REFRAME, STARTED_AT, rich_record

LOST = Outcome(final_status="disqualified", result="not_qualified", qualified=False)
FIGURES = {
    "strategy": strategy_figures,
    "objection": objection_figures,
    "pattern": pattern_figures,
}
CHANGES: tuple[dict[str, object], ...] = (
    {},
    {"outcome": LOST, "transfers": ()},
    {"source": "replay"},
    {},
)
CALLS = [
    rich_record(f"call-{n}", started_at=STARTED_AT + timedelta(days=n), **changes)
    for n, changes in enumerate(CHANGES)
]


def expected(calls: list[CallRecord]) -> Expected:
    sums = Expected()
    for call in calls:
        facts = graph_facts(call)
        sums.add(facts.contribution, facts.at_days)
    return sums


def written(calls: list[CallRecord]) -> Held:
    """Return what a graph holds that took these calls one by one."""
    answers: dict[tuple[str, str, str], Answers] = {}
    tallies: dict[tuple[str, str], dict[str, tuple[int, ...]]] = {}
    totals = (0, 0)
    for call in calls:
        facts = graph_facts(call)
        for count in facts.contribution:
            if count.counter == "answered":
                key = (count.key[0], count.key[1], count.key[2])
                former = answers.get(key, Answers())
                answers[key] = former.plus(count.amounts, facts.at_days)
            elif count.counter == "calls":
                totals = (totals[0] + count.amounts[0], totals[1] + count.amounts[1])
            else:
                node = (count.counter, count.key[0])
                tallies[node] = dict(added(tallies.get(node, {}), [count]))
    nodes = {}
    for (counter, name), tally in tallies.items():
        figures: dict[str, object] = dict(FIGURES[counter](tally))
        if counter == "strategy":
            figures["kevin_transfer_correlation"] = transfer_correlation(
                calls=totals[0],
                transferred=totals[1],
                used=tally[ALL][0],
                used_and_transferred=tally[ALL][1],
            )
        nodes[counter, name] = HeldNode(tally=tally, properties={**figures, "name": name})
    return Held(answers={k: [a] for k, a in answers.items()}, nodes=nodes, totals=totals)


@given(st.permutations(CALLS))
def test_what_calls_have_added_in_any_order_is_right(calls: list[CallRecord]):
    assert expected(CALLS).corrections(written(calls)) == Corrections()


def test_nothing_is_right_where_nothing_was_added():
    assert Expected().corrections(Held(answers={}, nodes={}, totals=(0, 0))) == Corrections()


def test_a_strategy_that_was_only_hinted_at_has_no_counts_to_be_wrong():
    held = Held(
        answers={},
        nodes={("strategy", "shown"): HeldNode(tally=None, properties={"name": "shown"})},
        totals=(0, 0),
    )
    assert Expected().corrections(held) == Corrections()


def test_counts_that_fell_to_nothing_are_right():
    tally = {ALL: (0, 0, 0, 0)}
    figures = {**strategy_figures(tally), "kevin_transfer_correlation": None}
    held = Held(
        answers={},
        nodes={("strategy", "gone"): HeldNode(tally=tally, properties=figures)},
        totals=(0, 0),
    )
    assert Expected().corrections(held) == Corrections()


ANSWER = ("phase:5", "", REFRAME)


def more_tries(held: Held) -> Held:
    (one,) = held.answers[ANSWER]
    return replace(held, answers={**held.answers, ANSWER: [replace(one, tried=one.tried + 1)]})


def without_edge(held: Held) -> Held:
    return replace(held, answers={k: a for k, a in held.answers.items() if k != ANSWER})


def doubled_edge(held: Held) -> Held:
    return replace(held, answers={**held.answers, ANSWER: [*held.answers[ANSWER]] * 2})


def invented_edge(held: Held) -> Held:
    key = ("objection:time", "a=1", "made_up")
    return replace(held, answers={**held.answers, key: [Answers(tried=1)]})


def other_sums(held: Held) -> Held:
    (one,) = held.answers[ANSWER]
    wrong = replace(one, sums=(one.sums[0] + 0.5, *one.sums[1:]))
    return replace(held, answers={**held.answers, ANSWER: [wrong]})


def other_tally(held: Held) -> Held:
    node = held.nodes["objection", PRICE]
    tally = {**(node.tally or {}), ALL: (9, 9), "response:made_up": (1,)}
    return replace(held, nodes={**held.nodes, ("objection", PRICE): replace(node, tally=tally)})


def other_figure(held: Held) -> Held:
    node = held.nodes["strategy", REFRAME]
    wrong = replace(node, properties={**node.properties, "success_rate": 0.001})
    return replace(held, nodes={**held.nodes, ("strategy", REFRAME): wrong})


def without_nodes(held: Held) -> Held:
    return replace(held, nodes={})


def other_totals(held: Held) -> Held:
    return replace(held, totals=(held.totals[0] + 1, held.totals[1]))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (more_tries, "ANSWERED_BY reframe_price_as_investment of phase:5: tried is 4 instead of 3"),
        (without_edge, "tried is 0 instead of 3"),
        (doubled_edge, "of phase:5 is there 2 times"),
        (invented_edge, "ANSWERED_BY made_up of objection:time|a=1: tried is 1 instead of 0"),
        (other_sums, "its faded sums are"),
        (other_tally, "objection price: its tally of all is (9, 9) instead of (3, 3)"),
        (other_tally, "its tally of response:made_up is (1,) instead of nothing"),
        (other_figure, f"strategy {REFRAME}: success_rate is 0.001 instead of 1.0"),
        (without_nodes, "its tally of all is nothing instead of"),
        (other_totals, "Evidence (calls, transferred) is (4, 2) instead of (3, 2)"),
    ],
)
def test_what_differs_is_named_and_what_to_write_is_given(
    damage: Callable[[Held], Held], sentence: str
):
    held = written(CALLS)
    found = expected(CALLS).corrections(damage(held))
    assert any(sentence in text for text in found.differences), found.differences
    mended = replace(
        damage(held),
        answers={
            key: [answers]
            for key in held.answers
            for answers in [found.answers.get(key, held.answers[key][0])]
        },
        nodes={
            **damage(held).nodes,
            **{k: HeldNode(tally=t, properties=f) for k, (t, f) in found.nodes.items()},
        },
        totals=found.totals or held.totals,
    )
    assert expected(CALLS).corrections(mended) == Corrections()


def test_of_more_triggers_than_are_kept_those_that_are_kept_pass():
    sums = Expected()
    words = [f"trigger:word {n}" for n in range(TRIGGERS_KEPT + 1)]
    sums.add([Count(counter="objection", key=(PRICE, word), amounts=(1,)) for word in words], 1.0)
    sums.add([Count(counter="objection", key=(PRICE, ALL), amounts=(1, 0))], 1.0)
    tally = {ALL: (1, 0), **dict.fromkeys(words[:7], (1,))}
    node = HeldNode(tally=tally, properties=dict(objection_figures(tally)))
    held = Held(answers={}, nodes={("objection", PRICE): node}, totals=(0, 0))
    assert sums.corrections(held) == Corrections()
    empty = sums.corrections(replace(held, nodes={}))
    assert empty.nodes["objection", PRICE][0] == {ALL: (1, 0)}
