"""`POST /v1/import`: one finished call a request, twice is once."""

import json
from base64 import b64encode
from io import BytesIO

import numpy as np
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


async def test_many_calls_come_in_one_request_with_their_vectors():
    archive = Archive()
    vector = b64encode(np.ones(384, "<f4").tobytes()).decode()
    said = {"speaker": "agent", "text": "Hi there.", "start_s": 0.0, "end_s": 1.0}
    lines = [{**said, "vector": vector}] * 600
    calls = [{"call_id": f"old-{n}", "model": "m", "segments": lines} for n in (1, 2, 3)]
    async with open_house(take_in=archive.take_in) as house:
        first = await house.ask(
            "POST", "/v1/import", data=BytesIO(json.dumps({"calls": calls[:2]}).encode())
        )
        more = await house.ask(
            "POST", "/v1/import", data=BytesIO(json.dumps({"calls": calls[1:]}).encode())
        )
    assert first == (200, {"calls": 2, "imported": 2})
    assert more == (200, {"calls": 2, "imported": 1})
    call, _ = archive.taken["old-3"]
    assert call.model == "m"
    assert call.segments[0].vector == np.ones(384, "<f4").tobytes()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"call": {**CALL, "segments": [{"speaker": "bob"}]}}, "call.segments[0]"),
        ({"call": {"segments": []}}, "call"),
        ({}, "call"),
        ({"call": CALL, "calls": [CALL]}, "call"),
        ({"calls": [{**CALL, "segments": [{"speaker": "bob"}]}]}, "calls[0].segments[0]"),
        ({"call": CALL, "strategys": []}, "strategys"),
    ],
)
async def test_a_wrong_body_is_refused_with_its_field(body, field):
    async with open_house() as house:
        status, said = await house.ask("POST", "/v1/import", json=body)
    assert status == 400
    assert said["field"].startswith(field)
    assert said["what_to_do"]
