"""`doctor`, `migrate`, `verify`: on a folder at rest, and beside the service that owns it."""

from pathlib import Path

import pytest

from tests.e2e.conftest import Shared
from tests.e2e.front_door import STORES
from tests.e2e.sidecar import Sidecar

pytestmark = pytest.mark.e2e


def test_on_a_new_folder_migrate_makes_the_schemas_and_doctor_finds_all_parts(sidecar: Sidecar):
    migrate = sidecar.run("migrate", "--json")
    assert migrate.code == 0, migrate.err
    assert set(migrate.json()["applied"]) == set(STORES)
    assert all(migrate.json()["applied"].values())
    assert migrate.json()["failed"] == {}
    assert not sidecar.processes_left()

    doctor = sidecar.run("doctor")
    assert doctor.code == 0, doctor.out + doctor.err
    for part in ("data folder", "playbook", "model", "store neo4j", "live state"):
        assert any(line.startswith("ok") and part in line for line in doctor.out.splitlines())
    assert "does not run now" in doctor.out
    assert not sidecar.processes_left()


def test_they_work_beside_the_service(shared: Shared):
    doctor = shared.sidecar.run("doctor", "--json")
    assert doctor.code == 0
    assert doctor.json()["ok"]
    findings = {f["part"]: f["text"] for f in doctor.json()["findings"]}
    assert shared.url in findings["service"]
    for store in STORES:
        assert "answers in" in findings[f"store {store}"]
    migrate = shared.sidecar.run("migrate", "--json")
    assert migrate.code == 0, migrate.err
    # the service has done it, and twice is once
    assert migrate.json() == {"applied": {store: [] for store in STORES}, "failed": {}}
    verify = shared.sidecar.run("verify")
    assert verify.code == 0, verify.out
    assert "records in conversations, postgres, neo4j, chroma: clean" in verify.out


def test_doctor_finds_weights_that_are_gone(sidecar: Sidecar):
    weights = sidecar.folder / "weights"
    weights.mkdir(parents=True)
    (weights / "current").write_text("20200101-gone")
    doctor = sidecar.run("doctor", "--json")
    assert doctor.code == 1
    found = next(f for f in doctor.json()["findings"] if f["part"] == "weights of the score")
    assert "20200101-gone" in found["text"]
    assert "name one of: default" in found["text"]


def test_doctor_says_what_to_do(sidecar: Sidecar, tmp_path: Path):
    playbook = tmp_path / "playbook.yaml"
    playbook.write_text("name: half a playbook\n")
    doctor = sidecar.run("doctor", "--json", PLAYBOOK=str(playbook))
    assert doctor.code == 1
    findings = {f["part"]: f for f in doctor.json()["findings"]}
    assert not doctor.json()["ok"]
    assert not findings["playbook"]["ok"]
    assert str(playbook) in findings["playbook"]["text"]
