import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.ngrams import BITS, hashed, ngrams, place


def test_runs_of_up_to_three_words_know_where_the_line_begins_and_ends():
    assert ngrams("Good idea") == [
        "good",
        "idea",
        "<s> good",
        "good idea",
        "idea </s>",
        "<s> good idea",
        "good idea </s>",
    ]


def test_a_negation_makes_other_words_of_the_next_three_in_its_clause():
    said = ngrams("not good for me today")
    assert said[:5] == ["not", "not:good", "not:for", "not:me", "today"]
    assert "good" in ngrams("not now, good")


def test_numbers_are_one_word_and_only_two_marks_are_words():
    assert ngrams("5? 70! ok, fine.")[:6] == ["#", "?", "#", "!", "ok", "fine"]


def test_a_place_is_the_same_everywhere():
    assert [place("good"), place("good", 8)] == [place("good"), place("good") & 255]
    assert place("good") == 8888


def test_each_place_comes_once_with_one_and_the_log_of_how_often():
    places, counts = hashed("no no no")
    assert list(places) == sorted(set(places.tolist()))
    assert counts[places.tolist().index(place("no"))] == np.float32(1 + np.log(3))


@given(st.text(max_size=200))
def test_any_text_has_places_within_the_hash(text):
    places, counts = hashed(text)
    assert len(places) == len(counts) > 0
    assert ((places >= 0) & (places < 1 << BITS)).all()
