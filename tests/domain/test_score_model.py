import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.score_context import Conversation
from agent_sidecar.domain.score_model import (
    FAMILIAR_LEAST,
    MEMORY_WEIGHT,
    Judge,
    Memory,
    ScoreModel,
)
from tests.domain.models import (
    ALONG,
    BACK,
    DIMENSION,
    ELSE,
    GROUPS,
    TOPIC,
    a_model,
    block,
    heard,
    word_weights,
)


def test_a_model_is_its_arrays_in_any_float_type():
    model = a_model(known=block("line", 0.5))
    halved = {name: array.astype(np.float16) for name, array in model.arrays().items()}
    again = ScoreModel.from_arrays(GROUPS, halved)
    assert again.dimension == DIMENSION
    assert again.known.dtype == np.float32
    assert again.known.tolist() == model.known.tolist()
    with pytest.raises(KeyError, match="familiar"):
        ScoreModel.from_arrays(GROUPS, {"topics": model.topics})


def test_every_array_has_the_shape_that_is_wanted():
    model = a_model()
    shapes = {name: array.shape for name, array in model.arrays().items()}
    assert model.shapes(DIMENSION) == shapes
    short = a_model(known=model.known[:10])
    assert short.shapes(DIMENSION)["known"] == model.known.shape


def test_the_blocks_of_a_line_lie_where_the_model_says():
    model = a_model()
    talk = Conversation(DIMENSION)
    talk.hear_prospect("one", BACK)
    talk.hear_agent(TOPIC)
    line = talk.hear_prospect("two", ALONG)
    row = model.numbers(line)
    assert row[model.blocks["line"]].tolist() == ALONG.tolist()
    assert row[model.blocks["agent"]].tolist() == TOPIC.tolist()
    assert row[model.blocks["past"]].tolist() == BACK.tolist()
    assert row[model.blocks["answer"]] == pytest.approx(line.shortness * TOPIC)
    assert row[model.blocks["anchors"]].tolist() == [1.0, 1.0, 0.0, 0.0]
    assert row[model.blocks["past_anchors"]].tolist() == [0.0, 0.0, 1.0, 1.0]
    assert row[model.blocks["sides"]] == pytest.approx([1.0, 0.0, 1.0])
    assert row[model.blocks["manner"]].tolist() == line.cues.tolist()
    assert row[model.blocks["place"]].tolist() == line.place.tolist()


def test_statements_of_a_side_are_found_by_closeness():
    line = heard("well", 0.6 * ALONG + 0.8 * BACK)
    assert a_model().closest_group(line, along=True) == "agrees"
    assert a_model().closest_group(line, along=False) == "refuses"


def test_words_count_by_their_weight_and_a_long_line_does_not_count_more():
    model = a_model(words=word_weights(sure=2.0))
    short, long = (float(model.word_weights(heard(t)).sum()) for t in ("sure", "sure " * 50))
    assert short == pytest.approx(2.0 / np.sqrt(4))
    assert long < 2.0


def test_labels_of_both_sides_are_weighed_against_each_other():
    labels = np.zeros((3, 4 * DIMENSION), np.float32)
    labels[0, :4], labels[1, :4], labels[2, :4] = 3 * ALONG, 3 * BACK, 9 * ALONG
    sides = np.array([1.0, -1.0, 0.0], np.float32)
    model = a_model(labels=labels, label_starts=np.zeros(3, np.float32), label_sides=sides)
    assert model.label_lean(model.numbers(heard("x", ALONG))) == pytest.approx(3.0)
    assert model.label_lean(model.numbers(heard("x", BACK))) == pytest.approx(-3.0)


@pytest.mark.parametrize(
    ("vector", "familiar"),
    [(TOPIC, 1.0), (ELSE, FAMILIAR_LEAST), (0.4 * TOPIC + 0.9165 * ELSE, 0.5), (None, 0.0)],
)
def test_a_call_is_as_familiar_as_its_talk_is_close_to_the_fitted_calls(vector, familiar):
    assert a_model().familiarity(heard("x", vector)) == pytest.approx(familiar, abs=0.01)


def test_in_a_familiar_call_the_fitted_calls_count_and_in_a_strange_one_the_general():
    model = a_model(known=block("line", 2.0), plain=block("sides", 0.0, 0.0, 3.0))
    parts = Judge(model).contributions(heard("x", TOPIC))
    assert parts["line"] == pytest.approx(2.0)
    assert sum(parts.values()) == pytest.approx(2.0)
    strange = Judge(model).contributions(heard("x", ALONG))
    assert sum(strange.values()) == pytest.approx(strange["sides"] + 2.0 * FAMILIAR_LEAST)
    assert strange["sides"] == pytest.approx(3.0 * (1.0 - FAMILIAR_LEAST))


def test_a_line_in_the_middle_says_nothing():
    line = heard("sure", TOPIC)
    model = a_model(known=block("line", 2.0), words=word_weights(sure=2.0))
    middle = a_model(
        known=block("line", 2.0),
        words=word_weights(sure=2.0),
        means=model.numbers(line),
        middles=np.array([model.word_weights(line).sum(), 0.0, 1.0], np.float32),
    )
    assert sum(Judge(middle).contributions(line).values()) == pytest.approx(0.0, abs=1e-6)


def test_without_a_vector_only_general_cues_count():
    model = a_model(known=block("line", 2.0), plain=block("manner", 1.0) + block("sides", 9.0))
    parts = Judge(model).contributions(heard("yes", None))
    assert {name for name, value in parts.items() if value} == {"manner"}


def test_what_he_said_before_is_remembered_less_with_every_line():
    memory = Memory()
    assert memory.lean == 0.0
    memory.keep(3.0)
    assert memory.lean == pytest.approx(MEMORY_WEIGHT * 3.0 / 3.0)
    memory.keep(0.0)
    assert 0 < memory.lean < MEMORY_WEIGHT * 3.0 / 3.0


def test_a_prospect_who_went_along_is_given_credit_and_the_next_line_is_his_own():
    model = a_model(known=block("line", *(4 * TOPIC)))
    judge, talk = Judge(model), Conversation(DIMENSION)
    judge.contributions(talk.hear_prospect("one", TOPIC))
    second = judge.contributions(talk.hear_prospect("two", ELSE + TOPIC))
    assert second["memory"] > 0


@given(st.lists(st.tuples(st.booleans(), st.text(max_size=60), st.integers(0, 4)), max_size=20))
def test_any_call_is_judged_the_same_each_time_by_numbers(lines):
    model = a_model(known=block("line", 1.0), plain=block("manner", 0.1))
    vectors = [ALONG, BACK, TOPIC, ELSE, None]

    def play() -> list[float]:
        talk, judge, found = Conversation(DIMENSION), Judge(model), []
        for is_agent, text, number in lines:
            if is_agent:
                talk.hear_agent(vectors[number])
            else:
                said = talk.hear_prospect(text, vectors[number])
                found.append(sum(judge.contributions(said).values()))
        return found

    first = play()
    assert np.isfinite(first).all()
    assert play() == first
