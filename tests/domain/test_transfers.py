import pytest

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.record import TransferAttempt
from agent_sidecar.domain.types import LegId
from tests.domain.playbooks import at, like
from tests.domain.talk import CLOSER, WARM, Talk


def in_phase_ten() -> Talk:
    talk = Talk()
    talk.join()
    for second in range(3):
        talk.say("agent", f"cue {second}", second, like("cue 10"))
    return talk


def started(talk: Talk) -> list[str]:
    return [effect.transfer_id for effect in talk.of(ev.StartTransfer)]


def attempt(talk: Talk, number: int = 0) -> TransferAttempt:
    return list(talk.call.log.transfers.values())[number]


def test_a_keen_prospect_in_a_phase_that_allows_it_is_handed_over_instead_of_hinted_at():
    talk = in_phase_ten()
    talk.say("prospect", "it is too expensive", 4.0)
    talk.say("prospect", WARM, 5.0)
    (start,) = talk.of(ev.StartTransfer)
    assert (start.transfer_id, start.phase, start.last_objection) == ("c1:t1", 10, "money")
    assert start.reasons[0] == "asks for the next step: “how do i start”"
    assert start.engagement == talk.call.engagement
    assert len(talk.of(ev.AskForHints)) == 1
    assert attempt(talk).key_indicators == start.reasons
    assert (attempt(talk).closer, attempt(talk).initiated_at) == ("Kevin", at(5.0))


def test_a_call_that_is_only_listened_to_is_never_transferred():
    talk = Talk(passive=True)
    for second in range(3):
        talk.say("agent", f"cue {second}", second, like("cue 10"))
    talk.say("prospect", WARM, 5.0)
    talk.want(6.0)
    assert started(talk) == []


def test_a_person_can_ask_for_it_in_any_phase_but_not_while_one_runs():
    talk = Talk()
    talk.want(5.0)
    talk.want(6.0)
    assert started(talk) == ["c1:t1"]
    assert talk.of(ev.StartTransfer)[0].reasons == ("asked by Ann",)
    talk.step("ended", 7.0, "declined")
    talk.want(8.0)
    assert started(talk) == ["c1:t1", "c1:t2"]


def test_each_step_is_told_and_kept():
    talk = Talk()
    talk.want(5.0)
    steps: list[ev.TransferStep] = [
        "leased",
        "dialing",
        "answered",
        "briefing",
        "accepted",
        "bridging",
        "bridged",
    ]
    for second, step in enumerate(steps, 6):
        talk.step(step, second)
    told = [effect.progress.step for effect in talk.of(ev.PublishTransfer)]
    assert told == steps
    kept = attempt(talk)
    assert (kept.answered_at, kept.accepted, kept.bridged_at) == (at(8), True, at(12))
    assert (kept.outcome, kept.leg_id, kept.completed_at) == ("bridged", CLOSER, None)
    record = talk.close(99.0)
    assert [moment.text for moment in record.key_moments] == ["bridged to Kevin"]
    assert record.closer_available


def test_after_the_bridge_the_attempt_stays_bridged_however_it_ends():
    talk = Talk()
    talk.join()
    talk.join(CLOSER, "closer", 6.0)
    talk.bridge(6.0)
    talk.step("bridged", 8.0)
    talk.leave(66.0, CLOSER)
    talk.step("ended", 66.5, "closer_hung_up")
    kept = attempt(talk)
    assert (kept.outcome, kept.bridged_at, kept.duration_s) == ("bridged", at(6.0), 60.0)
    assert len(talk.close(70.0).key_moments) == 1
    talk = in_phase_ten()
    talk.bridge(6.0)
    talk.step("ended", 7.0, "closer_hung_up")
    talk.say("prospect", WARM, 200.0)
    talk.want(300.0)
    assert started(talk) == ["c1:t1"]


@pytest.mark.parametrize("outcome", ["declined", "voicemail", "busy", None])
def test_an_attempt_ends_in_the_first_outcome_that_is_reported(outcome):
    talk = Talk()
    talk.want(5.0)
    talk.step("accepted", 6.0)
    talk.step("ended", 7.0, outcome, reason="because")
    assert talk.step("ended", 8.0, "failed", reason="late") == []
    assert talk.step("answered", 9.0) == []
    kept = attempt(talk)
    assert (kept.outcome, kept.reason) == (outcome or "unknown", "because")
    assert kept.accepted is (outcome != "declined")


def test_a_bridge_proven_late_outranks_what_was_concluded_without_it():
    talk = in_phase_ten()
    talk.want(5.0)
    talk.step("ended", 15.0, "failed")
    assert len(talk.step("bridged", 16.0)) == 1
    assert talk.step("bridged", 17.0) == []
    assert (attempt(talk).outcome, attempt(talk).bridged_at) == ("bridged", at(16.0))
    talk.join(CLOSER, "closer", 16.0)
    talk.leave(60.0, CLOSER)
    talk.say("prospect", WARM, 200.0)
    assert started(talk) == ["c1:t1"]


def test_steps_of_an_unknown_transfer_are_nobody_s():
    talk = Talk()
    assert talk.step("bridged", 5.0) == []
    assert talk.step("ended", 5.0, "unavailable") == []


def test_when_the_prospect_hangs_up_the_attempt_is_stopped_and_no_other_starts():
    talk = Talk()
    talk.join()
    talk.want(5.0)
    effects = talk.leave(6.0)
    assert [type(effect) for effect in effects] == [ev.CancelTransfer, ev.WrapUp]
    talk.step("ended", 7.0, "prospect_hung_up")
    talk.want(8.0)
    assert started(talk) == ["c1:t1"]
    assert talk.close(10.0).transfers[0].outcome == "prospect_hung_up"


def test_words_that_come_after_the_hangup_start_nothing():
    talk = in_phase_ten()
    talk.leave(5.0)
    talk.say("prospect", WARM, 4.5)
    assert (started(talk), talk.of(ev.AskForHints)) == ([], [])
    assert talk.call.engagement is not None


def test_words_understood_only_at_the_close_start_nothing():
    talk = in_phase_ten()
    talk.hear("prospect", WARM, 5.0)
    record = talk.close(9.0)
    assert record.transfers == ()
    assert record.engagement is not None


def test_a_veto_stops_what_runs_and_lets_the_policy_start_no_more():
    talk = in_phase_ten()
    assert talk.want(4.0, veto=True) == []
    talk.want(5.0)
    (cancel,) = talk.want(6.0, veto=True)
    assert cancel == ev.CancelTransfer(
        transfer_id=attempt(talk).transfer_id, reason="vetoed by Ann"
    )
    talk.step("ended", 7.0, "cancelled")
    talk.say("prospect", WARM, 200.0)
    assert started(talk) == ["c1:t1"]


def test_after_the_bridge_nothing_can_be_stopped():
    talk = Talk()
    talk.join()
    talk.bridge(5.0)
    assert talk.want(6.0, veto=True) == []
    assert [type(effect) for effect in talk.leave(66.0)] == [ev.WrapUp]


def test_the_call_s_end_ends_what_never_ended_and_says_why():
    talk = Talk()
    talk.want(5.0)
    talk.step("dialing", 6.0)
    (kept,) = talk.close(10.0).transfers
    assert (kept.outcome, kept.completed_at) == ("unknown", None)
    assert kept.reason == "the call ended before the transfer did"


def test_an_end_or_a_bridge_that_is_reported_after_the_close_corrects_the_record():
    talk = Talk()
    talk.want(5.0)
    talk.close(10.0)
    talk.step("ended", 11.0, "prospect_hung_up", reason="he left")
    assert (attempt(talk).outcome, attempt(talk).reason) == ("prospect_hung_up", "he left")
    talk = Talk()
    talk.want(5.0)
    talk.close(10.0)
    talk.step("bridged", 8.0)
    assert (attempt(talk).outcome, attempt(talk).duration_s) == ("bridged", 2.0)
    talk.step("ended", 12.0, "bridged")
    assert attempt(talk).duration_s == 2.0


def test_a_closer_is_with_the_prospect_until_the_call_ends_and_never_for_less_than_nothing():
    talk = Talk()
    talk.join()
    talk.bridge(20.0)
    talk.leave(50.0)
    assert talk.close(55.0).transfers[0].duration_s == 30.0
    talk = Talk()
    talk.join()
    talk.bridge(20.0)
    talk.leave(19.0)
    assert talk.close(55.0).transfers[0].duration_s == 0.0


def test_another_closer_s_leg_ends_nothing():
    talk = Talk()
    talk.join(LegId("other"), "closer")
    talk.bridge(5.0)
    talk.leave(9.0, LegId("other"))
    assert attempt(talk).completed_at is None


@pytest.mark.parametrize(
    ("checked", "steps", "available"),
    [
        (None, ["leased", "declined"], True),
        (True, ["unavailable"], False),
        (True, ["cancelled"], True),
        (False, ["cancelled"], False),
        (False, [], False),
        (True, [], True),
        (True, ["unavailable", "leased"], False),
    ],
)
def test_whether_a_closer_could_have_come_is_known_from_the_first_decision_or_the_end(
    checked, steps, available
):
    talk = Talk()
    if checked is not None:
        talk.feed(ev.CloserChecked(at=at(1), closer="Kevin", available=checked))
    for number, outcome in enumerate(steps, 1):
        talk.want(float(number))
        if outcome == "leased":
            talk.step("leased", number + 0.1, number=number)
        else:
            talk.step("ended", number + 0.2, outcome, number=number)
    assert talk.close(20.0).closer_available is available
