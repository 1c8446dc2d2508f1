from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.availability import is_within_hours
from agent_sidecar.domain.playbook import Closer, Window
from agent_sidecar.domain.playbook_check import schedule_mistakes

NEW_YORK = ZoneInfo("America/New_York")
# a Monday
MONDAY = datetime(2026, 3, 2, tzinfo=NEW_YORK)


def kevin(*hours: tuple[int, str, str], timezone: str = "America/New_York") -> Closer:
    windows = tuple(
        Window(day_of_week=day, start=time.fromisoformat(start), end=time.fromisoformat(end))
        for day, start, end in hours
    )
    return Closer(name="Kevin", timezone=timezone, hours=windows)


def local(day: int, clock: str) -> datetime:
    """Return that time of the week that begins on Sunday, 2026-03-01, as UTC."""
    date = datetime(2026, 3, 1 + day, tzinfo=NEW_YORK).date()
    at = datetime.combine(date, time.fromisoformat(clock), tzinfo=NEW_YORK)
    return at.astimezone(UTC)


def test_without_hours_he_is_always_there():
    assert is_within_hours(kevin(), datetime(2026, 1, 1, 3, tzinfo=UTC))


@pytest.mark.parametrize(
    ("day", "clock", "inside"),
    [
        (1, "08:59:59", False),
        (1, "09:00", True),
        (1, "16:59:59", True),
        (1, "17:00", False),
        (0, "12:00", False),
        (2, "12:00", False),
    ],
)
def test_a_window_begins_with_its_start_and_ends_before_its_end(day, clock, inside):
    assert is_within_hours(kevin((1, "09:00", "17:00")), local(day, clock)) is inside


def test_the_zone_is_his_and_not_the_caller_s():
    closer = kevin((1, "09:00", "17:00"), timezone="Asia/Tokyo")
    assert is_within_hours(closer, datetime(2026, 3, 2, 0, 30, tzinfo=UTC))
    assert not is_within_hours(closer, datetime(2026, 3, 2, 9, 30, tzinfo=UTC))
    same_moment = datetime(2026, 3, 1, 19, 30, tzinfo=NEW_YORK)
    assert is_within_hours(closer, same_moment)


@pytest.mark.parametrize(
    ("day", "clock", "inside"),
    [
        (6, "21:59", False),
        (6, "22:00", True),
        (0, "01:59", True),
        (0, "02:00", False),
        (0, "22:30", False),
        (6, "01:00", False),
    ],
)
def test_a_window_past_midnight_ends_on_the_next_day_also_from_saturday(day, clock, inside):
    assert is_within_hours(kevin((6, "22:00", "02:00")), local(day, clock)) is inside


def test_the_same_start_and_end_mean_a_whole_day_from_then():
    closer = kevin((1, "09:00", "09:00"))
    assert is_within_hours(closer, local(1, "09:00"))
    assert is_within_hours(closer, local(2, "08:59"))
    assert not is_within_hours(closer, local(2, "09:00"))
    assert not is_within_hours(closer, local(1, "08:59"))


def test_summer_time_moves_the_window_with_the_clock_on_the_wall():
    closer = kevin((0, "09:00", "10:00"))
    before, after = (
        datetime(2026, 3, 1, 14, 30, tzinfo=UTC),
        datetime(2026, 3, 8, 13, 30, tzinfo=UTC),
    )
    assert is_within_hours(closer, before)
    assert is_within_hours(closer, after)
    assert not is_within_hours(closer, after + timedelta(hours=1))


def test_the_skipped_hour_is_never_and_the_repeated_one_is_twice():
    skipped = kevin((0, "02:00", "03:00"))
    for minute in range(0, 1440, 5):
        at = datetime(2026, 3, 8, 5, tzinfo=UTC) + timedelta(minutes=minute)
        assert not is_within_hours(skipped, at)
    repeated = kevin((0, "01:00", "02:00"))
    first = datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
    assert is_within_hours(repeated, first)
    assert is_within_hours(repeated, first + timedelta(hours=1))
    assert not is_within_hours(repeated, first + timedelta(hours=2))


@pytest.mark.parametrize("zone", ["", "Mars/Base", "../../etc/passwd", "America"])
def test_a_zone_that_does_not_exist_is_named(zone):
    closer = kevin((1, "09:00", "17:00"), timezone=zone)
    with pytest.raises(ValueError, match="Kevin does not exist; give an IANA name"):
        is_within_hours(closer, MONDAY)
    (mistake,) = schedule_mistakes(closer)
    assert mistake.path == ("timezone",)


def test_a_day_outside_the_week_is_named_with_its_place():
    (mistake,) = schedule_mistakes(kevin((1, "09:00", "17:00"), (7, "09:00", "17:00")))
    assert mistake.path == ("hours", 1, "day_of_week")
    assert "7" in mistake.text


def test_good_hours_have_no_mistakes():
    assert not list(schedule_mistakes(kevin((0, "22:00", "02:00"))))


times = st.times().map(lambda at: at.replace(second=0, microsecond=0))
windows = st.builds(Window, day_of_week=st.integers(0, 6), start=times, end=times)


def minutes_of_week(window: Window) -> set[int]:
    """Every minute of the week inside the window, the plain way."""
    start = window.day_of_week * 1440 + window.start.hour * 60 + window.start.minute
    end = window.day_of_week * 1440 + window.end.hour * 60 + window.end.minute
    if end <= start:
        end += 1440
    return {minute % 10080 for minute in range(start, end)}


@given(
    hours=st.lists(windows, min_size=1, max_size=5),
    zone=st.sampled_from(["America/New_York", "Asia/Kolkata", "Pacific/Apia", "UTC"]),
    at=st.integers(0, 10 * 365 * 1440).map(lambda m: MONDAY.astimezone(UTC) + timedelta(minutes=m)),
)
def test_it_agrees_with_counting_the_minutes_of_the_week(hours, zone, at):
    closer = Closer(name="Kevin", timezone=zone, hours=tuple(hours))
    there = at.astimezone(ZoneInfo(zone))
    minute = (there.isoweekday() % 7) * 1440 + there.hour * 60 + there.minute
    assert is_within_hours(closer, at) == any(minute in minutes_of_week(w) for w in hours)
