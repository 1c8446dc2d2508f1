from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.hints import Candidate, Evidence, Outlook, Question, Retrieved
from agent_sidecar.domain.ranking import (
    BASE_RATE,
    BASE_TRIES,
    EVERYBODY_TRIES,
    KIND_TRIES,
    Ranked,
    from_memory,
    rank,
    scope_in_words,
)
from agent_sidecar.domain.types import StrategyName
from tests.domain.playbooks import MONEY, PLAYBOOK, REFRAME, STORY, VIDEO

QUESTION = Question(
    question_id="q1", call_id=None, text="too expensive", vector=None, phase=5, objection=None
)
WIDE, NARROW = "phase:5", "phase:5|experience_level=none"


def near(
    strategy: StrategyName, closeness: float = 0.25, *, proven: str | None = None
) -> Candidate:
    return Candidate(
        strategy=strategy,
        closeness=closeness,
        origin="proven" if proven else "playbook",
        say=proven,
    )


def tried(
    strategy: StrategyName,
    tried: int,
    lifted: int,
    *,
    scope: str = WIDE,
    won: int = 0,
    recent: tuple[tuple[float, float], ...] = (),
) -> Evidence:
    return Evidence(
        strategy=strategy, scope=scope, tried=tried, lifted=lifted, won=won, recent=recent
    )


def ranked(
    *found: Candidate | Evidence,
    question: Question = QUESTION,
    heard: tuple[StrategyName, ...] = (),
    explore: bool = False,
) -> tuple[Ranked, ...]:
    retrieved = Retrieved(
        candidates=tuple(one for one in found if isinstance(one, Candidate)),
        evidence=tuple(one for one in found if isinstance(one, Evidence)),
    )
    return rank(PLAYBOOK, question, retrieved, heard=heard, explore=explore)


def names(result: tuple[Ranked, ...]) -> list[str]:
    return [one.strategy.name for one in result]


def test_three_lucky_tries_do_not_beat_three_hundred_good_ones():
    assert names(ranked(tried(STORY, 3, 3), tried(REFRAME, 300, 200))) == [REFRAME, STORY]


def test_thirty_lucky_ones_do():
    assert names(ranked(tried(STORY, 30, 30), tried(REFRAME, 300, 200))) == [STORY, REFRAME]


def test_a_new_strategy_stands_between_the_good_and_the_bad():
    result = ranked(near(VIDEO), tried(STORY, 100, 60), tried(REFRAME, 100, 5))
    assert names(result) == [STORY, VIDEO, REFRAME]
    # nothing is known of it: as good as all of them together
    base = (65 + BASE_TRIES * BASE_RATE) / (200 + BASE_TRIES)
    assert result[1].confidence == pytest.approx(base, abs=1e-4)
    assert (result[1].tried, result[1].lifted, result[1].won) == (0, 0, 0)


def test_what_was_heard_or_is_not_in_the_playbook_is_left_out():
    found = (near(STORY, 0.9), near(StrategyName("gone"), 0.99), near(VIDEO, 0.3))
    assert names(ranked(*found, heard=(STORY,))) == [VIDEO]
    assert ranked() == ()


def test_the_narrow_scope_is_pulled_towards_the_wide_one():
    narrow = tried(STORY, 8, 8, scope=NARROW, won=5)
    (alone,), (in_bad_company,) = (
        ranked(narrow),
        ranked(narrow, tried(STORY, 1000, 100)),
    )
    assert in_bad_company.confidence < alone.confidence
    assert (in_bad_company.tried, in_bad_company.lifted, in_bad_company.won) == (8, 8, 5)


def test_scopes_count_from_the_widest_to_the_narrowest_each_try_once_in_whatever_order_they_come():
    rows = [
        tried(STORY, 5, 5, scope="objection:money|a=1|b=2"),
        tried(STORY, 20, 7, scope="objection:money|a=1"),
        tried(STORY, 50, 40, scope="objection:money"),
        # the objection tells more: the phase is not asked
        tried(STORY, 200, 20, scope="phase:5"),
    ]
    expected = (40 + BASE_TRIES * BASE_RATE) / (50 + BASE_TRIES)
    pulls = (EVERYBODY_TRIES, KIND_TRIES, KIND_TRIES)
    for (own_tried, own_lifted), pull in zip(((30, 33), (15, 2), (5, 5)), pulls, strict=True):
        expected = (min(own_lifted, own_tried) + pull * expected) / (own_tried + pull)
    for order in (rows, rows[::-1], rows[2:] + rows[:2]):
        (one,) = ranked(*order)
        assert one.confidence == pytest.approx(expected, abs=1e-4)
        assert one.tried == 5


def test_one_lucky_call_counts_once_however_many_kinds_it_belongs_to():
    scopes = ("objection:money", "objection:money|a=1", "objection:money|a=1|b=2")
    (everywhere,) = ranked(*(tried(STORY, 1, 1, scope=scope) for scope in scopes))
    (once,) = ranked(tried(STORY, 1, 1, scope=scopes[-1]))
    assert everywhere.confidence == once.confidence


def test_the_phase_speaks_where_nothing_was_tried_on_the_objection():
    (one,) = ranked(
        tried(STORY, 0, 0, scope="objection:money"), tried(STORY, 40, 30, scope="phase:5")
    )
    assert one.tried == 40


def test_a_scope_that_nobody_has_tried_changes_and_shows_nothing():
    (with_it,) = ranked(tried(STORY, 40, 20), tried(STORY, 0, 0, scope=NARROW))
    (without,) = ranked(tried(STORY, 40, 20))
    assert with_it == without
    (only,) = ranked(tried(STORY, 0, 0))
    assert (only.confidence, only.why) == (BASE_RATE, ())


def test_fitting_the_objection_and_the_phase_and_being_close_help():
    plain = ranked(near(REFRAME))[0].confidence
    on_money = replace(QUESTION, objection=MONEY)
    in_phase = replace(QUESTION, phase=9)
    assert ranked(near(REFRAME), question=on_money)[0].confidence > plain
    assert ranked(near(REFRAME), question=in_phase)[0].confidence > plain
    assert ranked(near(REFRAME, 0.5))[0].confidence > plain
    assert ranked(near(REFRAME, -1.0))[0].confidence > 0.0


def test_a_proven_line_is_said_in_its_own_words():
    (proven,) = ranked(near(REFRAME, 0.4), near(REFRAME, 0.8, proven="What does it cost you?"))
    assert proven.say == "What does it cost you?"
    assert proven.why == ("worked in a call like this (0.80)",)
    (own,) = ranked(near(REFRAME, 0.8), near(REFRAME, 0.4, proven="What does it cost you?"))
    assert own.say == "say reframe"
    assert own.why == ("close to the moment (0.80)",)


def test_the_reasons_name_the_evidence_first_and_are_read_in_two_seconds():
    question = replace(QUESTION, objection=MONEY)
    (one,) = ranked(near(REFRAME, 0.5), tried(REFRAME, 40, 30, won=9), question=question)
    assert one.why == ("lifted 30 of 40 in phase 5, 9 qualified", "answers “money”")


def test_what_has_changed_lately_counts_more_than_what_was():
    fell = tried(STORY, 400, 300, recent=((300, 200), (120, 40), (60, 6)))
    (one,) = ranked(fell)
    (steady,) = ranked(tried(STORY, 400, 300, recent=((300, 225), (120, 90), (60, 45))))
    assert one.confidence < 0.45 < 0.7 < steady.confidence


def test_a_try_without_reaction_says_nothing_of_its_side():
    (half,) = ranked(replace(tried(STORY, 400, 100), sunk=100))
    (none,) = ranked(tried(STORY, 400, 100))
    assert half.confidence == pytest.approx(0.5, abs=0.02)
    assert none.confidence == pytest.approx(0.25, abs=0.02)


def test_few_tries_lately_change_little():
    (before,) = ranked(tried(STORY, 400, 300))
    (after,) = ranked(tried(STORY, 400, 300, recent=((3, 0), (3, 0), (3, 0))))
    assert before.confidence > after.confidence > before.confidence - 0.12


def test_of_two_alike_the_less_sure_stands_behind():
    result = ranked(near(REFRAME, 0.25), tried(STORY, 1000, 350))
    assert names(result) == [STORY, REFRAME]
    assert result[0].confidence == pytest.approx(result[1].confidence, abs=1e-3)


def test_what_fitted_weights_expect_is_the_chance_and_needs_nothing_retrieved():
    question = replace(QUESTION, outlooks={STORY: Outlook(chance=0.8, usual=0.6)})
    (one,) = ranked(question=question)
    assert one.strategy.name == STORY
    assert one.confidence == pytest.approx(0.8)
    assert one.why == ("better here than usual: 80%, not 60%",)


def test_counts_move_an_outlook_by_how_far_they_put_it_before_or_behind_the_others():
    outlooks = {STORY: Outlook(chance=0.8, usual=0.6), REFRAME: Outlook(chance=0.7, usual=0.6)}
    question = replace(QUESTION, outlooks=outlooks)

    def story(*rows: Evidence) -> float:
        found = {one.strategy.name: one.confidence for one in ranked(*rows, question=question)}
        return found[STORY]

    # what happens to all alike is another way to see reactions, no news of one of them
    for lifted in (50, 300, 450):
        alike = story(tried(STORY, 500, lifted), tried(REFRAME, 500, lifted))
        assert alike == pytest.approx(0.8, abs=0.02)
    assert story(tried(STORY, 500, 400), tried(REFRAME, 500, 200)) > 0.84
    assert story(tried(STORY, 500, 200), tried(REFRAME, 500, 400)) < 0.75


def test_the_base_rate_is_that_of_all_strategies_in_such_a_moment():
    result = ranked(near(VIDEO), tried(STORY, 100, 60), tried(REFRAME, 100, 5))
    base = (65 + BASE_TRIES * BASE_RATE) / (200 + BASE_TRIES)
    assert [one.base_rate for one in result] == pytest.approx([base] * 3, abs=1e-4)
    better, usual, worse = (one.confidence - one.base_rate for one in result)
    assert better > 0.01 > abs(usual) > -0.01 > worse
    assert from_memory(PLAYBOOK.strategies[0], QUESTION, ()).base_rate == BASE_RATE


def test_the_base_rate_of_fitted_strategies_is_what_the_weights_expect_of_all_of_them_here():
    outlooks = {STORY: Outlook(chance=0.8, usual=0.6), REFRAME: Outlook(chance=0.2, usual=0.6)}
    question = replace(QUESTION, outlooks=outlooks)
    assert [one.base_rate for one in ranked(question=question)] == pytest.approx([0.5, 0.5])
    # what is known of one alone says nothing of a side
    (alone,) = ranked(question=replace(QUESTION, outlooks={STORY: outlooks[STORY]}))
    assert alone.base_rate == alone.confidence


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 500))
def test_any_outlook_makes_a_chance(chance, usual, lifted):
    question = replace(QUESTION, outlooks={STORY: Outlook(chance=chance, usual=usual)})
    for explore in (False, True):
        (one,) = ranked(tried(STORY, 500, lifted), question=question, explore=explore)
        assert 0.0 < one.confidence < 1.0
        assert 0.0 < one.base_rate < 1.0


def asking(number: int) -> Question:
    return replace(QUESTION, question_id=f"c{number}:q1")


def test_the_same_question_always_draws_the_same_order():
    found = (near(VIDEO), near(STORY), near(REFRAME))
    orders = {tuple(names(ranked(*found, question=asking(7), explore=True))) for _ in range(5)}
    assert len(orders) == 1


def test_a_new_strategy_gets_tries_and_a_bad_one_hardly_any():
    found = (tried(STORY, 400, 160), tried(REFRAME, 400, 40), near(VIDEO))
    first = [names(ranked(*found, question=asking(n), explore=True))[0] for n in range(400)]
    assert 4 < first.count(VIDEO) < 200 < first.count(STORY)
    assert first.count(REFRAME) == 0


def test_equals_stand_in_the_order_of_their_names():
    assert names(ranked(near(VIDEO), near(STORY), near(REFRAME))) == [REFRAME, STORY, VIDEO]


def test_from_memory_a_strategy_is_judged_by_itself():
    strategy = PLAYBOOK.strategies[0]
    one = from_memory(strategy, replace(QUESTION, objection=MONEY), ("Kevin is away",))
    assert (one.strategy, one.say, one.why) == (strategy, "say reframe", ("Kevin is away",))
    assert one.confidence > BASE_RATE


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        ("objection:money", "on “money”"),
        ("phase:5", "in phase 5"),
        (
            "objection:money|experience_level=none|motivation=high",
            "on “money” with experience_level none, motivation high",
        ),
    ],
)
def test_a_scope_is_said_in_words(scope, words):
    assert scope_in_words(scope) == words


# what each scope counts beyond the narrower one: (tried, lifted)
counts = st.integers(0, 500).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n)))


def nested(own: list[tuple[int, int]]) -> list[Evidence]:
    scopes = ("phase:5", "phase:5|a=1", "phase:5|a=1|b=2")
    return [
        tried(STORY, sum(n for n, _ in own[depth:]), sum(k for _, k in own[depth:]), scope=scope)
        for depth, scope in zip(range(len(own)), scopes, strict=False)
    ]


@given(st.lists(counts, min_size=1, max_size=3), st.floats(-1, 1), st.data())
def test_one_more_lift_never_lowers_the_confidence_which_stays_a_chance(own, closeness, data):
    place = data.draw(st.integers(0, len(own) - 1))
    n, k = own[place]
    more = [*own]
    more[place] = (n, min(n, k + 1))
    (before,), (after,) = (
        ranked(near(STORY, closeness), *nested(own)),
        ranked(near(STORY, closeness), *nested(more)),
    )
    assert 0.0 <= before.confidence <= after.confidence <= 1.0


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=4))
def test_odd_counts_still_make_a_chance(rows):
    evidence = [tried(STORY, n, k, scope=f"phase:5|{i}=1") for i, (n, k) in enumerate(rows)]
    (one,) = ranked(near(STORY), *evidence)
    assert 0.0 <= one.confidence <= 1.0
