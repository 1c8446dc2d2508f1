from dataclasses import replace

from agent_sidecar.domain.log import CallLog
from agent_sidecar.domain.record import TranscriptSegment
from agent_sidecar.domain.types import Lead, Leg, LegId
from tests.domain.playbooks import MONEY, at
from tests.domain.talk import OPENED
from tests.domain.test_record import ATTEMPT, BRIDGED


def a_log() -> CallLog:
    return CallLog(opened=OPENED, lead=Lead())


def test_times_are_seconds_since_the_start_and_never_before_it():
    assert a_log().seconds(at(12.5)) == 12.5
    assert a_log().seconds(at(-3)) == 0.0


def test_the_prospect_s_leg_is_found_among_the_others():
    log = a_log()
    assert log.prospect_leg is None
    log.legs[LegId("a")] = Leg(leg_id=LegId("a"), party="agent")
    log.legs[LegId("p")] = Leg(leg_id=LegId("p"), party="prospect")
    assert log.prospect_leg == Leg(leg_id=LegId("p"), party="prospect")


def test_the_last_objection_is_the_newest_one():
    log = a_log()
    assert log.last_objection is None
    segment = TranscriptSegment(
        index=0, speaker="prospect", text="hm", at=at(1), start_s=0, end_s=1, objection=MONEY
    )
    log.segments = [segment, replace(segment, objection=None)]
    assert log.last_objection == MONEY


def test_the_last_turn_of_a_party_is_what_it_said_without_a_break():
    log = a_log()
    assert log.last_turn("prospect") == []
    said = TranscriptSegment(index=0, speaker="prospect", text="hm", at=at(1), start_s=0, end_s=1)
    agent = replace(said, speaker="agent")
    one, two, three = (replace(said, text=text) for text in ("no", "well", "yes"))
    log.segments = [one, agent, two, three, agent]
    assert log.last_turn("prospect") == [two, three]
    assert log.last_turn("agent") == [agent]


def test_the_agent_has_the_prospect_until_a_bridge_and_again_when_the_closer_has_left():
    log = a_log()
    assert log.is_with_agent
    log.transfers[ATTEMPT.transfer_id] = ATTEMPT
    assert log.is_with_agent
    assert not log.bridged
    closer = Leg(leg_id=LegId("k"), party="closer")
    log.voices.join(closer, at(4), answered=True)
    log.transfers[ATTEMPT.transfer_id] = BRIDGED
    log.voices.begin_turn(at(5), closer.leg_id)
    assert not log.is_with_agent
    log.voices.leave(at(99), closer.leg_id)
    assert log.is_with_agent
    assert log.bridged


def test_who_hung_up_is_with_nobody():
    log = a_log()
    log.hung_up_at = at(5)
    assert not log.is_with_agent
    log = a_log()
    log.closed_at = at(5)
    assert not log.is_with_agent


def test_the_newest_leg_of_a_party_that_is_up_is_his():
    log = a_log()
    assert log.leg_of("agent") is None
    for number in (1, 2):
        leg = Leg(leg_id=LegId(f"agent:{number}"), party="agent")
        log.voices.join(leg, at(number), answered=True)
        assert log.leg_of("agent") == replace(leg, from_at=at(number))
    log.voices.leave(at(3), LegId("agent:2"))
    leg = log.legs[LegId("agent:1")]
    assert log.leg_of("agent") == leg


def test_who_is_said_to_have_answered_and_rang_out_has_not():
    log = a_log()
    assert log.taken_at is None
    log.answered_at = at(0)
    assert log.taken_at == at(0)
    log.hangup_cause = "normal_clearing"
    assert log.taken_at == at(0)
    log.hangup_cause = "timeout"
    assert log.taken_at is None
    # words are proof
    log.segments = [
        TranscriptSegment(index=0, speaker="prospect", text="hm", at=at(1), start_s=0, end_s=1)
    ]
    assert log.taken_at == at(0)
