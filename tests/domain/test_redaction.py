import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.redaction import KINDS, Redaction, read_kinds, speaks_of_cards

CARDS = Redaction(frozenset({"cards"}))
ALL = Redaction(frozenset(KINDS))
WORDS = "zero one two three four five six seven eight nine".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
TEENS = ("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen").split()


# prefix and length, as issuers have them
ISSUED = [
    *(("4", length) for length in (13, 16, 19)),
    *((prefix, 16) for prefix in ("51", "55", "2221", "6011", "65", "81")),
    *(("34", 15), ("37", 15), ("36", 14), ("62", 17), ("50", 18)),
]


def with_check_digit(digits: str) -> str:
    """Return the digits with the one that makes Luhn's sum a multiple of ten."""
    doubled = [int(d) * (2 - place % 2) for place, d in enumerate(reversed(digits))]
    total = sum(value - 9 if value > 9 else value for value in doubled)
    return digits + str(-total % 10)


@st.composite
def card_numbers(draw: st.DrawFn) -> str:
    prefix, length = draw(st.sampled_from(ISSUED))
    free = length - len(prefix) - 1
    rest = draw(st.text("0123456789", min_size=free, max_size=free))
    return with_check_digit(prefix + rest)


def pair_in_words(pair: str) -> str:
    """Say two digits as people do: “forty-one”, “eleven”, “oh four”."""
    if pair[0] == "0" or len(pair) < 2:
        return " ".join(WORDS[int(digit)] for digit in pair)
    if pair[0] == "1":
        return TEENS[int(pair[1])]
    tens = TENS[int(pair[0]) - 2]
    return tens if pair[1] == "0" else f"{tens}-{WORDS[int(pair[1])]}"


def doubled(number: str) -> str:
    """Say “double four” where a digit comes twice."""
    said, at = [], 0
    while at < len(number):
        twice = number[at : at + 2] == number[at] * 2
        said.append(f"double {WORDS[int(number[at])]}" if twice else WORDS[int(number[at])])
        at += 2 if twice else 1
    return " ".join(said)


@st.composite
def writings(draw: st.DrawFn) -> str:
    """Return a card number as some recogniser would write it."""
    number = draw(card_numbers())
    match draw(st.integers(0, 6)):
        case 0:
            return number
        case 1:
            return draw(st.sampled_from([" ", "-", " - ", ".", ", ", ". "])).join(
                number[at : at + 4] for at in range(0, len(number), 4)
            )
        case 2:
            return draw(st.sampled_from([" ", ", ", " uh ", "-"])).join(
                WORDS[int(digit)] for digit in number
            )
        case 3 if len(number) % 2 == 0:
            # of an odd number the end would be “twenty, four”, which is also 24
            return " ".join(pair_in_words(number[at : at + 2]) for at in range(0, len(number), 2))
        case 4:
            return doubled(number)
        case 5:
            # groups as it pleases, some in words
            parts, at = [], 0
            while at < len(number):
                size = draw(st.integers(1, 5))
                part = number[at : at + size]
                parts.append(draw(st.sampled_from([part, " ".join(WORDS[int(d)] for d in part)])))
                at += size
            return " ".join(parts)
        case _:
            return f"{int(number):,}"


@given(writings(), st.sampled_from(["", "it is ", "My number: ", "so that's, um, "]))
def test_no_card_number_is_left_however_it_is_written(written, before):
    text = f"{before}{written} thank you"
    assert CARDS.text(text) == f"{before}[card] thank you"


@given(card_numbers(), st.sampled_from([" 1226 123", " 12 26", ", oh nine twenty nine 4321"]))
def test_what_is_said_in_one_go_with_the_number_goes_with_it(number, more):
    assert CARDS.text(f"{number[:4]} {number[4:]}{more}.") == "[card]."


@given(st.text(max_size=60))
def test_any_text_can_be_redacted_twice(text):
    once = ALL.text(text)
    assert CARDS.text(CARDS.text(text)) == CARDS.text(text)
    assert isinstance(once, str)


@given(
    st.text("0123456789", min_size=13, max_size=19).filter(lambda n: with_check_digit(n[:-1]) != n)
)
def test_a_long_number_with_a_wrong_check_digit_stays_unless_it_hides_a_card(number):
    text = CARDS.text(f"order {number} is on its way")
    assert text.endswith(" is on its way")
    if text != f"order {number} is on its way":
        assert text.startswith("order [card]")


ORDINARY = [
    "Call me at 415 555 2671, or 212-555-7788 after 5.",
    "It was $4,111.11 in 2019, and 1,250,000 in 2021.",
    "Between 10:30 and 11:45 on the 12th of March 2026.",
    "I made 3000 dollars a month on 60 hours, 15 percent less.",
    "My zip is 90210 and the house is 1600 Pennsylvania Avenue.",
    "one two three, testing",
    "I put 3000 dollars on my credit card since 2019",
    "0000 0000 0000 0000",
    "I have a visa for 5 years",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_numbers_stay(text):
    assert CARDS.text(text) == text


@given(st.from_regex(r"\A(?:\+?1[ -]?)?\(?[2-9]\d{2}\)?[ -]?\d{3}[ -]?\d{4}\Z"))
def test_phone_numbers_stay_unless_asked(number):
    text = f"you reach me at {number}"
    assert CARDS.text(text) == text
    assert Redaction(frozenset({"phone"})).text(text) == "you reach me at [phone]"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("and the CVV is 123", "and the CVV is [cvv]"),
        ("security code: one two three", "security code: [cvv]"),
        ("the three digits on the back are 4 5 6", "the three digits on the back are [cvv]"),
        ("the card number is 4111 11", "the card number is [card]"),
        ("card number 2019", "card number 2019"),
        ("my security code is 12", "my security code is 12"),
    ],
)
def test_codes_and_parts_of_numbers_are_known_by_the_words_before_them(text, left):
    assert CARDS.text(text) == left


def test_digits_that_a_recogniser_wrote_as_words_are_heard():
    assert CARDS.text("4 won 1 1 1 1 1 1 1 1 1 1 1 1 1 1 please") == "[card] please"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("4111", "[card]"),
        ("then four two four two", "then [card]"),
        ("it's 123", "it's [cvv]"),
        ("22", "22"),
        ("I will start in 2019 with at least 4500 of them", None),
        ("$4500", None),
    ],
)
def test_a_number_that_comes_in_parts_is_known_by_what_was_spoken_of(text, left):
    assert CARDS.text(text, in_card_talk=True) == (left or text)
    assert CARDS.text(text) == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("it is 219-09-9999", "it is [ssn]"),
        ("219099999", "[ssn]"),
        ("two one nine zero nine nine nine nine nine", "[ssn]"),
        ("social: 21 90 99 999", "social: [ssn]"),
        ("the last four of my social are 9999", "the last four of my social are [ssn]"),
        ("social security since 2019", None),
        ("social media for 1000 dollars", None),
        ("90210 1234", None),
        ("21 90 99 999", None),
        ("666-12-1234", None),
        ("900121234", None),
    ],
)
def test_social_security_numbers(text, left):
    assert Redaction(frozenset({"ssn"})).text(text) == (left or text)


def with_iban_check(country: str, account: str) -> str:
    number = int("".join(str(int(c, 36)) for c in f"{account}{country}00"))
    return f"{country}{98 - number % 97:02}{account}"


@given(
    st.sampled_from(["DE", "GB", "FR", "NL"]),
    st.from_regex(r"\A[A-Z]{0,4}[0-9]{14,18}\Z"),
    st.sampled_from(["", " ", "-"]),
)
def test_ibans_are_known_by_their_check_digits(country, account, space):
    iban = with_iban_check(country, account)
    written = space.join(iban[at : at + 4] for at in range(0, len(iban), 4))
    assert Redaction(frozenset({"iban"})).text(f"to {written}!") == "to [iban]!"


def test_an_iban_in_words_and_what_is_none():
    iban = Redaction(frozenset({"iban"}))
    assert iban.text("D E eight nine 3704 0044 0532 0130 00") == "[iban]"
    assert iban.text("d\u00e9 89 3704 0044 0532 0130 00") == "d\u00e9 89 3704 0044 0532 0130 00"
    assert iban.text("DE88 3704 0044 0532 0130 00") == "DE88 3704 0044 0532 0130 00"
    assert iban.text("room 12") == "room 12"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("write to ann.b+c@mail.example.co.uk.", "write to [email]."),
        ("it is ann dot berg at gmail dot com", "it is [email]"),
        ("my email is ann at example.com", "my email is [email]"),
        ("look at amazon dot com", None),
    ],
)
def test_e_mail_addresses(text, left):
    assert Redaction(frozenset({"email"})).text(text) == (left or text)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("five five five one two three four, call me", "[phone], call me"),
        ("2019, 2020, 2021", None),
        ("1,000,000 of them", None),
        ("5551234567 dollars", None),
        ("the number is 5551234", "the number is [phone]"),
        ("item 5551234", None),
    ],
)
def test_phone_numbers(text, left):
    assert Redaction(frozenset({"phone"})).text(text) == (left or text)


def test_nothing_is_taken_out_unless_asked():
    none = Redaction()
    assert not none
    assert none.text("4111 1111 1111 1111") == "4111 1111 1111 1111"


def test_a_social_number_is_not_taken_for_a_telephone_too():
    assert ALL.text("social 219 09 9999 12") == "social [ssn]"
    assert ALL.text("4111 1111 1111 1111 and a@b.co") == "[card] and [email]"


def test_what_two_readings_find_is_taken_out_once():
    assert CARDS.text("4111 1111 1111 1111 for 1") == "[card]"


def test_talk_of_cards_is_known():
    assert speaks_of_cards("what is the number on your card?")
    assert speaks_of_cards("and the CVV")
    assert not speaks_of_cards("I'll send you a postcard")


def test_kinds_are_read_and_wrong_ones_named():
    assert read_kinds("cards, SSN,") == {"cards", "ssn"}
    with pytest.raises(ValueError, match="card, iben: must be some of cards, ssn, iban"):
        read_kinds("card,iben")
