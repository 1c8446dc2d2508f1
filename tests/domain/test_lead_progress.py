"""Where a lead stands: the order of delivery is no matter, corrections are exact."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from agent_sidecar.domain.lead_progress import LeadProgress, PastCall, lead_progress
from agent_sidecar.domain.record import FinalStatus
from agent_sidecar.domain.transfer_result import TransferResult

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def call(final_status: FinalStatus, *, hour: int = 0, **changes: object) -> PastCall:
    past = PastCall(
        call_id=f"call-{hour}",
        ended_at=NOON + timedelta(hours=hour),
        final_status=final_status,
        booked=False,
        transferred=final_status == "hot_transfer",
        engagement=60.0 + hour,
        follow_up_at=None,
    )
    return replace(past, **changes)  # type: ignore[arg-type]  # fields by name


@pytest.mark.parametrize(
    ("final_status", "status"),
    [
        ("hot_transfer", "hot_transfer"),
        ("video_sent", "video_sent"),
        ("follow_up", "contacted"),
        ("disqualified", "disqualified"),
        ("abandoned", "contacted"),
        ("unknown", "contacted"),
        ("no_answer", "new"),
    ],
)
def test_a_call_moves_its_lead(final_status: FinalStatus, status: str):
    assert lead_progress([call(final_status)]).status == status


def test_a_booked_follow_up_is_a_scheduled_meeting():
    assert lead_progress([call("follow_up", booked=True)]).status == "zoom_scheduled"
    assert lead_progress([call("video_sent", booked=True)]).status == "video_sent"


def test_no_calls_leave_what_a_person_said():
    assert lead_progress([], set_status="qualified") == LeadProgress(
        status="qualified",
        last_contacted_at=None,
        next_followup_at=None,
        qualification_score=0,
        relationship="new",
    )


def test_the_last_call_decides_whatever_came_first_to_the_store():
    calls = [call("follow_up", hour=2), call("hot_transfer", hour=1), call("abandoned", hour=0)]
    assert lead_progress(calls).status == "contacted"
    assert lead_progress(calls[::-1]) == lead_progress(calls)


@pytest.mark.parametrize("final", ["closed", "disqualified"])
def test_a_call_never_moves_a_lead_back(final: str):
    assert lead_progress([call("hot_transfer")], set_status=final).status == final


def test_correcting_the_call_that_disqualified_undoes_it():
    assert lead_progress([call("disqualified"), call("video_sent", hour=1)]).status == (
        "disqualified"
    )
    assert lead_progress([call("follow_up"), call("video_sent", hour=1)]).status == "video_sent"


def test_what_a_person_said_outranks_only_the_calls_before():
    calls = [call("disqualified", hour=0), call("hot_transfer", hour=2)]
    said_at = NOON + timedelta(hours=1)
    assert lead_progress(calls[:1], set_status="qualified", set_at=said_at).status == "qualified"
    assert lead_progress(calls, set_status="qualified", set_at=said_at).status == "hot_transfer"


def test_only_answered_calls_are_contact_and_the_last_score_counts():
    follow_up_at = NOON + timedelta(days=1)
    calls = [
        call("follow_up", hour=1, follow_up_at=follow_up_at),
        call("no_answer", hour=2, engagement=None),
    ]
    progress = lead_progress(calls)
    assert progress.last_contacted_at == NOON + timedelta(hours=1)
    assert progress.next_followup_at == follow_up_at
    assert progress.qualification_score == 61
    later = lead_progress([*calls, call("unknown", hour=3, engagement=12.6)])
    assert later.next_followup_at is None
    assert later.qualification_score == 13


def test_a_relationship_develops_with_the_second_answered_call_and_is_strong_after_a_transfer():
    first, missed, second = call("abandoned"), call("no_answer", hour=1), call("unknown", hour=2)
    assert lead_progress([first, missed]).relationship == "new"
    assert lead_progress([first, missed, second]).relationship == "developing"
    handed_over = call("hot_transfer", hour=-1)
    assert lead_progress([handed_over, first]).relationship == "strong"


# --- what closers say -----------------------------------------------------------------------------


def said(*, hour: float = 1, **words: object) -> TransferResult:
    posted_at = NOON + timedelta(hours=hour)
    return TransferResult(posted_at=posted_at, **words)  # type: ignore[arg-type]  # fields by name


@pytest.mark.parametrize(
    ("conversion", "status"),
    [
        ("scheduled", "zoom_scheduled"),
        ("closed", "closed"),
        ("followup", "hot_transfer"),
        ("declined", "hot_transfer"),
        ("no_show", "hot_transfer"),
        (None, "hot_transfer"),
    ],
)
def test_a_meeting_and_a_sale_move_the_lead_on(conversion: str | None, status: str):
    handed_over = call("hot_transfer", results=(said(conversion=conversion),))
    assert lead_progress([handed_over]).status == status


def test_a_word_that_came_before_the_call_ended_counts_after_it():
    handed_over = call("hot_transfer", results=(said(hour=-1, conversion="scheduled"),))
    assert lead_progress([handed_over]).status == "zoom_scheduled"


def test_a_sale_stands_and_a_meeting_takes_nothing_back():
    sold = call("hot_transfer", results=(said(conversion="closed"),))
    met = call("hot_transfer", hour=2, results=(said(hour=3, conversion="scheduled"),))
    assert lead_progress([sold, met]).status == "closed"
    refused = call("disqualified", results=(said(conversion="scheduled"),))
    assert lead_progress([refused]).status == "disqualified"
    assert (
        lead_progress([replace(refused, results=(said(conversion="closed"),))]).status == "closed"
    )


def test_a_word_outranks_what_a_person_said_of_the_lead_before():
    calls = [call("hot_transfer", results=(said(hour=3, conversion="scheduled"),))]
    before, after = (NOON + timedelta(hours=hour) for hour in (2, 4))
    assert lead_progress(calls, set_status="qualified", set_at=before).status == "zoom_scheduled"
    assert lead_progress(calls, set_status="qualified", set_at=after).status == "qualified"


def test_the_newest_rating_and_the_newest_notes_count_each_for_itself():
    calls = [
        call("hot_transfer", hour=2, results=(said(hour=3, rating=4, notes="cold"),)),
        call("hot_transfer", hour=0, results=(said(hour=5, rating=9), said(hour=4, notes="keen"))),
    ]
    progress = lead_progress(calls)
    assert (progress.closer_rating, progress.closer_notes) == (9, "keen")
    nothing = lead_progress([call("hot_transfer")])
    assert (nothing.closer_rating, nothing.closer_notes) == (None, None)
