from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.language import (
    _TRANSITIONS,
    OBJECTION_CLOSE,
    STRATEGY_CLOSE,
    PhaseTracker,
    Reader,
    texts_to_embed,
)
from agent_sidecar.domain.playbook import PHASES
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


@pytest.mark.parametrize(
    ("closeness", "objection"), [(OBJECTION_CLOSE + 0.01, TRUST), (OBJECTION_CLOSE - 0.01, None)]
)
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
    assert READER.phase_likelihood(vector) is None


def test_a_reader_without_vectors_reads_words():
    blind = Reader(PLAYBOOK, {})
    assert blind.read_prospect("too expensive", like("is it real")).objection == MONEY
    assert blind.phase_likelihood(like("cue 3")) is None


def test_a_line_that_is_not_a_number_tells_nothing():
    nowhere = np.full(NOTHING.size, np.nan, np.float32)
    assert READER.read_prospect("hm", nowhere).objection is None
    assert READER.phase_likelihood(nowhere) is None


def test_the_cues_of_a_phase_make_it_likely():
    likelihood = READER.phase_likelihood(like("cue 5"))
    assert likelihood is not None
    assert likelihood.shape == (PHASES,)
    assert int(np.argmax(likelihood)) + 1 == 5
    assert likelihood.max() == 1.0


def test_a_phase_without_a_vector_is_no_more_likely_than_any_other():
    cueless = replace(PLAYBOOK.phases[4], cues=("never embedded",))
    partly = a_playbook(phases=(*PLAYBOOK.phases[:4], cueless, *PLAYBOOK.phases[5:]))
    likelihood = reader(partly).phase_likelihood(like("cue 6"))
    assert likelihood is not None
    assert likelihood[4] == likelihood[3]


def test_from_each_phase_the_chances_add_up_and_forward_beats_back():
    assert _TRANSITIONS.sum(axis=1) == pytest.approx(np.ones(PHASES))
    for here in range(1, PHASES - 1):
        assert _TRANSITIONS[here, here + 1] > _TRANSITIONS[here, :here].sum()


def test_a_conversation_is_followed_through_its_phases():
    phases = PhaseTracker()
    assert phases.phase == 1
    seen = [phases.observe(READER.phase_likelihood(like(f"cue {n}"))) for n in range(1, 13)]
    assert seen == list(range(1, 13))


def test_a_phase_may_be_skipped_and_is_kept_when_nothing_is_known():
    phases = PhaseTracker()
    assert phases.observe(READER.phase_likelihood(like("cue 8"))) == 8
    assert phases.observe(None) == 8
    assert phases.observe(READER.phase_likelihood(NOTHING)) == 8


def test_one_weak_resemblance_does_not_lead_back():
    phases = PhaseTracker()
    for _ in range(3):
        phases.observe(READER.phase_likelihood(like("cue 9")))
    assert phases.observe(READER.phase_likelihood(like("cue 2", 0.2))) == 9


@given(st.lists(st.one_of(st.none(), st.sampled_from(TEXTS).map(like)), max_size=60))
def test_the_phase_stays_a_phase_whatever_is_said(vectors):
    phases = PhaseTracker()
    for vector in vectors:
        assert 1 <= phases.observe(READER.phase_likelihood(vector)) <= PHASES
    assert phases._belief.sum() == pytest.approx(1.0)
