"""What `deliveries` takes; apart from the command, which needs more than a parser."""

import argparse

from agent_sidecar.commands.availability_arguments import AddCommand
from agent_sidecar.domain.types import DELIVERY_STATES, STORES

_Commands = argparse._SubParsersAction  # noqa: SLF001  # argparse has no public name for it
LISTED = 50


def add_deliveries(commands: "_Commands[argparse.ArgumentParser]", add: AddCommand) -> None:
    """Add the command with its actions; without one it lists."""
    about = "See what the stores have not taken yet, try it again, or give it up with a name."
    deliveries = add(commands, "deliveries", about, "deliveries")
    deliveries.set_defaults(store=None, state=None, limit=LISTED, json=False)
    _add_listing(deliveries)
    group = deliveries.add_subparsers(dest="action", required=False, metavar="ACTION")
    listing = add(
        group, "list", "List deliveries, oldest first (the default action).", "deliveries"
    )
    _add_listing(listing)
    _add_retry(add(group, "retry", "Try deliveries again now.", "deliveries"))
    _add_drop(add(group, "drop", "Give a delivery up: it is kept as dropped by you.", "deliveries"))
    # what was said before the action counts
    for parser in group.choices.values():
        for argument in parser._actions:  # noqa: SLF001  # argparse has no public name for it
            if argument.dest == "data_dir":
                argument.default = argparse.SUPPRESS


def _add_store(parser: argparse.ArgumentParser, about: str, *, required: bool = False) -> None:
    parser.add_argument(
        "--store", choices=STORES, default=argparse.SUPPRESS, required=required, help=about
    )


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="one JSON object on stdout"
    )


def _add_listing(parser: argparse.ArgumentParser) -> None:
    _add_store(parser, "only of this store")
    parser.add_argument(
        "--state",
        choices=DELIVERY_STATES,
        action="append",
        default=argparse.SUPPRESS,
        help="only in this state; may be repeated (default: all but delivered)",
    )
    parser.add_argument(
        "--limit",
        type=_count,
        default=argparse.SUPPRESS,
        metavar="N",
        help=f"at most N (default {LISTED})",
    )
    _add_json(parser)


def _add_retry(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("call_id", nargs="?", metavar="CALL_ID", help="dropped ones too")
    parser.add_argument("--all", action="store_true", help="all that are pending or parked")
    _add_store(parser, "only to this store")
    _add_json(parser)


def _add_drop(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("call_id", metavar="CALL_ID")
    _add_store(parser, "which store goes without it", required=True)
    parser.add_argument("--by", required=True, metavar="NAME", help="who says so")
    parser.add_argument("--reason", metavar="TEXT", help="why")
    _add_json(parser)


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, 1 to 10000")
    return int(text)
