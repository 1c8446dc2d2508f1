"""What `availability` takes; apart from the command, which needs more than a parser."""

import argparse
from collections.abc import Callable

_TIME = "date and time of his own zone, 2026-12-24T12:00, or with an offset"

_Commands = argparse._SubParsersAction  # noqa: SLF001  # argparse has no public name for it
# adds a command to its group: (group, name, about, module)
AddCommand = Callable[..., argparse.ArgumentParser]


def add_availability(commands: "_Commands[argparse.ArgumentParser]", add: AddCommand) -> None:
    """Add the command with its actions."""
    group = commands.add_parser(
        "availability",
        help="When the closers work, what they do now, and changing it.",
    ).add_subparsers(dest="action", required=True, metavar="ACTION")
    made = {
        name: add(group, name, about, "availability")
        for name, about in (
            ("show", "Show hours, overrides and what every closer does now."),
            ("hours", "Replace a closer's weekly hours; overrides stay."),
            ("override", "Say that he is on or off from then until then, whatever his hours say."),
            ("away", "Say that he is away from now on."),
            ("back", "Say that he is back: ends whatever keeps him off now, but not his hours."),
        )
    }
    for parser in made.values():
        parser.add_argument("--closer", help="his name (default: the first of the playbook)")
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    _add_hours(made["hours"])
    _add_override(made["override"])
    made["away"].add_argument("--until", metavar="TIME", help=f"{_TIME} (default: until back)")
    for name in ("override", "away"):
        made[name].add_argument("--reason", help="why, for whoever asks")


def _add_hours(hours: argparse.ArgumentParser) -> None:
    hours.add_argument(
        "windows",
        nargs="*",
        metavar="DAYS START-END",
        help="such as: mon-fri 09:00-17:00 sat,sun 22:00-02:00; `daily` is every day; an end not"
        " after its start is on the next day",
    )
    hours.add_argument("--any-time", action="store_true", help="no hours: the lease decides")
    hours.add_argument("--timezone", help="IANA name, such as America/New_York (default: as it is)")
    hours.add_argument("--number", help="E.164 (default: as it is)")


def _add_override(override: argparse.ArgumentParser) -> None:
    kind = override.add_mutually_exclusive_group()
    for flag, available, about in (
        ("--on", True, "he is on although it is not his hour"),
        ("--off", False, "he is off although it is his hour"),
    ):
        kind.add_argument(flag, dest="available", action="store_const", const=available, help=about)
    kind.add_argument("--remove", metavar="ID", help="take back the one of that id")
    override.add_argument("--start", metavar="TIME", help=f"{_TIME} (default: now)")
    override.add_argument("--end", metavar="TIME", help=f"{_TIME} (default: until taken back)")
