import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.engagement import NEUTRAL, EngagementMeter, EngagementScore, Weights
from agent_sidecar.domain.language import Meaning
from agent_sidecar.domain.record import Acoustics
from tests.domain.playbooks import MONEY, NEVER

PLAIN = Meaning(sentiment=0.0, questions=0)
W = Weights()
USUAL_WORDS = int(W.words_usual)


def score(
    meaning: Meaning | None = PLAIN, *, words: int = USUAL_WORDS, sound: Acoustics | None = None
) -> EngagementScore:
    return EngagementMeter().score(meaning=meaning, word_count=words, acoustics=sound)


def test_nothing_special_is_neutral_and_names_no_reason():
    assert score() == EngagementScore(value=NEUTRAL, call=NEUTRAL)
    assert score(None) == EngagementScore(value=NEUTRAL, call=NEUTRAL)
    assert EngagementMeter().call is None


@pytest.mark.parametrize(
    ("meaning", "points", "why"),
    [
        (Meaning(sentiment=0.5, questions=0), 0.5 * W.sentiment, "warm words"),
        (Meaning(sentiment=-0.5, questions=0), -0.5 * W.sentiment, "cold words"),
        (Meaning(sentiment=0, questions=1), W.question, "asks a question"),
        (Meaning(sentiment=0, questions=9), W.question * W.questions_most, "asks questions"),
        (
            Meaning(sentiment=0, questions=0, buying_signal="sign me up"),
            W.buying_signal,
            "says “sign me up”",
        ),
        (
            Meaning(sentiment=0, questions=0, objection=MONEY, objection_closeness=0.5),
            W.objection * 0.5,
            "objects: money",
        ),
        (
            Meaning(
                sentiment=0, questions=0, objection=NEVER, objection_closeness=1, is_refusal=True
            ),
            W.refusal,
            "wants no further call",
        ),
    ],
)
def test_each_thing_said_moves_the_score_by_its_points_and_says_why(meaning, points, why):
    scored = score(meaning)
    assert scored.value == pytest.approx(NEUTRAL + points)
    assert [part.why for part in scored.parts] == [why]


@pytest.mark.parametrize(
    ("words", "points", "why"),
    [(100, W.word * W.words_most, "talks freely"), (0, -W.word * W.words_most, "short answer")],
)
def test_the_length_counts_within_limits(words, points, why):
    scored = score(words=words)
    assert scored.value == pytest.approx(NEUTRAL + points)
    assert [part.why for part in scored.parts] == [why]


@pytest.mark.parametrize(
    ("sound", "points", "why"),
    [
        (Acoustics(tonal_shift_st=9.0), 4 * W.tonal_shift, "voice higher by 4.0 semitones"),
        (Acoustics(tonal_shift_st=-2.0), -2 * W.tonal_shift, "voice lower by 2.0 semitones"),
        (
            Acoustics(response_latency_s=W.latency_usual_s + 1),
            W.hesitation,
            "answers 1.0 s late",
        ),
        (Acoustics(response_latency_s=60.0), 4 * W.hesitation, "answers 4.0 s late"),
        (Acoustics(overtalk_s=9.0), 2 * W.overtalk, "talks over"),
    ],
)
def test_each_sound_moves_the_score_within_limits(sound, points, why):
    scored = score(None, sound=sound)
    assert scored.value == pytest.approx(NEUTRAL + points)
    assert [part.why for part in scored.parts] == [why]


def test_an_answer_in_time_is_no_hesitation():
    assert score(None, sound=Acoustics(response_latency_s=0.2)).value == NEUTRAL


def test_parts_too_small_to_name_still_count():
    meter = EngagementMeter(Weights(sentiment=1.8))
    scored = meter.score(
        meaning=Meaning(sentiment=0.5, questions=0), word_count=USUAL_WORDS, acoustics=None
    )
    assert (scored.value, scored.parts) == (NEUTRAL + 0.9, ())


def test_the_strongest_reason_comes_first():
    meaning = Meaning(sentiment=0.3, questions=2, buying_signal="sign me up")
    names = [part.name for part in score(meaning, sound=Acoustics(overtalk_s=1.0)).parts]
    assert names == ["buying_signal", "questions", "sentiment", "overtalk"]


def test_the_call_s_score_follows_its_segments_slowly():
    meter = EngagementMeter()
    keen = Meaning(sentiment=0.9, questions=2, buying_signal="x")
    values = [meter.score(meaning=keen, word_count=10, acoustics=None).call for _ in range(20)]
    assert values[0] == pytest.approx(NEUTRAL + W.smoothing * (100 - NEUTRAL))
    assert values == sorted(values)
    assert values[-1] == pytest.approx(100.0, abs=0.1)
    assert meter.call == values[-1]


meanings = st.builds(
    Meaning,
    sentiment=st.floats(-1, 1),
    questions=st.integers(0, 50),
    objection=st.sampled_from([None, MONEY]),
    objection_closeness=st.floats(0, 1),
    is_refusal=st.booleans(),
    buying_signal=st.sampled_from([None, "sign me up"]),
)
some = st.one_of(st.none(), st.floats(-1e4, 1e4))
sounds = st.builds(
    Acoustics, tonal_shift_st=some, response_latency_s=some, overtalk_s=st.floats(0, 1e4)
)


@given(
    st.lists(
        st.tuples(st.none() | meanings, st.integers(0, 10_000), st.none() | sounds), max_size=30
    )
)
def test_every_score_is_between_0_and_100_and_is_made_of_its_parts(segments):
    meter = EngagementMeter()
    for meaning, words, sound in segments:
        scored = meter.score(meaning=meaning, word_count=words, acoustics=sound)
        assert 0.0 <= scored.value <= 100.0
        assert 0.0 <= scored.call <= 100.0
        told = NEUTRAL + sum(part.points for part in scored.parts)
        # at most seven parts of less than a point each are not named
        assert scored.value == pytest.approx(min(100.0, max(0.0, told)), abs=7.0)
