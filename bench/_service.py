"""The settings of a service that is measured: nothing of the user's is touched but his models."""

import os
from importlib.resources import files
from pathlib import Path

import yaml

from agent_sidecar.settings import read_settings
from agent_sidecar.simulator.signing import WebhookSigner

DEADLINE_S = 0.5


def service_environment(folder: Path, signer: WebhookSigner) -> dict[str, str | None]:
    """Return what a service in this folder is started with."""
    models = read_settings().models
    # his servers and numbers are not for a bench
    ours: dict[str, str | None] = {
        name: None for name in os.environ if name.startswith("SIDECAR_")
    } | {
        "SIDECAR_DATA_DIR": str(folder / "data"),
        "SIDECAR_MODELS_DIR": str(models),
        "SIDECAR_PORT": "0",
        "SIDECAR_TELNYX_PUBLIC_KEY": signer.public_key,
        "SIDECAR_PLAYBOOK": str(write_playbook(folder)),
        "SIDECAR_HINT_DEADLINE_S": str(DEADLINE_S),
        # the folder is thrown away: nothing needs to arrive any more
        "SIDECAR_DRAIN_S": "0",
    }
    if model := os.environ.get("SIDECAR_MODEL"):
        ours["SIDECAR_MODEL"] = model
    return ours


def write_playbook(folder: Path) -> Path:
    """Write the playbook that ships, without cool-down and cap: every moment may be answered."""
    shipped = files("agent_sidecar").joinpath("default_playbook.yaml").read_text("utf-8")
    playbook = yaml.safe_load(shipped)
    playbook["thresholds"] |= {
        "hint_cool_down_s": 0,
        "hints_per_minute": 60,
        # nobody is handed over in the middle of it
        "transfer_engagement": 100,
        "transfer_release": 100,
    }
    path = folder / "playbook.yaml"
    path.write_text(yaml.safe_dump(playbook, sort_keys=False, allow_unicode=True), "utf-8")
    return path
