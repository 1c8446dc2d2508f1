import numpy as np
import pytest

from agent_sidecar.domain.dialogue import BASELINE, Baseline, Dialogue
from agent_sidecar.domain.record import Acoustics
from agent_sidecar.domain.speech import Span, Speech


def speech(*spans: Span, begun_s: float | None = None, **changes: object) -> Speech:
    given: dict[str, object] = {
        "spans": spans,
        "begun_s": spans[0][0] if begun_s is None else begun_s,
        "volume_dbfs": -20.0,
        "pitches": ((spans[0][0], 100.0),),
        "syllables": 4,
    }
    return Speech(**{**given, **changes})  # type: ignore[arg-type]


class Talk:
    """Two voices; what they say is told in the order in which it ended."""

    def __init__(self) -> None:
        self.dialogue = Dialogue()

    def by_prospect(self, said: Speech, *going_on: list[Span]) -> Acoustics:
        return self.dialogue.describe("prospect", "inbound", said, going_on)

    def by_agent(self, said: Speech, *going_on: list[Span]) -> Acoustics:
        return self.dialogue.describe("agent", "outbound", said, going_on)


def test_an_answer_is_as_late_as_the_silence_and_its_own_pauses_count_as_pauses():
    talk = Talk()
    first = talk.by_agent(speech((1.0, 3.0)))
    assert (first.pause_s, first.response_latency_s, first.overtalk_s) == (None, None, 0.0)
    answer = talk.by_prospect(speech((4.0, 5.0), (5.5, 6.0)))
    assert answer.response_latency_s == pytest.approx(1.0)
    assert answer.inner_pause_s == pytest.approx(0.5)
    assert answer.pause_s == pytest.approx(1.5)
    again = talk.by_prospect(speech((7.0, 8.0)))
    assert again.response_latency_s is None
    assert again.pause_s == pytest.approx(1.0)


def test_overtalk_is_where_both_speak_and_not_where_the_other_pauses():
    talk = Talk()
    talk.by_agent(speech((1.0, 3.0), (3.5, 5.0)))
    broke_in = talk.by_prospect(speech((2.6, 4.0), (6.0, 7.0)))
    assert broke_in.overtalk_s == pytest.approx(0.4 + 0.5)
    assert broke_in.interruptions == 1
    assert broke_in.response_latency_s == 0.0


def test_a_short_word_into_the_other_s_speech_is_no_interruption():
    talk = Talk()
    heard = talk.by_prospect(speech((2.0, 2.4)), [(1.0, 3.0)])
    assert heard.overtalk_s == pytest.approx(0.4)
    assert heard.interruptions == 0


def test_who_had_begun_before_is_not_blamed_also_after_a_cut():
    talk = Talk()
    talk.by_agent(speech((0.0, 15.0)))
    talk.by_prospect(speech((14.0, 17.0)), [(15.0, 17.5)])
    rest = talk.by_agent(speech((15.0, 20.0), begun_s=0.0))
    assert (rest.overtalk_s, rest.interruptions) == (0.0, 0)


def test_the_talk_ratio_is_of_all_that_was_said_what_goes_on_included():
    talk = Talk()
    assert talk.by_agent(speech((0.0, 3.0))).talk_ratio == 1.0
    assert talk.by_prospect(speech((4.0, 5.0)), [(5.0, 6.0)]).talk_ratio == pytest.approx(0.2)


def test_voice_loudness_and_pace_are_compared_with_the_speaker_s_own_median():
    talk = Talk()
    plain = [talk.by_prospect(speech((at, at + 1.0))) for at in (1.0, 3.0, 5.0)]
    assert {(one.tonal_shift_st, one.volume_shift_db, one.pace_shift) for one in plain} == {
        (0, 0, 0)
    }
    keen = talk.by_prospect(
        speech((7.0, 8.0), volume_dbfs=-14.0, pitches=((7.0, 200.0),), syllables=6)
    )
    assert keen.tonal_shift_st == pytest.approx(12.0)
    assert keen.volume_shift_db == pytest.approx(6.0)
    assert keen.pace_syl_s == pytest.approx(6.0)
    assert keen.pace_shift == pytest.approx(0.5)
    other = talk.by_agent(speech((9.0, 10.0), volume_dbfs=-30.0))
    assert (other.tonal_shift_st, other.volume_shift_db) == (0.0, 0.0)


def test_what_cannot_be_told_is_none():
    short = Talk().by_agent(speech((1.0, 1.4), pitches=()))
    assert (short.tonal_shift_st, short.pace_syl_s, short.pace_shift) == (None, None, None)
    assert Talk().by_agent(speech((1.0, 3.0), syllables=0)).pace_syl_s is None


def test_the_baseline_of_a_long_call_stays_small():
    baseline = Baseline()
    for volume in np.linspace(-30, -20, BASELINE + 50):
        baseline.volume_shift_db(float(volume))
    assert len(baseline._volumes) == BASELINE
