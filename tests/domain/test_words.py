import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.words import (
    MOOD,
    NEGATORS,
    Phrases,
    key_phrases,
    question_count,
    sentiment,
    tokens,
)

FILLERS = st.sampled_from("we you the car they house went".split())


def test_words_keep_their_apostrophes_and_lose_everything_else():
    assert tokens("Don't—I\u2019VE 3 cars, ok?") == ["don't", "i've", "3", "cars", "ok"]
    assert tokens("…?!") == []


@given(st.text())
def test_no_text_is_too_strange(text):
    assert all(word == word.lower() and word for word in tokens(text))
    assert -1.0 < sentiment(text) < 1.0
    assert question_count(text) >= 0
    assert Phrases([text]).find(text) in ([], [text])
    key_phrases([text, text])


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("How much is it? And when?", 2),
        ("Really???", 1),
        ("how much is it", 1),
        ("how nice", 0),
        ("it is nice", 0),
        ("", 0),
    ],
)
def test_questions_are_counted_by_their_marks_or_their_first_word(text, count):
    assert question_count(text) == count


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
    ],
)
def test_moods_compare_as_people_hear_them(warmer, colder):
    assert sentiment(warmer) > sentiment(colder)


def test_a_text_without_mood_is_neutral():
    assert sentiment("we went to the house") == 0.0


def test_a_negation_reaches_three_words_and_not_into_another_clause():
    assert sentiment("not the car we love") == sentiment("love")
    assert sentiment("not a thing we love") == sentiment("love")
    assert sentiment("never did I love") < 0.0
    assert sentiment("I did not. Love that") == sentiment("love")


@given(st.sampled_from(sorted(w for w in MOOD if w not in NEGATORS)), st.lists(FILLERS, max_size=2))
def test_any_mood_is_turned_round_by_a_negation_near_before_it(word, between):
    text = " ".join(["it", "is", "not", *between, word])
    assert sentiment(text) * sentiment(word) < 0.0


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


def test_the_phrases_said_most_come_first_with_their_places():
    texts = ["monthly income matters", "the monthly income", "and income", "a kitchen table"]
    assert key_phrases(texts) == [
        ("income", [0, 1, 2]),
        ("monthly income", [0, 1]),
        ("income matters", [0]),
        ("kitchen table", [3]),
    ]


def test_a_run_that_only_occurs_inside_a_longer_one_is_left_out():
    assert key_phrases(["extra monthly income", "extra monthly income"]) == [
        ("extra monthly income", [0, 1])
    ]


def test_a_phrase_said_twice_in_one_line_counts_twice():
    assert key_phrases(["pyramid, or so, pyramid"]) == [("pyramid", [0, 0])]


def test_no_more_phrases_than_asked_for():
    assert len(key_phrases(["one apple", "red pear tree", "blue plum"], most=1)) == 1


@given(st.lists(st.lists(st.sampled_from("red green blue the of".split())).map(" ".join)))
def test_key_phrases_are_in_the_lines_they_are_said_to_be_in(texts):
    found = key_phrases(texts)
    assert len(found) <= 12
    for phrase, places in found:
        assert all(f" {phrase} " in f" {texts[place]} " for place in places)
        assert len(places) > 1 or len(phrase.split()) == 2


def test_a_long_call_has_its_key_phrases_at_once():
    texts = [f"word{n} other{n} third{n} fourth{n}".replace("0", "zero") for n in range(5000)]
    texts = ["".join(chr(97 + int(c)) if c.isdigit() else c for c in text) for text in texts]
    assert len(key_phrases(texts)) == 12
