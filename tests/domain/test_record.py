from dataclasses import replace

import pytest

from agent_sidecar.domain.record import Outcome, Recording, TransferAttempt
from agent_sidecar.domain.types import TransferId
from tests.builders import rich_record
from tests.domain.playbooks import at

ATTEMPT = TransferAttempt(
    transfer_id=TransferId("t1"),
    closer="Kevin",
    initiated_at=at(10),
    outcome="declined",
    reason="",
    engagement=80.0,
    phase=10,
    key_indicators=(),
)
BRIDGED = replace(ATTEMPT, outcome="bridged", bridged_at=at(20))
OPEN = Outcome(final_status="unknown", result="callback", qualified=None)
POSTED = Outcome(final_status="hot_transfer", result="transferred", qualified=True, posted=True)


def test_the_time_with_the_closer_is_known_when_both_ends_are():
    assert ATTEMPT.duration_s is None
    assert BRIDGED.duration_s is None
    assert replace(BRIDGED, completed_at=at(95.5)).duration_s == 75.5


def test_a_recording_is_where_its_copy_is_and_the_same_link_keeps_it():
    link = Recording().saved("https://x/1", "r", None)
    assert link == Recording(url="https://x/1", recording_id="r")
    copied = link.saved("https://x/1", "r", "recordings/1.wav")
    assert (link.place, copied.place) == ("https://x/1", "recordings/1.wav")
    assert copied.saved("https://x/1", "r", None) == copied
    assert copied.saved("https://x/2", "r", None).place == "https://x/2"
    assert Recording().place is None


def test_a_call_lasts_from_its_start_to_its_end():
    assert rich_record(started_at=at(2), ended_at=at(64.5)).duration_s == 62.5


def test_the_full_text_has_a_line_for_each_segment_with_words():
    said = rich_record().segments[0]
    hello = replace(said, speaker="agent", text="Hello?")
    silent = replace(said, speaker="agent", text="")
    yes = replace(said, speaker="prospect", text="Yes.")
    record = rich_record(segments=(hello, silent, yes))
    assert record.full_text == "agent: Hello?\nprospect: Yes."


@pytest.mark.parametrize(
    ("changes", "attempted", "successful"),
    [
        ({"transfers": (), "outcome": OPEN}, False, False),
        ({"transfers": (ATTEMPT,), "outcome": OPEN}, True, False),
        ({"transfers": (ATTEMPT, BRIDGED), "outcome": OPEN}, True, True),
        ({"transfers": (), "outcome": POSTED}, True, True),
    ],
)
def test_a_transfer_is_proven_by_a_bridge_or_said_by_a_person(changes, attempted, successful):
    record = rich_record(**changes)
    assert (record.transfer_attempted, record.transfer_successful) == (attempted, successful)


@pytest.mark.parametrize(
    ("source", "counts"), [("live", True), ("import", True), ("replay", False), ("demo", False)]
)
def test_only_live_and_imported_calls_are_evidence(source, counts):
    assert rich_record(source=source).is_evidence is counts
