from dataclasses import replace

import numpy as np
import pytest

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.call import Call, as_vector
from agent_sidecar.domain.engagement import Weights
from agent_sidecar.domain.record import Recording
from agent_sidecar.domain.types import CommandId, HintId, Lead, Leg, LegId
from tests.domain.playbooks import MONEY, NOTHING, REFRAME, STORY, VIDEO, at, like, reader
from tests.domain.talk import CLOSER, COLD, CONFIGURATION, OPENED, PROSPECT, WARM, Talk
from tests.domain.test_strategies import a_model


def test_a_final_line_is_embedded_and_then_told_with_its_score():
    talk = Talk()
    line_id = talk.hear("prospect", "I love it", 2.0)
    assert talk.effects == [ev.Embed(line_id=line_id, text="I love it")]
    (told,) = talk.embed(line_id)
    assert isinstance(told, ev.PublishScore)
    assert (told.party, told.text, told.at, told.segment) == ("prospect", "I love it", at(2), 0)
    assert (told.phase, told.phase_name) == (1, "phase-1")
    assert told.engagement is not None
    assert told.engagement > 50
    assert told.call_engagement == talk.call.engagement
    assert told.parts[0].name == "sentiment"


def test_an_interim_line_is_nothing_yet():
    talk = Talk()
    event = ev.LineHeard(line_id="i", at=at(1), party="prospect", text="I lo", is_final=False)
    assert talk.feed(event) == []
    assert talk.close(9.0).segments == ()


def test_an_agent_s_line_moves_the_phase_and_shows_its_strategy_but_no_score():
    talk = Talk()
    (told,) = talk.say("agent", "say story", 2.0, like("say story"))
    assert isinstance(told, ev.PublishScore)
    assert (told.strategy, told.engagement, told.call_engagement, told.parts) == (
        STORY,
        None,
        None,
        (),
    )
    talk.say("agent", "cue", 3.0, like("cue 4"))
    talk.say("agent", "another cue", 4.0, like("cue 4"))
    assert talk.call.phase == 4


@pytest.mark.parametrize(("label", "strategy"), [(0, "ask-small"), (2, None)])
def test_fitted_strategies_are_recognised_instead_of_the_playbook_s(label, strategy):
    sure = np.where(np.arange(5) == label, 50.0, 0.0).astype(np.float32)
    model = replace(a_model(), starts=sure, outer_starts=np.stack([sure, sure]))
    call = Call(OPENED, reader(), Weights(strategies=model))
    for number, party in enumerate(("prospect", "agent")):
        line_id = f"l{number}"
        heard = ev.LineHeard(
            line_id=line_id,
            at=at(number),
            party="agent" if party == "agent" else "prospect",
            text="say story",
            is_final=True,
        )
        call.receive(heard)
        raw = like("say story").astype("<f4").tobytes()
        call.receive(ev.LineEmbedded(line_id=line_id, vector=raw))
    told = call.log.segments[-1]
    assert told.strategy == strategy
    assert (told.strategy_confidence is None) == (strategy is None)


def test_a_line_whose_vector_never_came_is_understood_by_its_words():
    talk = Talk()
    talk.say("prospect", "that is too expensive", 2.0, None)
    (segment,) = talk.close(9.0).segments
    assert (segment.objection, segment.vector) == (MONEY, None)


def test_a_vector_of_another_model_in_an_old_journal_does_no_harm():
    talk = Talk()
    for raw in (b"", b"\0\0\0\0"):
        line_id = talk.hear("agent", f"well {raw!r}", 2.0)
        talk.feed(ev.LineEmbedded(line_id=line_id, vector=raw))
    assert len(talk.close(9.0).segments) == 2


def test_vectors_are_kept_as_they_came():
    assert as_vector(None) is None
    raw = NOTHING.astype("<f4").tobytes()
    vector = as_vector(raw)
    assert vector is not None
    assert vector.tolist() == NOTHING.tolist()
    talk = Talk()
    talk.say("prospect", "well", 2.0)
    assert talk.close(9.0).segments[0].vector == raw


def test_what_was_asked_and_never_answered_is_asked_again_after_a_restart():
    talk = Talk()
    talk.say("prospect", "well", 1.0)
    line_id = talk.hear("prospect", "and so on", 2.0)
    assert talk.call.unfinished() == [ev.Embed(line_id=line_id, text="and so on")]
    talk.embed(line_id)
    assert talk.call.unfinished() == []


def test_a_sudden_change_an_objection_and_a_signal_are_key_moments():
    talk = Talk()
    talk.say("prospect", WARM, 1.0)
    talk.say("prospect", COLD, 2.0)
    talk.say("prospect", "it is too expensive", 3.0)
    kinds = [moment.kind for moment in talk.close(9.0).key_moments]
    assert kinds == ["buying_signal", "rise", "drop", "objection", "drop"]


def test_speech_that_nobody_transcribed_is_scored_by_its_sound():
    talk = Talk()
    talk.speech("prospect", 1.0, 3.0, tonal_shift_st=4.0)
    talk.speech("agent", 2.0, 3.0)
    talk.speech("closer", 4.0, 5.0)
    talk.speech("prospect", 20.0, 21.0)
    prospect, agent, closer, _ = talk.close(30.0).segments
    assert (prospect.text, prospect.engagement) == ("", 55.97)
    assert (agent.text, agent.engagement, agent.speaker) == ("", None, "agent")
    assert (closer.text, closer.engagement, closer.speaker) == ("", None, "closer")


def test_after_the_bridge_the_closer_s_lines_are_kept_but_never_scored_or_credited():
    talk = Talk()
    talk.join()
    talk.say("agent", "say story", 1.0, like("say story"))
    talk.bridge(2.0)
    talk.say("closer", "say reframe", 3.0, like("say reframe"))
    talk.say("prospect", WARM, 4.0)
    talk.say("prospect", "but too expensive", 5.0)
    assert talk.of(ev.AskForHints) == []
    record = talk.close(9.0)
    closer = record.segments[1]
    assert (closer.text, closer.engagement, closer.strategy) == ("say reframe", None, None)
    assert closer.sentiment == 0.0
    assert [(credit.strategy, credit.lifted) for credit in record.credits] == [(STORY, None)]
    assert record.objections[0].strategy is None


def test_a_stranger_who_hangs_up_at_once_has_a_record():
    talk = Talk()
    talk.join()
    assert talk.leave(0.4, source="callee") == [ev.WrapUp(reason="hangup")]
    record = talk.close(5.0)
    assert (record.ended_at, record.hangup_cause, record.answered_at) == (at(0.4), "normal", at(0))
    assert (record.segments, record.outcome.final_status) == ((), "abandoned")


def test_late_finals_are_part_of_the_record_though_the_call_ended_before():
    talk = Talk()
    talk.join()
    talk.leave(3.0)
    talk.hear("prospect", "well goodbye", 3.2)
    record = talk.close(5.0)
    assert record.full_text == "prospect: well goodbye"
    assert record.ended_at == at(3.0)


def test_a_second_hangup_and_one_of_an_unknown_leg_change_nothing():
    talk = Talk()
    talk.join()
    assert talk.leave(1.0, LegId("unknown")) == []
    talk.leave(3.0, source="callee")
    assert talk.leave(4.0, source="caller") == []
    record = talk.close(5.0)
    assert (record.ended_at, record.legs[0].to_at) == (at(3.0), at(4.0))


def test_the_agent_s_leg_may_end_without_the_call():
    talk = Talk()
    talk.join(LegId("agent"), "agent")
    assert talk.leave(1.0, LegId("agent")) == []
    assert talk.call.log.hung_up_at is None


def test_what_is_known_of_a_leg_is_kept_when_a_later_event_knows_less():
    talk = Talk()
    known = Leg(leg_id=PROSPECT, party="prospect", call_leg_id="l", call_session_id="s")
    talk.feed(ev.LegJoined(at=at(1), leg=known, answered=False))
    assert talk.call.log.answered_at is None
    talk.leave(9.0)
    talk.join(at_s=2.0)
    (leg,) = talk.close(10.0).legs
    assert (leg.call_leg_id, leg.call_session_id) == ("l", "s")
    assert (leg.from_at, leg.to_at) == (at(1), at(9))
    assert talk.call.log.answered_at == at(2)
    talk = Talk()
    talk.join(CLOSER, "closer", 3.0)
    talk.join(at_s=4.0)
    talk.join(at_s=5.0)
    assert talk.call.log.answered_at == at(4)


def test_a_leg_s_own_beginning_is_kept():
    talk = Talk()
    leg = Leg(leg_id=PROSPECT, party="prospect", from_at=at(-3))
    talk.feed(ev.LegJoined(at=at(1), leg=leg, answered=True))
    assert talk.close(2.0).legs[0].from_at == at(-3)


def test_lead_stream_and_recording_are_noted():
    talk = Talk()
    lead = Lead(lead_id="1", first_name="Ada")
    talk.feed(ev.LeadKnown(at=at(1), lead=lead))
    for lost in (3, 4):
        talk.feed(
            ev.StreamChanged(at=at(2), kind="stopped", frames_lost=lost, masked_s=1.5, echo_s=0.2)
        )
    talk.feed(ev.RecordingSaved(at=at(3), url="https://x", recording_id="r"))
    record = talk.close(9.0)
    assert (record.lead, record.frames_lost) == (lead, 7)
    assert (record.masked_s, record.echo_s) == (3.0, 0.4)
    assert record.recording == Recording(url="https://x", recording_id="r")


def test_hints_closers_and_outcomes_are_noted():
    talk = Talk()
    talk.join()
    talk.say("prospect", "that is too expensive", 2.0)
    talk.answer(2.1, REFRAME)
    talk.feed(ev.HintJudged(hint_id=HintId("c1:h1"), at=at(3), action="dismissed"))
    talk.feed(ev.CloserChecked(at=at(4), closer="Ann", available=True))
    talk.feed(ev.MachineAnswered(at=at(4)))
    record = talk.close(5.0)
    assert [given.status for given in record.hints] == ["dismissed"]
    assert (record.closer, record.closer_available) == ("Ann", True)
    assert record.outcome.final_status == "no_answer"


def test_a_rude_interruption_is_counted():
    talk = Talk()
    for start_s, interruptions in ((1.0, 1), (10.0, 0)):
        talk.speech("prospect", start_s, start_s + 1.0, overtalk_s=0.5, interruptions=interruptions)
    talk.speech("prospect", 30.0, 31.0)
    assert talk.close(40.0).interruptions == 1


def test_when_no_closer_is_free_the_second_best_is_said_unless_the_prospect_has_left():
    talk = Talk()
    talk.join()
    talk.join(CLOSER, "closer")
    talk.want(1.0)
    talk.step("ended", 2.0, "unavailable")
    assert [effect.hint.strategy for effect in talk.of(ev.PublishHint)] == [VIDEO]
    talk.want(3.0)
    talk.leave(3.5, CLOSER)
    talk.leave(4.0)
    talk.step("ended", 5.0, "unavailable", number=2)
    assert len(talk.of(ev.PublishHint)) == 1


def test_a_call_is_opened_once():
    talk = Talk()
    assert talk.feed(OPENED) == []
    assert talk.call.log.opened == OPENED


@pytest.mark.parametrize("interrupted", [True, False])
def test_a_call_is_closed_once(interrupted):
    talk = Talk()
    assert not talk.call.is_closed
    first = talk.close(5.0, interrupted=interrupted)
    assert talk.call.is_closed
    assert talk.close(9.0, interrupted=not interrupted) == first
    assert (first.interrupted, first.ended_at) == (interrupted, at(5))


def test_a_closed_call_takes_only_what_completes_its_record():
    talk = Talk()
    before = talk.close(5.0)
    talk.speech("prospect", 1.0, 2.0)
    talk.join()
    assert talk.want(6.0) == []
    assert talk.leave(6.0) == []
    assert talk.call.record(before.configuration) == before
    talk.feed(ev.RecordingSaved(at=at(60), url="https://x"))
    talk.feed(ev.LeadKnown(at=at(60), lead=Lead(lead_id="7")))
    talk.feed(ev.OutcomePosted(at=at(60), final_status="video_sent"))
    after = talk.call.record(before.configuration)
    assert after.recording.url == "https://x"
    assert (after.lead.lead_id, after.outcome.final_status) == ("7", "video_sent")
    assert after.ended_at == at(5)


def test_a_line_that_comes_after_the_close_is_scored_but_starts_nothing():
    talk = Talk()
    talk.close(5.0)
    talk.say("prospect", WARM, 4.5)
    assert [type(effect) for effect in talk.effects] == [ev.Embed, ev.PublishScore]
    record = talk.call.record(CONFIGURATION)
    assert (len(record.segments), record.ended_at) == (1, at(5))
    assert record.engagement is not None


def test_a_veto_of_nothing_and_a_progress_of_nothing_ask_for_nothing():
    call = Call(OPENED, reader())
    assert list(call.receive(ev.TransferWanted(at=at(1), by="Ann", veto=True))) == []


def test_an_agent_who_names_his_strategy_is_believed():
    talk = Talk()
    line = ev.LineHeard(
        line_id="n", at=at(1), party="agent", text="say story", is_final=True, strategy=REFRAME
    )
    talk.feed(line)
    talk.embed("n", like("say story"))
    (segment,) = talk.close(9.0).segments
    assert (segment.strategy, segment.strategy_confidence) == (REFRAME, 1.0)


def test_who_is_handed_over_is_not_hinted_at():
    talk = Talk()
    talk.join()
    for second in (1.0, 2.0, 3.0):
        talk.say("agent", f"cue {second}", second, like("cue 10"))
    kinds = {type(effect) for effect in talk.say("prospect", WARM, 4.0)}
    assert kinds == {ev.PublishScore, ev.StartTransfer}


# --- legs and what a call is heard by -------------------------------------------------------------


def test_a_closer_whom_the_user_s_own_application_bridges_is_with_the_prospect_until_he_leaves():
    talk = Talk()
    talk.join()
    talk.join(CLOSER, "closer", at_s=1.0)
    assert talk.call.log.is_with_agent
    talk.feed(ev.LegsBridged(at=at(2), leg_id=CLOSER))
    assert not talk.call.log.is_with_agent
    talk.say("prospect", "that is too expensive", 3.0)
    assert talk.of(ev.AskForHints) == []
    talk.leave(5.0, CLOSER)
    assert talk.call.log.is_with_agent


def test_lost_words_are_noticed_until_the_call_hangs_up():
    talk = Talk()
    talk.join()
    talk.feed(ev.StreamChanged(at=at(0), kind="started"))
    talk.speech("prospect", 0.0, 20.0)
    talk.speech("prospect", 21.0, 41.0)
    (restart,) = talk.of(ev.RestartTranscription)
    assert restart.leg_id == PROSPECT
    talk.speech("prospect", 42.0, 43.0)
    assert talk.call.lacks == ("transcript",)
    talk.hear("prospect", "hello?", 44.0)
    assert [told.lacks for told in talk.of(ev.PublishDegraded)] == [("transcript",), ()]
    talk.leave(45.0)
    talk.speech("prospect", 45.0, 73.0)
    talk.speech("prospect", 74.0, 75.0)
    assert len(talk.of(ev.RestartTranscription)) == 1


def test_a_command_that_was_decided_is_only_remembered():
    talk = Talk()
    command = ev.CommandDecided(
        at=at(3),
        leg_id=PROSPECT,
        command="transcription_stop",
        command_id=CommandId("c"),
        reason="silent",
    )
    assert talk.feed(command) == []
    assert talk.call.log.last_at == at(3)


def test_a_look_ahead_tells_what_will_be_asked_and_takes_nothing():
    talk, same = Talk(), Talk()
    for one in (talk, same):
        one.say("agent", "cue", 3.0, like("cue 4"))
    words, vector = "that is too expensive", like("costs much")
    foreseen = talk.call.foresee(words, vector)
    assert foreseen is not None
    told, told_same = (one.say("prospect", words, 9.0, vector) for one in (talk, same))
    (asked,) = (effect for effect in told if isinstance(effect, ev.AskForHints))
    question = asked.question
    assert (foreseen.phase, foreseen.objection, foreseen.lead_kind) == (
        question.phase,
        question.objection,
        question.lead_kind,
    )
    assert foreseen.vector is vector
    assert foreseen.question_id != question.question_id
    # as if nobody had looked
    assert repr(told) == repr(told_same)


def test_a_line_that_would_ask_nothing_is_foreseen_as_such():
    assert Talk().call.foresee("it rains here", NOTHING) is None
