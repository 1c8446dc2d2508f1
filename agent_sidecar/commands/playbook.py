"""`playbook check` and `playbook show`."""

import argparse

from agent_sidecar.adapters.yaml_playbook import default_playbook_text, read_playbook
from agent_sidecar.commands.terminal import complain, out
from agent_sidecar.errors import PlaybookInvalid
from agent_sidecar.settings import Settings


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Check a playbook, or print the one that ships."""
    if arguments.action == "show":
        out(default_playbook_text().rstrip())
        return 0
    path = arguments.file or settings.playbook
    try:
        playbook = read_playbook(path)
    except PlaybookInvalid as exc:
        complain(str(exc))
        return 1
    out(
        f"{path or 'the default playbook'}: fine. {playbook.name}: {len(playbook.phases)} phases,"
        f" {len(playbook.strategies)} strategies, {len(playbook.objections)} objections,"
        f" closers: {', '.join(c.name for c in playbook.closers)}"
    )
    return 0
