import math

import numpy as np
import pytest

from agent_sidecar.domain.manner import CUES
from agent_sidecar.domain.score_context import PLACE, Conversation, block_sizes, unit
from tests.domain.models import ALONG, BACK, DIMENSION, ELSE, TOPIC


def test_the_first_line_has_nothing_before_it():
    heard = Conversation(DIMENSION).hear_prospect("well hello", ALONG)
    assert (heard.text, heard.has_vector) == ("well hello", True)
    assert not np.concatenate([heard.agent, heard.past, heard.before]).any()
    assert heard.talk.tolist() == ALONG.tolist()
    assert heard.shortness == pytest.approx(math.exp(-0.5))
    assert heard.place.tolist() == [0.0, 0.0, 1.0, 0.0]
    assert heard.cues.shape == (len(CUES),)


def test_a_line_is_heard_beside_the_agent_s_last_turn_and_all_he_said_before():
    talk = Conversation(DIMENSION)
    talk.hear_agent(ELSE)
    talk.hear_prospect("one", ALONG)
    talk.hear_agent(TOPIC)
    talk.hear_agent(BACK)
    second = talk.hear_prospect("two", ALONG)
    assert second.agent.tolist() == ((TOPIC + BACK) / 2).tolist()
    assert second.past.tolist() == ALONG.tolist()
    assert not second.before.any()
    third = talk.hear_prospect("three", BACK)
    assert third.agent.tolist() == second.agent.tolist()
    assert third.before.tolist() == ALONG.tolist()
    assert (second.place[2], third.place[2]) == (1.0, 0.0)
    assert talk.hear_prospect("four", BACK).past.argmax() == 0


def test_lines_without_a_vector_of_this_model_are_heard_by_their_words_alone():
    talk = Conversation(DIMENSION)
    talk.hear_agent(None)
    talk.hear_agent(np.ones(3, np.float32))
    heard = talk.hear_prospect("yes", np.ones(3, np.float32))
    assert not heard.has_vector
    assert not np.concatenate([heard.vector, heard.agent, heard.talk]).any()
    assert heard.place[0] == pytest.approx(2 / 40)


def test_a_vector_of_no_numbers_counts_as_none():
    talk = Conversation(DIMENSION)
    talk.hear_agent(np.full(DIMENSION, np.nan, np.float32))
    heard = talk.hear_prospect("yes", ALONG)
    assert heard.talk.tolist() == ALONG.tolist()
    assert not heard.agent.any()
    endless = talk.hear_prospect("yes", np.full(DIMENSION, np.inf, np.float32))
    assert not endless.has_vector
    assert endless.talk.tolist() == ALONG.tolist()


def test_the_past_is_what_was_said_before_and_nothing_after():
    heard = [Conversation(DIMENSION) for _ in range(2)]
    first = [talk.hear_prospect("same", ALONG) for talk in heard]
    heard[0].hear_agent(BACK)
    heard[0].hear_prospect("other", BACK)
    assert first[0].talk.tolist() == first[1].talk.tolist()


def test_a_call_gets_no_further_on_than_far():
    talk = Conversation(DIMENSION)
    for _ in range(500):
        talk.hear_agent(TOPIC)
    assert talk.hear_prospect("well", TOPIC).place[0] == 3.0


def test_blocks_have_room_for_everything():
    sizes = block_sizes(DIMENSION, 2)
    assert sum(sizes.values()) == 5 * DIMENSION + 2 * 4 + 3 + len(CUES) + PLACE


def test_nothing_has_no_direction():
    assert unit(np.zeros(2, np.float32)).tolist() == [0.0, 0.0]
    assert unit(np.array([3.0, 4.0], np.float32)).tolist() == pytest.approx([0.6, 0.8])
