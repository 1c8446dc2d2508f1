from datetime import UTC, datetime

import pytest

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.hints import Evidence, Retrieved
from agent_sidecar.domain.playbook import Closer
from agent_sidecar.domain.record import KeyMoment, KeyPhrase, LeadTraits, Learnt, Voice
from agent_sidecar.domain.retell import _said_before, lead_kind_of
from agent_sidecar.domain.types import HintId, Lead
from tests.domain.playbooks import MONEY, PLAYBOOK, REFRAME, STARTED_AT, a_playbook, at, like
from tests.domain.talk import COLD, CONFIGURATION, WARM, Talk


def test_the_record_of_nobody_is_empty_but_whole():
    record = Talk().close(0.0)
    assert (record.segments, record.progression, record.flow, record.transfers) == ((), (), (), ())
    assert (record.engagement, record.phase_reached, record.duration_s) == (None, 1, 0.0)
    assert (record.traits, record.voice, record.learnt) == (LeadTraits(), Voice(), Learnt())
    assert (record.closer, record.closer_available) == ("Kevin", False)
    assert (record.time_of_day, record.day_of_week) == ("unknown", 1)
    assert record.configuration is CONFIGURATION


def test_a_call_that_is_not_closed_ends_with_its_newest_event():
    talk = Talk()
    assert talk.call.record(CONFIGURATION).ended_at == STARTED_AT
    talk.say("prospect", "well", 12.0)
    assert talk.call.record(CONFIGURATION).ended_at == at(12.0)


def test_a_call_never_ends_before_it_began():
    assert Talk().close(-5.0).duration_s == 0.0


def in_phase(talk: Talk, number: int, at_s: float) -> None:
    """Go there for certain: two lines in the words of the phase."""
    for second in (at_s, at_s + 1.0):
        talk.say("agent", f"cue at {second}", second, like(f"cue {number}"))
    assert talk.call.phase == number


def test_the_flow_tells_each_stretch_and_how_it_went():
    talk = Talk()
    talk.say("prospect", "well", 1.0)
    in_phase(talk, 4, 10.0)
    talk.say("prospect", WARM, 12.0)
    in_phase(talk, 5, 20.0)
    talk.say("prospect", "it is too expensive", 22.0)
    in_phase(talk, 3, 30.0)
    visits = talk.close(40.0).flow
    assert [(visit.phase, visit.outcome) for visit in visits] == [
        (1, "advanced"),
        (4, "positive"),
        (5, "objection"),
        (3, "stalled"),
    ]
    assert [(visit.start_at, visit.end_at) for visit in visits[:2]] == [
        (at(1), at(1)),
        (at(10), at(12)),
    ]
    assert visits[0].notes == "Phase-1: a later phase followed."
    assert visits[1].notes.startswith("Phase-4: engagement rose from 48 to ")
    assert visits[2].notes == "Phase-5: “money” was left open."
    assert visits[3].notes == "Phase-3: no later phase followed."


def test_what_was_understood_late_does_not_turn_a_stretch_round():
    talk = Talk()
    talk.speech("prospect", 1.0, 2.0)
    talk.say("agent", "well", 9.0)
    talk.say("agent", "we went", 12.0)
    (visit,) = talk.close(20.0).flow
    assert (visit.start_at, visit.end_at) == (at(2.0), at(12.0))


def test_the_call_teaches_what_worked_and_what_did_not():
    talk = Talk()
    in_phase(talk, 2, 1.0)
    talk.say("prospect", "it is too expensive", 3.0)
    talk.say("agent", "say reframe", 4.0, like("say reframe"))
    talk.say("prospect", WARM, 5.0)
    in_phase(talk, 6, 10.0)
    talk.say("prospect", COLD, 12.0)
    talk.say("prospect", "and too expensive", 13.0)
    learnt = talk.close(20.0).learnt
    assert learnt.effective_strategies == (REFRAME,)
    assert learnt.objection_handling == ("money -> reframe",)
    assert learnt.engagement_triggers == ("say reframe",)
    fall, left_open = learnt.improvement_areas
    assert fall.startswith("phase 6: engagement fell by ")
    assert left_open == "objection left open: money"


@pytest.mark.parametrize(("lifted", "worth_it"), [(21, True), (20, False)])
def test_a_dismissed_hint_that_evidence_favoured_is_to_be_improved(lifted, worth_it):
    talk = Talk()
    talk.say("prospect", "it is too expensive", 3.0)
    row = Evidence(strategy=REFRAME, scope="objection:money", tried=40, lifted=lifted, won=1)
    talk.feed(
        ev.HintsRetrieved(
            question_id="c1:q1", at=at(3), retrieved=Retrieved(evidence=(row,)), latency_ms=1.0
        )
    )
    talk.feed(ev.HintJudged(hint_id=HintId("c1:h1"), at=at(4), action="dismissed"))
    areas = talk.close(9.0).learnt.improvement_areas
    area = f"dismissed although it worked {lifted} of 40 times: reframe"
    assert (area in areas) is worth_it


def test_before_a_rise_the_agent_spoke_or_he_himself_or_nobody():
    talk = Talk()
    talk.say("prospect", WARM, 3.0)
    assert talk.close(9.0).learnt.engagement_triggers == (WARM,)
    assert _said_before((), at(5)) is None
    silent = Talk()
    silent.call.log.moments.append(KeyMoment(at=at(1), kind="rise", text=""))
    assert silent.close(9.0).learnt.engagement_triggers == ()


def test_key_phrases_carry_their_mood_and_an_example():
    talk = Talk()
    talk.say("prospect", "monthly income, great", 1.0)
    talk.say("agent", "well, monthly income", 2.0)
    phrase = talk.close(9.0).key_phrases[0]
    mood = talk.call.log.segments[0].sentiment
    assert phrase == KeyPhrase(
        phrase="monthly income",
        frequency=2,
        sentiment=round(mood / 2, 4),
        context="monthly income, great",
    )


def test_the_voice_is_the_mean_of_what_was_heard_of_the_prospect():
    talk = Talk()
    talk.speech("prospect", 1.0, 3.0, tonal_shift_st=2.0, volume_dbfs=-20.0)
    talk.say("prospect", "four words of his", 3.0)
    talk.speech("prospect", 5.0, 7.0, volume_dbfs=-30.0)
    talk.say("prospect", "six more of his own words", 7.0)
    talk.speech("agent", 8.0, 9.0, volume_dbfs=-90.0)
    assert talk.close(20.0).voice == Voice(tonal_shift_st=2.0, pace_wpm=150.0, volume_dbfs=-25.0)


def test_questions_interruptions_and_keywords_are_his():
    talk = Talk()
    talk.say("agent", "too expensive? really?", 1.0)
    talk.speech("prospect", 2.0, 4.0, overtalk_s=0.6, interruptions=1)
    talk.say("prospect", "too expensive? how? too expensive", 4.0)
    record = talk.close(9.0)
    assert (record.question_count, record.interruptions) == (2, 1)
    assert record.keyword_triggers == ("too expensive",)


def test_key_moments_come_in_the_order_of_their_times():
    talk = Talk()
    talk.say("prospect", WARM, 10.0)
    talk.say("prospect", "it is too expensive", 5.0)
    moments = talk.close(20.0).key_moments
    assert [moment.at for moment in moments] == [at(5), at(5), at(10), at(10)]
    assert [moment.kind for moment in moments] == ["objection", "drop", "buying_signal", "rise"]


@pytest.mark.parametrize(
    ("timezone", "hour", "time_of_day", "day"),
    [
        ("UTC", 4, "night", 6),
        ("UTC", 5, "morning", 6),
        ("UTC", 12, "afternoon", 6),
        ("UTC", 17, "evening", 6),
        ("UTC", 22, "night", 6),
        ("Asia/Tokyo", 22, "morning", 0),
        (None, 22, "unknown", 6),
        ("Mars/Base", 22, "unknown", 6),
        ("America", 22, "unknown", 6),
    ],
)
def test_the_time_of_day_is_the_lead_s(timezone, hour, time_of_day, day):
    saturday = datetime(2026, 3, 7, hour, tzinfo=UTC)
    talk = Talk(at=saturday, lead=Lead(timezone=timezone))
    record = talk.call.record(CONFIGURATION)
    assert (record.time_of_day, record.day_of_week) == (time_of_day, day)


def test_the_kind_of_lead_is_what_is_known_in_the_playbook_s_order():
    lead = Lead(current_income_range="low", extra={"hobby": "chess"})
    playbook = a_playbook(
        lead_kind=("hobby", "experience_level", "motivation", "scepticism", "current_income_range")
    )
    talk = Talk(playbook, lead=lead)
    assert lead_kind_of(talk.call.log, playbook) == (
        ("hobby", "chess"),
        ("current_income_range", "low"),
    )
    for second in range(3):
        talk.say("prospect", f"is it real in {second}?", second, like("is it real"))
    assert lead_kind_of(talk.call.log, playbook)[1:3] == (
        ("motivation", "low"),
        ("scepticism", "high"),
    )


def test_the_closer_is_the_one_that_was_asked_or_the_playbook_s_first():
    playbook = a_playbook(closers=(Closer(name="Ann"), Closer(name="Kevin")))
    assert Talk(playbook).close(1.0).closer == "Ann"
    talk = Talk(playbook)
    talk.feed(ev.CloserChecked(at=at(1), closer="Kevin", available=True))
    record = talk.close(2.0)
    assert (record.closer, record.closer_available) == ("Kevin", True)


def test_an_objection_of_another_phase_at_the_same_time_is_not_this_one_s():
    talk = Talk()
    talk.say("prospect", "it is too expensive", 10.0)
    in_phase(talk, 4, 10.0)
    first, second = talk.close(20.0).flow
    assert (first.outcome, second.outcome) == ("objection", "stalled")
    assert talk.call.log.segments[0].objection == MONEY
    assert PLAYBOOK.phase(4).name in second.notes.lower()
