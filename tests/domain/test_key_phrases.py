from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.key_phrases import key_phrases


@given(st.text())
def test_no_text_is_too_strange(text):
    key_phrases([text, text])


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
