"""`agent-sidecar availability …` beside a running front door."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.cli import _parser
from agent_sidecar.commands.availability import run
from agent_sidecar.commands.running import announce
from agent_sidecar.commands.weekly_hours import read_hours, tell_hours
from agent_sidecar.domain.playbook import Closer
from agent_sidecar.domain.types import TransferId
from agent_sidecar.errors import RequestInvalid, ServiceRefused
from agent_sidecar.settings import Settings
from tests.flow.web_door import House, open_house

pytestmark = pytest.mark.real_time

Say = Callable[..., Awaitable[Any]]


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with open_house() as house:
        house.closers.schedules["Kevin"] = Closer(name="Kevin", timezone="UTC")
        yield house


@pytest.fixture
def say(house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """Return what runs the command; it answers the closer, or what was printed."""
    settings = Settings(data_dir=tmp_path, port=house.port)
    (tmp_path / "run").mkdir()
    announce(settings, house.port)

    async def say(*words: str, as_json: bool = True) -> Any:
        arguments = _parser().parse_args(["availability", *words, *(["--json"] if as_json else [])])
        assert await asyncio.to_thread(run, settings, arguments) == 0
        printed = capsys.readouterr().out
        if not as_json:
            return printed
        [closer] = json.loads(printed)["closers"]
        return closer

    return say


async def test_the_first_closer_s_hours_are_set_and_shown(say: Say, house: House):
    closer = await say("hours", "mon-fri", "9:00-17:00", "sat", "22:00-02:00", "--timezone", "UTC")
    assert len(closer["hours"]) == 6
    assert await say("show") == closer
    assert tell_hours(closer["hours"]) == "mon-fri 09:00-17:00, sat 22:00-02:00"
    closer = await say("hours", "--any-time", "--closer", "Kevin", "--number", "+12125550142")
    assert (closer["hours"], closer["number"]) == ([], "+12125550142")


async def test_he_is_away_and_back(say: Say, house: House):
    closer = await say("away", "--reason", "at the dentist's")
    assert (closer["state"], closer["available"]) == ("away", False)
    assert (await say("back"))["state"] == "free"
    closer = await say("away", "--until", "2027-01-01T00:00")
    assert closer["available_from"] == "2027-01-01T00:00:00Z"


async def test_an_override_is_made_and_removed(say: Say, house: House):
    closer = await say("override", "--off", "--start", "2027-01-01", "--end", "2027-01-02")
    [override] = closer["overrides"]
    assert (override["is_available"], override["end"]) == (False, "2027-01-02T00:00:00Z")
    closer = await say("override", "--remove", override["override_id"])
    assert closer["overrides"] == []
    closer = await say("override", "--on")
    assert (closer["overrides"][0]["is_available"], closer["overrides"][0]["end"]) == (True, None)


async def test_people_see_a_table(say: Say, house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "140")
    table = await say("show", as_json=False)
    assert "Kevin" in table
    assert "any time" in table
    assert "free" in table
    later = "2027-12-24T18:00"
    await say("override", "--off", "--end", later, "--reason", "feast")
    table = await say("show", as_json=False)
    for shown in ("away", "from Fri 24 Dec 2027 18:00", "(feast)"):
        assert shown in table
    await say("away")
    assert "not in sight" in await say("show", as_json=False)
    await say("back")
    await say("hours", "mon", "00:00-00:01")
    assert "off" in await say("show", as_json=False)
    await house.closers.lease("Kevin", TransferId("t1"))
    house.closers.note("Kevin", TransferId("t1"), "on_call")
    table = await say("show", as_json=False)
    assert "on a call" in table
    assert "when his call ends" in table


async def test_what_the_service_refuses_is_told_with_what_to_do(say: Say, house: House):
    with pytest.raises(ServiceRefused, match=r"400 there is no closer Ann; name one .*: Kevin$"):
        await say("away", "--closer", "Ann")
    with pytest.raises(RequestInvalid, match="there is no closer Ann; name one of: Kevin"):
        await say("show", "--closer", "Ann")
    house.closers.schedules.clear()
    with pytest.raises(RequestInvalid, match="--closer"):
        await say("away")


@pytest.mark.parametrize(
    "words",
    [
        ("hours",),
        ("hours", "mon-fri", "9-17"),
        ("hours", "funday", "09:00-17:00"),
        ("hours", "xyz", "09:00-17:00"),
        ("hours", "mon", "09:00-17:00", "--any-time"),
        ("override",),
    ],
)
async def test_arguments_that_make_no_sense_are_told_before_anything_is_asked(
    say: Say, house: House, words: tuple[str, ...]
):
    with pytest.raises(RequestInvalid) as refusal:
        await say(*words)
    assert refusal.value.what_to_do in str(refusal.value)
    assert house.closers.schedules["Kevin"] == Closer(name="Kevin", timezone="UTC")


clocks = st.times().map(lambda at: at.strftime("%H:%M"))
hours = st.lists(
    st.fixed_dictionaries({"day_of_week": st.integers(0, 6), "start": clocks, "end": clocks}),
    min_size=1,
    max_size=9,
    unique_by=lambda w: (w["day_of_week"], w["start"], w["end"]),
)


@given(hours)
def test_hours_are_read_as_they_are_told(windows: list[dict[str, object]]):
    def by_day(all_of_them: Any) -> Any:
        return sorted((w["day_of_week"], w["start"], w["end"]) for w in all_of_them)

    assert by_day(read_hours(tell_hours(windows))) == by_day(windows)


def test_hours_as_people_write_them():
    assert [one["day_of_week"] for one in read_hours("Fri-Mon 9:00-17:00")] == [5, 6, 0, 1]
    assert [one["day_of_week"] for one in read_hours("mon,wed 9:00-17:00")] == [1, 3]
    assert len(read_hours("daily 00:00-00:00")) == 7
    assert tell_hours(read_hours("daily 00:00-00:00")) == "daily 00:00-00:00"
    assert tell_hours([]) == "any time"
