"""The arguments of the commands that look after the stores."""

import argparse
from collections.abc import Callable
from typing import Any


def add_care(commands: Any, command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add them to the command line."""
    for name, about in (
        ("doctor", "Check that every part is there and answers; say what to do if not."),
        ("migrate", "Bring every store's schema to the newest version; safe to repeat."),
    ):
        parser = command(commands, name, about, name)
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    verify = command(
        commands,
        "verify",
        "Compare every finished call with every store, look for calls that are too many, and add"
        " up the graph's counts; exit 1 if anything differs.",
        "verify",
    )
    verify.add_argument(
        "--repair",
        action="store_true",
        help="mend what differs: deliver again what is missing or wrong, from the journal or the"
        " conversation store; forget what only one store holds and no source knows; set counts"
        " right; then compare again",
    )
    verify.add_argument("--json", action="store_true", help="one JSON object on stdout")
    rebuild = command(
        commands,
        "rebuild",
        "Make a store anew from the conversations while the service runs: empty it, and deliver"
        " every call to it again. Hints go on from memory meanwhile. With another SIDECAR_MODEL,"
        " `rebuild chroma` makes all vectors with that one.",
        "rebuild",
    )
    rebuild.add_argument("store", choices=("neo4j", "chroma", "postgres"))
    rebuild.add_argument("--json", action="store_true", help="one JSON object on stdout")
