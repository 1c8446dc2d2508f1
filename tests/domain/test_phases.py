from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from agent_sidecar.domain.phases import CERTAIN, FLOOR, PhaseReader, PhaseTracker, texts_of
from agent_sidecar.domain.playbook import PHASES
from tests.domain.playbooks import NOTHING, PLAYBOOK, TEXTS, VECTORS, like

LATE_S = 600.0
PLAIN = PhaseReader(PLAYBOOK.phases, VECTORS)
ANSWER_LIKE = like("say story")


def changed(number: int, **parts: object) -> PhaseReader:
    phases = [
        replace(phase, **parts) if phase.number == number else phase  # type: ignore[arg-type]
        for phase in PLAYBOOK.phases
    ]
    return PhaseReader(phases, VECTORS)


ANSWERING = changed(9, answers_objections=True)


def hear(tracker: PhaseTracker, text: str, at_s: float = LATE_S) -> int:
    return tracker.hear_agent(PLAIN.agent("hm", like(text)), at_s)


def test_cues_and_answers_need_vectors():
    phase = replace(PLAYBOOK.phases[0], answers=("who is it",))
    assert list(texts_of([phase])) == ["cue 1", "who is it"]


def test_the_cues_of_a_phase_make_it_likely():
    likelihood = PLAIN.agent("hm", like("cue 5"))
    assert likelihood is not None
    assert likelihood.shape == (PHASES,)
    assert int(np.argmax(likelihood)) + 1 == 5
    assert likelihood.max() == 1.0


def test_a_phase_without_a_vector_is_no_more_likely_than_any_other():
    likelihood = changed(5, cues=("never embedded",)).agent("hm", like("cue 6"))
    assert likelihood is not None
    assert likelihood[4] == likelihood[3]


@pytest.mark.parametrize(
    "vector",
    [
        None,
        NOTHING,
        like("cue 5", FLOOR - 0.01),
        np.ones(3, np.float32),
        NOTHING * np.float32("nan"),
    ],
)
def test_a_line_close_to_nothing_is_no_evidence(vector):
    assert PLAIN.agent("hm", vector) is None
    assert PLAIN.prospect(vector) is None
    assert PhaseReader(PLAYBOOK.phases, {}).agent("hm", vector) is None


def test_a_certain_phrase_needs_no_vector():
    sure = changed(12, phrases=("stay on the line",))
    likelihood = sure.agent("please stay on the line", None)
    assert likelihood is not None
    assert int(np.argmax(likelihood)) + 1 == 12
    assert sure.agent("please don't stay on the line", None) is None
    assert CERTAIN == 1.0


def test_a_conversation_is_followed_through_its_phases():
    phases = PLAIN.follow()
    assert phases.phase == 1
    assert [hear(phases, f"cue {n}", 20.0 * n) for n in range(1, 13)] == list(range(1, 13))


def test_a_phase_may_be_skipped_and_is_kept_when_nothing_is_known():
    phases = PLAIN.follow()
    assert hear(phases, "cue 8") == 8
    assert phases.hear_agent(None, LATE_S) == 8
    assert phases.hear_prospect(None, objects=False) == 8


def test_one_weak_resemblance_does_not_lead_back():
    phases = PLAIN.follow()
    for _ in range(3):
        hear(phases, "cue 9")
    assert phases.hear_agent(PLAIN.agent("hm", like("cue 2", 0.4)), LATE_S) == 9


def test_a_weak_resemblance_does_not_leap_and_in_the_first_seconds_less_still():
    beliefs = []
    for at_s in (1.0, LATE_S):
        phases = PLAIN.follow()
        phases.hear_agent(PLAIN.agent("hm", like("cue 11", 0.5)), at_s)
        assert phases.phase < 9
        beliefs.append(phases.belief[10])
    assert beliefs[0] < beliefs[1] / 2


def test_an_open_objection_brings_the_phase_that_answers_it_near():
    chances = []
    for objects in (False, True):
        phases = ANSWERING.follow()
        phases.hear_prospect(None, objects=objects)
        phases.hear_prospect(None, objects=False)
        phases.hear_agent(ANSWERING.agent("hm", like("cue 9", 0.5)), LATE_S)
        chances.append(phases.belief[8])
    assert chances[1] > 2 * chances[0]


def test_after_the_answer_the_call_goes_on_where_it_was():
    back = []
    for reader in (PLAIN, ANSWERING):
        phases = reader.follow()
        hear(phases, "cue 4")
        hear(phases, "cue 9")
        assert phases.phase == 9
        phases.hear_agent(reader.agent("hm", like("cue 4", 0.6)), LATE_S)
        back.append(phases.belief[3])
    assert back[1] > back[0]


def test_the_prospect_s_words_weigh_phases_anew_but_move_to_none():
    answering = changed(5, answers=("say story",))
    likelihood = answering.prospect(ANSWER_LIKE)
    assert likelihood is not None
    phases = answering.follow()
    assert phases.hear_prospect(likelihood, objects=False) == 1
    phases.hear_agent(answering.agent("hm", (like("cue 4") + like("cue 5")) * 0.6), LATE_S)
    before = phases.belief[4]
    phases.hear_prospect(likelihood, objects=False)
    assert phases.belief[4] > before


def test_from_each_phase_the_chances_add_up_and_forward_beats_back():
    for chances in ANSWERING._transitions:
        assert chances.sum(axis=1) == pytest.approx(np.ones(PHASES))
    usual, _ = PLAIN._transitions
    for here in range(1, PHASES - 1):
        assert usual[here, here + 1] > usual[here, :here].sum()
        assert (np.diff(usual[here, here + 1 :]) <= 1e-12).all()
        assert (np.diff(usual[here, :here]) >= -1e-12).all()


likelihoods = arrays(np.float64, PHASES, elements=st.floats(0.0, 1.0))


@given(
    st.lists(st.tuples(st.booleans(), likelihoods | st.none(), st.booleans()), max_size=40),
    st.floats(0, 7200),
)
def test_whatever_is_heard_the_phase_is_a_phase_and_the_belief_adds_up(heard, at_s):
    phases = ANSWERING.follow()
    for is_agent, likelihood, objects in heard:
        before = phases.phase
        if is_agent:
            phase = phases.hear_agent(likelihood, at_s)
        else:
            phase = phases.hear_prospect(likelihood, objects=objects)
        assert 1 <= phase <= PHASES
        assert phases.belief.sum() == pytest.approx(1.0)
        if likelihood is None:
            assert phase == before


@given(st.lists(st.sampled_from(TEXTS), max_size=40))
def test_it_never_goes_back_without_evidence_of_an_earlier_phase(texts):
    phases = PLAIN.follow()
    for text in texts:
        before = phases.phase
        likelihood = PLAIN.agent("hm", like(text))
        after = phases.hear_agent(likelihood, LATE_S)
        if after < before:
            assert likelihood is not None
            assert likelihood[after - 1] > likelihood[before - 1]


def test_what_a_prospect_s_line_would_do_is_foreseen_and_not_done():
    tracker = PLAIN.follow()
    for cue in ("cue 4", "cue 4", "cue 5"):
        hear(tracker, cue)
    before = tracker.belief
    leaning = np.where(np.arange(PHASES) == 5, 1.0, 1e-9)
    foreseen = tracker.foresee(leaning)
    assert tracker.belief == pytest.approx(before)
    assert tracker.foresee(None) == tracker.phase != foreseen
    assert tracker.foresee(np.zeros(PHASES)) == tracker.phase
    assert tracker.hear_prospect(leaning, objects=False) == foreseen
