from datetime import UTC, datetime

import pytest

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.outcome import outcome_of
from agent_sidecar.domain.playbook import Closer
from agent_sidecar.domain.record import CallRecord, FinalStatus, Outcome
from agent_sidecar.domain.types import HintId, Lead
from tests.domain.playbooks import PLAYBOOK, a_playbook, at, like
from tests.domain.talk import COLD, WARM, Talk

REFUSES = "please do not call me again"


def a_call() -> Talk:
    """Return an answered call in which a little was said."""
    talk = Talk()
    talk.join()
    talk.say("agent", "hello", 1.0, like("cue 1"))
    talk.say("prospect", "well", 2.0)
    return talk


def bridged(talk: Talk) -> None:
    talk.say("agent", "say video", 3.0, like("say video"))
    talk.bridge(4.0)


def sent_a_video(talk: Talk) -> None:
    talk.say("agent", "say book", 3.0, like("say book"))
    talk.say("agent", "say video", 4.0, like("say video"))


def used_a_video_hint(talk: Talk) -> None:
    talk.want(3.0)
    talk.step("ended", 4.0, "unavailable")
    talk.feed(ev.HintJudged(hint_id=HintId("c1:h1"), at=at(5), action="used"))


def booked(talk: Talk) -> None:
    talk.say("agent", "say book", 3.0, like("say book"))
    talk.say("prospect", REFUSES, 4.0)


def agreed_on_a_next_time(talk: Talk) -> None:
    talk.say("prospect", "just call me back tomorrow", 3.0)
    talk.leave(4.0, source="callee")


def refused(talk: Talk) -> None:
    talk.say("prospect", "call me tomorrow, or no", 3.0)
    talk.say("prospect", REFUSES, 4.0)
    talk.leave(5.0, source="callee")


def hung_up_early(talk: Talk) -> None:
    talk.leave(3.0, source="callee")


def hung_up_late(talk: Talk) -> None:
    for second in (3.0, 4.0):
        talk.say("agent", f"cue {second}", second, like("cue 6"))
    talk.leave(5.0, source="callee")


def agent_hung_up(talk: Talk) -> None:
    talk.leave(3.0, source="caller")


def a_machine(talk: Talk) -> None:
    talk.feed(ev.MachineAnswered(at=at(2)))
    sent_a_video(talk)


def dismissed_a_video_hint(talk: Talk) -> None:
    used_a_video_hint(talk)
    talk.feed(ev.HintJudged(hint_id=HintId("c1:h1"), at=at(6), action="dismissed"))


@pytest.mark.parametrize(
    ("what", "status", "result", "qualified"),
    [
        (bridged, "hot_transfer", "transferred", True),
        (a_machine, "no_answer", "no_answer", None),
        (sent_a_video, "video_sent", "qualified", True),
        (used_a_video_hint, "video_sent", "qualified", True),
        (booked, "follow_up", "callback", False),
        (agreed_on_a_next_time, "follow_up", "callback", False),
        (refused, "disqualified", "not_qualified", False),
        (hung_up_early, "abandoned", "not_qualified", False),
        (hung_up_late, "unknown", "callback", None),
        (agent_hung_up, "unknown", "callback", None),
        (dismissed_a_video_hint, "unknown", "callback", None),
    ],
)
def test_the_first_rule_that_fits_decides(what, status, result, qualified):
    talk = a_call()
    what(talk)
    outcome = talk.close(9.0).outcome
    assert (outcome.final_status, outcome.result, outcome.qualified) == (status, result, qualified)
    assert not outcome.posted


def never_answered() -> CallRecord:
    talk = Talk()
    talk.feed(ev.LegLeft(at=at(30), leg_id="x", cause="timeout"))  # type: ignore[arg-type]
    return talk.close(30.0)


def test_who_never_answered_is_no_answer_but_who_said_something_has_answered():
    assert never_answered().outcome.final_status == "no_answer"
    talk = Talk()
    talk.say("prospect", "well", 2.0)
    assert talk.close(9.0).outcome.final_status == "unknown"


def test_what_a_person_says_outranks_everything():
    talk = a_call()
    bridged(talk)
    talk.feed(ev.OutcomePosted(at=at(8), final_status="disqualified"))
    assert talk.close(9.0).outcome == Outcome(
        final_status="disqualified", result="not_qualified", qualified=False, posted=True
    )
    talk.feed(ev.OutcomePosted(at=at(99), final_status="follow_up", qualified=True))
    outcome = talk.call.record(talk.close(9.0).configuration).outcome
    assert (outcome.final_status, outcome.qualified, outcome.posted) == ("follow_up", True, True)


def test_a_booking_is_more_than_a_next_time():
    talk = a_call()
    booked(talk)
    assert talk.close(9.0).outcome.booked
    talk = a_call()
    agreed_on_a_next_time(talk)
    assert not talk.close(9.0).outcome.booked


# a Monday, 15:00 UTC
@pytest.mark.parametrize(
    ("timezone", "moment"),
    [
        ("America/New_York", datetime(2026, 3, 5, 20, tzinfo=UTC)),
        ("America/Los_Angeles", datetime(2026, 3, 5, 23, tzinfo=UTC)),
        # the closer's
        (None, datetime(2026, 3, 5, 20, tzinfo=UTC)),
        ("Mars/Base", datetime(2026, 3, 5, 20, tzinfo=UTC)),
    ],
)
def test_the_next_time_is_meant_in_the_lead_s_zone(timezone, moment):
    talk = Talk(lead=Lead(timezone=timezone))
    talk.say("prospect", "give me a call on Thursday at three", 2.0)
    outcome = talk.close(9.0).outcome
    assert (outcome.final_status, outcome.follow_up_at) == ("follow_up", moment)


def test_without_any_known_zone_it_is_meant_in_utc():
    talk = Talk(a_playbook(closers=(Closer(name="Ann", timezone="Mars/Base"),)))
    talk.say("prospect", "call me on Thursday at three", 2.0)
    assert talk.close(9.0).outcome.follow_up_at == datetime(2026, 3, 5, 15, tzinfo=UTC)


@pytest.mark.parametrize("then", [bridged, refused])
def test_a_next_time_is_none_when_nothing_is_to_follow(then):
    talk = a_call()
    then(talk)
    agreed_on_a_next_time(talk)
    assert talk.close(9.0).outcome.follow_up_at is None


def test_who_is_to_be_called_later_without_a_time_is_followed_up_without_one():
    talk = a_call()
    talk.say("prospect", "call me later", 3.0)
    outcome = talk.close(9.0).outcome
    assert (outcome.final_status, outcome.follow_up_at) == ("follow_up", None)


def test_a_video_may_have_its_next_time_too():
    talk = a_call()
    sent_a_video(talk)
    talk.say("agent", "I will call you tomorrow at five.", 5.0)
    talk.say("prospect", "okay, good", 6.0)
    outcome = talk.close(9.0).outcome
    assert outcome.final_status == "video_sent"
    assert outcome.follow_up_at == datetime(2026, 3, 3, 22, tzinfo=UTC)


@pytest.mark.parametrize(("words", "qualified"), [(WARM, True), (COLD, False)])
def test_a_follow_up_counts_as_qualified_when_he_is_keen(words, qualified):
    talk = a_call()
    for second in range(3, 9):
        talk.say("prospect", f"{words} {second}", second)
    talk.say("agent", "say book", 10.0, like("say book"))
    assert talk.close(19.0).outcome.qualified is qualified


@pytest.mark.parametrize(
    ("status", "result", "qualified"),
    [
        ("hot_transfer", "transferred", True),
        ("video_sent", "qualified", True),
        ("follow_up", "callback", False),
        ("disqualified", "not_qualified", False),
        ("no_answer", "no_answer", None),
        ("abandoned", "not_qualified", False),
        ("unknown", "callback", None),
    ],
)
def test_each_status_has_its_result_and_a_person_s_qualified_stands(status, result, qualified):
    def follows(given: bool | None) -> Outcome:
        name: FinalStatus = status
        return outcome_of(name, qualified=given, engagement=None, playbook=PLAYBOOK, posted=True)

    assert (follows(None).result, follows(None).qualified) == (result, qualified)
    assert [follows(given).qualified for given in (True, False)] == [True, False]


@pytest.mark.parametrize(("engagement", "qualified"), [(60.0, True), (59.9, False)])
def test_the_engagement_of_a_qualified_follow_up_is_the_playbook_s(engagement, qualified):
    outcome = outcome_of(
        "follow_up", qualified=None, engagement=engagement, playbook=PLAYBOOK, posted=False
    )
    assert outcome.qualified is qualified
