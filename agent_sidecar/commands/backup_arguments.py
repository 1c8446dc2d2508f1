"""The arguments of `backup` and `restore`."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any


def add_backup(commands: Any, command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add both to the command line."""
    backup = command(
        commands,
        "backup",
        "Copy everything while calls go on: journal, conversations, PostgreSQL's tables, playbook,"
        " weights, recordings, settings without secrets. Graph and vectors follow from these.",
        "backup",
    )
    backup.add_argument("folder", type=Path, metavar="DIR", help="a folder that is not there yet")
    restore = command(
        commands,
        "restore",
        "Make a service of a backup: in an empty data folder, and on the servers that the settings"
        " name, which must be empty too. Ends with the comparison of all stores.",
        "restore",
    )
    restore.add_argument("folder", type=Path, metavar="DIR", help="what `backup` has made")
    for parser in (backup, restore):
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
