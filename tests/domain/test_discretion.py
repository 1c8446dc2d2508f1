from agent_sidecar.domain.discretion import CardTalk, Discretion
from agent_sidecar.domain.redaction import Redaction


def test_cards_are_spoken_of_for_a_minute_by_anybody_in_the_call():
    talk = CardTalk()
    assert not talk.goes_on("a", 0.0, "what is your card number?")
    assert talk.goes_on("a", 30.0, "4111")
    assert not talk.goes_on("b", 30.0, "4111")
    assert not talk.goes_on("a", 61.0, "see you at 4111 Main Street")
    assert not talk.goes_on("a", 70.0, "and the cvv?")
    assert talk.goes_on("a", 80.0, "123")


def test_the_oldest_talk_is_forgotten_when_there_are_too_many():
    talk = CardTalk()
    for call in range(5000):
        talk.goes_on(str(call), 0.0, "credit card")
    assert not talk.goes_on("0", 1.0, "4111")
    assert talk.goes_on("4999", 1.0, "4111")


def test_a_number_over_several_lines_of_a_call_is_taken_out():
    discretion = Discretion(Redaction(frozenset({"cards"})))
    lines = ["What's your card number?", "Sure, 4111.", "one one one one", "1111", "and 1111", "Ok"]
    heard = [discretion.hear("a", at_s, line) for at_s, line in enumerate(lines)]
    assert heard == [lines[0], "Sure, [card].", "[card]", "[card]", "and [card]", "Ok"]
    assert discretion.hear("b", 2.0, "1111") == "1111"
    assert discretion.read("paid with 4111111111111111") == "paid with [card]"


def test_pressed_keys_go_only_with_cards():
    assert Discretion(Redaction(frozenset({"cards"}))).keys
    assert not Discretion(Redaction(frozenset({"phone"}))).keys


def test_without_being_asked_nothing_is_taken_out():
    discretion = Discretion()
    assert not discretion
    assert discretion.hear("a", 0.0, "4111 1111 1111 1111") == "4111 1111 1111 1111"
