from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from agent_sidecar.domain.ngrams import hashed
from agent_sidecar.domain.strategies import (
    PAST_KEPT,
    PLACE,
    SENSES,
    AgentTalk,
    Floats,
    KnownWords,
    StrategyModel,
    StrategyRecogniser,
    mixed,
    softmax,
    why_not_live,
)
from agent_sidecar.domain.types import Party, Vector
from tests.domain.playbooks import PLAYBOOK

DIMENSION, LABELS, HIDDEN, NETWORKS, TOPICS = 4, 5, 3, 2, 2
NUMBERS = SENSES * DIMENSION + PLACE
A, B, C = np.eye(DIMENSION, dtype=np.float32)[:3]
WORDS = "would you give a little if others gave as well"


def a_model(seed: int = 0) -> StrategyModel:
    """Return weights made up by chance: whatever they are, the rules below hold."""
    random = np.random.default_rng(seed)
    places, _ = hashed(WORDS)

    def some(*shape: int) -> Floats:
        return random.normal(0, 0.5, shape).astype(np.float32)

    return StrategyModel(
        names=("ask-small", "tell-own-story"),
        owners=np.array([0, 1, 2, 2, 0]),
        handicaps=np.array([-0.3, -0.5, -0.1], np.float32),
        words=KnownWords(places=places, rarity=np.ones(len(places), np.float32)),
        topics=some(len(places), TOPICS),
        by_number=some(NUMBERS, LABELS),
        by_word=some(len(places), LABELS),
        starts=some(LABELS),
        inner=some(NUMBERS + TOPICS, NETWORKS * HIDDEN),
        inner_starts=some(NETWORKS * HIDDEN),
        outer=some(NETWORKS, HIDDEN, LABELS),
        outer_starts=some(NETWORKS, LABELS),
    )


Line = tuple[Party, str, Vector | None]
MODEL = a_model()
LINES = st.lists(
    st.tuples(
        st.sampled_from(["agent", "prospect"]),
        st.sampled_from([WORDS, "would you?", "", "no", "I gave last year"]),
        st.sampled_from([A, B, C, None]),
    ),
    max_size=12,
)


def recognised(lines: Sequence[Line], model: StrategyModel | None = MODEL) -> list[Any]:
    recogniser = StrategyRecogniser(model)
    return [recogniser.hear(*line) for line in lines]


def test_a_line_is_told_by_its_vector_by_those_before_it_and_by_its_place():
    talk = AgentTalk(DIMENSION)
    first = talk.hear("agent", "hello?", A)
    assert talk.hear("prospect", "hi", B) is None
    talk.hear("agent", "two words", C)
    last = talk.hear("agent", "three more words", A)
    assert first is not None
    assert last is not None
    nothing = np.zeros(DIMENSION)
    assert first.numbers[:-PLACE] == pytest.approx(np.concatenate([A, nothing, nothing, nothing]))
    past = (1 - PAST_KEPT) * (PAST_KEPT * A + C)
    assert last.numbers[:-PLACE] == pytest.approx(np.concatenate([A, C, B, past]))
    assert first.numbers[-PLACE:] == pytest.approx([0.1, np.log(2), 0, 0, 0, 1, 1, 1, 1, 0.1])
    assert last.numbers[-PLACE:] == pytest.approx(
        [0.3, np.log(4), 1, 1 / 3, np.log(2), 0, 0, 0, 0, 0.3]
    )


def test_who_else_speaks_takes_the_turn_and_is_not_answered():
    talk = AgentTalk(DIMENSION)
    talk.hear("agent", "a", A)
    assert talk.hear("closer", "b", B) is None
    line = talk.hear("agent", "c", A)
    assert line is not None
    assert line.numbers[2 * DIMENSION : 3 * DIMENSION].any() == np.False_


@pytest.mark.parametrize(
    "vector", [None, np.ones(DIMENSION + 1, np.float32), np.full(DIMENSION, np.nan, np.float32)]
)
def test_without_a_vector_that_fits_the_words_still_tell(vector):
    (told,) = recognised([("agent", WORDS, vector)])
    (same,) = recognised([("agent", WORDS, np.zeros(DIMENSION, np.float32))])
    (other,) = recognised([("agent", "", vector)])
    assert told == same
    assert told != other


def test_words_that_were_not_fitted_say_nothing_and_known_ones_have_length_one():
    talk = AgentTalk(DIMENSION)
    unknown = talk.hear("agent", "zebra", A)
    known = talk.hear("agent", WORDS, A)
    assert unknown is not None
    assert known is not None
    assert len(MODEL.words.of(unknown)[0]) == 0
    rows, weights = MODEL.words.of(known)
    assert (rows == np.arange(len(MODEL.words.places))).all()
    assert weights @ weights == pytest.approx(1.0)


def test_the_likeliest_name_is_told_with_its_chance_and_none_is_an_answer():
    lines: list[Line] = [("agent", text, v) for text in (WORDS, "no", "") for v in (A, B, C)]
    told = [one for seed in range(20) for one in recognised(lines, a_model(seed))]
    assert {one.strategy for one in told} == {"ask-small", "tell-own-story", None}
    assert all(1 / 3 <= one.confidence <= 1.0 for one in told)


def test_chances_add_up_to_one_and_a_handicap_makes_a_name_less_likely():
    line = AgentTalk(DIMENSION).hear("agent", WORDS, A)
    assert line is not None
    chances = MODEL.chances(line)
    assert chances.sum() == pytest.approx(1.0)
    first, second = np.array([0.6, 0.4], np.float32), np.array([0.2, 0.8], np.float32)
    even = mixed(first, second, np.zeros(2, np.float32))
    held = mixed(first, second, np.array([0.5, 0.0], np.float32))
    assert even[0] == pytest.approx(0.3798, abs=1e-3)
    assert held[0] < even[0]
    assert softmax(np.array([1000.0, 0.0], np.float32)) == pytest.approx([1.0, 0.0])


def test_without_a_model_nothing_is_recognised():
    assert recognised([("agent", WORDS, A), ("prospect", "no", B)], None) == [None, None]


@given(LINES, LINES)
def test_what_is_said_after_a_line_never_changes_its_answer(before, after):
    assert recognised(before + after)[: len(before)] == recognised(before)


@given(LINES)
def test_arrays_make_the_same_model_again(lines):
    assert MODEL.dimension == DIMENSION
    as_told = {name: array.astype(np.float32) for name, array in MODEL.arrays().items()}
    again = StrategyModel.from_arrays(MODEL.names, as_told)
    assert recognised(lines, again) == recognised(lines)


def test_a_missing_array_is_named():
    arrays = MODEL.arrays()
    del arrays["outer"]
    with pytest.raises(KeyError, match="outer"):
        StrategyModel.from_arrays(MODEL.names, arrays)


def test_every_array_has_the_shape_that_is_wanted():
    shapes = {name: array.shape for name, array in MODEL.arrays().items()}
    assert MODEL.shapes(DIMENSION) == shapes


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("reframe", "story"), None),
        (("reframe", "tell-own-story"), "tell-own-story is no strategy of the playbook small"),
        (("a", "b"), "a, b are no strategies of the playbook small"),
    ],
)
def test_calls_use_weights_only_for_the_playbook_s_own_strategies(names, says):
    why = why_not_live(replace(MODEL, names=names), PLAYBOOK)
    assert why is None if says is None else says in (why or "")
    assert why_not_live(None, PLAYBOOK) is None
