"""What `learn` takes."""

import argparse
from collections.abc import Callable
from pathlib import Path

# as many as the front door tells of
MOST_DAYS = 3650

_Commands = argparse._SubParsersAction  # noqa: SLF001  # argparse has no public name for it
# adds a command to its group: (group, name, about, module)
AddCommand = Callable[..., argparse.ArgumentParser]


def add_learn(
    commands: "_Commands[argparse.ArgumentParser]", add: AddCommand, count: Callable[[str], int]
) -> None:
    """Add the command with its actions; `count` reads a whole number above 0."""
    learn = commands.add_parser("learn", help="What recorded calls teach.").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    _add_fit(learn, add, count)
    _add_versions(learn, add)
    _add_playing(learn, add, count)
    _add_report(learn, add)


def _add_fit(
    learn: "_Commands[argparse.ArgumentParser]", add: AddCommand, count: Callable[[str], int]
) -> None:
    fit = add(
        learn,
        "fit",
        "Fit the score, and recognition of strategies, on recorded calls whose lines are labelled."
        " The weights become a version in the data folder, in use from the next start on. Without"
        " a file: fit the score on the data folder's own finished calls and their outcomes, compare"
        " on the newest tenth with the weights in use, and leave it to `learn promote`.",
        "learn",
    )
    fit.add_argument(
        "files", type=Path, nargs="*", metavar="FILE", help="recorded calls, JSON Lines"
    )
    fit.add_argument(
        "--positive", help="labels of prospect lines that go along, comma-separated; with files"
    )
    fit.add_argument("--negative", help="labels of prospect lines that hold back; with files")
    fit.add_argument(
        "--limit", type=count, help="without files: only the newest N calls (default 2000)"
    )
    fit.add_argument(
        "--strategies",
        help="labels of agent lines that are strategies; live calls use them only when all are"
        " strategies of the playbook, `learn score` always",
    )
    fit.add_argument("--json", action="store_true", help="one JSON object on stdout")


def _add_versions(learn: "_Commands[argparse.ArgumentParser]", add: AddCommand) -> None:
    promote = add(
        learn,
        "promote",
        "Put a version of weights in use from the next start on.",
        "learn_versions",
    )
    promote.add_argument("version", nargs="?", help="default: the newest; `default`: what ships")
    rollback = add(
        learn, "rollback", "Go back to the weights that were in use before.", "learn_versions"
    )
    for parser in (promote, rollback):
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def _add_playing(
    learn: "_Commands[argparse.ArgumentParser]", add: AddCommand, count: Callable[[str], int]
) -> None:
    score = add(
        learn,
        "score",
        "Play recorded calls through what scores live ones; one JSON line per segment.",
        "learn",
    )
    score.add_argument("file", type=Path, help="recorded calls, JSON Lines, one call a line")
    score.add_argument(
        "--weights", help="a file or version of weights, or `default`: not what is in use"
    )
    score.add_argument("--limit", type=count, help="score only the first N calls")
    suggest = add(
        learn,
        "suggest",
        "Play recorded calls through what hints in live ones; one JSON line per segment of the"
        " agent, with what would have been suggested before it. Always K strategies: no silence,"
        " no cool-down, no cap.",
        "learn_suggest",
    )
    suggest.add_argument("file", type=Path, help="recorded calls, JSON Lines, one call a line")
    suggest.add_argument("--top-k", type=count, default=3, help="strategies each (default 3)")
    suggest.add_argument(
        "--weights", help="a file or version of weights, or `default`: not what is in use"
    )
    suggest.add_argument("--limit", type=count, help="only the first N calls")


def _add_report(learn: "_Commands[argparse.ArgumentParser]", add: AddCommand) -> None:
    report = add(
        learn,
        "report",
        "Is it getting better? The days' learning metrics, counted anew: calls answered, qualified"
        " rate, engagement, transfers, how often what hints predicted came true, and the beast-mode"
        " score against the first 30 days with calls.",
        "learn_report",
    )
    report.add_argument("--days", type=_days, default=30, help="the last N days (default 30)")
    report.add_argument("--plot", type=Path, metavar="FILE", help="a picture, .svg or .png")
    report.add_argument("--json", action="store_true", help="one JSON object on stdout")


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 1 to {MOST_DAYS}")
    return int(text)
