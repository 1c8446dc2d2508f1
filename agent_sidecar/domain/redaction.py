"""Takes out of words what must not be kept: card numbers and their codes, and others when asked.

What is taken out leaves a word in its place (`[card]`), so that lines stay lines. Numbers are known
by their check digits, however they are written or said; one that comes in parts over several lines
is known by what was spoken of just before (`discretion`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, get_args

from agent_sidecar.domain.spoken_digits import DIGIT_WORDS, Run, digit_runs, may_hold_digits

RedactedKind = Literal["cards", "ssn", "iban", "email", "phone"]
KINDS: Final[tuple[RedactedKind, ...]] = get_args(RedactedKind)

_CARD_TALK = re.compile(
    r"\bcard(?:'s)? (?:number|details|info|is)|\bnumber (?:on|of|for) (?:the|your|my) card"
    r"|\b(?:credit|debit) card\b|\bvisa\b|\bmaster ?card\b|\bamex\b|\bamerican express\b"
    r"|\blong number\b|\bexpir(?:y|ation) date\b",
    re.IGNORECASE,
)
_CODE_TALK = re.compile(
    r"\bc[ .]?v[ .]?[vc]2?\b|\bsecurity (?:code|number)\b"
    r"|\b(?:code|number|digits|numbers) (?:on|at) the (?:back|front)\b",
    re.IGNORECASE,
)
_SOCIAL_TALK = re.compile(r"\bsocial\b|\bssn\b", re.IGNORECASE)
_CALL_TALK = re.compile(r"\b(?:call|reach|text|phone|mobile|cell|number)\b", re.IGNORECASE)
# before or after a number these make it an amount, a time or an address
_PRICED = re.compile(r"[$\u20ac\u00a3]\s*$")
_COUNTED = re.compile(
    r"\s*(?:%|:\d|percent|dollars?|bucks|euros?|pounds|k\b|grand|am\b|pm\b|a\.m|p\.m|o'clock"
    r"|years?|months?|weeks?|days?|hours?|minutes?|people|times|street|avenue|miles)",
    re.IGNORECASE,
)
_YEAR = re.compile(r"(?:19|20)\d\d")
_WORD = re.compile(r"[^\W\d_]+")
_ALNUM = re.compile(r"[^\W_]+")
# how far behind “security code” the code may stand, characters
_CODE_WITHIN: Final = 80
# other words in a line that is nothing but a number
_FEW_WORDS: Final = 4

_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}")
_SPOKEN_EMAIL = re.compile(
    r"\b\w{1,64}(?P<more>\s+(?:dot|underscore|dash|hyphen|plus)\s+\w{1,64}){0,4}\s+at\s+"
    r"\w{1,63}(?:\s+dot\s+\w{1,63}){0,3}\s*(?:\s+dot\s+|\.)(?:com|net|org|edu|gov|io|co|us|info|biz|de|uk)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Found:
    start: int
    end: int
    word: str


@dataclass(frozen=True, slots=True)
class Redaction:
    """What is taken out of texts; nothing unless asked."""

    kinds: frozenset[RedactedKind] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.kinds)

    def text(self, text: str, *, in_card_talk: bool = False) -> str:
        """Return the text without them; `in_card_talk`: cards were spoken of just before."""
        kept: list[str] = []
        at = 0
        for found in sorted(self._found(text, in_card_talk), key=lambda one: one.start):
            # of two that overlap the first takes its part, the second what is left
            if found.end <= at:
                continue
            if found.start >= at:
                kept += (text[at : found.start], found.word)
            at = found.end
        return "".join((*kept, text[at:])) if at else text

    def _found(self, text: str, in_card_talk: bool) -> Iterator[_Found]:
        if "email" in self.kinds:
            yield from _emails(text)
        if not self.kinds - {"email"} or not may_hold_digits(text):
            return
        if "iban" in self.kinds:
            yield from _ibans(text)
        runs = list(digit_runs(text))
        by_sound = [run for run in digit_runs(text, by_sound=True) if run not in runs]
        if "cards" in self.kinds:
            yield from _cards(text, [*runs, *by_sound], in_card_talk)
        taken: list[_Found] = []
        if "ssn" in self.kinds:
            taken = list(_socials(text, runs))
            yield from taken
        if "phone" in self.kinds:
            starts = {found.start for found in taken}
            yield from (f for f in _phones(text, runs) if f.start not in starts)


def speaks_of_cards(text: str) -> bool:
    """Say whether a card or its code is a line's subject: its number may follow."""
    return _CARD_TALK.search(text) is not None or _CODE_TALK.search(text) is not None


def read_kinds(words: str) -> frozenset[RedactedKind]:
    """Read “cards, ssn”. Raises ValueError that names what is wrong and what there is."""
    given = {word.strip().lower() for word in words.split(",")} - {""}
    known = frozenset(kind for kind in KINDS if kind in given)
    if unknown := sorted(given - known):
        raise ValueError(f"{', '.join(unknown)}: must be some of {', '.join(KINDS)}")
    return known


# --- cards ----------------------------------------------------------------------------------------


def _cards(text: str, runs: list[Run], in_card_talk: bool) -> Iterator[_Found]:
    talk = _CARD_TALK.search(text)
    bare = in_card_talk and _is_bare(text)
    code = _CODE_TALK.search(text)
    for run in runs:
        if (first := _card_begins(run)) is not None:
            # what follows in one go is its date and code
            yield _Found(run[first].start, run[-1].end, "[card]")
            continue
        digits = len(_digits(run))
        if _is_counted(text, run) or digits < 3:
            continue
        near_code = code and 0 <= run[0].start - code.end() <= _CODE_WITHIN
        if digits <= 4 and (near_code or (bare and digits == 3)):
            yield _Found(run[0].start, run[-1].end, "[cvv]")
        elif digits >= 4 and (bare or (talk and run[0].start >= talk.end() and not _is_year(run))):
            yield _Found(run[0].start, run[-1].end, "[card]")


def _card_begins(run: Run) -> int | None:
    """Return the number of the run with which a card's begins."""
    if len(_digits(run)) < 13:
        return None
    if _is_card(_digits(run), sure=True):
        return 0
    for first in range(len(run)):
        rest = _digits(run[first:])
        if len(rest) < 13:
            break
        # recognisers join groups as they like: it may end inside one
        for length in range(min(19, len(rest)), 12, -1):
            if _is_card(rest[:length], sure=False):
                return first
    return None


def _is_card(digits: str, *, sure: bool) -> bool:
    """Say whether digits are a card's; `sure`: nothing else was said with them."""
    if not 13 <= len(digits) <= 19 or not int(digits) or _luhn(digits):
        return False
    return sure or _is_issued(digits)


def _is_issued(digits: str) -> bool:
    """Say whether some issuer has such numbers of this length."""
    length, two = len(digits), int(digits[:2])
    if digits[0] == "4":
        return length in {13, 16, 19}
    if two in {34, 37}:
        return length == 15
    if two in {30, 36, 38, 39}:
        return 14 <= length <= 19
    if 51 <= two <= 55 or 2221 <= int(digits[:4]) <= 2720:
        return length == 16
    if two in {50, 56, 57, 58, 67}:
        return True
    return two in {35, 60, 62, 63, 64, 65, 81, 82} and length >= 16


def _luhn(digits: str) -> int:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10


# --- others ---------------------------------------------------------------------------------------


def _emails(text: str) -> Iterator[_Found]:
    yield from (_Found(m.start(), m.end(), "[email]") for m in _EMAIL.finditer(text))
    for spoken in _SPOKEN_EMAIL.finditer(text):
        # “look at amazon dot com” is nobody's address
        if spoken["more"] or "mail" in text[: spoken.start()].lower():
            yield _Found(spoken.start(), spoken.end(), "[email]")


def _socials(text: str, runs: list[Run]) -> Iterator[_Found]:
    talk = _SOCIAL_TALK.search(text)
    for run in runs:
        digits = _digits(run)
        lengths = [len(number.digits) for number in run]
        said_so = talk is not None and run[0].start >= talk.end()
        if len(digits) == 9 and _is_social(digits):
            if said_so or lengths in ([9], [3, 2, 4], [1] * 9):
                yield _Found(run[0].start, run[-1].end, "[ssn]")
        elif said_so and len(digits) >= 4 and not _is_counted(text, run) and not _is_year(run):
            yield _Found(run[0].start, run[-1].end, "[ssn]")


def _is_social(digits: str) -> bool:
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return area not in {"000", "666"} and area[0] != "9" and group != "00" and serial != "0000"


def _phones(text: str, runs: list[Run]) -> Iterator[_Found]:
    for run in runs:
        digits = len(_digits(run))
        local = digits == 7 and (len(run) in {2, 7} or _CALL_TALK.search(text) is not None)
        if not (local or digits >= 10) or _is_counted(text, run):
            continue
        if all(_YEAR.fullmatch(number.digits) for number in run) or _is_amount(text, run):
            continue
        start = run[0].start - text[: run[0].start].endswith(("+", "("))
        yield _Found(start, run[-1].end, "[phone]")


def _is_amount(text: str, run: Run) -> bool:
    between = {text[one.end : two.start] for one, two in pairwise(run)}
    return between == {","} and all(len(number.digits) == 3 for number in run[1:])


def _ibans(text: str) -> Iterator[_Found]:
    pieces = list(_ALNUM.finditer(text))
    parts = [DIGIT_WORDS.get(piece[0].lower(), piece[0].upper()) for piece in pieces]
    first = 0
    while first < len(pieces):
        last = _iban_ends(parts, first)
        if last is None:
            first += 1
        else:
            yield _Found(pieces[first].start(), pieces[last].end(), "[iban]")
            first = last + 1


def _iban_ends(parts: list[str], first: int) -> int | None:
    """Return the last part of the account number that begins with a part."""
    joined, ends = "", None
    for at in range(first, len(parts)):
        joined += parts[at]
        if len(joined) > 34 or not joined.isascii():
            break
        if len(joined) >= 15 and _is_iban(joined):
            ends = at
    return ends


def _is_iban(joined: str) -> bool:
    if not joined[:2].isalpha() or not joined[2:4].isdecimal():
        return False
    return int("".join(str(int(c, 36)) for c in joined[4:] + joined[:4])) % 97 == 1


# --- runs -----------------------------------------------------------------------------------------


def _digits(run: Run) -> str:
    return "".join(number.digits for number in run)


def _is_counted(text: str, run: Run) -> bool:
    before, after = text[: run[0].start], text[run[-1].end :]
    return _PRICED.search(before[-3:]) is not None or _COUNTED.match(after) is not None


def _is_year(run: Run) -> bool:
    return len(run) == 1 and _YEAR.fullmatch(run[0].digits) is not None


def _is_bare(text: str) -> bool:
    """Say whether a line is little else than numbers."""
    said = {word.lower() for word in _WORD.findall(text)} - DIGIT_WORDS.keys()
    return len(said) <= _FEW_WORDS
