from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.engagement import EngagementScore
from agent_sidecar.domain.events import ScorePart
from agent_sidecar.domain.language import Meaning
from agent_sidecar.domain.playbook import Thresholds
from agent_sidecar.domain.policy import DROP, HintPolicy, Moment, TransferPolicy
from tests.domain.playbooks import MONEY, a_playbook

T = Thresholds(
    hint_cool_down_s=10,
    hints_per_minute=3,
    transfer_engagement=75,
    transfer_release=65,
    transfer_segments=2,
    transfer_cool_down_s=60,
)
PLAIN = Meaning(sentiment=0.0, questions=0)
SIGNAL = replace(PLAIN, buying_signal="how do i start")


def moment(
    at_s: float = 0.0,
    *,
    meaning: Meaning | None = PLAIN,
    score: float = 50.0,
    before: float = 50.0,
    phase: int = 10,
) -> Moment:
    part = ScorePart(name="tone", points=2.0, why="voice higher")
    scored = EngagementScore(value=score, call=score, parts=(part,))
    return Moment(at_s=at_s, phase=phase, score=scored, before=before, meaning=meaning)


@pytest.mark.parametrize(
    ("at_the_moment", "wants"),
    [
        (moment(), False),
        (moment(meaning=None), False),
        (moment(meaning=None, score=50 - DROP), True),
        (moment(meaning=replace(PLAIN, objection=MONEY)), True),
        (moment(meaning=SIGNAL), True),
        (moment(meaning=replace(PLAIN, questions=1)), True),
        (moment(meaning=replace(PLAIN, objection=MONEY, is_refusal=True)), False),
        (moment(score=50 - DROP + 0.1), False),
    ],
)
def test_a_hint_is_wanted_when_there_is_something_to_help_with(at_the_moment, wants):
    assert HintPolicy(T).wants_hints(at_the_moment) is wants


def test_after_a_hint_the_policy_cools_down_and_a_minute_holds_only_so_many():
    policy = HintPolicy(T)
    assert policy.show(0.0)
    assert not policy.show(9.9)
    assert not policy.wants_hints(moment(9.9, meaning=SIGNAL))
    assert policy.wants_hints(moment(10.0, meaning=SIGNAL))
    assert policy.show(10.0)
    assert policy.show(20.0)
    assert not policy.show(59.9)
    assert policy.show(60.0)
    assert not policy.show(69.9)


def test_an_urgent_hint_skips_the_cool_down_but_not_the_cap():
    policy = HintPolicy(T)
    assert [policy.show(0.0, urgent=True) for _ in range(4)] == [True, True, True, False]
    assert not policy.show(30.0)
    assert policy.show(60.0)


def test_a_cap_of_zero_shows_nothing():
    policy = HintPolicy(replace(T, hints_per_minute=0))
    assert not policy.show(0.0, urgent=True)


@given(st.lists(st.tuples(st.floats(0, 30), st.booleans()), max_size=80))
def test_no_minute_has_more_hints_than_the_cap(steps):
    policy, at_s = HintPolicy(T), 0.0
    shown: list[float] = []
    for step_s, urgent in steps:
        at_s += step_s
        if policy.show(at_s, urgent=urgent):
            assert urgent or not shown or at_s - shown[-1] >= T.hint_cool_down_s
            shown.append(at_s)
    for first in shown:
        assert sum(first <= at_s < first + 60.0 for at_s in shown) <= T.hints_per_minute


def a_policy() -> TransferPolicy:
    return TransferPolicy(a_playbook(thresholds=T))


def test_engagement_must_stay_high_for_enough_segments():
    policy = a_policy()
    assert policy.consider(moment(score=80)) == ()
    reasons = policy.consider(moment(score=80))
    assert reasons == ("engagement 80 over 2 segments", "tone: voice higher")


def test_between_the_limits_the_count_waits_and_below_release_it_starts_again():
    policy = a_policy()
    policy.consider(moment(score=80))
    assert policy.consider(moment(score=70)) == ()
    assert policy.consider(moment(score=80))
    assert policy.consider(moment(score=64)) == ()
    assert policy.consider(moment(score=80)) == ()


def test_asking_for_the_next_step_is_reason_enough():
    reasons = a_policy().consider(moment(meaning=SIGNAL))
    assert reasons[0] == "asks for the next step: “how do i start”"


def test_who_refuses_is_not_handed_over_and_a_sound_alone_asks_for_nothing():
    assert a_policy().consider(moment(meaning=replace(SIGNAL, is_refusal=True))) == ()
    assert a_policy().consider(moment(meaning=None)) == ()


def test_a_phase_that_does_not_allow_it_holds_the_transfer_back_but_counts():
    policy = a_policy()
    assert policy.consider(moment(score=80, phase=9)) == ()
    assert policy.consider(moment(score=80, phase=9)) == ()
    assert policy.consider(moment(score=80, phase=10))[0] == "engagement 80 over 3 segments"


def test_one_runs_at_a_time():
    policy = a_policy()
    policy.started()
    assert policy.is_running
    assert policy.consider(moment(meaning=SIGNAL)) == ()


def test_after_a_failure_another_is_proposed_only_after_the_cool_down_and_counts_anew():
    policy = a_policy()
    policy.started()
    policy.consider(moment(score=90))
    policy.ended(100.0, "no_answer")
    assert not policy.is_running
    assert policy.consider(moment(159.9, meaning=SIGNAL, score=90)) == ()
    assert policy.consider(moment(160.0, score=90)) == (
        "engagement 90 over 2 segments",
        "tone: voice higher",
    )


@pytest.mark.parametrize("outcome", ["bridged", "prospect_hung_up"])
def test_after_an_outcome_that_decides_none_is_proposed_again(outcome):
    policy = a_policy()
    policy.started()
    policy.ended(100.0, outcome)
    assert policy.consider(moment(1000.0, meaning=SIGNAL)) == ()


def test_a_veto_outlasts_the_end_of_the_attempt_that_it_stopped():
    policy = a_policy()
    policy.started()
    policy.veto()
    policy.ended(100.0, "cancelled")
    assert policy.consider(moment(1000.0, meaning=SIGNAL)) == ()
