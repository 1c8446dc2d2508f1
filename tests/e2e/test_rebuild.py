"""`rebuild` and `verify --repair` beside the running service, while calls come in."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from agent_sidecar.embedded import running_stack
from tests.e2e.conftest import Shared
from tests.e2e.front_door import Api
from tests.e2e.phone import Phone
from tests.e2e.recordings import write_won_calls
from tests.e2e.sidecar import finish

pytestmark = pytest.mark.e2e


async def test_a_graph_is_made_anew_while_calls_come_in_and_damage_is_mended(
    shared: Shared, api: Api, tmp_path: Path
):
    sidecar = shared.sidecar
    path = tmp_path / "known.jsonl"
    ids = write_won_calls(path, calls=5, name="known")
    assert sidecar.run("import", str(path), "--json").code == 0
    rebuild = sidecar.open("rebuild", "neo4j", "--json")
    phones = [Phone(api, shared.signer) for _ in range(3)]
    calls = [(await api.attach(phone.leg_id, passive=True))["call_id"] for phone in phones]
    for phone in phones:
        await phone.answer()
        await phone.say("I would like to know what it costs.")
        await phone.hang_up()
    done = await asyncio.to_thread(finish, rebuild)
    assert done.code == 0, done.err
    said = done.json()
    assert (said["store"], said["state"], said["parked"]) == ("neo4j", "done", 0)
    assert said["marked"] >= len(ids)
    for call_id in calls:
        await api.delivered(call_id)
    assert await api.is_clean()

    stack = running_stack(sidecar.folder)
    assert stack is not None
    assert stack.postgres is not None
    connection = await asyncpg.connect(stack.postgres)
    await connection.execute("DELETE FROM calls WHERE call_id = $1", ids[0])
    await connection.execute(
        "INSERT INTO calls (call_id, start_time, kevin_available) VALUES ('ghost', now(), true)"
    )
    await connection.close()
    mended = await asyncio.to_thread(sidecar.run, "verify", "--repair", "--json")
    assert mended.code == 0, mended.out
    (repair, *_) = mended.json()["repairs"]
    assert repair["redelivered"] == {"postgres": 1}
    assert repair["forgotten"] == {"postgres": 1}
    assert await api.is_clean()
