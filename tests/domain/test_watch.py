from datetime import datetime

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.lines import LINE_GRACE_S
from agent_sidecar.domain.record import Acoustics
from agent_sidecar.domain.types import Leg, LegId, Party
from agent_sidecar.domain.watch import MOST_RESTARTS, Watch
from tests.domain.playbooks import at

PROSPECT, AGENT = LegId("leg:prospect"), LegId("leg:agent")


class Ears:
    """One call under watch."""

    def __init__(
        self, *, may_command: bool = True, legs: tuple[Party, ...] = ("prospect", "agent")
    ):
        ids: dict[Party, LegId] = {"prospect": PROSPECT, "agent": AGENT}
        self._legs = {party: Leg(leg_id=ids[party], party=party) for party in legs}
        self.watch = Watch(20.0, self._legs.get, may_command=may_command)

    def speak(self, party: Party, from_s: float, to_s: float, *, talk_s: float | None = None):
        sound = Acoustics(talk_s=to_s - from_s if talk_s is None else talk_s)
        heard = ev.SpeechHeard(party=party, start_s=from_s, end_s=to_s, acoustics=sound)
        return list(self.watch.hear_speech(heard, at(to_s)))

    def speak_in_vain(self, party: Party, from_s: float, to_s: float):
        """Speak, and let pass the time in which words of it may come."""
        self.speak(party, from_s, to_s)
        return self.speak("closer", to_s + LINE_GRACE_S - 0.2, to_s + LINE_GRACE_S)

    def say(
        self,
        party: Party,
        at_s: float,
        source: ev.LineSource = "own_leg",
        *,
        is_final: bool = True,
    ):
        line = ev.LineHeard(
            line_id="l", at=at(at_s), party=party, text="well", is_final=is_final, source=source
        )
        return list(self.watch.hear_line(line))

    def lacks(self) -> tuple[str, ...]:
        return self.watch.lacks

    def stream(self, kind: str, moment: datetime | None = None, reason: str = ""):
        change = ev.StreamChanged(at=moment or at(0), kind=kind, reason=reason)  # type: ignore[arg-type]
        return list(self.watch.change_stream(change))


REASON = "the prospect spoke for 20 s and no words came"


def test_speech_without_words_restarts_the_transcription_once_and_is_then_told():
    ears = Ears()
    assert ears.speak_in_vain("prospect", 0, 12) == []
    restart = ev.RestartTranscription(leg_id=PROSPECT, reason=REASON)
    assert ears.speak_in_vain("prospect", 100, 108) == [restart]
    assert ears.lacks() == ()
    assert ears.speak_in_vain("prospect", 120, 139) == []
    assert ears.speak_in_vain("prospect", 150, 151) == [
        ev.PublishDegraded(lacks=("transcript",), reason=REASON)
    ]
    assert ears.speak_in_vain("prospect", 160, 195) == []
    assert ears.lacks() == ("transcript",)


def test_a_long_answer_is_waited_for_however_often_it_is_cut():
    ears = Ears()
    # the transcription writes when he pauses, the segmenter cuts every 15 s
    assert ears.speak("prospect", 0, 15) == []
    assert ears.speak("prospect", 15, 30) == []
    assert ears.speak("prospect", 30.5, 42) == []
    # somebody else may speak meanwhile
    assert ears.speak("agent", 42, 43) == []
    ears.say("prospect", 43.5)
    assert ears.speak_in_vain("prospect", 50, 60) == []


def test_an_answer_is_over_when_he_begins_another():
    ears = Ears()
    assert ears.speak("prospect", 0, 15) == []
    assert ears.speak("prospect", 15, 24) == []
    assert ears.speak("prospect", 24.6, 26) == [
        ev.RestartTranscription(leg_id=PROSPECT, reason=REASON)
    ]


def test_an_answer_is_over_when_others_have_spoken_for_a_while():
    ears = Ears()
    ears.speak("prospect", 0, 24)
    assert ears.say("agent", 24 + LINE_GRACE_S - 0.1) == []
    assert ears.say("agent", 24 + LINE_GRACE_S) == [
        ev.RestartTranscription(leg_id=PROSPECT, reason=REASON)
    ]


def test_speech_that_is_heard_late_does_not_end_an_answer_earlier():
    ears = Ears()
    ears.speak("prospect", 0, 24)
    ears.speak("prospect", 10, 12)
    assert ears.speak("agent", 28, 29) == []
    assert ears.speak("agent", 29, 30) != []


def test_only_speech_counts_and_only_since_the_last_words():
    ears = Ears()
    # most of this stretch is pauses
    assert ears.speak("prospect", 0, 60, talk_s=19) == []
    ears.say("prospect", 61, is_final=False)
    assert ears.speak("prospect", 62, 81) == []
    # somebody else's words say nothing about his
    ears.say("agent", 82, "other_leg")
    assert ears.speak("prospect", 83, 84) == []
    assert ears.speak("prospect", 85, 86) != []


def test_sound_without_a_measure_counts_from_end_to_end():
    ears = Ears()
    ears.speak("prospect", 0, 20, talk_s=0.0)
    assert ears.speak("prospect", 21, 22) != []


def test_words_that_come_again_end_the_alarm():
    ears = Ears()
    ears.speak_in_vain("prospect", 0, 20)
    ears.speak_in_vain("prospect", 30, 50)
    assert ears.say("prospect", 57) == [
        ev.PublishDegraded(lacks=(), reason="words of the prospect come again")
    ]
    # and it may fall silent again
    (again,) = ears.speak_in_vain("prospect", 62, 82)
    assert isinstance(again, ev.RestartTranscription)


def test_what_keeps_falling_silent_is_not_restarted_for_ever():
    ears, restarts = Ears(), 0
    for number in range(10):
        begin = 100.0 * number
        (effect,) = ears.speak_in_vain("prospect", begin, begin + 20)
        restarts += isinstance(effect, ev.RestartTranscription)
        ears.say("prospect", begin + 30)
    assert restarts == MOST_RESTARTS


def test_others_are_watched_once_their_words_came_and_where_they_came_from():
    ears = Ears()
    assert ears.speak_in_vain("agent", 0, 60) == []
    ears.say("agent", 70, "told")
    assert ears.speak_in_vain("agent", 71, 120) == []
    ears.say("agent", 130, "other_leg")
    (restart,) = ears.speak_in_vain("agent", 131, 151)
    assert isinstance(restart, ev.RestartTranscription)
    assert restart.leg_id == PROSPECT
    ears.say("agent", 160, "own_leg")
    (restart,) = ears.speak_in_vain("agent", 161, 181)
    assert isinstance(restart, ev.RestartTranscription)
    assert restart.leg_id == AGENT


def test_both_must_be_heard_again_before_the_alarm_ends():
    ears = Ears(may_command=False)
    ears.say("agent", 0)
    ears.speak_in_vain("prospect", 0, 20)
    ears.speak_in_vain("agent", 30, 50)
    assert ears.say("agent", 61) == []
    assert ears.lacks() == ("transcript",)
    assert ears.say("prospect", 62) != []
    assert ears.lacks() == ()


def test_a_call_that_is_not_ours_to_command_or_has_no_leg_is_only_told_of():
    for ears in (Ears(may_command=False), Ears(legs=())):
        (told,) = ears.speak_in_vain("prospect", 0, 20)
        assert isinstance(told, ev.PublishDegraded)
        told_too, *more = ears.stream("failed", reason="connection_refused")
        assert isinstance(told_too, ev.PublishDegraded)
        assert more == []
        assert ears.lacks() == ("audio", "transcript")


# --- the stream -----------------------------------------------------------------------------------


def test_a_stream_that_failed_is_started_once_more_and_the_call_goes_on_with_text():
    ears = Ears()
    assert ears.stream("failed", reason="connection_refused") == [
        ev.PublishDegraded(lacks=("audio",), reason="the media stream failed: connection_refused"),
        ev.RestartStream(leg_id=PROSPECT, reason="connection_refused"),
    ]
    assert ears.stream("started") == [
        ev.PublishDegraded(lacks=(), reason="the media stream is back")
    ]


def test_a_stream_that_fails_again_and_again_is_left_alone():
    ears = Ears()
    effects = [effect for _ in range(9) for effect in ears.stream("failed", reason="x")]
    assert sum(isinstance(effect, ev.RestartStream) for effect in effects) == MOST_RESTARTS


def test_a_failure_that_is_told_late_does_not_touch_the_stream_that_is_there():
    ears = Ears()
    ears.stream("started")
    assert ears.stream("failed", reason="an earlier try") == []
    ears.stream("stopped")
    assert len(ears.stream("failed", reason="this one")) == 2


def test_a_codec_that_nobody_hears_is_told_with_its_reason():
    assert Ears().stream("refused", reason="no decoder") == [
        ev.PublishDegraded(lacks=("audio",), reason="no decoder")
    ]


def test_words_without_any_sound_are_told_of_until_there_is_sound():
    ears = Ears()
    for second in (0, 30, 60):
        assert ears.say("prospect", second) == []
    ears.stream("started", at(60))
    assert ears.say("prospect", 65) == []
    ears.speak("prospect", 66, 70)
    for second in (75, 80, 82):
        ears.say("prospect", second, is_final=False)
        assert ears.say("prospect", second) == []
    # told lines may be of a recogniser that hears somewhere else
    assert ears.say("prospect", 90, "told") == []
    (told,) = ears.say("prospect", 91)
    assert told == ev.PublishDegraded(
        lacks=("audio",), reason="4 lines came and no sound: is the right leg streamed?"
    )
    assert ears.speak("prospect", 92, 93) == [
        ev.PublishDegraded(lacks=(), reason="sound comes again")
    ]
