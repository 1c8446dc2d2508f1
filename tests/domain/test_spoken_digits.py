import pytest

from agent_sidecar.domain.spoken_digits import digit_runs, may_hold_digits


def said(text: str, *, by_sound: bool = False) -> list[list[str]]:
    return [[number.digits for number in run] for run in digit_runs(text, by_sound=by_sound)]


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("4111 1111", [["4111", "1111"]]),
        ("4111-1111, uh, 22", [["4111", "1111", "22"]]),
        ("four one oh nine", [["4", "1", "0", "9"]]),
        ("double four triple 1", [["44", "111"]]),
        ("double or quits, double", []),
        ("forty-one eleven twenty two", [["41", "11", "22"]]),
        ("forty and twenty", [["40", "20"]]),
        ("forty-", [["40"]]),
        ("twenty-eleven", [["20", "11"]]),
        ("four hundred and eleven", [["411"]]),
        ("four hundred", [["400"]]),
        ("four hundred and", [["400"]]),
        ("four thousand one hundred eleven", [["4111"]]),
        ("five thousand", [["5000"]]),
        ("forty one hundred eleven", [["4111"]]),
        ("12 or 13", [["12"], ["13"]]),
        ("12 - - - - - 13", [["12"], ["13"]]),
        ("\u0664\u0661", [["41"]]),
        ("nothing here", []),
    ],
)
def test_numbers_are_read_as_they_are_said(text, runs):
    assert said(text) == runs


def test_sounds_count_as_digits_only_among_digits_and_only_when_asked():
    assert said("for one to one", by_sound=True) == [["1", "2", "1"]]
    assert said("one to double to", by_sound=True) == [["1", "2", "22"]]
    assert said("one to one") == [["1"], ["1"]]


def test_a_number_knows_its_place():
    text = "it is twenty-one, then 4"
    [run] = digit_runs(text)
    assert [text[number.start : number.end] for number in run] == ["twenty-one", "4"]


def test_lines_without_numbers_are_known_cheaply():
    assert may_hold_digits("at seven")
    assert may_hold_digits("b2b")
    assert not may_hold_digits("well, I never")
