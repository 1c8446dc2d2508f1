"""Commands that cannot do what they are told: which field, file or part, and what to do."""

import json
import socket
from pathlib import Path

import pytest

from tests.e2e.conftest import Shared
from tests.e2e.recordings import write_calls
from tests.e2e.sidecar import Sidecar

pytestmark = pytest.mark.e2e

# nobody listens there, so that no embedded server has to start
NOWHERE = {
    "POSTGRES_URL": "postgresql://sidecar:x@127.0.0.1:1/sidecar",
    "NEO4J_URL": "bolt://127.0.0.1:1",
    "CHROMA_URL": "http://127.0.0.1:1",
    "REDIS_URL": "redis://127.0.0.1:1",
}


def refusal(sidecar: Sidecar, *arguments: str, **settings: str) -> str:
    """Run a command that must be refused; return what it says."""
    finished = sidecar.run(*arguments, **settings)
    assert finished.code == 2, (finished.code, finished.out, finished.err)
    # a sentence for a person; a line of the log may tell of a driver's trouble
    assert "\nTraceback" not in "\n" + finished.err
    assert not finished.out
    return finished.err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "abc"),
        ("PORT", "70000"),
        ("AGENT", "robot"),
        ("CHROMA_URL", "localhost:8000"),
        ("HINT_DEADLINE_S", "-1"),
    ],
)
def test_a_wrong_setting_is_named(sidecar: Sidecar, name: str, value: str):
    assert f"SIDECAR_{name}" in refusal(sidecar, "serve", **{name: value})


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104  # that is what is refused
def test_to_be_reachable_from_outside_a_token_is_needed(sidecar: Sidecar, host: str):
    said = refusal(sidecar, "serve", HOST=host)
    assert f"HOST {host}" in said
    assert "SIDECAR_API_TOKEN" in said


def test_a_playbook_with_a_mistake_is_refused_by_its_line(sidecar: Sidecar, tmp_path: Path):
    shipped = sidecar.run("playbook", "show")
    assert shipped.code == 0
    playbook = tmp_path / "playbook.yaml"
    playbook.write_text(shipped.out)
    assert sidecar.run("playbook", "check", str(playbook)).code == 0

    lines = shipped.out.splitlines()
    number = next(i for i, line in enumerate(lines) if line.strip().startswith("- name:"))
    lines[number] = lines[number].replace("name:", "nome:")
    playbook.write_text("\n".join(lines))
    check = sidecar.run("playbook", "check", str(playbook))
    assert check.code == 1
    place = f"{playbook}:{number + 1}"
    assert place in check.err
    assert "nome" in check.err
    assert place in refusal(sidecar, "serve", PLAYBOOK=str(playbook), **NOWHERE)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"segments": None}, "segments"),
        ({"segments": [{"speaker": "agent"}]}, "segments[0]"),
        ({"audio": {"agent": "none.wav"}}, "audio.agent"),
    ],
)
def test_a_recorded_call_with_a_mistake_is_named_by_line_and_key(
    sidecar: Sidecar, tmp_path: Path, change: dict[str, object], key: str
):
    path = tmp_path / "calls.jsonl"
    write_calls(path, calls=2, lines=2)
    first, second = path.read_text().splitlines()
    wrong = {k: v for k, v in (json.loads(second) | change).items() if v is not None}
    path.write_text(f"{first}\n{json.dumps(wrong)}\n")
    said = refusal(sidecar, "replay", str(path))
    assert f"{path}:2" in said
    assert key in said
    # before anything was started
    assert not sidecar.processes()


def test_a_file_that_is_not_there_is_named(sidecar: Sidecar, tmp_path: Path):
    missing = str(tmp_path / "none.jsonl")
    assert missing in refusal(sidecar, "import", missing)


def test_a_port_in_use_is_named(sidecar: Sidecar):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        said = refusal(sidecar, "serve", PORT=port, **NOWHERE)
    assert f"port {port} of 127.0.0.1 is in use" in said
    assert "SIDECAR_PORT" in said
    assert not sidecar.processes_left()


def test_a_data_folder_has_one_service(shared: Shared):
    said = refusal(shared.sidecar, "serve")
    assert f"the data folder {shared.sidecar.folder} is in use by process" in said
    assert "SIDECAR_DATA_DIR" in said


def test_a_model_that_cannot_be_prepared_is_named(sidecar: Sidecar, tmp_path: Path):
    empty = {"MODELS_DIR": str(tmp_path / "none")}
    said = refusal(sidecar, "serve", MODEL="nobody/such-a-model", **empty, **NOWHERE)
    assert "nobody/such-a-model" in said
    assert "models prepare" in said or "[models]" in said
    said = refusal(sidecar, "models", "prepare", "--weights", str(tmp_path / "weights"), **empty)
    assert str(tmp_path / "weights") in said
