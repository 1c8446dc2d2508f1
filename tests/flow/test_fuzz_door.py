"""A moment of the front door's fuzzer, and what it has found so far; longer: `make fuzz`."""

from pathlib import Path

import pytest

from tests.flow.web_door import CALL, open_house
from tests.fuzz.door import DoorFuzz

pytestmark = pytest.mark.real_time  # sockets of this machine


async def test_whatever_comes_in_has_its_answer(tmp_path: Path):
    account = await DoorFuzz(1, tmp_path).run(3.0)
    assert account.failures == []
    assert account.outcomes["webhook 200"] > 20
    assert account.outcomes["webhook 400"] > 5


@pytest.mark.parametrize(
    "at",
    [
        "9999-12-31T23:59:59-23:59",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00+23:59",
        "0001-01-01T00:00:00Z",
    ],
)
@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (f"/v1/calls/{CALL}/transcript", {"speaker": "prospect", "text": "hello"}, "at"),
        (f"/v1/calls/{CALL}/attach", {}, "started_at"),
    ],
)
async def test_a_time_that_no_call_can_have_is_refused_by_its_field(
    at: str, path: str, body: dict[str, object], field: str
):
    async with open_house() as house:
        status, refusal = await house.ask("POST", path, json={**body, field: at})
        assert (status, refusal["field"]) == (400, field)
        assert house.registry.attached == []
        assert house.registry.call.events == []


async def test_a_line_from_tomorrow_does_not_stop_the_call_s_clock():
    async with open_house() as house:
        body = {"speaker": "prospect", "text": "hello", "at": "2150-01-01T00:00:00Z"}
        status, _ = await house.ask("POST", f"/v1/calls/{CALL}/transcript", json=body)
        assert status == 200
        (line,) = house.registry.call.events
        assert line.at.year == 2026  # type: ignore[union-attr]
