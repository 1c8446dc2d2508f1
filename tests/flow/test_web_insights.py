"""`GET /v1/insights` and the command that shows it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent_sidecar.cli import _parser
from agent_sidecar.commands.insights import run
from agent_sidecar.commands.running import announce
from agent_sidecar.domain.insights import InsightRequest
from agent_sidecar.domain.types import ObjectionType
from agent_sidecar.errors import RequestInvalid
from agent_sidecar.settings import Settings
from tests.flow.web_door import House, open_house

pytestmark = pytest.mark.real_time


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with open_house() as house:
        yield house


async def test_the_query_names_the_lead_and_the_moment(house: House):
    status, body = await house.ask(
        "GET",
        "/v1/insights",
        params={
            "phone": "+13125550142",
            "experience_level": "beginner",
            "scepticism": "",
            "text": "how much?",
            "objection": "money",
            "phase": "9",
        },
    )
    assert status == 200
    assert house.insights.asked == [
        InsightRequest(
            phone="+13125550142",
            fields={"experience_level": "beginner"},
            text="how much?",
            objection=ObjectionType("money"),
            phase=9,
        )
    ]
    assert body["profile"]["fields"] == {"experience_level": "beginner"}
    assert body["success"]["everybody"]["calls"] == 40
    assert body["availability"]["free"] == {"calls": 20, "qualified": 12, "transferred": 3}
    assert body["relationships"] is None
    assert body["moments"][0]["closeness"] == 0.9
    assert body["examples"][0]["lines"][-1] == "prospect: when can I start"
    assert body["degraded"] == ["neo4j"]
    assert body["synthesis"] == ["12 of 20 qualified."]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"colour": "red"}, "colour"),
        ({"phase": "13"}, "phase"),
        ({"phase": "x"}, "phase"),
        ({"experience_level": "b" * 41}, "experience_level"),
        ({"text": "t" * 2001}, "text"),
    ],
)
async def test_what_is_wrong_in_the_query_is_named(house: House, query: dict[str, str], field: str):
    status, body = await house.ask("GET", "/v1/insights", params=query)
    assert (status, body["field"]) == (400, field)
    assert body["what_to_do"]
    assert house.insights.asked == []


async def told(house: House, folder: Path, *words: str) -> int:
    settings = Settings(data_dir=folder, port=house.port)
    (folder / "run").mkdir(exist_ok=True)
    announce(settings, house.port)
    arguments = _parser().parse_args(["insights", *words])
    return await asyncio.to_thread(run, settings, arguments)


async def test_the_command_asks_and_prints_it_for_people(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    house.insights.lacks = []
    words = ("--experience", "beginner", "--field", "motivation=high", "--phone", "+13125550142")
    assert await told(house, tmp_path, *words, "--phase", "3") == 0
    [asked] = house.insights.asked
    assert asked.fields == {"experience_level": "beginner", "motivation": "high"}
    assert (asked.phone, asked.phase) == ("+13125550142", 3)
    printed = capsys.readouterr()
    assert "- 12 of 20 qualified." in printed.out
    assert "12 of 20 (60 %)" in printed.out
    assert "when can I start" in printed.out
    assert "not heard" not in printed.err


async def test_the_command_asks_again_while_a_store_is_late(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    house.insights.lacks = [("neo4j", "chroma"), ("chroma",)]
    assert await told(house, tmp_path, "--json") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (found["degraded"], len(house.insights.asked)) == ([], 3)


async def test_what_stays_out_is_named(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    house.insights.lacks = [("neo4j",)] * 99
    assert await told(house, tmp_path) == 0
    printed = capsys.readouterr()
    assert "neo4j" in printed.err
    assert "12 of 20 qualified" in printed.out


async def test_a_field_without_a_value_is_refused(house: House, tmp_path: Path):
    with pytest.raises(RequestInvalid, match="NAME=VALUE"):
        await told(house, tmp_path, "--field", "motivation")
