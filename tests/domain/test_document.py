"""The conversation document: every field has its fact, and every tampering shows."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from agent_sidecar.domain.document import conversation_document, document_differences
from agent_sidecar.domain.record import Configuration, ObjectionMet
from agent_sidecar.domain.types import ObjectionType
from tests.builders import PRICE, at, rich_record, rich_segments, rich_transfer, stranger_record


def document(**changes: object) -> Any:
    return conversation_document(rich_record("call-rich", **changes))


def empty_places(value: object, path: str = "") -> Iterator[str]:
    if value is None or value == "" or value == [] or value == {}:
        yield path
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from empty_places(part, f"{path}.{key}")
    if isinstance(value, list):
        for index, part in enumerate(value):
            yield from empty_places(part, f"{path}.{index}")


def test_a_rich_record_leaves_no_field_empty():
    assert list(empty_places(document())) == []


def test_a_stranger_who_hung_up_at_once_has_a_document_too():
    found: Any = conversation_document(stranger_record())
    assert found["leadId"] is None
    assert found["transcript"]["fullText"] == ""
    assert found["analysis"]["averageSentiment"] is None
    assert found["audioData"]["telnyx"]["callControlId"] is None
    assert found["engagement"]["conversationalCues"]["objectionType"] is None
    assert found["outcome"]["factors"]["objectionHandling"] is None
    assert found["outcome"]["hotTransfer"]["transferTime"] is None


def test_times_are_cut_to_the_milliseconds_that_bson_keeps():
    local = datetime(2026, 3, 2, 16, 0, 0, 987_999, tzinfo=timezone(timedelta(hours=1)))
    assert document(started_at=local)["metadata"]["startTime"] == datetime(
        2026, 3, 2, 15, 0, 0, 987_000, tzinfo=UTC
    )


def test_each_speaker_has_the_fields_that_can_be_about_him():
    prospect, agent, _, closer = document()["transcript"]["segments"]
    assert prospect["objection"] == "price"
    assert "strategy" not in prospect
    assert agent["strategy"] == "reframe_price_as_investment"
    assert agent["hint_id"] == "call-rich:hint:1"
    assert "objection" not in agent
    assert "engagementScore" not in closer
    assert "strategy" not in closer


def test_an_agents_line_without_a_hint_names_none():
    segments = tuple(replace(segment, hint_id=None) for segment in rich_segments())
    assert "hint_id" not in document(segments=segments)["transcript"]["segments"][1]


def test_sentiment_is_said_in_words_by_the_limit_the_call_was_judged_with():
    segments = document()["transcript"]["segments"]
    assert [s["sentiment"] for s in segments] == ["negative", "positive", "positive", "neutral"]
    strict = Configuration(
        system_version="0", playbook="p", weights="w", model="m", sentiment_limit=0.5
    )
    segments = document(configuration=strict)["transcript"]["segments"]
    assert [s["sentiment"] for s in segments] == ["neutral", "neutral", "positive", "neutral"]


def test_the_average_sentiment_is_the_prospects():
    assert document()["analysis"]["averageSentiment"] == pytest.approx((-0.4 + 0.7) / 2)


def test_the_objection_of_a_call_is_the_last_left_open_else_the_last():
    met = ObjectionMet(
        type=PRICE, phase=5, at=at(20), resolved=False, strategy=None, trigger="expensive"
    )
    later = replace(met, type=ObjectionType("time"), at=at(50), resolved=True)
    cues = document(objections=(met, later))["engagement"]["conversationalCues"]
    assert cues["objectionType"] == "price"
    cues = document(objections=(replace(met, resolved=True), later))["engagement"][
        "conversationalCues"
    ]
    assert cues["objectionType"] == "time"
    analysis = document(objections=(met, later, met))["analysis"]
    assert analysis["objectionTypes"] == ["price", "time"]


def test_the_transfer_of_a_call_is_the_bridged_one_else_the_last():
    declined = rich_transfer(number=2, bridged_at=None, initiated_at=at(100), outcome="declined")
    voicemail = rich_transfer(number=3, bridged_at=None, initiated_at=at(200), outcome="voicemail")
    transfer = document(transfers=(rich_transfer(), declined))["outcome"]["hotTransfer"]
    assert transfer["successful"]
    assert transfer["transferDuration"] == 170.0
    outcome = replace(rich_record().outcome, final_status="follow_up")
    transfer = document(transfers=(declined, voicemail), outcome=outcome)["outcome"]["hotTransfer"]
    assert transfer["attempted"]
    assert not transfer["successful"]
    assert transfer["transferTime"] == at(200).replace(microsecond=123_000)


def test_a_transfer_that_a_person_reports_counts_without_an_attempt_of_ours():
    transfer = document(transfers=())["outcome"]["hotTransfer"]
    assert (transfer["attempted"], transfer["successful"]) == (True, True)


def test_an_equal_document_has_no_differences_and_additions_are_no_matter():
    assert document_differences({**document(), "ownField": 1}, document()) == ()


def test_a_difference_says_where_what_was_found_and_what_was_expected():
    found = document()
    found["engagement"]["overallScore"] = 12
    del found["metadata"]["source"]
    found["transcript"]["segments"][1]["text"] = "x" * 200
    found["analysis"]["keyMoments"].pop()
    found["metadata"]["endTime"] = at(0)
    assert document_differences(found, document()) == (
        "transcript.segments.1.text: found '" + "x" * 58 + "…, expected"
        " 'What would a hundred a day change for you?'",
        "analysis.keyMoments: found 1 entries, expected 2",
        "engagement.overallScore: found 12, expected 82.25",
        "metadata.endTime: found 2026-03-02T15:00:00.123456+00:00,"
        " expected 2026-03-02T15:04:04.123000+00:00",
        "metadata.source: missing, expected 'live'",
    )


def test_a_wholly_different_document_is_said_in_a_few_lines():
    assert 0 < len(document_differences({}, document())) <= 8
