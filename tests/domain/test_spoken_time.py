from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.spoken_time import LONGEST, Spoken, completed, resolve, spoken_time

CHICAGO = ZoneInfo("America/Chicago")
# a Tuesday
NOW = datetime(2026, 3, 3, 14, 30, tzinfo=CHICAGO)


def meant(text: str, now: datetime = NOW) -> str | None:
    moment = resolve(spoken_time(text, now), now)
    return moment.astimezone(now.tzinfo).strftime("%d %b %H:%M") if moment else None


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Thursday at 3", "05 Mar 15:00"),
        ("thursday at three thirty", "05 Mar 15:30"),
        ("thursday nine thirty am", "05 Mar 09:30"),
        ("at 8:15 in the evening", "03 Mar 20:15"),
        ("tomorrow morning", "04 Mar 09:00"),
        ("tomorrow at seven in the morning", "04 Mar 07:00"),
        ("tomorrow", "04 Mar 10:00"),
        ("the day after tomorrow after work", "05 Mar 18:00"),
        ("after work", "03 Mar 18:00"),
        ("tonight", "03 Mar 19:00"),
        ("today at five", "03 Mar 17:00"),
        ("today at 11", "03 Mar 23:00"),
        ("at nine", "03 Mar 21:00"),
        ("at 1", "04 Mar 13:00"),
        ("3 p.m.", "03 Mar 15:00"),
        ("3pm", "03 Mar 15:00"),
        ("9 a m", "04 Mar 09:00"),
        ("twelve o'clock", "04 Mar 12:00"),
        ("at 15:45", "03 Mar 15:45"),
        ("half past four", "03 Mar 16:30"),
        ("a quarter to five", "03 Mar 16:45"),
        ("quarter past six", "03 Mar 18:15"),
        ("quarter to one", "04 Mar 12:45"),
        ("noon", "04 Mar 12:00"),
        ("Tuesday", "10 Mar 10:00"),
        ("next Friday", "13 Mar 10:00"),
        ("friday next week at ten", "13 Mar 10:00"),
        ("next week", "09 Mar 10:00"),
        ("next week in the evening", "09 Mar 18:30"),
        ("at the weekend around eleven", "07 Mar 11:00"),
        ("next weekend", "14 Mar 10:00"),
        ("by the end of the week", "06 Mar 10:00"),
        ("next month", "01 Apr 10:00"),
        ("March 12th at 4", "12 Mar 16:00"),
        ("march 12", "12 Mar 10:00"),
        ("on the 5th", "05 Mar 10:00"),
        ("on the twentieth of March", "20 Mar 10:00"),
        ("on 3rd of april", "03 Apr 10:00"),
        ("in half an hour", "03 Mar 15:00"),
        ("in about 20 minutes", "03 Mar 14:50"),
        ("in an hour", "03 Mar 15:30"),
        ("in a couple of days", "05 Mar 10:00"),
        ("in two weeks in the afternoon", "17 Mar 15:00"),
        ("in three months", "01 Jun 10:00"),
        ("three", "03 Mar 15:00"),
    ],
)
def test_times_are_understood_as_people_mean_them(text, moment):
    assert meant(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "later",
        "in a second",
        "in no time",
        "I may do that",
        "march on",
        "the second time was better",
        "it costs 3.50",
        "at 200 dollars",
        "about ten hours a week",
        "I have two kids",
        "for three of us",
        "good morning and good night",
        "have a nice evening",
        "last night",
        "I go to work",
        "at 25",
        "at 7:75",
        "13 pm",
        "half past",
        "half past never",
        "in a little while",
        "the 31st of february",
        "within",
        "at 1234",
        "in march",
    ],
)
def test_what_is_not_surely_a_time_is_none(text):
    assert meant(text) is None


def test_a_month_that_begins_at_the_weekend_begins_on_monday():
    assert meant("next month", datetime(2026, 7, 20, 12, tzinfo=UTC)) == "03 Aug 10:00"


def test_what_is_over_or_too_far_is_none():
    assert meant("today at ten in the morning") is None
    assert meant("on the 20th of december") is None


def test_an_hour_is_an_hour_when_the_clocks_are_changed():
    before = datetime(2026, 3, 8, 1, 30, tzinfo=CHICAGO)
    assert resolve(spoken_time("in an hour", before), before) == datetime(
        2026, 3, 8, 8, 30, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("text", "before", "whole"),
    [
        ("at three", "thursday", "thursday at three"),
        ("thursday", "at nine", "thursday at nine"),
        ("friday at two", "thursday at nine", "friday at two"),
        ("in an hour", "thursday", "in an hour"),
        ("at three", "in an hour", "at three"),
    ],
)
def test_a_time_is_completed_by_what_was_said_before(text, before, whole):
    told = completed(spoken_time(text, NOW), spoken_time(before, NOW))
    assert told == spoken_time(whole, NOW)


def test_nothing_said_is_empty():
    assert Spoken().is_empty
    assert not spoken_time("tomorrow", NOW).is_empty


WORDS = st.sampled_from(
    "at on in next the a couple half past to of week weekend month monday friday tomorrow today "
    "tonight 3 11 12:30 25:99 99 0 three thirty am pm oclock march may first 5th 31 st morning "
    "evening noon hour minutes days couple end".split()
)


@given(
    st.lists(WORDS, max_size=10).map(" ".join) | st.text(max_size=60),
    st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)),  # noqa: DTZ001 - a zone is drawn too
    st.sampled_from(["America/Chicago", "Asia/Kolkata", "Pacific/Apia", "UTC"]),
)
def test_any_time_that_is_told_lies_ahead_and_not_too_far(text, naive, zone):
    now = naive.replace(tzinfo=ZoneInfo(zone))
    moment = resolve(spoken_time(text, now), now)
    if moment is not None:
        assert moment.tzinfo is UTC
        # an hour that the clocks are set back may be said twice
        assert now - timedelta(hours=1) <= moment <= now + LONGEST + timedelta(days=1)
