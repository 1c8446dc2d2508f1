from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.credits import (
    credit_moves,
    find_patterns,
    follow_objections,
    judge_hints,
)
from agent_sidecar.domain.hints import Hint, HintStatus
from agent_sidecar.domain.record import Acoustics, GivenHint, Pattern, TranscriptSegment
from agent_sidecar.domain.types import HintId, Party
from tests.domain.playbooks import MONEY, REFRAME, STORY, TRUST, at

Segments = list[TranscriptSegment]


def talk(*segments: TranscriptSegment) -> Segments:
    """Return the segments numbered as a call does."""
    return [
        replace(segment, index=index, at=at(10 * index)) for index, segment in enumerate(segments)
    ]


def said(party: Party, **more: object) -> TranscriptSegment:
    plain: dict[str, object] = {"index": 0, "speaker": party, "text": "well", "at": at(0)}
    return TranscriptSegment(**(plain | {"start_s": 0.0, "end_s": 1.0} | more))  # type: ignore[arg-type]


def agent(**more: object) -> TranscriptSegment:
    return said("agent", **more)


def prospect(
    own: float | None = 50.0, call: float | None = 50.0, **more: object
) -> TranscriptSegment:
    return said("prospect", engagement=own, call_engagement=call, **more)


@pytest.mark.parametrize(
    ("own", "lifted"), [(80.0, True), (55.0, True), (50.0, None), (45.0, False), (None, None)]
)
def test_a_move_lifted_when_the_next_reaction_was_positive(own, lifted):
    (credit,) = credit_moves(talk(agent(strategy=STORY, phase=4), prospect(own)))
    assert credit.lifted is lifted
    assert (credit.strategy, credit.phase, credit.segment) == (STORY, 4, 0)


def test_a_line_without_a_strategy_earns_nothing():
    assert list(credit_moves(talk(agent(), prospect(90.0)))) == []


def test_a_move_nobody_reacted_to_is_neither_good_nor_bad():
    (credit,) = credit_moves(talk(prospect(), agent(strategy=STORY, call_engagement=50.0)))
    assert (credit.lifted, credit.score_change) == (None, None)


def test_the_change_is_from_the_score_before_the_move_to_the_one_after_the_reaction():
    moves = talk(
        agent(strategy=STORY),
        prospect(90.0, 66.0),
        agent(strategy=REFRAME, call_engagement=66.0, hint_id="h1"),
        prospect(20.0, 47.5),
    )
    first, second = credit_moves(moves)
    assert (first.score_change, first.hinted) == (16.0, False)
    assert (second.score_change, second.hinted) == (-18.5, True)


def test_a_reaction_without_a_score_of_the_call_changes_nothing():
    (credit,) = credit_moves(talk(agent(strategy=STORY), prospect(90.0, None)))
    assert credit.score_change is None


def test_a_move_answers_the_objection_that_is_open_and_closes_it():
    moves = talk(
        prospect(objection=MONEY),
        prospect(),
        agent(),
        agent(strategy=REFRAME),
        agent(strategy=STORY),
    )
    assert [credit.objection for credit in credit_moves(moves)] == [MONEY, None]


def test_what_the_prospect_says_to_the_closer_is_no_reaction_to_the_agent():
    moves = talk(agent(strategy=STORY), said("closer", strategy=REFRAME), prospect(95.0))
    (credit,) = credit_moves(moves)
    assert (credit.strategy, credit.lifted) == (STORY, None)


@pytest.mark.parametrize(
    ("after", "resolved"),
    [
        ([], False),
        ([prospect(call=60.0)], True),
        ([prospect(call=59.9)], False),
        ([prospect(call=50.0), prospect(call=60.0)], True),
        ([prospect(call=50.0), prospect(call=50.0), prospect(call=90.0)], False),
        ([prospect(call=50.0, phase=4)], True),
        ([prospect(call=None)], False),
    ],
)
def test_an_objection_is_resolved_when_score_or_phase_recovers_within_two_reactions(
    after, resolved
):
    objection = prospect(call=45.0, objection=TRUST, phase=3)
    segments = talk(prospect(call=60.0, phase=3), objection, agent(strategy=STORY), *after)
    (met,) = follow_objections(segments)
    assert met.resolved is resolved
    assert (met.type, met.phase, met.at, met.strategy) == (TRUST, 3, at(10), STORY)


def test_an_objection_is_told_by_its_phrase_or_else_its_line():
    first = prospect(objection=MONEY, keywords=("too expensive",), text="it is too expensive")
    second = prospect(None, None, objection=TRUST, text="is it real")
    met = list(follow_objections(talk(first, second)))
    assert [(one.trigger, one.strategy) for one in met] == [
        ("too expensive", None),
        ("is it real", None),
    ]


def patterns(*segments: TranscriptSegment) -> dict[str, Pattern]:
    numbered = talk(*segments)
    found = list(find_patterns(numbered, list(follow_objections(numbered))))
    assert len({pattern.id for pattern in found}) == len(found)
    return {pattern.id: pattern for pattern in found}


def test_an_answered_objection_is_a_pattern_of_objection_strategy_and_result():
    objection, answer = prospect(call=45.0, objection=TRUST), agent(strategy=STORY)
    assert patterns(objection, answer, prospect(call=60.0)) == {
        "objection_answered:trust:story:rise": Pattern(
            id="objection_answered:trust:story:rise", type="objection_answered", effectiveness=10.0
        )
    }
    (fall,) = patterns(objection, answer, prospect(call=40.0)).values()
    assert (fall.id, fall.effectiveness) == ("objection_answered:trust:story:fall", 0.0)
    assert patterns(objection, agent()) == {}


def test_money_before_the_offer_is_price_before_value():
    assert patterns(prospect(objection=MONEY, phase=2))["price_before_value"].effectiveness == 0.0
    won = patterns(prospect(call=45.0, objection=MONEY, phase=2), prospect(call=70.0))
    assert won["price_before_value"].effectiveness == 10.0
    assert patterns(prospect(objection=MONEY, phase=7)) == {}


def test_questions_in_a_row_are_one_burst():
    asks = prospect(call=58.0, questions=1)
    assert patterns(asks) == {}
    burst = patterns(asks, agent(), replace(asks, call_engagement=62.0), asks)
    assert burst["question_burst"].effectiveness == 6.0
    assert patterns(asks, prospect(), asks) == {}


def test_a_long_answer_after_a_long_silence_opens_up():
    late = Acoustics(response_latency_s=3.0)
    long = " ".join(["word"] * 15)
    found = patterns(prospect(call=60.0, text=long, acoustics=late))
    assert found["silence_then_long_answer"].effectiveness == 7.5
    assert patterns(prospect(text="well", acoustics=late)) == {}
    assert patterns(prospect(text=long, acoustics=Acoustics())) == {}


def test_three_phases_at_once_are_a_skip():
    found = patterns(agent(phase=1), agent(phase=4), prospect(None, None, phase=4), agent(phase=6))
    assert list(found) == ["phase_skipped:1-4"]
    assert found["phase_skipped:1-4"].effectiveness == 5.0


segments = st.lists(
    st.builds(
        lambda party, score, phase, objection, strategy: said(
            party,
            engagement=score if party == "prospect" else None,
            call_engagement=score,
            phase=phase,
            objection=objection if party == "prospect" else None,
            strategy=strategy if party == "agent" else None,
        ),
        st.sampled_from(["prospect", "agent", "closer"]),
        st.floats(0, 100),
        st.integers(1, 12),
        st.sampled_from([None, MONEY, TRUST]),
        st.sampled_from([None, STORY, REFRAME]),
    ),
    max_size=25,
).map(lambda drawn: talk(*drawn))


@given(segments)
def test_every_recognised_move_earns_one_credit_and_every_objection_is_followed(drawn):
    assert [c.segment for c in credit_moves(drawn)] == [s.index for s in drawn if s.strategy]
    met = list(follow_objections(drawn))
    assert [one.at for one in met] == [s.at for s in drawn if s.objection]
    for pattern in find_patterns(drawn, met):
        assert 0.0 <= pattern.effectiveness <= 10.0


def given_hint(
    hint_id: str = "h1",
    *,
    chance: float = 0.6,
    base: float | None = 0.5,
    status: HintStatus = "used",
    until_s: float = 30.0,
) -> GivenHint:
    """Return a hint that was shown at the start."""
    hint = Hint(
        hint_id=HintId(hint_id),
        question_id="q1",
        strategy=STORY,
        say="a story",
        why=(),
        confidence=chance,
        tried=0,
        lifted=0,
        won=0,
        phase=4,
        objection=None,
        engagement=None,
        degraded=(),
        given_at=at(0),
        expires_at=at(until_s),
        base_rate=base,
    )
    return GivenHint(hint=hint, status=status, latency_ms=1.0)


USED = talk(agent(strategy=STORY, hint_id="h1"), prospect(80.0))


@pytest.mark.parametrize(
    ("chance", "reaction", "came_true"),
    [(0.6, 80.0, True), (0.6, 20.0, False), (0.4, 80.0, False), (0.4, 20.0, True)],
)
def test_a_hint_predicts_the_side_of_the_next_reaction(chance, reaction, came_true):
    segments = talk(agent(strategy=STORY, hint_id="h1"), prospect(reaction))
    assert list(judge_hints(segments, [given_hint(chance=chance)])) == [came_true]


@pytest.mark.parametrize(
    ("hint", "why"),
    [
        (given_hint(status="shown"), "nobody used it"),
        (given_hint(status="dismissed"), "the agent did not want it"),
        (given_hint(base=None), "made before base rates were kept"),
        (given_hint(chance=0.5), "as good as any other: no side"),
    ],
)
def test_a_hint_that_was_not_used_or_predicted_nothing_is_not_judged(hint, why):
    assert list(judge_hints(USED, [hint])) == [], why


@pytest.mark.parametrize(
    "after", [(), (prospect(50.0),), (prospect(None),), (said("closer"), prospect(80.0))]
)
def test_a_hint_without_a_reaction_of_either_side_is_not_judged(after):
    segments = talk(agent(strategy=STORY, hint_id="h1"), *after)
    assert list(judge_hints(segments, [given_hint()])) == []


def test_a_hint_counts_once_by_the_line_that_followed_it_first():
    segments = talk(
        agent(), prospect(20.0), *USED, agent(strategy=STORY, hint_id="h1"), prospect(10.0)
    )
    assert list(judge_hints(segments, [given_hint()])) == [True]


def test_what_an_agent_says_he_used_is_judged_by_his_next_line_while_the_hint_lived():
    late = talk(prospect(20.0), prospect(20.0), agent(), prospect(80.0))
    assert list(judge_hints(late, [given_hint(until_s=20.0)])) == [True]
    assert list(judge_hints(late, [given_hint(until_s=19.0)])) == []


def test_hints_are_judged_one_by_one():
    segments = talk(*USED, agent(strategy=REFRAME, hint_id="h2"), prospect(20.0))
    hints = [given_hint(), given_hint("h2"), given_hint("h3", until_s=0.0, base=0.7)]
    # the third is of the moment of the first line, and said that it would go badly
    assert list(judge_hints(segments, hints)) == [True, False, False]
