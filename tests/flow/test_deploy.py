"""The files in deploy/, as far as they can be checked on a machine without a Docker engine."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values
from pydantic import SecretStr

from agent_sidecar.cli import run as run_command_line
from agent_sidecar.errors import SettingsInvalid
from agent_sidecar.settings import Settings, read_settings
from agent_sidecar.stores import servers_needed

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
NAMES = {f"SIDECAR_{name.upper()}" for name in Settings.model_fields}
VARIABLE = re.compile(r"(?<!\$)\$\{(?P<name>\w+)(?P<kind>:-|:\?)(?P<rest>[^}]*)\}")

Json = dict[str, Any]


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def read_as_environment(
    monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str | None]
) -> Settings:
    for name, value in environment.items():
        assert value is not None, name
        monkeypatch.setenv(name, value)
    return read_settings()


def filled_in(value: Any, variables: Mapping[str, str]) -> Any:
    """Do what Compose does with ${NAME:-default} and ${NAME:?complaint}."""
    if isinstance(value, dict):
        return {key: filled_in(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [filled_in(item, variables) for item in value]
    if isinstance(value, str):

        def one(found: re.Match[str]) -> str:
            return found["rest"] if found["kind"] == ":-" else variables[found["name"]]

        return VARIABLE.sub(one, value).replace("$$", "$")
    return value


# --- compose.yaml -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compose_text() -> str:
    return (DEPLOY / "compose.yaml").read_text("utf-8")


@pytest.fixture(scope="module")
def secrets(compose_text: str) -> Mapping[str, str]:
    return {
        found["name"]: f"{found['name'].lower()}0123456789"
        for found in VARIABLE.finditer(compose_text)
        if found["kind"] == ":?"
    }


@pytest.fixture
def compose(compose_text: str, secrets: Mapping[str, str]) -> Json:
    filled: Json = filled_in(yaml.safe_load(compose_text), secrets)
    return filled


@pytest.fixture(scope="module")
def specification() -> Any:
    return pytest.importorskip("compose_spec", reason="comes with the extra dev").PyCompose


def test_compose_keeps_to_the_specification(compose: Json, specification: Any):
    checked = specification.from_yaml(yaml.safe_dump(compose))
    assert set(checked.service_names()) == set(compose["services"])


@pytest.mark.parametrize(
    ("service", "key", "value"),
    [
        ("sidecar", "helthcheck", {"test": ["CMD", "true"]}),
        ("sidecar", "stop_grace_period", "45 parsecs"),
        ("sidecar", "depends_on", {"postgres": {"condition": "service_well"}}),
        ("postgres", "deploy", {"resources": {"limits": {"memorry": "1g"}}}),
        ("postgres", "ports", ["127.0.0.1:port:5432"]),
    ],
)
def test_that_check_finds_mistakes(
    compose: Json, specification: Any, service: str, key: str, value: object
):
    compose["services"][service][key] = value
    with pytest.raises(ValueError, match=service):
        specification.from_yaml(yaml.safe_dump(compose))


def test_compose_asks_for_every_secret_and_the_example_names_each(
    compose_text: str, secrets: Mapping[str, str]
):
    variables = {found["name"] for found in VARIABLE.finditer(compose_text)}
    # written in any other way, a forgotten one would quietly be empty
    assert len(re.findall(r"(?<!\$)\$\{?\w", compose_text)) == len(VARIABLE.findall(compose_text))
    assert {name for name in variables if "PASSWORD" in name or "TOKEN" in name} == set(secrets)
    example = (DEPLOY / "compose.env.example").read_text("utf-8")
    asked = dotenv_values(stream=StringIO(example))
    assert asked == dict.fromkeys(secrets, "")
    offered = set(re.findall(r"^#?(\w+)=", example, re.MULTILINE))
    assert offered == variables


def test_every_service_is_pinned_watched_bounded_and_restarted(compose: Json):
    for name, service in compose["services"].items():
        assert service["restart"] == "unless-stopped", name
        limits = service["deploy"]["resources"]["limits"]
        assert {"cpus", "memory"} <= set(limits), name
        if name == "sidecar":
            assert service["build"] == {"context": "..", "dockerfile": "deploy/Dockerfile"}
            continue
        assert re.fullmatch(r"[\w/]+:\d[\w.-]+", service["image"]), name
        assert {"test", "interval", "timeout", "retries"} <= set(service["healthcheck"]), name


def test_only_the_sidecar_is_published_and_only_on_loopback(compose: Json):
    services = compose["services"]
    assert services["sidecar"]["ports"] == ["127.0.0.1:8080:8080"]
    assert compose["networks"]["stores"] == {"internal": True}
    for name in set(services) - {"sidecar"}:
        assert "ports" not in services[name], name
        assert services[name]["networks"] == ["stores"], name


def test_what_the_services_refer_to_is_declared(compose: Json):
    services = compose["services"].values()
    volumes = {volume.split(":")[0] for s in services for volume in s.get("volumes", ())}
    assert volumes == set(compose["volumes"])
    assert {network for s in services for network in s["networks"]} == set(compose["networks"])
    assert set(compose["services"]["sidecar"]["depends_on"]) == set(compose["services"]) - {
        "sidecar"
    }


def test_the_chroma_server_is_as_old_as_its_client(compose: Json):
    (pinned,) = re.findall(
        r"^chromadb==(.+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE
    )
    assert compose["services"]["chroma"]["image"] == f"chromadb/chroma:{pinned}"


def test_the_sidecar_of_compose_starts_no_server_of_its_own(
    compose: Json, secrets: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
):
    sidecar = compose["services"]["sidecar"]
    assert set(sidecar["environment"]) <= NAMES
    settings = read_as_environment(monkeypatch, sidecar["environment"])
    assert servers_needed(settings) == frozenset()
    assert settings.mongodb_url is not None
    assert settings.api_token == SecretStr(secrets["SIDECAR_API_TOKEN"])
    urls = json.dumps(sidecar["environment"])
    hosts = set(re.findall(r"(?:://|@)([a-z0-9]+):\d", urls))
    assert hosts == set(compose["services"]) - {"sidecar"}
    assert int(sidecar["stop_grace_period"].removesuffix("s")) >= settings.drain_s + 20


# --- Dockerfile ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    text = (DEPLOY / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    lines = (line.strip() for line in text.splitlines())
    found = (line.partition(" ") for line in lines if line and not line.startswith("#"))
    return [(word, " ".join(rest.split())) for word, _, rest in found]


def test_the_dockerfile_passes_hadolint():
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("hadolint is not installed: it comes with the extra dev")
    linted = subprocess.run(  # noqa: S603  # a program we installed, on a file of ours
        [hadolint, "--failure-threshold", "style", str(DEPLOY / "Dockerfile")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (linted.returncode, linted.stdout) == (0, "")


def test_the_image_runs_without_root_and_torch_and_says_how_it_is(
    instructions: list[tuple[str, str]],
):
    stages = [rest for word, rest in instructions if word == "FROM"]
    assert all(re.match(r"python:3\.11-slim-bookworm|build\b", stage) for stage in stages)
    words = [word for word, _ in instructions]
    last_stage = instructions[len(words) - 1 - words[::-1].index("FROM") :]
    runtime = dict(last_stage)
    assert runtime["USER"].split(":")[0] not in {"root", "0"}
    assert "/healthz" in runtime["HEALTHCHECK"]
    assert json.loads(runtime["ENTRYPOINT"]) + json.loads(runtime["CMD"]) == [
        "agent-sidecar",
        "serve",
    ]
    assert not any("torch" in rest or "[models]" in rest for _, rest in instructions)
    # what pip pulls in is in the first two stages only
    assert not any("pip" in rest for word, rest in last_stage if word == "RUN")


def test_what_the_image_copies_is_there_and_let_in(instructions: list[tuple[str, str]]):
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split()
    let_in = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    sources = [
        source
        for word, rest in instructions
        if word == "COPY" and not rest.startswith("--from=")
        for source in rest.split()[:-1]
    ]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(fnmatch(source, pattern) for pattern in let_in), source


def test_the_image_is_set_up_with_real_settings_and_insists_on_a_token(
    instructions: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
):
    texts = " ".join(rest for word, rest in instructions if word == "ENV")
    environment = dict(re.findall(r"(SIDECAR_\w+)=(\S+)", texts))
    assert set(environment) <= NAMES
    with pytest.raises(SettingsInvalid, match="SIDECAR_API_TOKEN"):
        read_as_environment(monkeypatch, environment)
    # an empty one, as Compose passes on what is not set, is none
    with pytest.raises(SettingsInvalid, match="SIDECAR_API_TOKEN"):
        read_as_environment(monkeypatch, {"SIDECAR_API_TOKEN": ""})
    assert read_as_environment(monkeypatch, {"SIDECAR_API_TOKEN": "secret"}).host == "0.0.0.0"  # noqa: S104


# --- the systemd unit -----------------------------------------------------------------------------


@pytest.fixture
def unit() -> Mapping[str, str]:
    """Read the section Service; a key given more than once adds up, as in systemd."""
    section = (DEPLOY / "agent-sidecar.service").read_text("utf-8").partition("[Service]")[2]
    found: dict[str, str] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", section.partition("[Install]")[0], re.MULTILINE):
        found[key] = f"{found[key]} {value}" if key in found else value
    return found


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    text = (DEPLOY / "agent-sidecar.service").read_text("utf-8")
    # it looks for the program, which is elsewhere here
    there = tmp_path / "agent-sidecar.service"
    there.write_text(text.replace("/opt/agent-sidecar/bin/agent-sidecar", "/bin/true"), "utf-8")
    # unknown keys are complaints, not errors
    assert _systemd_analyze(analyze, "verify", "--man=no", str(there)) == (0, "")
    # of 10, and in tenths: most services that ship with a distribution are above 9
    exposure = ("security", "--offline=true", "--threshold=20", "--no-pager", str(there))
    assert _systemd_analyze(analyze, *exposure)[0] == 0


def _systemd_analyze(analyze: str, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(  # noqa: S603  # a program of this system, on a file of ours
        [analyze, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stderr


def test_the_unit_gives_the_service_time_to_drain_and_little_else(
    unit: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
):
    program, *arguments = unit["ExecStart"].split()
    assert program == "/opt/agent-sidecar/bin/agent-sidecar"
    assert arguments == ["serve"]
    environment = dict(setting.split("=") for setting in unit["Environment"].split())
    settings = read_as_environment(monkeypatch, environment)
    assert str(settings.data_dir) == f"/var/lib/{unit['StateDirectory']}"
    assert unit["KillSignal"] == "SIGTERM"
    assert int(unit["TimeoutStopSec"].removesuffix("s")) >= settings.drain_s + 20
    assert unit["User"] not in {"root", "0"}
    assert unit["NoNewPrivileges"] == "yes"
    assert unit["ProtectSystem"] == "strict"
    assert unit["CapabilityBoundingSet"] == ""


# --- the example environment ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def example() -> str:
    return (DEPLOY / "sidecar.env.example").read_text("utf-8")


@pytest.fixture(scope="module")
def uncommented(example: str) -> str:
    return re.sub(r"^#(?=SIDECAR_)", "", example, flags=re.MULTILINE)


def test_the_example_has_exactly_the_settings_there_are(example: str):
    named = re.findall(r"^#(SIDECAR_\w+)=.", example, re.MULTILINE)
    assert len(named) == len(set(named))
    assert set(named) == NAMES
    # nothing is set before somebody sets it
    assert dotenv_values(stream=StringIO(example)) == {}


def test_the_example_shows_the_defaults_and_readable_values(
    uncommented: str, monkeypatch: pytest.MonkeyPatch
):
    defaults = read_settings().model_dump()
    shown = read_as_environment(monkeypatch, dotenv_values(stream=StringIO(uncommented)))
    for name, default in defaults.items():
        if default is not None:
            assert getattr(shown, name) == default, name
        else:
            assert getattr(shown, name) is not None, name


def test_the_example_says_which_settings_have_no_default_and_which_unit(example: str):
    for name, text in _explained(example):
        field = name.removeprefix("SIDECAR_").lower()
        if Settings.model_fields[field].default is None:
            assert re.search("no default", text, re.IGNORECASE), name
        if field.endswith("_s"):
            assert "seconds" in text, name
        if field.endswith("_ms"):
            assert "milliseconds" in text, name


def _explained(example: str) -> Iterator[tuple[str, str]]:
    """Yield each setting with the text above it; neighbours share one."""
    text = ""
    was_setting = False
    for line in example.splitlines():
        if found := re.match(r"#(SIDECAR_\w+)=", line):
            yield found[1], text
            was_setting = True
        else:
            text = line if was_setting or not line else f"{text} {line}"
            was_setting = False


def test_a_shell_reads_the_example_as_systemd_and_compose_do(uncommented: str, tmp_path: Path):
    there = tmp_path / "sidecar.env"
    there.write_text(uncommented, "utf-8")
    read = subprocess.run(  # noqa: S603  # a shell, on a file of ours
        ["/bin/sh", "-c", 'set -a; . "$0"; env -0', str(there)],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "HOME": "~"},
        timeout=10,
    )
    pairs = (pair.split("=", 1) for pair in read.stdout.split("\0") if pair.startswith("SIDECAR_"))
    assert dict(pairs) == dotenv_values(stream=StringIO(uncommented))


def test_a_wrong_value_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("SIDECAR_DRAIN_S", "soon")
    assert run_command_line(["playbook", "check"]) == 2
    assert "SIDECAR_DRAIN_S" in capsys.readouterr().err


# --- the texts ------------------------------------------------------------------------------------


def test_the_readme_names_every_file_here():
    text = (DEPLOY / "README.md").read_text("utf-8")
    files = {f.name for f in DEPLOY.iterdir()} - {"README.md", ".gitignore", ".env", "sidecar.env"}
    assert [name for name in sorted(files) if f"`{name}`" not in text] == []
    assert set(re.findall(r"SIDECAR_[A-Z0-9_]*[A-Z]", text)) <= NAMES
