from datetime import UTC, datetime
from typing import Any

import pytest

from agent_sidecar.domain.insights import (
    AvailabilityEffect,
    ExampleCall,
    KindRates,
    Moment,
    ObjectionRecord,
    PatternFigures,
    Rates,
    Relationships,
    StrategyRecord,
    SuccessPatterns,
)
from agent_sidecar.domain.synthesis import label, synthesize
from agent_sidecar.domain.types import CallId
from tests.domain.playbooks import MONEY, REFRAME, STORY

KIND = "experience_level=beginner|scepticism=high"


def said(**known: Any) -> tuple[str, ...]:
    stores: dict[str, Any] = dict.fromkeys(
        ("success", "availability", "relationships", "moments", "examples")
    )
    return synthesize(**(stores | known))


def record(strategy: Any = STORY, **changes: Any) -> StrategyRecord:
    values: dict[str, Any] = {"kind": KIND, "tried": 70, "lifted": 40, "reacted": 61, "won": 12}
    return StrategyRecord(strategy=strategy, **(values | changes))


def related(**parts: Any) -> Relationships:
    return Relationships(**{"strategies": (), "objections": (), "patterns": (), **parts})


def objection(**changes: Any) -> ObjectionRecord:
    values: dict[str, Any] = {
        "type": MONEY,
        "met": 120,
        "resolved": 60,
        "responses": (),
        "kind": "",
        "answered": 90,
        "answers": (),
    }
    return ObjectionRecord(**(values | changes))


def test_a_kind_is_named_as_people_read_it():
    assert label("") == "everybody"
    assert label(KIND) == "experience level beginner, scepticism high"


def test_nothing_known_is_said_so():
    nothing = ("Nothing was counted yet that says anything of such a lead.",)
    assert said() == nothing
    assert (
        said(
            relationships=related(),
            success=SuccessPatterns(everybody=Rates(), fields=(), kinds=()),
            availability=AvailabilityEffect(kind="", free=Rates(calls=4), not_free=Rates()),
            moments=(),
            examples=(),
        )
        == nothing
    )


def test_the_best_strategy_is_told_with_its_counts_and_a_poor_one_is_warned_of():
    poor = record(REFRAME, lifted=3, reacted=25)
    first, second = said(relationships=related(strategies=(record(), poor)))
    assert first == (
        "story lifted 40 of 61 for experience level beginner, scepticism high;"
        " 12 of its 70 uses were in calls that qualified."
    )
    assert second.startswith("reframe lifted only 3 of 25")


def test_a_strategy_that_hardly_anybody_reacted_to_is_not_told_of():
    few = record(REFRAME, lifted=0, reacted=2)
    fair = record(REFRAME, lifted=10, reacted=20)
    assert len(said(relationships=related(strategies=(record(), few)))) == 1
    assert len(said(relationships=related(strategies=(record(), fair)))) == 1
    # alone it is the best and not warned of
    assert len(said(relationships=related(strategies=(record(lifted=1),)))) == 1


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        ({"answers": (record(kind=""),)}, "best for everybody: story, which lifted 40 of 61."),
        ({"answers": (record(reacted=1),), "responses": (REFRAME,)}, "most often by reframe."),
        ({}, "was resolved 60 of 120 times."),
    ],
)
def test_an_objection_is_told_with_what_answered_it(changes: dict[str, Any], end: str):
    [sentence] = said(relationships=related(objections=(objection(**changes),)))
    assert sentence.startswith("The objection money was resolved 60 of 120 times")
    assert sentence.endswith(end)


def test_an_objection_that_was_never_met_is_not_told_of():
    assert "money" not in said(relationships=related(objections=(objection(met=0),)))[0]


def test_a_free_closer_s_effect_is_told_when_there_are_both_sorts():
    effect = AvailabilityEffect(
        kind="", free=Rates(calls=19, qualified=12), not_free=Rates(calls=60, qualified=20)
    )
    assert said(availability=effect) == (
        "Of everybody, 12 of 19 qualified when a closer was free, 20 of 60 when none was.",
    )


def test_a_kind_with_enough_calls_is_held_against_everybody():
    rates = Rates(calls=20, qualified=10, transferred=4)
    everybody = Rates(calls=100, qualified=20, transferred=5)
    kinds = (
        KindRates(kind="a=1|b=2", rates=Rates(calls=2)),
        KindRates(kind="a=1", rates=rates),
        KindRates(kind="", rates=everybody),
    )
    [sentence] = said(success=SuccessPatterns(everybody=everybody, fields=(), kinds=kinds))
    assert sentence == (
        "Of 20 calls with a 1 10 qualified (50 %) and 4 were transferred;"
        " of everybody's 100, 20 (20 %)."
    )


def test_without_enough_calls_of_the_kind_everybody_is_told_of():
    one = Rates(calls=1, qualified=1)
    kinds = (KindRates(kind="a=1", rates=one), KindRates(kind="", rates=one))
    [sentence] = said(success=SuccessPatterns(everybody=one, fields=(), kinds=kinds))
    assert sentence == "Of all 1 call 1 qualified and 0 were transferred."


def test_the_commonest_good_pattern_is_told():
    pattern = PatternFigures(id="a:b:rise", type="a", effectiveness=8.14, calls=34)
    assert said(relationships=related(patterns=(pattern,))) == (
        "The pattern a:b:rise comes out at 8.1 of 10 over 34 calls.",
    )


@pytest.mark.parametrize(
    ("about", "words"), [(MONEY, "the objection money"), (None, "such a moment")]
)
def test_words_that_worked_are_quoted_cut_to_what_is_read(about: Any, words: str):
    plain = Moment(call_id=CallId("c"), text="t", outcome="follow_up", closeness=0.9)
    answer = Moment(
        call_id=CallId("c"),
        text="w" * 500,
        outcome="follow_up",
        closeness=0.8,
        strategy=STORY,
        objection=about,
    )
    [sentence] = said(moments=(plain, answer))
    assert sentence.startswith(f'What worked in {words} once: "www')
    assert sentence.endswith('…" (story).')
    assert len(sentence) < 200


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        ({}, 'ended well as hot transfer at 88 of 100; it turned at: "when can I start".'),
        ({"score": None, "turned": None, "outcome": "unknown"}, "ended well."),
    ],
)
def test_one_call_is_named_to_read(changes: dict[str, Any], end: str):
    values: dict[str, Any] = {
        "call_id": CallId("c1"),
        "started_at": datetime(2026, 3, 2, tzinfo=UTC),
        "outcome": "hot_transfer",
        "score": 88.0,
        "kind": "",
        "turned": "when can I start",
    }
    [sentence] = said(examples=(ExampleCall(**(values | changes)),))
    assert sentence == f"To read: call c1 (everybody) {end}"
