"""When a closer works, against a reference that counts minutes on the clock on his wall."""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_sidecar.domain.availability import (
    Hold,
    Override,
    Schedule,
    Standing,
    is_within_hours,
    is_working,
    next_change,
    works_from,
)
from agent_sidecar.domain.playbook import Closer, Window
from agent_sidecar.domain.playbook_check import schedule_mistakes
from agent_sidecar.domain.types import TransferId

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


# --- overrides and what is next -------------------------------------------------------------------

NOON = datetime(2026, 3, 2, 17, tzinfo=UTC)
AN_HOUR, A_DAY = timedelta(hours=1), timedelta(days=1)
OFFICE = kevin(*((day, "09:00", "17:00") for day in range(1, 6)))


def override(
    start: timedelta, end: timedelta | None, *, on: bool = False, at: datetime = NOON
) -> Override:
    return Override(
        override_id=f"{start}-{end}-{on}",
        start_at=at + start,
        end_at=None if end is None else at + end,
        is_available=on,
    )


def of(*overrides: Override, closer: Closer = OFFICE) -> Schedule:
    return Schedule(closer=closer, overrides=overrides)


def test_an_override_holds_from_its_start_until_before_its_end():
    off = of(override(AN_HOUR, 2 * AN_HOUR))
    working = [is_working(off, NOON + AN_HOUR * hours) for hours in (0.99, 1, 1.99, 2)]
    assert working == [True, False, False, True]


def test_he_can_be_on_although_it_is_not_his_hour():
    evening = of(override(6 * AN_HOUR, 8 * AN_HOUR, on=True))
    working = [is_working(evening, NOON + AN_HOUR * hours) for hours in (5, 6, 7, 8)]
    assert working == [False, True, True, False]


def test_of_two_overrides_the_one_made_last_wins_however_wide():
    today = override(-AN_HOUR, AN_HOUR, on=True)
    away = override(timedelta(), None)
    assert not is_working(of(away, today), NOON)
    assert is_working(of(today, away), NOON)
    assert not is_working(of(today, away), NOON + 2 * AN_HOUR)


def test_the_next_change_of_hours_may_be_after_a_weekend():
    assert next_change(of(), NOON) == NOON + 5 * AN_HOUR
    friday_night = NOON + 4 * A_DAY + 6 * AN_HOUR
    # the clock was changed meanwhile
    assert works_from(of(), friday_night) == local(8, "09:00") == NOON + 7 * A_DAY - 4 * AN_HOUR
    assert works_from(of(), NOON) == NOON


def test_who_is_away_until_he_is_back_has_no_next_hour():
    assert works_from(of(override(timedelta(), None)), NOON) is None
    back_next_year = of(override(timedelta(), 400 * A_DAY), override(401 * A_DAY, 402 * A_DAY))
    assert works_from(back_next_year, NOON) == NOON + 400 * A_DAY
    always = of(closer=kevin())
    assert next_change(always, NOON) is None
    # so far away that no sum of times reaches it
    far = Override(
        override_id="far",
        start_at=NOON,
        end_at=datetime(9998, 1, 1, tzinfo=UTC),
        is_available=False,
    )
    assert works_from(of(far), NOON) is None


def test_a_window_begins_when_the_clock_jumps_into_it():
    early = kevin((0, "02:30", "05:00"))
    before = datetime(2026, 3, 8, 5, tzinfo=UTC)
    # 02:30 is not on the clock that day
    assert works_from(of(closer=early), before) == datetime(2026, 3, 8, 7, tzinfo=UTC)


def test_a_window_that_the_clock_skips_comes_a_week_later():
    skipped = kevin((0, "02:00", "03:00"))
    monday_before = datetime(2026, 3, 2, 12, tzinfo=UTC)
    assert works_from(of(closer=skipped), monday_before) == datetime(2026, 3, 15, 6, tzinfo=UTC)


# --- what he does now -----------------------------------------------------------------------------


def standing(*overrides: Override, at: datetime = NOON, hold: Hold | None = None) -> Standing:
    return Standing(schedule=of(*overrides), hold=hold, at=at)


def test_a_free_closer_within_his_hours_is_available():
    free = standing()
    assert (free.state, free.is_working, free.is_available) == ("free", True, True)
    assert free.available_from == NOON


def test_nobody_has_a_closer_who_is_off_and_still_he_is_not_available():
    off = standing(at=NOON + 6 * AN_HOUR)
    assert (off.state, off.is_working, off.is_available) == ("free", False, False)
    assert off.available_from == NOON + 21 * AN_HOUR


def test_away_is_an_override_that_says_so():
    away = standing(override(timedelta(), 3 * AN_HOUR))
    assert (away.state, away.is_available) == ("away", False)
    assert away.available_from == NOON + 3 * AN_HOUR
    on = standing(override(-AN_HOUR, AN_HOUR, on=True))
    assert (on.state, on.is_available) == ("free", True)


@pytest.mark.parametrize("step", ["leased", "ringing", "on_call"])
def test_who_is_held_is_not_available_and_nobody_knows_until_when(step):
    held = standing(hold=Hold(transfer_id=TransferId("t"), step=step, left_s=60.0))
    assert (held.state, held.is_working, held.is_available) == (step, True, False)
    assert held.available_from is None
    assert standing(override(timedelta(), None), hold=held.hold).state == step


def test_who_wraps_up_is_available_after_that_if_it_is_still_his_hour():
    hold = Hold(transfer_id=TransferId("t"), step="wrapping_up", left_s=30.0)
    assert standing(hold=hold).available_from == NOON + timedelta(seconds=30)
    last_call = standing(hold=hold, at=NOON + 5 * AN_HOUR - timedelta(seconds=10))
    assert last_call.available_from == NOON + 21 * AN_HOUR


# --- against counting minutes ---------------------------------------------------------------------

# a change of its clock, to look around; None: it has none
CLOCK_CHANGES = {
    "America/New_York": ("2026-03-08T07:00", "2026-11-01T06:00"),
    "Europe/Berlin": ("2026-03-29T01:00", "2026-10-25T01:00"),
    # by half an hour
    "Australia/Lord_Howe": ("2026-04-04T15:00", "2026-10-03T15:30"),
    # around midnight
    "America/Havana": ("2026-03-08T05:00", "2026-11-01T05:00"),
    # skipped a whole day
    "Pacific/Apia": ("2011-12-30T10:00",),
    "Asia/Kolkata": ("2026-03-08T07:00",),
    "America/Phoenix": ("2026-03-08T09:00",),
    "UTC": ("2026-03-08T00:00",),
}
times = st.times().map(lambda at: at.replace(second=0, microsecond=0))
windows = st.builds(Window, day_of_week=st.integers(0, 6), start=times, end=times)
whole_days = st.builds(
    lambda day, start: Window(day_of_week=day, start=start, end=start), st.integers(0, 6), times
)
# on the Sunday, and at the hours, at which clocks are changed
at_changes = st.builds(
    Window,
    day_of_week=st.sampled_from([0, 5, 6]),
    start=st.builds(time, st.integers(0, 4), st.sampled_from([0, 15, 30, 45])),
    end=st.builds(time, st.integers(0, 4), st.sampled_from([0, 15, 30, 45])),
)
all_hours = st.lists(windows | whole_days | at_changes, min_size=1, max_size=5)
minutes = st.integers(-4 * 1440, 4 * 1440)


@st.composite
def moments(draw: st.DrawFn) -> tuple[str, datetime]:
    """Draw a zone, and a whole minute of some year or near a change of its clock."""
    zone = draw(st.sampled_from(sorted(CLOCK_CHANGES)))
    change = draw(st.sampled_from(CLOCK_CHANGES[zone]))
    near = datetime.fromisoformat(change).replace(tzinfo=UTC)
    off = draw(st.integers(-600, 600) | minutes | st.integers(0, 10 * 365 * 1440))
    return zone, near + timedelta(minutes=off)


overrides = st.lists(
    st.tuples(minutes, st.none() | st.integers(1, 5 * 1440), st.booleans()), max_size=4
)


def minutes_of_week(window: Window) -> set[int]:
    """Every minute of the week inside the window, the plain way."""
    start = window.day_of_week * 1440 + window.start.hour * 60 + window.start.minute
    end = window.day_of_week * 1440 + window.end.hour * 60 + window.end.minute
    if end <= start:
        end += 1440
    return {minute % 10080 for minute in range(start, end)}


def by_the_minute(
    zone: str, hours: list[Window], made: list[tuple[datetime, datetime, bool]]
) -> Callable[[datetime], bool]:
    """Return the reference; overrides in the order in which they were made."""
    inside = set().union(*map(minutes_of_week, hours))
    clock = ZoneInfo(zone)

    def works(at: datetime) -> bool:
        there = at.astimezone(clock)
        answer = (there.isoweekday() % 7) * 1440 + there.hour * 60 + there.minute in inside
        for start, end, on in made:
            if start <= at < end:
                answer = on
        return answer

    return works


@given(hours=all_hours, moment=moments(), drawn=overrides)
def test_it_agrees_with_counting_the_minutes_of_the_week(hours, moment, drawn):
    zone, at = moment
    works, schedule = both(zone, at, hours, drawn)
    assert is_working(schedule, at) == works(at)
    if not drawn:
        assert is_within_hours(schedule.closer, at) == works(at)


@settings(max_examples=60, deadline=None)
@given(hours=all_hours, moment=moments(), drawn=overrides)
def test_the_next_change_is_the_first_minute_that_differs(hours, moment, drawn):
    zone, at = moment
    works, schedule = both(zone, at, hours, drawn)
    found = next_change(schedule, at)
    last = at + timedelta(days=3)
    differs = next(
        (
            minute
            for n in range(1, 3 * 1440)
            if works(minute := at + timedelta(minutes=n)) != works(at)
        ),
        None,
    )
    if differs is None:
        assert found is None or found >= last
    else:
        assert found == differs
    if found is not None:
        assert works(found) != works(found - timedelta(minutes=1))
        expected = at if works(at) else found
        assert works_from(schedule, at) == expected


def both(
    zone: str,
    at: datetime,
    hours: list[Window],
    drawn: list[tuple[int, int | None, bool]],
) -> tuple[Callable[[datetime], bool], Schedule]:
    """Return the reference and what is tested, of the same hours and overrides."""
    made = []
    stored: list[Override] = []
    for number, (offset, length, on) in enumerate(drawn):
        start = at + timedelta(minutes=offset)
        end = None if length is None else start + timedelta(minutes=length)
        made.append((start, end or datetime(9999, 1, 1, tzinfo=UTC), on))
        stored.insert(
            0, Override(override_id=f"{number}", start_at=start, end_at=end, is_available=on)
        )
    closer = Closer(name="Kevin", timezone=zone, hours=tuple(hours))
    return by_the_minute(zone, hours, made), Schedule(closer=closer, overrides=tuple(stored))
