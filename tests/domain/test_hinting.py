from dataclasses import replace

import numpy as np
import pytest

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.engagement import STARTING_WEIGHTS, Weights
from agent_sidecar.domain.hints import Candidate, Evidence, Retrieved
from agent_sidecar.domain.outlook import PLACE, SENSES, OutlookModel
from agent_sidecar.domain.playbook import Thresholds
from agent_sidecar.domain.types import HintId, Lead, StrategyName
from tests.domain.playbooks import (
    BOOK,
    DIMENSION,
    MONEY,
    REFRAME,
    STORY,
    VIDEO,
    a_playbook,
    at,
    like,
)
from tests.domain.talk import Talk

CALM = a_playbook(thresholds=Thresholds(hint_cool_down_s=10, hints_per_minute=3))
OBJECTS = "that is too expensive"


def asked(talk: Talk) -> list[ev.AskForHints]:
    return talk.of(ev.AskForHints)


def strategies(talk: Talk) -> list[str]:
    return [effect.hint.strategy for effect in talk.of(ev.PublishHint)]


def test_an_objection_asks_what_has_worked_in_such_a_moment():
    talk = Talk(lead=Lead(experience_level="none"))
    talk.say("prospect", OBJECTS, 10.0, like("costs much"))
    (effect,) = asked(talk)
    question = effect.question
    assert (question.question_id, question.call_id) == ("c1:q1", "c1")
    assert (question.text, question.objection, question.phase) == (OBJECTS, MONEY, 1)
    assert question.lead_kind == (("experience_level", "none"),)
    assert question.engagement == talk.call.engagement
    assert question.vector is not None


def test_a_plain_line_asks_nothing():
    talk = Talk()
    talk.say("prospect", "we have a car and a house, well, you know", 10.0)
    assert asked(talk) == []


def test_a_fall_of_the_sound_alone_asks_without_words():
    talk = Talk()
    talk.speech("agent", 0.0, 1.0)
    talk.speech("prospect", 9.0, 12.0, tonal_shift_st=-9.0, response_latency_s=9.0)
    talk.speech("prospect", 20.0, 21.0)
    (effect,) = asked(talk)
    assert (effect.question.text, effect.question.objection) == ("", None)


def test_the_best_answer_is_shown_with_its_reasons_and_its_expiry():
    talk = Talk()
    talk.say("prospect", OBJECTS, 10.0)
    talk.feed(
        ev.HintsRetrieved(
            question_id="c1:q1",
            at=at(10.3),
            retrieved=Retrieved(
                evidence=(
                    Evidence(strategy=REFRAME, scope="objection:money", tried=40, lifted=30, won=9),
                    Evidence(strategy=STORY, scope="phase:1", tried=40, lifted=4, won=0),
                ),
                degraded=("chroma",),
            ),
            latency_ms=31.0,
        )
    )
    (effect,) = talk.of(ev.PublishHint)
    hint = effect.hint
    assert (hint.hint_id, hint.question_id, hint.strategy) == ("c1:h1", "c1:q1", REFRAME)
    assert (hint.tried, hint.lifted, hint.won) == (40, 30, 9)
    assert hint.base_rate is not None
    assert 0.0 < hint.base_rate < hint.confidence
    assert hint.why[0] == "lifted 30 of 40 on “money”, 9 qualified"
    assert (hint.given_at, hint.expires_at) == (at(10.3), at(40.3))
    assert (hint.degraded, effect.latency_ms) == (("chroma",), 31.0)


def test_an_answer_below_the_threshold_or_none_at_all_is_silence():
    talk = Talk(a_playbook(thresholds=Thresholds(hint_confidence=0.99)))
    talk.say("prospect", OBJECTS, 10.0)
    assert talk.answer(10.1, REFRAME) == []
    talk = Talk()
    talk.say("prospect", OBJECTS, 10.0)
    assert talk.answer(10.1) == []


def test_an_answer_is_shown_once_and_one_to_no_question_never():
    talk = Talk()
    talk.say("prospect", OBJECTS, 10.0)
    assert len(talk.answer(10.1, REFRAME)) == 1
    assert talk.answer(10.2, STORY) == []


@pytest.mark.parametrize("ended", ["hung up", "bridged", "closed"])
def test_an_answer_that_comes_when_the_agent_can_do_nothing_is_not_shown(ended):
    talk = Talk()
    talk.join()
    talk.say("prospect", OBJECTS, 10.0)
    if ended == "hung up":
        talk.leave(10.2)
    elif ended == "bridged":
        talk.bridge(10.2)
    else:
        talk.close(10.2)
    assert talk.answer(10.3, REFRAME) == []


def test_nothing_is_asked_during_the_cool_down():
    talk = Talk(CALM)
    talk.say("prospect", OBJECTS, 10.0)
    talk.answer(10.1, REFRAME)
    talk.say("prospect", OBJECTS, 19.0)
    assert len(asked(talk)) == 1
    talk.say("prospect", "still too expensive", 20.2)
    assert len(asked(talk)) == 2


def test_of_two_answers_at_once_only_the_first_is_shown():
    talk = Talk(CALM)
    talk.say("prospect", OBJECTS, 10.0)
    talk.say("prospect", "is it too expensive?", 10.1)
    talk.answer(10.3, REFRAME)
    late = ev.HintsRetrieved(
        question_id="c1:q1",
        at=at(10.4),
        retrieved=Retrieved(
            candidates=(Candidate(strategy=STORY, closeness=0.9, origin="playbook"),)
        ),
        latency_ms=400.0,
    )
    assert talk.feed(late) == []
    assert strategies(talk) == [REFRAME]


def test_a_strategy_that_this_call_has_heard_is_not_proposed():
    talk = Talk(CALM)
    talk.say("agent", "say reframe", 5.0, like("say reframe"))
    talk.say("prospect", OBJECTS, 10.0)
    talk.answer(10.1, REFRAME, STORY)
    talk.say("prospect", OBJECTS, 30.0)
    talk.answer(30.1, REFRAME, STORY)
    assert strategies(talk) == [STORY]


def test_a_line_that_follows_a_hint_in_time_uses_it():
    talk = Talk()
    talk.say("prospect", OBJECTS, 10.0)
    talk.answer(10.1, REFRAME)
    talk.say("agent", "well", 12.0, like("say story"))
    talk.say("agent", "or reframe", 20.0, like("or reframe"))
    record = talk.close(60.0)
    assert [segment.hint_id for segment in record.segments] == [None, None, "c1:h1"]
    assert record.hints[0].status == "used"
    assert record.credits[-1].hinted


@pytest.mark.parametrize("at_s", [9.0, 41.0])
def test_a_line_before_a_hint_or_after_its_expiry_does_not_follow_it(at_s):
    talk = Talk()
    talk.say("prospect", OBJECTS, 10.0)
    talk.answer(10.1, REFRAME)
    talk.say("agent", "say reframe", at_s, like("say reframe"))
    record = talk.close(60.0)
    assert record.hints[0].status == "shown"
    assert [segment.hint_id for segment in record.segments] == [None, None]


def test_the_agent_s_judgement_is_kept_and_one_of_an_unknown_hint_is_not():
    talk = Talk()
    talk.say("prospect", OBJECTS, 10.0)
    talk.answer(10.1, REFRAME)
    for hint_id in ("c1:h1", "c1:h9"):
        talk.feed(ev.HintJudged(hint_id=HintId(hint_id), at=at(12), action="dismissed"))
    assert [given.status for given in talk.close(60.0).hints] == ["dismissed"]


def no_closer(talk: Talk, at_s: float, number: int = 1) -> None:
    talk.want(at_s)
    talk.step("ended", at_s, "unavailable", number=number, reason="he is off")


def test_without_a_closer_the_second_best_is_shown_at_once_each_only_once():
    talk = Talk(CALM)
    talk.say("prospect", OBJECTS, 10.0)
    talk.answer(10.1, REFRAME)
    for number in (1, 2, 3):
        no_closer(talk, 11.0 + number, number)
    assert strategies(talk) == [REFRAME, VIDEO, BOOK]
    second = talk.of(ev.PublishHint)[1]
    assert second.hint.why == ("Kevin cannot take the call", "he is off")
    assert (second.hint.given_at, second.latency_ms) == (at(12.0), 0.0)


def test_the_second_best_obeys_the_cap_and_counts_in_it():
    talk = Talk(a_playbook(thresholds=Thresholds(hints_per_minute=1, hint_cool_down_s=0)))
    no_closer(talk, 10.0)
    no_closer(talk, 12.0, 2)
    talk.say("prospect", OBJECTS, 14.0)
    assert strategies(talk) == [VIDEO]
    assert asked(talk) == []


def test_a_second_best_that_is_no_strategy_is_passed_over():
    talk = Talk(a_playbook(second_best=(StrategyName("gone"), BOOK)))
    no_closer(talk, 10.0)
    assert strategies(talk) == [BOOK]


def test_a_playbook_without_second_best_says_nothing():
    talk = Talk(a_playbook(second_best=()))
    no_closer(talk, 10.0)
    assert strategies(talk) == []


def with_outlook() -> Weights:
    """Weights that expect much of the video where the prospect said what costs much."""
    by_number = np.zeros((SENSES * DIMENSION + PLACE, 2), np.float32)
    by_number[:DIMENSION, 0] = 3.0 * like("costs much")
    model = OutlookModel(
        names=(VIDEO, BOOK),
        by_number=by_number,
        starts=np.array([-1.0, -1.0], np.float32),
        usual=np.array([0.3, 0.3], np.float32),
    )
    return replace(STARTING_WEIGHTS, outlook=model)


def test_fitted_weights_say_what_to_expect_in_the_moment_and_the_best_is_shown():
    talk = Talk(weights=with_outlook())
    talk.say("agent", "it is ninety nine dollars", 5.0)
    talk.say("prospect", OBJECTS, 10.0, like("costs much"))
    (effect,) = asked(talk)
    outlooks = effect.question.outlooks
    assert outlooks[VIDEO].chance > 0.8 > 0.3 > outlooks[BOOK].chance
    talk.answer(10.1)
    assert strategies(talk) == [VIDEO]


def test_a_look_at_the_moment_asks_what_a_live_call_would_ask_and_changes_nothing():
    talk = Talk(weights=with_outlook(), lead=Lead(experience_level="none"))
    first = talk.call.question()
    assert (first.text, first.vector, first.objection, first.phase) == ("", None, None, 1)
    talk.say("prospect", OBJECTS, 10.0, like("costs much"))
    talk.say("prospect", "well", 12.0)
    looked, (effect,) = talk.call.question(), asked(talk)
    assert (looked.objection, looked.phase) == (MONEY, effect.question.phase)
    assert (looked.text, looked.lead_kind) == ("well", effect.question.lead_kind)
    assert looked.engagement == talk.call.engagement
    assert set(looked.outlooks) == {VIDEO, BOOK}
    assert talk.answer(12.5, VIDEO) != []
