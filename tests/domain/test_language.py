from dataclasses import replace

import numpy as np
import pytest

from agent_sidecar.domain.language import (
    STRATEGY_CLEAR,
    STRATEGY_CLOSE,
    Reader,
    texts_to_embed,
)
from agent_sidecar.domain.mood_words import WARM_LINES
from agent_sidecar.domain.objections import CLOSE
from agent_sidecar.domain.playbook import Objection
from agent_sidecar.domain.strategies import Recognised
from tests.domain.playbooks import (
    MONEY,
    NEVER,
    NOTHING,
    PLAYBOOK,
    REFRAME,
    STORY,
    TEXTS,
    TRUST,
    a_playbook,
    like,
    reader,
)

READER = reader()


def test_every_text_of_the_playbook_needs_a_vector_once():
    assert len(TEXTS) == len(set(TEXTS))
    for text in ("cue 1", "cue 12", "when reframe", "or reframe", "costs much", "leave me"):
        assert text in TEXTS
    twice = replace(PLAYBOOK, objections=(*PLAYBOOK.objections, *PLAYBOOK.objections))
    assert texts_to_embed(twice) == TEXTS


@pytest.mark.parametrize("vector", [None, NOTHING, like("is it real")])
def test_a_trigger_phrase_is_certain_whatever_the_vector_says(vector):
    meaning = READER.read_prospect("that is too expensive", vector)
    assert (meaning.objection, meaning.objection_closeness) == (MONEY, 1.0)
    assert meaning.keywords == ("too expensive",)
    assert not meaning.is_refusal


@pytest.mark.parametrize(("closeness", "objection"), [(CLOSE + 0.01, TRUST), (CLOSE - 0.01, None)])
def test_a_line_close_to_a_wording_is_that_objection(closeness, objection):
    meaning = READER.read_prospect("hm", like("is it real", closeness))
    assert meaning.objection == objection
    assert meaning.objection_closeness == pytest.approx(closeness if objection else 0.0, abs=1e-6)


def test_only_words_make_a_refusal():
    assert not READER.read_prospect("hm", like("leave me")).is_refusal
    refused = READER.read_prospect("please do not call me", None)
    assert (refused.is_refusal, refused.objection) == (True, NEVER)


def test_a_buying_signal_outranks_an_objection_that_only_the_vector_sees():
    meaning = READER.read_prospect("how do I start?", like("is it real"))
    assert meaning.buying_signal == "how do i start"
    assert meaning.objection is None
    assert meaning.keywords == ("how do i start",)
    assert meaning.questions == 1
    both = READER.read_prospect("too expensive, but how do I start?", None)
    assert (both.objection, both.buying_signal) == (MONEY, "how do i start")


@pytest.mark.parametrize(
    ("closeness", "strategy"), [(STRATEGY_CLOSE + 0.01, REFRAME), (STRATEGY_CLOSE - 0.01, None)]
)
def test_an_agent_s_line_close_to_a_wording_uses_that_strategy(closeness, strategy):
    meaning = READER.read_agent("great", like("or reframe", closeness))
    assert meaning.strategy == strategy
    confidence = pytest.approx(closeness, abs=1e-4) if strategy else None
    assert meaning.strategy_confidence == confidence
    assert meaning.sentiment > 0


@pytest.mark.parametrize(
    ("lead", "strategy"), [(STRATEGY_CLEAR + 0.01, REFRAME), (STRATEGY_CLEAR - 0.01, None)]
)
def test_a_line_as_close_to_another_strategy_is_none_of_them(lead, strategy):
    both = like("say reframe", 0.6) + like("say story", 0.6 - lead)
    assert READER.read_agent("great", both).strategy == strategy


@pytest.mark.parametrize("used", ["asked-for-more", None])
def test_what_fitted_weights_recognised_counts_and_not_the_wordings(used):
    told = Recognised(strategy=used, confidence=0.7)
    meaning = READER.read_agent("great", like("say reframe"), told)
    assert (meaning.strategy, meaning.strategy_confidence) == (used, 0.7 if used else None)


def test_the_moment_a_strategy_is_for_does_not_count_as_using_it_but_as_being_close():
    vector = like("when story")
    assert READER.read_agent("well", vector).strategy is None
    close = READER.closeness_of_strategies(vector)
    assert max(close, key=lambda name: close[name]) == STORY


@pytest.mark.parametrize("vector", [None, np.zeros(0, np.float32), np.ones(7, np.float32)])
def test_no_vector_or_one_of_another_model_tells_nothing_and_words_still_do(vector):
    assert READER.read_agent("say reframe", vector).strategy is None
    assert READER.read_prospect("too expensive", vector).objection == MONEY
    assert READER.closeness_of_strategies(vector) == {}


def test_a_reader_without_vectors_reads_words():
    blind = Reader(PLAYBOOK, {})
    assert blind.read_prospect("too expensive", like("is it real")).objection == MONEY


def test_a_line_that_is_not_a_number_tells_nothing():
    nowhere = np.full(NOTHING.size, np.nan, np.float32)
    assert READER.read_prospect("hm", nowhere).objection is None
    assert READER.read_agent("hm", nowhere).strategy is None


def test_a_vector_adds_to_the_mood_of_the_prospect_s_words():
    warm = (like(WARM_LINES[0]) + like(WARM_LINES[1]) + like(WARM_LINES[2])) / np.float32(3)
    assert READER.read_prospect("hm", warm).sentiment > 0.3
    assert READER.read_agent("hm", warm).sentiment == 0.0


def test_who_wants_no_further_call_refuses_whatever_else_he_objects():
    meaning = READER.read_prospect("too expensive, do not call me", None)
    assert (meaning.objection, meaning.is_refusal) == (NEVER, True)
    assert meaning.keywords == ("do not call", "too expensive")


def test_what_is_part_of_an_objection_is_no_buying_signal():
    wife = Objection(type=TRUST, wordings=("x",), triggers=("talk to my wife",))
    playbook = a_playbook(objections=(wife,), buying_signals=("can i talk to",))
    meaning = reader(playbook).read_prospect("can I talk to my wife first", None)
    assert (meaning.objection, meaning.buying_signal) == (TRUST, None)
    asks = reader(playbook).read_prospect("can I talk to Kevin", None)
    assert (asks.objection, asks.buying_signal) == (None, "can i talk to")
