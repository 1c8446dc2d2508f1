"""`/v1/availability`: what people see of the closers and how they change it."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from agent_sidecar.domain.playbook import Closer, Window
from agent_sidecar.domain.types import TransferId
from agent_sidecar.errors import StoreUnavailable
from tests.flow.web_door import FixedClock, House, open_house

pytestmark = pytest.mark.real_time

T1 = TransferId("t1")
OFFICE = tuple(Window(day_of_week=day, start=time(9), end=time(17)) for day in range(1, 6))
NOW = FixedClock().now()


class FiveMinutesLater:
    def now(self) -> datetime:
        return NOW + timedelta(minutes=5)


async def kevin(house: House) -> Any:
    status, body = await house.ask("GET", "/v1/availability")
    assert status == 200
    [closer] = body["closers"]
    return closer


async def say(house: House, method: str, path: str, body: object = None) -> Any:
    status, closer = await house.ask(method, f"/v1/availability/Kevin/{path}", json=body)
    assert status == 200, closer
    return closer


def local(at: datetime) -> str:
    """Return the time without an offset, as Kevin in UTC writes it."""
    return at.replace(tzinfo=None).isoformat()


def in_utc(house: House, hours: tuple[Window, ...] = ()) -> None:
    house.closers.schedules["Kevin"] = Closer(name="Kevin", timezone="UTC", hours=hours)


async def test_a_free_closer_is_shown_with_everything_about_him():
    async with open_house() as house:
        in_utc(house)
        assert await kevin(house) == {
            "name": "Kevin",
            "number": None,
            "timezone": "UTC",
            "hours": [],
            "overrides": [],
            "within_hours": True,
            "working": True,
            "leased": False,
            "state": "free",
            "available": True,
            "available_from": NOW.isoformat().replace("+00:00", "Z"),
        }


async def test_each_step_of_a_transfer_is_shown():
    async with open_house() as house:
        in_utc(house)
        await house.closers.lease("Kevin", T1)
        for step in ("leased", "ringing", "on_call"):
            house.closers.note("Kevin", T1, step)
            closer = await kevin(house)
            assert (closer["state"], closer["leased"], closer["available"]) == (step, True, False)
            assert closer["available_from"] is None


async def test_off_hours_say_when_he_works_again():
    async with open_house() as house:
        day = NOW.isoweekday() % 7
        yesterday = Window(day_of_week=(day - 1) % 7, start=time(9), end=time(17))
        in_utc(house, (yesterday,))
        closer = await kevin(house)
        assert (closer["state"], closer["working"], closer["available"]) == ("free", False, False)
        then = datetime.combine(NOW.date() + timedelta(days=6), time(9), tzinfo=UTC)
        assert closer["available_from"] == then.isoformat().replace("+00:00", "Z")


async def test_he_is_away_until_then_and_says_why():
    async with open_house() as house:
        in_utc(house)
        until = NOW + timedelta(hours=2)
        said = {"until": local(until), "reason": " lunch "}
        closer = await say(house, "POST", "away", said)
        assert (closer["state"], closer["available"]) == ("away", False)
        assert closer["available_from"] == until.isoformat().replace("+00:00", "Z")
        [override] = closer["overrides"]
        assert override["override_id"] == closer["override_id"]
        assert (override["reason"], override["is_available"]) == ("lunch", False)


async def test_he_is_away_until_he_is_back():
    async with open_house() as house:
        in_utc(house)
        closer = await say(house, "POST", "away")
        assert (closer["state"], closer["available_from"]) == ("away", None)
        assert closer["overrides"][0]["end"] is None
        closer = await say(house, "POST", "back")
        assert (closer["state"], closer["available"], closer["overrides"]) == ("free", True, [])


async def test_an_override_is_made_and_taken_back():
    async with open_house() as house:
        in_utc(
            house, (Window(day_of_week=(NOW.isoweekday() + 3) % 7, start=time(9), end=time(10)),)
        )
        body = {
            "is_available": True,
            "start": (NOW - timedelta(hours=1)).isoformat(),
            "end": local(NOW + timedelta(hours=1)),
            "reason": "swapped with Ann",
        }
        closer = await say(house, "POST", "overrides", body)
        assert (closer["within_hours"], closer["working"], closer["available"]) == (
            False,
            True,
            True,
        )
        closer = await say(house, "DELETE", f"overrides/{closer['override_id']}")
        assert (closer["overrides"], closer["available"]) == ([], False)


async def test_times_without_an_offset_are_of_his_own_zone():
    async with open_house() as house:
        house.closers.schedules["Kevin"] = Closer(name="Kevin", timezone="Asia/Kolkata")
        body = {"is_available": False, "start": "2199-12-24T12:00", "end": "2199-12-24 18:00"}
        closer = await say(house, "POST", "overrides", body)
        [override] = closer["overrides"]
        assert override["start"] == "2199-12-24T12:00:00+05:30"
        [stored] = house.closers.overrides["Kevin"]
        assert stored.end_at == datetime(2199, 12, 24, 12, 30, tzinfo=UTC)


async def test_old_overrides_are_not_shown():
    async with open_house() as house:
        in_utc(house)
        await say(house, "POST", "away", {"until": local(NOW + timedelta(minutes=5))})
        [away] = house.closers.overrides["Kevin"]
        async with open_house(closers=house.closers, clock=FiveMinutesLater()) as later:
            closer = await kevin(later)
            assert (closer["state"], closer["overrides"]) == ("free", [])
        assert house.closers.overrides["Kevin"] == [away]


AGO = local(NOW - timedelta(hours=1))


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "Ann/away", {}, "closer"),
        ("POST", "Ann/back", None, "closer"),
        ("PUT", "Ann", {"hours": []}, "closer"),
        ("POST", "Kevin/away", {"until": "tomorrow"}, "until"),
        ("POST", "Kevin/away", {"until": AGO}, "until"),
        ("POST", "Kevin/away", {"until": "9999-01-01T00:00"}, "until"),
        ("POST", "Kevin/away", {"untill": "2099-01-01T00:00"}, "untill"),
        ("POST", "Kevin/away", {"reason": "x" * 501}, "reason"),
        ("POST", "Kevin/overrides", {}, "is_available"),
        ("POST", "Kevin/overrides", {"is_available": True, "end": AGO}, "end"),
        ("POST", "Kevin/overrides", {"is_available": True, "start": "9"}, "start"),
        (
            "POST",
            "Kevin/overrides",
            {"is_available": True, "start": "2000-01-02T00:00", "end": "2000-01-03T00:00"},
            "end",
        ),
        ("DELETE", "Kevin/overrides/none", None, "override"),
    ],
)
async def test_what_is_wrong_is_named_with_what_to_do(method, path, body, field):
    async with open_house() as house:
        in_utc(house)
        status, refusal = await house.ask(method, f"/v1/availability/{path}", json=body)
        assert (status, refusal["field"]) == (400, field)
        assert refusal["what_to_do"]
        assert house.closers.overrides.get("Kevin", []) == []


async def test_a_zone_that_does_not_exist_is_told_and_can_be_mended():
    async with open_house() as house:
        house.closers.schedules["Kevin"] = Closer(
            name="Kevin", number="+13125550100", timezone="Mars/Base", hours=OFFICE
        )
        status, refusal = await house.ask("GET", "/v1/availability")
        assert (status, refusal["error"]) == (503, "StoreUnavailable")
        assert "Mars/Base" in refusal["message"]
        status, closer = await house.ask(
            "PUT", "/v1/availability/Kevin", json={"timezone": "UTC", "hours": []}
        )
        assert (status, closer["number"]) == (200, "+13125550100")


async def test_hours_that_are_not_stored_yet_take_no_override():
    async with open_house() as house:
        house.closers.schedules.clear()
        status, refusal = await house.ask("POST", "/v1/availability/Kevin/away")
        assert (status, refusal["error"]) == (503, "StoreUnavailable")
        assert "try again in a moment" in refusal["message"]


async def test_without_the_stores_nothing_is_claimed():
    async with open_house() as house:
        house.closers.fails_with = StoreUnavailable("redis is down")
        for method, path in (("GET", ""), ("POST", "/Kevin/back"), ("POST", "/Kevin/away")):
            status, refusal = await house.ask(method, f"/v1/availability{path}")
            assert (status, refusal["message"]) == (503, "redis is down")
