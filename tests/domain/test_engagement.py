import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.engagement import (
    NEUTRAL,
    EngagementMeter,
    EngagementScore,
    SaidWords,
    Weights,
)
from agent_sidecar.domain.language import Meaning
from agent_sidecar.domain.record import Acoustics
from agent_sidecar.domain.types import Vector
from tests.domain.models import ELSE, TOPIC, a_model, block, word_weights
from tests.domain.playbooks import MONEY, NEVER

PLAIN = Meaning(sentiment=0.0, questions=0)
W = Weights()
USUAL_WORDS = int(W.words_usual)


def said(
    text: str = "x",
    meaning: Meaning = PLAIN,
    *,
    words: int = USUAL_WORDS,
    vector: Vector | None = None,
) -> SaidWords:
    return SaidWords(text=text, vector=vector, word_count=words, meaning=meaning)


def score(
    meaning: Meaning | None = PLAIN, *, words: int = USUAL_WORDS, sound: Acoustics | None = None
) -> EngagementScore:
    spoken = None if meaning is None else said(meaning=meaning, words=words)
    return EngagementMeter().score(spoken, sound)


def of(logit: float) -> float:
    """Return the score of a logit."""
    return 100.0 / (1.0 + math.exp(-logit))


def test_nothing_special_is_neutral_and_names_no_reason():
    assert score() == EngagementScore(value=NEUTRAL, call=NEUTRAL)
    assert score(None) == EngagementScore(value=NEUTRAL, call=NEUTRAL)
    assert EngagementMeter().call is None


@pytest.mark.parametrize(
    ("meaning", "logit", "why"),
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
def test_each_thing_said_moves_the_score_and_says_why(meaning, logit, why):
    scored = score(meaning)
    assert scored.value == pytest.approx(of(logit), abs=0.01)
    assert [part.why for part in scored.parts] == [why]


@pytest.mark.parametrize(
    ("words", "logit", "why"),
    [(100, W.word * W.words_most, "talks freely"), (0, -W.word * W.words_most, "short answer")],
)
def test_without_fitted_weights_the_length_counts_within_limits(words, logit, why):
    scored = score(words=words)
    assert scored.value == pytest.approx(of(logit), abs=0.01)
    assert [part.why for part in scored.parts] == [why]


@pytest.mark.parametrize(
    ("sound", "logit", "why"),
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
def test_each_sound_moves_the_score_within_limits(sound, logit, why):
    scored = score(None, sound=sound)
    assert scored.value == pytest.approx(of(logit), abs=0.01)
    assert [part.why for part in scored.parts] == [why]


def test_an_answer_in_time_is_no_hesitation():
    assert score(None, sound=Acoustics(response_latency_s=0.2)).value == NEUTRAL


def test_parts_too_small_to_name_are_named_together():
    small = Meaning(sentiment=0.02, questions=0)
    scored = score(small, words=USUAL_WORDS + 1)
    assert [(part.name, part.why) for part in scored.parts] == [
        ("rest", "small things together"),
    ]
    assert scored.value == pytest.approx(NEUTRAL + scored.parts[0].points)


def test_the_strongest_reason_comes_first():
    meaning = Meaning(sentiment=0.3, questions=2, buying_signal="sign me up")
    names = [part.name for part in score(meaning, sound=Acoustics(overtalk_s=1.0)).parts]
    assert names == ["buying_signal", "questions", "sentiment", "overtalk"]


def test_fitted_weights_judge_the_words_and_the_playbook_adds_to_them():
    fitted = Weights(score=a_model(words=word_weights(sure=4.0)))
    alone = EngagementMeter(fitted).score(said("sure", vector=TOPIC))
    assert (alone.parts[0].name, alone.parts[0].why) == ("words", "says “sure”")
    assert alone.value == pytest.approx(of(2.0), abs=0.01)
    signal = Meaning(sentiment=0, questions=0, buying_signal="sure")
    both = EngagementMeter(fitted).score(said("sure", signal, vector=TOPIC))
    assert both.value == pytest.approx(of(2.0 + W.buying_signal), abs=0.01)


def test_with_fitted_weights_what_the_agent_said_before_counts():
    meter = EngagementMeter(Weights(score=a_model(known=block("agent", *(2.0 * TOPIC)))))
    meter.hear_agent(TOPIC)
    assert meter.score(said("well", vector=TOPIC)).value == pytest.approx(of(2.0), abs=0.01)
    by_hand = EngagementMeter()
    by_hand.hear_agent(TOPIC)
    assert by_hand.score(said("well", vector=TOPIC)).value == NEUTRAL


def test_with_fitted_weights_sound_alone_is_scored_by_sound():
    meter = EngagementMeter(Weights(score=a_model(plain=block("manner", 1.0))))
    assert meter.score(None, Acoustics(tonal_shift_st=2.0)).value > NEUTRAL
    assert meter.score(None, None).value == NEUTRAL


def test_the_call_s_score_follows_its_segments_slowly():
    meter = EngagementMeter()
    keen = Meaning(sentiment=0.9, questions=2, buying_signal="x")
    values = [meter.score(said(meaning=keen)).call for _ in range(30)]
    best = EngagementMeter().score(said(meaning=keen)).value
    assert values[0] == pytest.approx(NEUTRAL + W.smoothing * (best - NEUTRAL), abs=0.01)
    assert values == sorted(values)
    assert values[-1] == pytest.approx(best, abs=0.1)
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
FITTED = Weights(
    score=a_model(known=block("line", 40.0), plain=block("manner", 0.5), words=word_weights(no=-9))
)


spoken = st.builds(
    said,
    st.text(max_size=40),
    meanings,
    words=st.integers(0, 999),
    vector=st.sampled_from([None, TOPIC, ELSE]),
)
segments = st.tuples(st.none() | spoken, st.none() | sounds)


@given(st.sampled_from([Weights(), FITTED]), st.lists(segments, max_size=20))
def test_every_score_is_between_0_and_100_and_is_the_sum_of_its_parts(weights, lines):
    meter = EngagementMeter(weights)
    for words, sound in lines:
        scored = meter.score(words, sound)
        assert 0.0 <= scored.value <= 100.0
        assert 0.0 <= scored.call <= 100.0
        told = NEUTRAL + sum(part.points for part in scored.parts)
        assert scored.value == pytest.approx(told, abs=0.06)


def test_a_no_that_goes_along_counts_beside_what_was_fitted():
    weights = Weights(score=a_model())
    plain, along = (
        EngagementMeter(weights).score(said(text)) for text in ("fine by me", "no problem")
    )
    assert along.value - plain.value > 20.0
    assert "a “no” that goes along" in [part.why for part in along.parts]
