"""`import`: finished calls become records in all stores, once, and evidence for later calls."""

from pathlib import Path

import pytest

from tests.e2e.conftest import Shared
from tests.e2e.front_door import Api, Listener, eventually
from tests.e2e.phone import Phone
from tests.e2e.recordings import write_won_calls

pytestmark = pytest.mark.e2e


async def learning_is_kept_and_told_alike(
    shared: Shared, api: Api, tmp_path: Path, call_id: str
) -> None:
    """Correct a call: the job in the service sees it, and the command beside it says the same."""
    path = "/v1/learning?days=3650"

    async def rate() -> float | None:
        days = {day["metric_date"]: day for day in (await api.get(path))["days"]}
        found: float | None = days["2026-03-01"]["qualified_rate"] if days else None
        return found

    async def fell() -> bool:
        return (await rate() or 100.0) < 100.0

    lost = {"final_status": "disqualified", "qualified": False}
    assert (await api.post(f"/v1/calls/{call_id}/outcome", lost))[0] == 200
    await api.delivered(call_id)
    await eventually(fell, within_s=60.0)
    picture = tmp_path / "curve.png"
    told = shared.sidecar.run("learn", "report", "--days", "3650", "--plot", str(picture), "--json")
    assert told.code == 0
    assert told.json() == await api.get(path)
    assert picture.read_bytes().startswith(b"\x89PNG")


async def test_imported_calls_count_once_and_as_evidence(shared: Shared, api: Api, tmp_path: Path):
    path = tmp_path / "won.jsonl"
    ids = write_won_calls(path, calls=4, name="won")
    first, again = (shared.sidecar.run("import", str(path), "--json") for _ in range(2))
    assert (first.code, first.json()) == (0, {"calls": 4, "imported": 4, "known": 0})
    assert (again.code, again.json()) == (0, {"calls": 4, "imported": 0, "known": 4})
    for call_id in ids:
        view = await api.delivered(call_id)
        assert view["source"] == "import"
        assert view["outcome"]["qualified"]
        assert view["outcome"]["final_status"] == "hot_transfer"
        assert view["version"] == 1

    # the same evidence for an agent that asks and for one that is told
    asked = {"text": "Hold on, is this a pyramid scheme?", "objection": "scheme"}
    status, answer = await api.post("/v1/suggest", asked)
    assert status == 200
    tried = {hint["strategy"]: hint["evidence"]["tried"] for hint in answer["hints"]}
    assert tried["name-the-fear"] >= 4
    async with Listener(api) as listener:
        phone = Phone(api, shared.signer)
        call_id = (await api.attach(phone.leg_id, passive=True))["call_id"]
        await phone.answer()
        await phone.say("Hold on, is this a pyramid scheme?")
        hint = await listener.hint(call_id)
        await phone.hang_up()
    assert hint["strategy"] == "name-the-fear"
    assert hint["evidence"]["tried"] >= 4
    assert hint["evidence"]["won"] >= 4
    assert hint["latency_ms"] <= 500
    assert hint["degraded"] == []
    # named with what it stands on
    assert any("scheme" in why for why in hint["why"])
    await api.delivered(call_id)
    assert await api.is_clean()


async def test_imported_calls_are_played_under_another_policy(
    shared: Shared, api: Api, tmp_path: Path
):
    path = tmp_path / "tried.jsonl"
    ids = write_won_calls(path, calls=3, name="tried")
    assert shared.sidecar.run("import", str(path), "--json").code == 0
    for call_id in ids:
        await api.delivered(call_id)
    picture = tmp_path / "tried.svg"
    tried = shared.sidecar.run(
        "policy", "try", "--set", "hint_confidence=1", "--plot", str(picture), "--json"
    )
    assert tried.code == 0
    said = tried.json()
    assert said["calls"]["well"] >= len(ids)
    assert said["sentences"][0].startswith("hint_confidence 1 instead of")
    assert said["tried"]["total"]["hints_given"] == 0
    assert said["in_use"]["total"]["hints_given"] > 0
    assert picture.read_text().startswith("<svg")
    await learning_is_kept_and_told_alike(shared, api, tmp_path, ids[0])
    nothing = shared.sidecar.run("policy", "try")
    assert nothing.code == 2
    assert "--playbook FILE" in nothing.err
