"""What is redacted is written nowhere; what is archived comes back; who is erased never does."""

import gzip
import json
from pathlib import Path

import pytest

from agent_sidecar.simulator.signing import WebhookSigner
from tests.e2e.conftest import LATE_LINES_S
from tests.e2e.front_door import Api
from tests.e2e.phone import Phone
from tests.e2e.recordings import write_won_calls
from tests.e2e.sidecar import Sidecar

pytestmark = pytest.mark.e2e

CARD = "4111 1111 1111 1111"
PHONE = "+12025550143"


def holding(folder: Path, text: str) -> list[str]:
    """Return the files of a folder whose bytes have a text."""
    wanted = text.encode()
    files = [place for place in folder.rglob("*") if place.is_file()]
    return [str(place) for place in files if wanted in place.read_bytes()]


async def test_redacted_archived_brought_back_and_erased(
    folder: Path, models: Path, tmp_path: Path
):
    signer = WebhookSigner.open(tmp_path / "key")
    settings = {
        "REDACT": "cards",
        "RETENTION": "hot_transfer=30",
        "LATE_LINES_S": LATE_LINES_S,
        "TELNYX_PUBLIC_KEY": signer.public_key,
    }
    with Sidecar(folder, models, **settings) as sidecar:
        async with Api(sidecar.start()) as api:
            # a card is said
            phone = Phone(api, signer)
            call = await api.attach(phone.leg_id, passive=True, lead={"phone": PHONE})
            await phone.answer()
            await phone.say(f"Sure, my card is {CARD}, the security code is 987")
            await phone.hang_up()
            view = await api.delivered(call["call_id"])
            assert "[card]" in json.dumps(view)
            assert holding(folder, CARD) == []
            # calls that are over go into an archive, and come back
            old = tmp_path / "old.jsonl"
            ids = write_won_calls(old, calls=2, name="old")
            lines = [json.loads(line) for line in old.read_text().splitlines()]
            dated = [{**line, "started_at": "2020-05-04T15:00:00Z"} for line in lines]
            old.write_text("".join(json.dumps(line) + "\n" for line in dated))
            assert sidecar.run("import", str(old), "--json").code == 0
            before = [(await api.delivered(call_id))["credits"] for call_id in ids]
            _, looked = await api.post("/v1/retention", {"dry_run": True})
            assert looked["archived"] == {"hot_transfer": 2}
            done = sidecar.run("retention", "--json")
            assert done.code == 0, done.err
            assert done.json() == {
                "rules": {"hot_transfer": 30},
                "archived": {"hot_transfer": 2},
                "waiting": 0,
                "trouble": {},
            }
            assert (await api.send("GET", f"/v1/calls/{ids[0]}"))[0] == 404
            assert await api.is_clean()
            archive = folder / "archives" / "2020-05.jsonl.gz"
            assert sidecar.run("import", str(archive), "--json").json()["imported"] == 2
            after = [(await api.delivered(call_id))["credits"] for call_id in ids]
            assert after == before
            # he is erased, and stays so
            erased = sidecar.run("erase", "--phone", PHONE, "--yes", "--json")
            report = erased.json()
            assert erased.code == 0, report
            assert report["removed"]["calls"] == 1
            assert report["removed"]["leads"] == 1
            assert set(report["left"].values()) == {0}
            proof = json.loads((folder / report["proof"]).read_text())
            assert proof["left"] == report["left"]
            assert PHONE not in json.dumps(proof)
            assert await api.is_clean()
        assert sidecar.stop() == 0
    assert [name for name in holding(folder, PHONE) if "journal" in name] == []
    assert [n for n in holding(folder, call["call_id"]) if "archives" in n] == []
    assert len(gzip.decompress(archive.read_bytes()).splitlines()) == 2
