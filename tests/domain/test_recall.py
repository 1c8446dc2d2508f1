from dataclasses import replace

from agent_sidecar.domain.hints import Evidence, Question
from agent_sidecar.domain.recall import Recall
from agent_sidecar.domain.types import StrategyName
from tests.domain.playbooks import MONEY, PLAYBOOK, REFRAME, STORY, like, reader

GONE = StrategyName("gone")
ON_MONEY = Evidence(strategy=REFRAME, scope="objection:money", tried=9, lifted=7, won=5)
OF_A_KIND = replace(ON_MONEY, scope="phase:5|experience_level=none", strategy=STORY)
ELSEWHERE = replace(ON_MONEY, scope="phase:6", strategy=GONE)
QUESTION = Question(
    question_id="q1",
    call_id=None,
    text="too expensive",
    vector=like("say story"),
    phase=5,
    objection=MONEY,
    lead_kind=(("experience_level", "none"),),
)


def recall() -> Recall:
    return Recall(reader(PLAYBOOK), (ON_MONEY, OF_A_KIND, ELSEWHERE))


def test_what_is_known_of_the_moment_is_recalled():
    assert recall().answer(QUESTION).evidence == (OF_A_KIND, ON_MONEY)
    assert recall().answer(replace(QUESTION, lead_kind=())).evidence == (ON_MONEY,)


def test_every_strategy_of_the_playbook_is_a_candidate_with_and_without_a_vector():
    for vector in (QUESTION.vector, None):
        found = recall().answer(replace(QUESTION, vector=vector)).candidates
        assert {c.strategy for c in found} == {s.name for s in PLAYBOOK.strategies}


def test_strategies_are_those_of_the_playbook_and_those_that_were_tried():
    assert recall().strategies() == {GONE, *(s.name for s in PLAYBOOK.strategies)}
