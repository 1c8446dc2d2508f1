"""`POST /v1/import`: one finished call a request, twice is once."""

import pytest

from tests.flow.web_door import Archive, open_house

pytestmark = pytest.mark.real_time

CALL = {
    "call_id": "old-1",
    "segments": [
        {"speaker": "agent", "text": "Hi there.", "start_s": 0.0, "end_s": 1.0},
        {"speaker": "prospect", "text": "Is this a scam?", "start_s": 1.5, "end_s": 2.5},
    ],
}


async def test_a_call_is_taken_in_once_with_the_labels_that_are_strategies():
    archive = Archive()
    async with open_house(take_in=archive.take_in) as house:
        body = {"call": CALL, "strategies": ["personal-story"]}
        first = await house.ask("POST", "/v1/import", json=body)
        again = await house.ask("POST", "/v1/import", json=body)
    assert first == (200, {"call_id": "old-1", "imported": True})
    assert again == (200, {"call_id": "old-1", "imported": False})
    call, strategies = archive.taken["old-1"]
    assert [segment.text for segment in call.segments] == ["Hi there.", "Is this a scam?"]
    assert strategies == {"personal-story"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"call": {**CALL, "segments": [{"speaker": "bob"}]}}, "call.segments[0]"),
        ({"call": {"segments": []}}, "call"),
        ({}, ""),
        ({"call": CALL, "strategys": []}, "strategys"),
    ],
)
async def test_a_wrong_body_is_refused_with_its_field(body, field):
    async with open_house() as house:
        status, said = await house.ask("POST", "/v1/import", json=body)
    assert status == 400
    assert said["field"].startswith(field)
    assert said["what_to_do"]
