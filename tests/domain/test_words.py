import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.words import Phrases, plain_words, tokens

FILLERS = st.sampled_from("we you the car they house went".split())


def test_words_keep_their_apostrophes_and_lose_everything_else():
    assert tokens("Don't—I\u2019VE 3 cars, ok?") == ["don't", "i've", "3", "cars", "ok"]
    assert tokens("…?!") == []


@given(st.text())
def test_no_text_is_too_strange(text):
    assert all(word == word.lower() and word for word in tokens(text))
    assert all(word == word.lower() and word for word in plain_words(text))
    assert Phrases([text]).find(text) in ([], [text])
    assert Phrases([text], inflected=True).denied(text) in ([], [text])


@given(st.lists(FILLERS, max_size=5), st.lists(FILLERS, max_size=5))
def test_a_phrase_is_found_as_whole_words_anywhere_in_a_line(before, after):
    phrases = Phrases(["sign me up"])
    assert phrases.find(" ".join([*before, "Sign", "me", "UP", *after])) == ["sign me up"]
    assert phrases.find(" ".join([*before, "design", "me", "upwards", *after])) == []


def test_a_phrase_within_a_word_is_not_found():
    assert Phrases(["no", "mlm"]).find("I know the mlmx") == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("is this a scam", ["scam"]),
        ("this is not a scam", []),
        ("is this no scam", []),
        ("no scam I hope", []),
        ("I did not say that. It is a scam", ["scam"]),
        ("No, sign me up", ["sign me up"]),
        ("no sign me up", ["sign me up"]),
        ("do not sign me up", []),
        ("No! Do not call me", ["do not call"]),
        ("no no do not call", ["do not call"]),
        ("don't do not call me", ["do not call"]),
        ("scam, sign me up, scam", ["scam", "sign me up", "scam"]),
    ],
)
def test_what_a_negation_precedes_does_not_count_but_a_refusal_always_does(text, found):
    assert Phrases(["sign me up", "scam", "do not call"]).find(text) == found


def test_phrases_of_no_words_find_nothing():
    assert Phrases(["", "?!"]).find("anything at all ?!") == []


def test_phrases_that_begin_alike_are_all_found():
    assert Phrases(["call me", "call me back"]).find("call me back") == ["call me", "call me back"]


@pytest.mark.parametrize(
    ("said", "plain"),
    [
        ("I don't", "i do not"),
        ("I dont", "i do not"),
        ("we can\u2019t, cannot and won't", "we can not can not and will not"),
        ("I'm gonna, they've, she'll, I'd", "i am going to they have she will i would"),
        ("what's my wife's name", "what is my wife's name"),
        ("ain't it", "is not it"),
        ("an e-mail or e mail", "an email or email"),
        ("mail me, rock'n", "mail me rock'n"),
        ("dunno lemme let's", "do not know let me let us"),
    ],
)
def test_one_spelling_covers_how_recognisers_write(said, plain):
    assert " ".join(plain_words(said)) == plain


@pytest.mark.parametrize("said", ["I do not have time", "I don't have time", "i dont have time"])
def test_a_phrase_is_found_in_any_spelling(said):
    assert Phrases(["don't have time"]).find(said) == ["don't have time"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("this is a scam", True),
        ("I'm not saying it's a scam", False),
        ("I never said that you are running a scam", False),
        ("I don't think it's a scam", False),
        ("it's not that it's a scam", False),
        ("I'm not sure but it's a scam", True),
        ("not only a scam", True),
        ("this is nothing but a scam", True),
        ("no doubt a scam", True),
        ("there is no doubt a scam", True),
        ("isn't this a scam", True),
        ("is this not a scam", True),
        ("but isn't it a scam", True),
        ("it isn't a scam", False),
        ("not one of those things you would call a scam", True),
        ("nothing here is a scam", False),
    ],
)
def test_who_denies_to_say_it_does_not_say_it(text, found):
    assert bool(Phrases(["scam"]).find(text)) is found
    assert bool(Phrases(["scam"]).denied(text)) is not found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("do not call me", True),
        ("I said do not call me", True),
        ("I'm not saying do not call me", False),
        ("it's not that you should not, well, do not call", True),
    ],
)
def test_a_refusal_counts_unless_it_is_denied_to_be_one(text, found):
    assert bool(Phrases(["do not call"]).find(text)) is found


@pytest.mark.parametrize(
    "text", ["scams", "I was scammed", "scamming people", "a scam's end", "the scam"]
)
def test_inflections_count_where_they_are_asked_for(text):
    assert Phrases(["scam"], inflected=True).find(text) == ["scam"]
    assert bool(Phrases(["scam"]).find(text)) is (text == "the scam")


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("waste my time", "you are wasting my time"),
        ("worry about it", "he worried about it"),
        ("pay 5", "paying 5"),
        ("rely on it", "relies on it"),
        ("push me", "she pushes me"),
    ],
)
def test_regular_verbs_are_known(phrase, text):
    assert Phrases([phrase], inflected=True).find(text) == [phrase]


def test_where_a_phrase_was_said_is_told_in_plain_words():
    assert Phrases(["call me"]).places("don't wait, call me") == [(range(3, 5), "call me")]


def test_a_very_long_line_without_a_stop_takes_no_long_time():
    text = "not love scam " * 20_000
    assert len(Phrases(["scam"]).denied(text)) == 20_000
