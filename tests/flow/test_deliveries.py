"""`/v1/deliveries`, and `agent-sidecar deliveries …` beside a running front door and alone."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agent_sidecar.adapters.sqlite_journal import SqliteJournal
from agent_sidecar.cli import _parser
from agent_sidecar.commands.deliveries import run
from agent_sidecar.commands.running import announce
from agent_sidecar.domain.types import STORES, CallId
from agent_sidecar.errors import RequestInvalid, ServiceRefused
from agent_sidecar.ports import Journal
from agent_sidecar.settings import Settings
from tests.builders import stranger_record
from tests.flow.web_door import House, open_house

pytestmark = pytest.mark.real_time

KEY = "opens-it"
Say = Callable[..., Awaitable[Any]]


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with open_house() as house:
        await fill(house.journal)
        yield house


async def fill(journal: Journal) -> None:
    """Leave call-1 delivered but parked at neo4j, and call-2 pending everywhere."""
    await journal.commit(stranger_record("call-1"))
    for store in STORES:
        (delivery,) = await journal.claim(store, limit=1)
        if store == "neo4j":
            await journal.park(delivery, error="refused: it has no end")
        else:
            await journal.ack([delivery])
    await journal.commit(stranger_record("call-2"))


def speaker(settings: Settings, capsys: pytest.CaptureFixture[str]) -> Say:
    async def say(*words: str, as_json: bool = True) -> Any:
        arguments = _parser().parse_args(["deliveries", *words, *(["--json"] if as_json else [])])
        assert await asyncio.to_thread(run, settings, arguments) == 0
        printed = capsys.readouterr().out
        if as_json:
            # the door's log comes before
            return json.loads(printed.splitlines()[-1])
        # a table folds its cells
        return " ".join(printed.split())

    return say


@pytest.fixture
def say(house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    settings = Settings(data_dir=tmp_path, port=house.port)
    (tmp_path / "run").mkdir()
    announce(settings, house.port)
    return speaker(settings, capsys)


class TestRoutes:
    async def test_what_is_not_delivered_is_shown_unless_something_else_is_asked_for(self, house):
        status, told = await house.ask("GET", "/v1/deliveries")
        assert status == 200
        assert len(told["deliveries"]) == 1 + len(STORES)
        (parked,) = [d for d in told["deliveries"] if d["state"] == "parked"]
        assert (parked["call_id"], parked["store"]) == ("call-1", "neo4j")
        assert (parked["attempts"], parked["version"]) == (1, 1)
        assert parked["last_error"] == "refused: it has no end"
        assert parked["next_try_at"] is None
        assert "age_s" in parked
        _, told = await house.ask("GET", "/v1/deliveries?state=delivered&state=parked&limit=2")
        assert len(told["deliveries"]) == 2
        _, told = await house.ask("GET", "/v1/deliveries?store=chroma")
        assert [d["call_id"] for d in told["deliveries"]] == ["call-2"]

    @pytest.mark.parametrize("query", ["state=lost", "store=mysql", "limit=0"])
    async def test_a_wrong_question_is_named(self, house, query):
        status, told = await house.ask("GET", f"/v1/deliveries?{query}")
        assert status == 400
        assert told["field"] == query.partition("=")[0]

    async def test_a_retry_makes_it_due_and_wakes_the_relay(self, house):
        body = {"call_id": "call-1", "store": "neo4j"}
        assert await house.ask("POST", "/v1/deliveries/retry", json=body) == (200, {"retried": 1})
        assert house.hurried.is_set()
        due = await house.journal.claim("neo4j", limit=9)
        assert {d.record.call_id for d in due} == {"call-1", "call-2"}
        all_of_them = {"all": True}
        _, told = await house.ask("POST", "/v1/deliveries/retry", json=all_of_them)
        assert told == {"retried": 1 + len(STORES)}

    async def test_a_retry_of_nothing_is_refused(self, house):
        for body in ({}, {"call_id": "call-1", "all": True}, {"call_id": "nobody"}):
            status, told = await house.ask("POST", "/v1/deliveries/retry", json=body)
            assert status == 400, body
            assert told["field"] == "call_id"
        assert not house.hurried.is_set()

    async def test_a_drop_needs_a_name_and_keeps_it(self, house):
        body = {"call_id": "call-1", "store": "neo4j"}
        for by in ({}, {"by": " "}):
            status, told = await house.ask("POST", "/v1/deliveries/drop", json=body | by)
            assert (status, told["field"]) == (400, "by")
        named = body | {"by": "Ann", "reason": "a test call"}
        status, told = await house.ask("POST", "/v1/deliveries/drop", json=named)
        assert (status, told["state"], told["by"]) == (200, "dropped", "Ann")
        _, told = await house.ask("GET", "/v1/deliveries?state=dropped")
        (dropped,) = told["deliveries"]
        assert (dropped["dropped"]["by"], dropped["dropped"]["reason"]) == ("Ann", "a test call")
        status, told = await house.ask("POST", "/v1/deliveries/drop", json=named)
        assert (status, told["field"]) == (400, "call_id")

    async def test_they_want_the_api_token(self):
        async with open_house(api_token=KEY) as house:
            for method, path in (
                ("GET", "/v1/deliveries"),
                ("POST", "/v1/deliveries/retry"),
                ("POST", "/v1/deliveries/drop"),
            ):
                status, _ = await house.ask(method, path)
                assert status == 401


class TestBesideTheService:
    async def test_without_an_action_it_lists(self, say):
        assert await say() == await say("list")
        told = await say("--store", "neo4j", "list", "--state", "parked")
        assert [d["call_id"] for d in told["deliveries"]] == ["call-1"]
        table = await say(as_json=False)
        for word in ("call-1", "neo4j", "parked", "refused:", "call-2", "pending", "now"):
            assert word in table
        assert "no delivery is dropped" in await say("--state", "dropped", as_json=False)

    async def test_retry_and_drop_are_the_service_s_to_do(self, say, house):
        assert (await say("retry", "call-1"))["retried"] == 1
        assert house.hurried.is_set()
        await say("drop", "call-1", "--store", "neo4j", "--by", "Ann", "--reason", "a test call")
        assert "dropped by Ann: a test call" in await say("--state", "dropped", as_json=False)
        with pytest.raises(ServiceRefused, match="no delivery to neo4j that waits or is parked"):
            await say("drop", "call-1", "--store", "neo4j", "--by", "Ann")
        with pytest.raises(RequestInvalid, match="either one call or all"):
            await say("retry")


class TestAlone:
    async def test_the_journal_is_opened_for_it(self, tmp_path, capsys):
        journal = await SqliteJournal.open(tmp_path / "journal.sqlite3")
        await fill(journal)
        await journal.aclose()
        say = speaker(Settings(data_dir=tmp_path), capsys)
        told = await say("--state", "parked")
        assert [d["call_id"] for d in told["deliveries"]] == ["call-1"]
        await say("drop", "call-1", "--store", "neo4j", "--by", "Ann")
        assert "dropped by Ann" in await say("--state", "dropped", as_json=False)
        with pytest.raises(RequestInvalid, match="call nobody"):
            await say("drop", "nobody", "--store", "neo4j", "--by", "Ann")
        journal = await SqliteJournal.open(tmp_path / "journal.sqlite3")
        committed = await journal.record(CallId("call-1"))
        await journal.aclose()
        assert committed is not None
        assert committed.deliveries["neo4j"].state == "dropped"
