"""Digits in a line, however a recogniser writes them.

“4111 1111”, “four one double one”, “forty-one eleven”, “4,111,111”, with hesitation between them.

    pieces ─▶ numbers (one or several pieces, their digits, their place) ─▶ runs (no words between)
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_PIECE = re.compile(r"\d+|[^\W\d_]+(?:'[^\W\d_]+)?|[^\w\s]|_")
_ONES = dict(zip("one two three four five six seven eight nine".split(), "123456789", strict=True))
_ZERO = dict.fromkeys("zero oh o nought naught".split(), "0")
# what recognisers write for a digit among others
_SOUNDS_LIKE = {"for": "4", "fore": "4", "to": "2", "too": "2", "won": "1", "ate": "8"}
_TEENS = dict(
    zip(
        "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split(),
        range(10, 20),
        strict=True,
    )
)
_TENS = dict(
    zip(
        "twenty thirty forty fifty sixty seventy eighty ninety".split(),
        range(20, 100, 10),
        strict=True,
    )
)
_TIMES = {"double": 2, "triple": 3, "treble": 3}
# they stand between the groups of one number
_JOINERS = frozenset(
    "- \u2013 \u2014 . , ( ) _ uh um uhm er erm ah hmm then and dash hyphen space comma okay ok"
    " yeah".split()
)
_MOST_JOINERS = 4
# a word for one digit, and that digit
DIGIT_WORDS: Mapping[str, str] = {**_ZERO, **_ONES}
_WORDS = frozenset((*DIGIT_WORDS, *_TEENS, *_TENS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """Digits that were said as one, and where they stand in the text."""

    digits: str
    start: int
    end: int


Run = tuple[Number, ...]


@dataclass(frozen=True, slots=True)
class _Piece:
    text: str
    start: int
    end: int


def may_hold_digits(text: str) -> bool:
    """Say cheaply whether there can be any."""
    return any(c.isdecimal() for c in text) or not _WORDS.isdisjoint(
        re.findall(r"\w+", text.lower())
    )


def digit_runs(text: str, *, by_sound: bool = False) -> Iterator[Run]:
    """Yield numbers that follow one another without words between them.

    `by_sound`: “for”, “to” and the like among digits are digits.
    """
    pieces = [_Piece(m[0].lower(), m.start(), m.end()) for m in _PIECE.finditer(text)]
    run: list[Number] = []
    joiners, at = 0, 0
    while at < len(pieces):
        number, after = _number(pieces, at, by_sound=by_sound and bool(run))
        if number is not None:
            run.append(number)
            joiners, at = 0, after
            continue
        joiners += 1
        if pieces[at].text not in _JOINERS or joiners > _MOST_JOINERS:
            if run:
                yield tuple(run)
            run = []
        at += 1
    if run:
        yield tuple(run)


def _number(pieces: Sequence[_Piece], at: int, *, by_sound: bool) -> tuple[Number | None, int]:
    """Return the number that begins with a piece, and the piece after it."""
    first = pieces[at]
    if (times := _TIMES.get(first.text)) is not None and at + 1 < len(pieces):
        digit = _digit(pieces[at + 1].text, by_sound=by_sound)
        if digit is None:
            return None, at + 1
        end = pieces[at + 1].end
        return Number(digits=digit * times, start=first.start, end=end), at + 2
    if first.text.isdecimal():
        digits = "".join(str(int(c)) for c in first.text)
        return Number(digits=digits, start=first.start, end=first.end), at + 1
    if (zero := _ZERO.get(first.text)) is not None:
        return Number(digits=zero, start=first.start, end=first.end), at + 1
    value, after = _cardinal(pieces, at)
    if value is not None:
        return Number(digits=str(value), start=first.start, end=pieces[after - 1].end), after
    digit = _SOUNDS_LIKE.get(first.text) if by_sound else None
    if digit is None:
        return None, at + 1
    return Number(digits=digit, start=first.start, end=first.end), at + 1


def _digit(word: str, *, by_sound: bool) -> str | None:
    if len(word) == 1 and word.isdecimal():
        return str(int(word))
    return DIGIT_WORDS.get(word) or (_SOUNDS_LIKE.get(word) if by_sound else None)


def _cardinal(pieces: Sequence[_Piece], at: int) -> tuple[int | None, int]:
    """Read “forty-one”, “four hundred (and) eleven”, “four thousand one hundred eleven”."""
    value, after = _below_thousand(pieces, at)
    if value is None or after >= len(pieces) or pieces[after].text != "thousand":
        return value, after
    rest, later = _below_thousand(pieces, _past_and(pieces, after + 1))
    return (value * 1000, after + 1) if rest is None else (value * 1000 + rest, later)


def _below_thousand(pieces: Sequence[_Piece], at: int) -> tuple[int | None, int]:
    value, after = _below_hundred(pieces, at)
    if value is None or after >= len(pieces) or pieces[after].text != "hundred":
        return value, after
    rest, later = _below_hundred(pieces, _past_and(pieces, after + 1))
    return (value * 100, after + 1) if rest is None else (value * 100 + rest, later)


def _below_hundred(pieces: Sequence[_Piece], at: int) -> tuple[int | None, int]:
    if at >= len(pieces):
        return None, at
    word = pieces[at].text
    if word in _ONES:
        return int(_ONES[word]), at + 1
    if word in _TEENS:
        return _TEENS[word], at + 1
    if word not in _TENS:
        return None, at
    after = at + 1
    if after < len(pieces) and pieces[after].text == "-":
        after += 1
    if after < len(pieces) and pieces[after].text in _ONES:
        return _TENS[word] + int(_ONES[pieces[after].text]), after + 1
    return _TENS[word], at + 1


def _past_and(pieces: Sequence[_Piece], at: int) -> int:
    return at + 1 if at < len(pieces) and pieces[at].text == "and" else at
