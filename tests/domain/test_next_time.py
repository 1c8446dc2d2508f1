from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.next_time import agreed_time
from agent_sidecar.domain.record import TranscriptSegment

CHICAGO = ZoneInfo("America/Chicago")
# a Tuesday
STARTED_AT = datetime(2026, 3, 3, 14, 30, tzinfo=CHICAGO)
SPEAKERS = {"A": "agent", "P": "prospect", "C": "closer"}


def agreed(*lines: str) -> str | None:
    segments = [
        TranscriptSegment(
            index=index,
            speaker=SPEAKERS[line[0]],  # type: ignore[arg-type]
            text=line[2:],
            at=STARTED_AT,
            start_s=0,
            end_s=0,
        )
        for index, line in enumerate(lines)
    ]
    moment = agreed_time(segments, CHICAGO)
    return moment.astimezone(CHICAGO).strftime("%d %b %H:%M") if moment else None


@pytest.mark.parametrize(
    ("lines", "moment"),
    [
        (["P Call me on Thursday at 3."], "05 Mar 15:00"),
        (["P I can't talk right now, call me back at five"], "03 Mar 17:00"),
        (["P i cant talk now call me tomorrow"], "04 Mar 10:00"),
        (["P Tomorrow at nine in the morning you can call me."], "04 Mar 09:00"),
        (["P on monday i am busy, so try me on wednesday evening"], "04 Mar 18:30"),
        (["A When is a good time to talk?", "P Thursday after six."], "05 Mar 18:00"),
        (["A Does Thursday at three work for you?", "P Yes, that works."], "05 Mar 15:00"),
        (["A I'll call you tomorrow at five.", "P okay sounds good"], "04 Mar 17:00"),
        (["A Shall we talk on Thursday?", "P Friday is better."], "06 Mar 10:00"),
        (["A Shall we talk on Thursday?", "P At four."], "05 Mar 16:00"),
        (
            ["A Which day suits you?", "P Friday.", "A And what time?", "P Two thirty."],
            "06 Mar 14:30",
        ),
        (["P call me on friday", "P no wait, call me on saturday at ten"], "07 Mar 10:00"),
        (["P Call me in two hours, please."], "03 Mar 16:30"),
        (["P Please call me next week."], "09 Mar 10:00"),
        (["A Which day suits you?", "A ", "P Friday."], "06 Mar 10:00"),
        (["P call me, call me, on friday"], "06 Mar 10:00"),
    ],
)
def test_a_time_counts_that_he_asks_for_or_agrees_to(lines, moment):
    assert agreed(*lines) == moment


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["P call me later"],
        ["P don't call me tomorrow"],
        ["P do not call me at five"],
        ["P I start work at seven"],
        ["P I saw it on Thursday"],
        ["A Does Thursday at three work for you?", "P No, it does not."],
        ["A Does Thursday at three work for you?", "P yes but why would I do that"],
        ["A Does Thursday at three work for you?", "P I'm not sure."],
        ["A Does Thursday at three work for you?", "P Thursday is bad for me."],
        ["A Shall we talk on Thursday?", "P I can't on Friday."],
        ["A How was your Monday?", "P Yes, fine."],
        ["A What do you do on Mondays?", "P I work until five on Mondays."],
        ["A Shall we talk?", "P Sure."],
        ["A Shall we talk on Thursday?", "P What?", "P Okay, go on."],
        ["C I'll call you tomorrow at five.", "P okay"],
        ["A I'll call you tomorrow at five."],
        ["A When do you get up?", "P At seven."],
    ],
)
def test_anything_else_agrees_to_nothing(lines):
    assert agreed(*lines) is None


lines = st.lists(
    st.sampled_from(
        [
            "A Shall we talk on Thursday?",
            "A What time?",
            "P Yes.",
            "P call me at five",
            "P No.",
            "P Friday",
            "P in an hour, call me",
            "A I will call you tomorrow",
            "P dont call me",
        ]
    ),
    max_size=8,
)


@given(lines)
def test_nothing_is_agreed_where_the_prospect_says_nothing(said):
    assert agreed(*(line for line in said if line[0] == "A")) is None
    agreed(*said)
