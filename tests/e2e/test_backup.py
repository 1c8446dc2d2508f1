"""`backup` while calls go on, `restore` elsewhere: the same calls, and all stores agree."""

import asyncio
import tempfile
from pathlib import Path

import pytest

from agent_sidecar.simulator.signing import WebhookSigner
from tests.e2e.front_door import Api, eventually
from tests.e2e.phone import Phone
from tests.e2e.recordings import write_won_calls
from tests.e2e.sidecar import Sidecar

pytestmark = pytest.mark.e2e


async def test_a_backup_that_was_taken_in_the_middle_of_calls_is_a_clean_service_elsewhere(
    sidecar: Sidecar, models: Path, tmp_path: Path
):
    ids = write_won_calls(tmp_path / "won.jsonl", calls=4, name="won")
    token = {"API_TOKEN": "nobody-may-read-it"}
    backup = tmp_path / "copies" / "monday"
    backup.parent.mkdir()
    async with Api(sidecar.start(**token), token["API_TOKEN"]) as api:
        imported = sidecar.run("import", str(tmp_path / "won.jsonl"), "--json", **token)
        assert imported.code == 0, imported.err
        ongoing = asyncio.create_task(_calls(api))
        taken = await asyncio.to_thread(
            lambda: sidecar.run("backup", str(backup), "--json", **token)
        )
        assert taken.code == 0, taken.err
        said_and_done = await ongoing
        assert taken.json()["counts"]["journal"] >= len(ids)
        before = {call_id: await api.call(call_id) for call_id in ids}
        # the folder is taken: nothing is overwritten
        again = sidecar.run("backup", str(backup), **token)
        assert again.code == 2
        assert "not empty" in again.err
    assert token["API_TOKEN"] not in (backup / "settings.env").read_text()
    assert len(said_and_done) >= 1

    with (
        tempfile.TemporaryDirectory(prefix="sidecar-") as path,
        Sidecar(Path(path) / "data", models, RESUME_S="0.1") as other,
    ):
        await _killed_in_the_middle(other, backup)
        refused = other.run("verify")
        assert refused.code == 2
        assert f"restore {backup}" in refused.err
        restored = other.run("restore", str(backup), "--json")
        assert restored.code == 0, restored.out + restored.err
        assert restored.json()["verify"] == "clean"
        assert restored.json()["records"] >= len(ids)
        async with Api(other.start()) as api:
            for call_id in ids:
                after = await api.call(call_id)
                assert after["segments"] == before[call_id]["segments"]
                assert after["outcome"] == before[call_id]["outcome"]
            asked = {"text": "Hold on, is this a pyramid scheme?", "objection": "scheme"}
            _, answer = await api.post("/v1/suggest", asked)
            tried = {hint["strategy"]: hint["evidence"]["tried"] for hint in answer["hints"]}
            assert tried["name-the-fear"] == len(ids)
            assert await api.is_clean()


async def _killed_in_the_middle(other: Sidecar, backup: Path) -> None:
    """Restore until something is in the folder, and no further."""
    restoring = other.open("restore", str(backup))

    async def begun() -> bool:
        return (other.folder / "restoring").exists()

    await eventually(begun)
    restoring.kill()
    await asyncio.to_thread(other.kill_everything)


async def _calls(api: Api) -> list[str]:
    """Hold short calls one after the other; return the ids of those that ended."""
    signer = WebhookSigner.generate()
    ended: list[str] = []
    for number in range(12):
        phone = Phone(api, signer)
        call_id = (await api.attach(phone.leg_id, passive=True))["call_id"]
        await phone.answer()
        await phone.say(f"This is what I wanted to tell you, number {number}.")
        await phone.hang_up()
        ended.append(call_id)
        await asyncio.sleep(0.1)
    return ended
