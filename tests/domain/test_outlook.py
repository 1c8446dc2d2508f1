import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.hints import Outlook
from agent_sidecar.domain.outlook import MOOD_SCALE, PLACE, SENSES, MomentTalk, OutlookModel
from agent_sidecar.domain.types import StrategyName, Vector

STORY, ASK = StrategyName("story"), StrategyName("ask")
ASKS, TELLS, LIKES, DOUBTS = np.eye(4, dtype=np.float32)


def senses(talk: MomentTalk) -> list[Vector]:
    return list(talk.numbers()[: SENSES * 4].reshape(SENSES, 4))


def place(talk: MomentTalk) -> list[float]:
    return [float(number) for number in talk.numbers()[SENSES * 4 :]]


def a_talk() -> MomentTalk:
    talk = MomentTalk(4)
    talk.hear_agent(ASKS)
    talk.hear_prospect("well", DOUBTS, 20.0)
    talk.hear_prospect("what is it?", LIKES, 80.0)
    return talk


def test_a_moment_is_the_last_turn_the_past_and_the_agent_s_last_line():
    turn, past, agent = senses(a_talk())
    assert turn == pytest.approx((DOUBTS + LIKES) / 2)
    assert past @ LIKES > past @ DOUBTS > 0.0
    assert np.linalg.norm(past) == pytest.approx(1.0)
    assert agent == pytest.approx(ASKS)


def test_before_anybody_spoke_there_is_nothing():
    assert not MomentTalk(4).numbers().any()


def test_the_place_tells_turns_lines_in_the_turn_questions_and_mood():
    talk = a_talk()
    turns, log_turns, lines, asked, turn_mood, mood = place(talk)
    assert [turns, log_turns, lines, asked] == pytest.approx([0.1, np.log(2), 0.0, 1.0])
    assert turn_mood == pytest.approx(0.0, abs=1e-6)
    # the newer line counts more
    assert mood > 0.0
    talk.hear_agent(TELLS)
    talk.hear_agent(ASKS)
    assert place(talk)[:4] == pytest.approx([0.1, np.log(2), 2 / 3, 1.0])
    talk.hear_prospect("fine", LIKES, 99.9)
    assert place(talk)[:4] == pytest.approx([0.2, np.log(3), 0.0, 0.0])
    assert place(talk)[4] == MOOD_SCALE * 4.0


def test_a_line_without_score_or_with_a_vector_of_another_model_tells_less_not_wrong():
    talk = MomentTalk(4)
    talk.hear_prospect("hm", np.ones(3, np.float32), None)
    talk.hear_agent(None)
    talk.hear_agent(np.full(4, np.nan, np.float32))
    assert not talk.numbers()[: SENSES * 4].any()
    assert place(talk)[4:] == [0.0, 0.0]


def a_model() -> OutlookModel:
    by_number = np.zeros((SENSES * 4 + PLACE, 2), np.float32)
    by_number[:4, 0] = 2.0 * LIKES
    return OutlookModel(
        names=(STORY, ASK),
        by_number=by_number,
        starts=np.array([0.0, -1.0], np.float32),
        usual=np.array([0.6, 0.3], np.float32),
    )


def test_a_strategy_is_worth_more_in_its_moment():
    model, talk = a_model(), MomentTalk(4)
    talk.hear_prospect("hm", DOUBTS, 50.0)
    before = model.outlook(talk)
    talk.hear_agent(TELLS)
    talk.hear_prospect("nice", LIKES, 50.0)
    after = model.outlook(talk)
    assert before[STORY] == Outlook(chance=0.5, usual=float(np.float32(0.6)))
    assert after[STORY].chance == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert after[ASK] == before[ASK]


def test_weights_come_back_from_their_arrays():
    model = a_model()
    again = OutlookModel.from_arrays(model.names, model.arrays())
    assert again.dimension == model.dimension == 4
    assert {name: array.shape for name, array in again.arrays().items()} == again.shapes(4)
    assert np.array_equal(again.by_number, model.by_number)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 100)), max_size=40))
def test_any_call_makes_finite_numbers(lines):
    talk = MomentTalk(4)
    for is_agent, engagement in lines:
        if is_agent:
            talk.hear_agent(ASKS)
        else:
            talk.hear_prospect("hm?", LIKES, engagement)
    numbers = talk.numbers()
    assert np.isfinite(numbers).all()
    assert np.abs(numbers).max(initial=0.0) <= 4.0
