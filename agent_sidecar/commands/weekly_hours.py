"""Weekly hours as people write them: `mon-fri 09:00-17:00, sat 22:00-02:00`."""

import re
from collections.abc import Iterator, Mapping, Sequence

from agent_sidecar.errors import RequestInvalid

# as the API counts: 0 = Sunday
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_WINDOW = re.compile(
    r"(?P<days>daily|[a-z]{3}(?:[-,][a-z]{3})*)\s+(?P<start>\d\d?:\d\d)-(?P<end>\d\d?:\d\d)[\s,;]*"
)

Hours = Sequence[Mapping[str, object]]


def read_hours(text: str) -> Hours:
    """Return the windows as the API takes them. Raises `RequestInvalid`."""
    text = text.strip().lower()
    hours: list[Mapping[str, object]] = []
    place = 0
    while place < len(text):
        found = _WINDOW.match(text, place)
        if found is None:
            raise _invalid(text[place:])
        start, end = (clock.rjust(5, "0") for clock in (found["start"], found["end"]))
        hours += [
            {"day_of_week": day, "start": start, "end": end} for day in _days(found["days"], text)
        ]
        place = found.end()
    return hours


def tell_hours(hours: Hours) -> str:
    """Return windows of the API as people write them, days with the same hours together."""
    days_of: dict[tuple[object, object], list[int]] = {}
    # a week of people begins on Monday
    for window in sorted(hours, key=lambda one: ((_day(one) - 1) % 7, str(one["start"]))):
        days_of.setdefault((window["start"], window["end"]), []).append(_day(window))
    told = [f"{_days_told(days)} {start}-{end}" for (start, end), days in days_of.items()]
    return ", ".join(told) or "any time"


def _days(text: str, whole: str) -> Iterator[int]:
    if text == "daily":
        yield from range(7)
        return
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            raise _invalid(whole)
        day, until = DAYS.index(first), DAYS.index(last or first)
        yield day
        while day != until:
            day = (day + 1) % 7
            yield day


def _days_told(days: Sequence[int]) -> str:
    if len(set(days)) == 7:
        return "daily"
    parts: list[list[int]] = []
    for day in days:
        if parts and (parts[-1][-1] + 1) % 7 == day:
            parts[-1].append(day)
        else:
            parts.append([day])
    return ",".join(
        DAYS[part[0]] if len(part) == 1 else f"{DAYS[part[0]]}-{DAYS[part[-1]]}" for part in parts
    )


def _day(window: Mapping[str, object]) -> int:
    return int(str(window["day_of_week"]))


def _invalid(text: str) -> RequestInvalid:
    what_to_do = "write days and times, for example: mon-fri 09:00-17:00 sat 22:00-02:00"
    return RequestInvalid(
        f"{text!r} are no weekly hours; {what_to_do}", field="hours", what_to_do=what_to_do
    )
