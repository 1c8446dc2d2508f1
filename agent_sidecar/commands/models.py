"""`models prepare`."""

import argparse

from agent_sidecar.adapters.model_prepare import run_prepare
from agent_sidecar.commands.terminal import out
from agent_sidecar.settings import Settings


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Prepare a model in the models folder."""
    model = arguments.model or settings.model
    run_prepare(settings.models, model, arguments.weights, out)
    return 0
