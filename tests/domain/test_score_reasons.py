import pytest

from agent_sidecar.domain.manner import CUES
from agent_sidecar.domain.score_context import Conversation, Heard
from agent_sidecar.domain.score_model import Judge, ScoreModel
from agent_sidecar.domain.score_reasons import GROUPS, reasons
from tests.domain.models import ALONG, BACK, DIMENSION, TOPIC, a_model, block, heard, word_weights


def told(model: ScoreModel, line: Heard) -> dict[str, tuple[float, str]]:
    parts = Judge(model).contributions(line)
    found = {name: (share, why) for name, share, why in reasons(model, line, parts)}
    assert sum(share for share, _ in found.values()) == pytest.approx(sum(parts.values()))
    return found


def test_every_reason_is_told_once():
    assert list(told(a_model(), heard("well"))) == list(GROUPS)


@pytest.mark.parametrize(
    ("weight", "text", "why"),
    [
        (2.0, "sure thing", "says “sure”"),
        (-2.0, "sure thing", "says “sure”"),
        (2.0, "other words", "his choice of words"),
        (2.0, "?", "his choice of words"),
        (2.0, "what is it", "his choice of words"),
        (2.0, "i do not see", "his choice of words"),
    ],
)
def test_the_words_that_moved_most_are_quoted(weight, text, why):
    model = a_model(words=word_weights(sure=weight))
    assert told(model, heard(text))["words"][1] == why


def test_a_denied_word_is_quoted_without_its_mark():
    model = a_model(words=word_weights(**{"not:sure": -2.0}))
    assert told(model, heard("not sure"))["words"][1] == "says “sure”"


@pytest.mark.parametrize(("vector", "why"), [(ALONG, "agrees"), (BACK, "refuses")])
def test_the_meaning_is_what_people_say_who_mean_it(vector, why):
    model = a_model(plain=block("sides", 0.0, 0.0, 1.0))
    assert told(model, heard("x", vector))["meaning"][1] == f"sounds like one who {why}"


@pytest.mark.parametrize(
    ("text", "weight", "why"),
    [
        ("what is it", 1.0, "asks a question"),
        ("what is it", -1.0, "asks a question"),
        ("it is so", 1.0, "how he says it"),
    ],
)
def test_the_cue_that_moved_most_is_named_if_it_is_there(text, weight, why):
    row = block("manner", *(weight * (cue.name == "asks") for cue in CUES))
    assert told(a_model(known=row), heard(text))["manner"][1] == why


def test_what_was_before_is_told_by_what_it_did():
    talk = Conversation(DIMENSION)
    begin = talk.hear_prospect("hello there", TOPIC)
    talk.hear_agent(TOPIC)
    short = talk.hear_prospect("ok", TOPIC)
    long = talk.hear_prospect("it is what it is, and so on", TOPIC)
    model = a_model()
    assert told(model, begin)["so_far"][1] == "what a call begins with"
    assert told(model, short)["so_far"][1] == "has been cool so far"
    assert told(a_model(known=block("past", 1.0)), long)["so_far"][1] == "has been warm so far"
    assert told(model, short)["answer"][1] == "a short answer to what the agent had just said"
    assert told(model, long)["answer"][1] == "what the agent had just said"
