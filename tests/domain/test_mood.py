import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.mood import LEANING, MOOD, UNDECIDED, Leaning, says_yes_with_no, sentiment
from agent_sidecar.domain.mood_words import COLD_LINES, MOOD_IDIOMS, WARM_LINES
from agent_sidecar.domain.words import NEGATORS, plain_words

FILLERS = st.sampled_from("we you the car they house went".split())
# words whose negation is an idiom, or that are said of something else after some words
LIMIT = 0.25


@given(st.text(), st.floats(-5, 5))
def test_no_text_is_too_strange(text, leaning):
    assert -1.0 < sentiment(text, leaning) < 1.0


@pytest.mark.parametrize(
    ("warmer", "colder"),
    [
        ("I love it", "it is a car"),
        ("it is a car", "I hate it"),
        ("I like it", "I don't like it"),
        ("that is not bad", "that is bad"),
        ("no, I love it", "I do not love it"),
        ("no problem", "a problem, no"),
        ("it is great, no doubt", "great doubt"),
        ("great great great", "great"),
        ("there is no problem", "no, a problem"),
        ("no", "no no no"),
        ("no risk", "no. risk"),
        ("it is great!!!", "it is great"),
        ("it is GREAT", "it is great"),
        ("IT IS GREAT", "it is awful"),
        ("it is expensive, but I love it", "I love it, but it is expensive"),
        ("that is very good", "that is good"),
        ("that is good", "that is maybe good"),
        ("I would not say it is bad", "I would say it is bad"),
        ("it is a car", "I can't drive there"),
        ("we went there", "we went there without them"),
        ("yes sir", "no sir"),
        ("no way", "no way. awful"),
        ("not today", "not, today awful"),
    ],
)
def test_moods_compare_as_people_hear_them(warmer, colder):
    assert sentiment(warmer) > sentiment(colder)


@pytest.mark.parametrize(
    "text",
    [
        "not bad",
        "not bad at all actually",
        "I can't complain",
        "cant complain",
        "no problem",
        "sure, why not",
        "sure why not",
        "yeah, that makes sense",
        "couldn't agree more",
        "I can't wait",
        "no, that's perfect, I love it",
        "of course",
        "I wouldn't mind",
        "sounds good to me",
        "Oh wow, that's great!",
        "I'd love to",
    ],
)
def test_these_are_warm(text):
    assert sentiment(text) > LIMIT


@pytest.mark.parametrize(
    "text",
    [
        "yeah, no",
        "yeah no",
        "no thanks",
        "no, thank you",
        "nah",
        "that's too good to be true",
        "I don't want it",
        "i dont like this",
        "not really my thing, I'm not happy with it",
        "it's nice, but I can't afford it",
        "I couldn't care less",
        "what a waste of my time",
        "that's terrible",
        "I don't trust you",
    ],
)
def test_these_are_cold(text):
    assert sentiment(text) < -LIMIT


@pytest.mark.parametrize(
    "text",
    ["we went to the house", "", "it's like three miles", "you know", "good morning", "um uh"],
)
def test_these_are_neither(text):
    assert abs(sentiment(text)) < LIMIT


CONJUNCTIONS = set("only but though although however".split())
TURNED = sorted(set(MOOD) - NEGATORS - CONJUNCTIONS)


@given(st.sampled_from(TURNED), st.lists(FILLERS, max_size=2))
def test_any_mood_is_turned_round_by_a_negation_near_before_it(word, between):
    alone, negated = sentiment(word), sentiment(" ".join(["it", "is", "not", *between, word]))
    # an idiom may be something else than its words
    idioms = " ".join(phrases for phrases in MOOD_IDIOMS.values())
    assert negated * alone < 0.0 or f"not {word}" in idioms


def test_a_negation_reaches_three_words_and_not_into_another_clause():
    assert sentiment("did never not a thing we love") < sentiment("a thing we love")
    assert sentiment("never did I love") < 0.0
    assert sentiment("I did not. Love that") > 0.0


def test_every_idiom_can_be_said():
    for phrases in MOOD_IDIOMS.values():
        for phrase in phrases.split("|"):
            assert " ".join(plain_words(phrase)) == phrase


AXES = np.eye(len(WARM_LINES) + len(COLD_LINES) + 1, dtype=np.float32)
SIDES = Leaning(dict(zip((*WARM_LINES, *COLD_LINES), AXES, strict=False)))


def test_a_vector_leans_to_the_lines_it_is_near_to():
    warm, cold = AXES[:3].sum(axis=0) / 3, AXES[len(WARM_LINES) :][:3].sum(axis=0) / 3
    assert SIDES.of(warm) == pytest.approx(LEANING * (1 / 3 - UNDECIDED))
    assert SIDES.of(cold) == pytest.approx(-SIDES.of(warm))
    assert sentiment("we went", SIDES.of(warm)) > LIMIT
    assert SIDES.of(AXES[-1]) == 0.0
    assert SIDES.of(warm * UNDECIDED) == 0.0


@pytest.mark.parametrize("vector", [None, np.ones(3, np.float32), np.full(len(AXES), np.nan)])
def test_what_is_no_vector_of_this_model_leans_nowhere(vector):
    assert SIDES.of(vector) == 0.0


def test_without_the_vectors_of_both_sides_nothing_leans():
    assert Leaning({WARM_LINES[0]: AXES[0]}).of(AXES[0]) == 0.0


@pytest.mark.parametrize(
    ("text", "goes_along"),
    [
        ("No problem, that works for me.", True),
        ("not bad at all", True),
        ("why not?", True),
        ("sounds good", False),
        ("no, not for me", False),
        ("why not just stop calling", False),
        ("", False),
    ],
)
def test_a_no_may_go_along(text, goes_along):
    assert says_yes_with_no(text) is goes_along
