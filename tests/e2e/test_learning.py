"""What a live call teaches: its hint, what the agent made of it, how it ended, and corrections."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from agent_sidecar.adapters.yaml_playbook import read_playbook
from tests.e2e.conftest import Shared
from tests.e2e.front_door import Api, Listener, eventually
from tests.e2e.phone import Phone
from tests.e2e.recordings import write_calls

pytestmark = pytest.mark.e2e

ASKED = "Hold on, is this a pyramid scheme?"
# a kind of lead of its own: no other test's calls count for it
LEAD = {"profession": "lighthouse keeper", "lead_source": "e2e learning"}


async def _counts(api: Api, strategy: str) -> Mapping[str, int]:
    """Return what is known of a strategy in this moment, with such a lead."""
    moment = {"text": ASKED, "objection": "scheme", "top_k": 20}
    status, answer = await api.post("/v1/suggest", moment)
    assert status == 200, answer
    found = {hint["strategy"]: hint["evidence"] for hint in answer["hints"]}
    known: Mapping[str, int] = found.get(strategy, {})
    return {name: known.get(name, 0) for name in ("tried", "lifted", "won")}


async def test_a_hint_that_was_used_counts_and_a_corrected_end_leaves_exact_counts(
    shared: Shared, api: Api
):
    async with Listener(api) as listener:
        phone = Phone(api, shared.signer)
        call_id = (await api.attach(phone.leg_id, lead=LEAD))["call_id"]
        await phone.answer()
        await phone.say(ASKED)
        hint = await listener.hint(call_id)
        await listener.say(type="feedback", hint_id=hint["hint_id"], action="used")
        await eventually(lambda: _is_judged(api, call_id, "used"), within_s=10)
        before = await _counts(api, hint["strategy"])
        await phone.say(_wording(hint["strategy"]), speaker="agent")
        await phone.say("Oh good, I love that, this sounds really great!")
        await phone.hang_up()
    await api.delivered(call_id)
    view = await api.call(call_id)
    [credit] = [c for c in view["credits"] if c["strategy"] == hint["strategy"]]
    assert (credit["hinted"], credit["lifted"], credit["objection"]) == (True, True, "scheme")

    told = await api.get("/v1/insights?objection=scheme")
    assert told["degraded"] == []
    assert told["success"]["everybody"]["calls"] >= 1
    [objection] = told["relationships"]["objections"]
    assert objection["type"] == "scheme"
    assert hint["strategy"] in {
        answer["strategy"] for answer in told["relationships"]["strategies"]
    }
    assert told["synthesis"]
    rows = {row["store"]: row for row in (await api.get("/v1/stores"))["stores"]}
    assert set(rows) == {"conversations", "postgres", "neo4j", "chroma"}
    for row in rows.values():
        assert row["answering"]
        assert 0 < row["responses"]["avg_ms"] <= row["responses"]["p99_ms"]
        assert row["responses"]["questions"] >= 1

    ended = {"tried": before["tried"] + 1, "lifted": before["lifted"] + 1, "won": before["won"]}
    assert await _counts(api, hint["strategy"]) == ended
    corrected = (
        ({"final_status": "hot_transfer", "qualified": True}, ended["won"] + 1),
        # the same again changes nothing
        ({"final_status": "hot_transfer", "qualified": True}, ended["won"] + 1),
        ({"final_status": "disqualified", "qualified": False}, ended["won"]),
    )
    for outcome, won in corrected:
        status, answer = await api.post(f"/v1/calls/{call_id}/outcome", outcome)
        assert (status, answer["outcome"]["final_status"]) == (200, outcome["final_status"])
        await api.delivered(call_id)
        assert await _counts(api, hint["strategy"]) == ended | {"won": won}
        # the vectors lie where such an end has them, and nowhere else
        assert await api.is_clean()


async def test_an_import_that_met_a_bad_line_goes_on_where_it_was(
    shared: Shared, api: Api, tmp_path: Path
):
    path = tmp_path / "calls.jsonl"
    ids = write_calls(path, calls=5, lines=3, name="resumed")
    whole = path.read_text().splitlines()
    path.write_text("\n".join([*whole[:3], '{"call_id": "resumed-3"', *whole[4:]]) + "\n")
    stopped = shared.sidecar.run("import", str(path), "--json")
    assert stopped.code == 1
    assert stopped.json() == {"calls": 3, "imported": 3, "known": 0}
    assert f"{path.name}, line 4" in stopped.err or f"{path.name}:4" in stopped.err
    assert "the calls before it were imported" in stopped.err

    path.write_text("\n".join(whole) + "\n")
    resumed = shared.sidecar.run("import", str(path), "--no-wait", "--json")
    assert (resumed.code, resumed.json()) == (0, {"calls": 5, "imported": 2, "known": 3})
    for call_id in ids:
        view = await api.delivered(call_id)
        assert view["version"] == 1
    assert await api.is_clean()


def _wording(strategy: str) -> str:
    """Return how the playbook says it; what a hint suggests may be a line of another call."""
    return next(one.say[0] for one in read_playbook(None).strategies if one.name == strategy)


async def _is_judged(api: Api, call_id: str, action: str) -> bool:
    hints = (await api.call(call_id))["hints"]
    return bool(hints) and hints[0]["status"] == action
