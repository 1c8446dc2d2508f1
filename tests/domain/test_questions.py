import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.questions import question_count


@given(st.text())
def test_no_text_is_too_strange(text):
    assert question_count(text) >= 0


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("How much is it? And when?", 2),
        ("Really???", 1),
        ("Really? ? ?", 3),
        ("I see. What does it cost? Tell me about Kevin.", 2),
        ("", 0),
        ("...", 0),
    ],
)
def test_questions_are_counted_by_their_marks_and_what_has_none_is_read(text, count):
    assert question_count(text) == count


@pytest.mark.parametrize(
    "text",
    [
        "how much is it",
        "how much does that cost me",
        "what do I have to do for it",
        "and what is the catch",
        "who pays for it",
        "who is this",
        "which company is that",
        "why would you give it away",
        "yeah but is it legal",
        "can't I just buy it",
        "is the training free",
        "do you have a website",
        "I work nights do you have something for that",
        "you live there too don't you",
        "it costs a hundred dollars right",
        "it's a scam isn't it",
        "I'm fine and you",
        "I'm fine thanks how about yourself",
        "what about the taxes",
        "how come",
        "why",
        "what group",
        "how you doing",
        "I was wondering how it works",
        "I'd like to know more about it",
        "I'm curious if it works in Texas",
        "so tell me about the money",
        "may I ask who you are",
        "just tell me what it costs",
        "let me know how it goes",
        "okay how about tomorrow",
        "any idea what it costs",
        "is that so",
        "so you earn money or what",
    ],
)
def test_a_question_needs_no_mark(text):
    assert question_count(text) == 1


def test_several_questions_in_one_breath_are_counted():
    assert question_count("what does it cost and do I get it back and when can I start") == 3


@pytest.mark.parametrize(
    "text",
    [
        "how nice",
        "what a day",
        "it is nice",
        "when I get home I will look at it",
        "what you say makes sense",
        "I know what it is",
        "I do what the boss says",
        "that is why I left",
        "how to do that is clear",
        "my uncle who is the boss said so",
        "they tell me that it is good",
        "don't tell me about it",
        "tell me",
        "that's right",
        "you are absolutely right",
        "I can do that",
        "do the dishes",
        "and can go there",
        "neither do you",
        "would",
        "have not",
        "I am all right",
        "it is what you say it is",
        "where they live it is cold",
        "let me know",
        "I know that",
    ],
)
def test_what_only_begins_like_a_question_is_none(text):
    assert question_count(text) == 0
