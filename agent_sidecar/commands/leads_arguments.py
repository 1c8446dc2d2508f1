"""What `leads` takes; apart from the command, which needs more than a parser."""

import argparse
from collections.abc import Callable
from pathlib import Path

from agent_sidecar.adapters.lead_csv import COLUMNS

_Commands = argparse._SubParsersAction  # noqa: SLF001  # argparse has no public name for it
# adds a command to its group: (group, name, about, module)
AddCommand = Callable[..., argparse.ArgumentParser]


def add_leads(commands: "_Commands[argparse.ArgumentParser]", add: AddCommand) -> None:
    """Add the command with its action."""
    group = commands.add_parser("leads", help="Who is called.").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    taken = add(
        group,
        "import",
        "Take leads from a CSV file; twice is as once. A row completes and changes the lead that it"
        " names; an empty cell says nothing. Rows that are wrong are listed with their line, the"
        " others are taken; exit code 1 then.",
        "leads",
    )
    taken.formatter_class = argparse.RawDescriptionHelpFormatter
    taken.description = _wrapped(taken.description or "")
    taken.epilog = "\n".join(
        [
            "columns (the first line names them; any other column is kept beside the lead):",
            *(f"  {name:22}{about}".rstrip() for name, about in COLUMNS.items()),
        ]
    )
    taken.add_argument("file", type=Path, help="CSV in UTF-8, with comma, semicolon or tab")
    taken.add_argument(
        "--region",
        default="US",
        help="where phone numbers without a country code are dialled, two letters (default US)",
    )
    taken.add_argument("--json", action="store_true", help="one JSON object on stdout")


def _wrapped(text: str) -> str:
    lines, line = [], ""
    for word in text.split():
        if len(line) + len(word) > 78:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    return "\n".join([*lines, line])
