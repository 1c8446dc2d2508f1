"""Times as people say them: “Thursday at three”, “in half an hour”, “next week in the evening”.

A small grammar of our own instead of a library for dates: those find a time in nearly any text
(“may”, “second”, “3.50”), and here what is not surely a time must be none.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

# what is meant by a part of the day, and by a day without one
_PARTS = {
    "morning": time(9),
    "noon": time(12),
    "midday": time(12),
    "lunch": time(12, 30),
    "lunchtime": time(12, 30),
    "afternoon": time(15),
    "work": time(18),
    "dinner": time(19),
    "evening": time(18, 30),
    "evenings": time(18, 30),
    "tonight": time(19),
    "night": time(20),
}
# these are a time of day only after "after", and "good night" is none at all
_AFTER_ONLY = frozenset({"work", "dinner"})
_GREETING = frozenset("good nice great wonderful lovely last every".split())
ANY_TIME = time(10)
# beyond this somebody talked of something else
LONGEST = timedelta(days=100)
# an hour without am or pm is in the afternoon up to this one: nobody is called at three at night
_LAST_AFTERNOON_HOUR = 7
_DAYS = {
    name: number
    for number, names in enumerate(
        "monday mon|tuesday tues|wednesday wed|thursday thurs|friday fri|saturday|sunday".split("|")
    )
    for name in (*names.split(), f"{names.split()[0]}s")
}
_FRIDAY, _SATURDAY = 4, 5
# days from today, and from this week's Monday; the first that is said counts
_NEAR = {"day after tomorrow": 2, "tomorrow": 1, "today": 0, "tonight": 0}
_FROM_MONDAY = {"next weekend": 7 + _SATURDAY, "next week": 7}
_MONTHS = {
    name: number
    for number, name in enumerate(
        (
            "january february march april may june july august september october november december"
        ).split(),
        start=1,
    )
}
_ONES = "zero one two three four five six seven eight nine ten eleven twelve".split()
_NUMBERS = {word: number for number, word in enumerate(_ONES)} | {
    "a": 1,
    "an": 1,
    "couple": 2,
    "few": 3,
    "fifteen": 15,
    "twenty": 20,
    "thirty": 30,
    "forty": 40,
    "fifty": 50,
}
_ORDINALS = {
    word: number
    for number, word in enumerate(
        (
            "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth "
            "thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
        ).split(),
        start=1,
    )
}
_MINUTES = {"fifteen": 15, "thirty": 30, "forty": 45, "15": 15, "30": 30, "45": 45}
_UNITS = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
    "month": timedelta(days=30),
}
_BEFORE_HOUR = frozenset("at around about after by before until till like say from".split())
# a number before these counts something, and is no hour
_COUNTED = frozenset(
    "dollars dollar bucks hours hour minutes minute days day weeks week months month years year "
    "percent people kids children times jobs hundred thousand grand more other others of point "
    "things questions".split()
)
_PIECE = re.compile(r"\d{1,2}:\d{2}|\$?\d+|[a-z]+(?:'[a-z]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """A time as it was said; what was left open is None."""

    # a stretch of less than a day from now: the only thing that needs no clock
    within: timedelta | None = None
    day: date | None = None
    clock: time | None = None
    # neither am nor pm was said: twelve hours later may be meant
    is_loose: bool = False

    @property
    def is_empty(self) -> bool:
        """No time was said."""
        return self.within is None and self.day is None and self.clock is None


def spoken_time(text: str, now: datetime) -> Spoken:
    """Return the time that is said in a text; `now` is the speaker's local time."""
    words = _words(text)
    within = _within(words)
    if within is not None and within < timedelta(days=1):
        return Spoken(within=within)
    day = now.date() + within if within is not None else _day(words, now.date())
    part = _part(words)
    hour = _clock(words)
    if hour is None:
        return Spoken(day=day, clock=_PARTS[part] if part else None)
    clock, is_loose = _in_half(*hour, part)
    return Spoken(day=day, clock=clock, is_loose=is_loose)


def resolve(spoken: Spoken, now: datetime) -> datetime | None:
    """Return the moment that is meant, UTC, after `now`; None: nobody can tell, or it is over."""
    if spoken.within is not None:
        # by UTC: an hour is an hour, also when clocks are changed in it
        return now.astimezone(UTC) + spoken.within
    if spoken.is_empty:
        return None
    days = [spoken.day] if spoken.day else [now.date(), now.date() + timedelta(days=1)]
    clock = spoken.clock or ANY_TIME
    clocks = [clock, clock.replace(hour=clock.hour + 12)] if spoken.is_loose else [clock]
    for day in days:
        for one in clocks:
            meant = datetime.combine(day, one, now.tzinfo)
            if now < meant <= now + LONGEST:
                return meant.astimezone(UTC)
    return None


def completed(spoken: Spoken, before: Spoken) -> Spoken:
    """Return a time with what was said of it before: “Thursday” … “at three”."""
    if spoken.within is not None or before.within is not None:
        return spoken
    clock, is_loose = spoken.clock, spoken.is_loose
    if clock is None:
        clock, is_loose = before.clock, before.is_loose
    return Spoken(day=spoken.day or before.day, clock=clock, is_loose=is_loose)


def _words(text: str) -> list[str]:
    plain = text.lower().replace("\u2019", "'")
    plain = re.sub(r"\bo'? ?clock\b", " oclock ", plain)
    plain = re.sub(r"\b([ap])\.? ?m\b\.?", r" \1m ", re.sub(r"(\d)([ap])\.?m\b", r"\1 \2m", plain))
    return _PIECE.findall(plain)


def _number(word: str) -> int | None:
    return int(word) if word.isdigit() and len(word) <= 3 else _NUMBERS.get(word)


def _within(words: Sequence[str]) -> timedelta | None:
    """Read “in two days”, “in half an hour”, “in a couple of weeks”."""
    for at, word in enumerate(words):
        if word not in {"in", "within"}:
            continue
        rest = [w for w in words[at + 1 : at + 6] if w not in {"of", "about", "like", "maybe"}]
        if rest[:3] == ["half", "an", "hour"]:
            return _UNITS["hour"] / 2
        if len(rest) > 2 and rest[0] == "a" and rest[1] in {"couple", "few"}:
            rest = rest[1:]
        number = _number(rest[0]) if len(rest) > 1 else None
        unit = _UNITS.get(rest[1].removesuffix("s")) if number else None
        if number and unit:
            return number * unit
    return None


def _day(words: Sequence[str], today: date) -> date | None:
    """Read the day; None: no day was said."""
    said = " ".join(words)
    monday = today - timedelta(days=today.weekday())
    for at, word in enumerate(words):
        if word in _DAYS:
            return _weekday(_DAYS[word], today, said, is_next=words[at - 1 : at] == ["next"])
    for phrase, days in _NEAR.items():
        if phrase in said:
            return today + timedelta(days=days)
    for phrase, days in _FROM_MONDAY.items():
        if phrase in said:
            return monday + timedelta(days=days)
    if "weekend" in words:
        return _weekday(_SATURDAY, today, said, is_next=False)
    if "end of the week" in said:
        return _weekday(_FRIDAY, today, said, is_next=False)
    return _next_month(today) if "next month" in said else _date(words, today)


def _next_month(today: date) -> date:
    """Return its first working day: at the weekend only who asks for it is called."""
    first = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
    return first + timedelta(days=(7 - first.weekday()) % 7 if first.weekday() > _FRIDAY else 0)


def _weekday(number: int, today: date, said: str, *, is_next: bool) -> date:
    """Return the next such day; “next Friday” and “Friday next week” are in the week after."""
    monday = today - timedelta(days=today.weekday())
    ahead = today + timedelta(days=(number - today.weekday() - 1) % 7 + 1)
    in_next_week = monday + timedelta(days=7 + number)
    return in_next_week if is_next or "next week" in said else ahead


def _date(words: Sequence[str], today: date) -> date | None:
    """Read “March 5th”, “the fifth of March”, “on the 5th”."""
    month = next((_MONTHS[w] for w in words if w in _MONTHS), None)
    for at, word in enumerate(words):
        number = _ordinal(words, at)
        before = words[at - 1] if at else ""
        if number is None and before in _MONTHS:
            number = _number(word)
        is_date = before in _MONTHS or (
            before in {"the", "on"} and (month is not None or words[at - 2 : at - 1] == ["on"])
        )
        if number and is_date:
            return _coming(today, number, month)
    return None


def _ordinal(words: Sequence[str], at: int) -> int | None:
    if words[at].isdigit() and words[at + 1 : at + 2] and words[at + 1] in {"st", "nd", "rd", "th"}:
        return _number(words[at])
    return _ORDINALS.get(words[at])


def _coming(today: date, number: int, month: int | None) -> date | None:
    """Return the next day of that number, in that month if there is one."""
    ahead = (today + timedelta(days=days) for days in range(1, 366))
    return next(
        (day for day in ahead if day.day == number and month in {None, day.month}),
        None,
    )


def _part(words: Sequence[str]) -> str | None:
    for at, word in enumerate(words):
        before = words[at - 1] if at else ""
        if word in _PARTS and before not in _GREETING:
            if word in _AFTER_ONLY and before != "after":
                continue
            return word
    return None


def _clock(words: Sequence[str]) -> tuple[int, int, str] | None:
    """Read the hour, the minute, and “am” or “pm” if it was said; None: no time of the clock."""
    for at, word in enumerate(words):
        following = list(words[at + 1 : at + 4])
        if ":" in word:
            hour, minute = (int(part) for part in word.split(":"))
            return _checked(hour, minute, following)
        if word in {"half", "quarter"} and following[:1] in (["past"], ["to"]) and following[1:]:
            number = _number(following[1])
            if number is not None:
                minute = 30 if word == "half" else 15
                is_to = following[0] == "to"
                hour, minute = (number - 1, 60 - minute) if is_to else (number, minute)
                return _checked(hour or 12, minute, following[2:])
        hour_said = _number(word) if word not in {"a", "an", "couple", "few"} else None
        if hour_said is not None and _is_hour(words, at, following):
            minute = _MINUTES.get(following[0], 0) if following else 0
            return _checked(hour_said, minute, following[(minute > 0) :])
    return None


def _is_hour(words: Sequence[str], at: int, following: Sequence[str]) -> bool:
    """Say whether a number is an hour: by what stands around it, or because nothing does."""
    after = following[0] if following else ""
    if after in {"am", "pm", "oclock"}:
        return True
    before = words[at - 1] if at else ""
    if after in _COUNTED or before in _MONTHS:
        return False
    if after in _MINUTES and following[1:2] and following[1] in {"am", "pm"}:
        return True
    return before in _BEFORE_HOUR or before in _DAYS or before == "tomorrow" or len(words) <= 2


def _checked(hour: int, minute: int, following: Sequence[str]) -> tuple[int, int, str] | None:
    half = next((word for word in following[:2] if word in {"am", "pm"}), "")
    possible = 1 <= hour <= 12 if half else 1 <= hour <= 23
    return (hour, minute, half) if possible and minute < 60 else None


def _in_half(hour: int, minute: int, half: str, part: str | None) -> tuple[time, bool]:
    """Return the time of the clock, and whether twelve hours later may be meant as well."""
    if hour > 12:
        return time(hour, minute), False
    hour %= 12
    if half:
        return time(hour + 12 * (half == "pm"), minute), False
    if part == "morning":
        return time(hour, minute), False
    if part is not None or hour <= _LAST_AFTERNOON_HOUR:
        # noon is said as "at twelve"
        return time(hour + 12, minute), False
    return time(hour, minute), True
