import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.manner import CUES, manner, pieces


def cues(text: str) -> dict[str, float]:
    """Return the last number of every cue: how many, or its share."""
    return {cue.name: float(number) for cue, number in zip(CUES, manner(text), strict=True)}


def test_words_numbers_and_marks_are_told_apart():
    assert pieces("I don\u2019t know: 1,500 dollars?") == [
        "i",
        "don't",
        "know",
        ":",
        "1,500",
        "dollars",
        "?",
    ]


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("yes I would", "yes_first", 1.0),
        ("no I would not", "no_first", 1.0),
        ("that is great", "warm", 1.0),
        ("that is not great", "warm_negated", 1.0),
        ("that is awful", "cold", 1.0),
        ("that is not so awful", "cold_negated", 1.0),
        ("not now, great", "warm_negated", 0.0),
        ("not in all these years great", "warm_negated", 0.0),
        ("what is it?", "asks", 1.0),
        ("wow!", "emphasis", 1.0),
        ("about 50", "number", 1.0),
        ("it costs $50", "money", 1.0),
        ("well...", "trails_off", 1.0),
        ("one, two, three, four", "commas", 0.75),
        ("fine", "very_short", 1.0),
        ("that is all fine", "short", 1.0),
    ],
)
def test_each_cue_is_heard(text, name, value):
    assert cues(text)[name] == value


def test_the_mood_is_what_is_good_less_what_is_bad():
    assert cues("great but expensive")["mood"] == 0.0
    assert cues("not bad")["mood"] > 0 > cues("not good")["mood"]


def test_no_words_have_no_cues_but_that_they_are_few():
    assert {name for name, value in cues("").items() if value} == {"length", "very_short", "short"}


@given(st.text(max_size=200))
def test_any_text_has_all_cues_and_none_is_huge(text):
    numbers = manner(text)
    assert numbers.shape == (len(CUES),)
    assert (abs(numbers) < 50).all()
