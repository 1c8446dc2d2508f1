"""The routes that forget, and the commands that ask them."""

from dataclasses import dataclass, field

import pytest

from agent_sidecar.cli import run
from agent_sidecar.domain.erasure import Person, person
from agent_sidecar.web.parts import ForgettingDoor
from tests.flow.web_door import open_house

pytestmark = pytest.mark.real_time  # sockets of this machine


@dataclass(frozen=True)
class Report:
    done_at: str | None


@dataclass
class MadeUpForgetting:
    done_at: str | None = "now"
    erased: list[Person] = field(default_factory=list)
    dry: list[bool] = field(default_factory=list)

    async def retain(self, *, dry_run: bool = False) -> object:
        self.dry.append(dry_run)
        return {"archived": {"no_answer": 2}}

    async def erase(self, person: Person) -> Report:
        self.erased.append(person)
        return Report(self.done_at)

    def door(self) -> ForgettingDoor:
        return ForgettingDoor(retain=self.retain, erase=self.erase)


async def test_the_rules_are_applied_or_only_counted():
    forgetting = MadeUpForgetting()
    async with open_house(forgetting=forgetting.door()) as house:
        told = {"archived": {"no_answer": 2}}
        assert await house.ask("POST", "/v1/retention") == (200, told)
        assert (await house.ask("POST", "/v1/retention", json={"dry_run": True}))[0] == 200
        status, said = await house.ask("POST", "/v1/retention", json={"dry": True})
        assert (status, said["field"]) == (400, "dry")
    assert forgetting.dry == [False, True]


async def test_a_lead_is_erased_by_id_or_number_and_what_waits_is_accepted():
    forgetting = MadeUpForgetting()
    async with open_house(forgetting=forgetting.door()) as house:
        assert (await house.ask("POST", "/v1/leads/crm-7/erase"))[0] == 200
        forgetting.done_at = None
        assert (await house.ask("POST", "/v1/leads/%2B12025550143/erase"))[0] == 202
        status, said = await house.ask("POST", "/v1/leads/%2B1202/erase")
        assert (status, said["field"]) == (400, "id")
    assert forgetting.erased == [person(lead_id="crm-7"), person(phone="+12025550143")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        # a test's stdin is nobody
        (["--lead", "crm-7"], "add --yes"),
        (["--phone", "2025550143", "--yes"], "--phone 2025550143: give it in E.164"),
        (["--yes"], "--lead --phone is required"),
        (["--lead", "a", "--phone", "+12025550143"], "not allowed with"),
    ],
)
def test_the_command_asks_before_it_erases_and_wants_one_name(
    own_logging: None, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
):
    try:
        code = run(["erase", *arguments])
    except SystemExit as exc:
        code = int(str(exc.code))
    assert code == 2
    assert said in capsys.readouterr().err
