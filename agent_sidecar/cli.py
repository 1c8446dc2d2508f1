"""`agent-sidecar …`: reads the arguments and the environment, runs one command.

Exit codes: 0 done; 1 the command found something wrong (differences, mistakes, a part that does not
answer); 2 it could not be run: wrong arguments, settings, files; 130 interrupted.
"""

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import NoReturn, get_args

from agent_sidecar import __version__
from agent_sidecar.commands.availability_arguments import add_availability
from agent_sidecar.commands.backup_arguments import add_backup
from agent_sidecar.commands.care_arguments import add_care
from agent_sidecar.commands.deliveries_arguments import add_deliveries
from agent_sidecar.commands.forgetting_arguments import add_forgetting
from agent_sidecar.commands.insights_arguments import add_insights
from agent_sidecar.commands.leads_arguments import add_leads
from agent_sidecar.commands.learn_arguments import add_learn
from agent_sidecar.domain.transfer_result import Conversion
from agent_sidecar.errors import SidecarError
from agent_sidecar.settings import Settings, read_settings
from agent_sidecar.telemetry import set_up_logging

# each command is a module of `commands` with `run(settings, arguments) -> exit code`, imported only
# when it is asked for: `playbook check` must not wait for a database driver
_EPILOG = (
    "Settings come from the environment, prefix SIDECAR_ (DATA_DIR, PORT, TELNYX_API_KEY, …);"
    " deploy/sidecar.env.example explains each. Start with: agent-sidecar demo"
)


def run(argv: Sequence[str]) -> int:
    """Run one command; return its exit code."""
    arguments = _parser().parse_args(argv)
    _end_as_by_ctrl_c()
    try:
        settings = read_settings(
            data_dir=arguments.data_dir,
            port=getattr(arguments, "port", None),
            host=getattr(arguments, "host", None),
            playbook=getattr(arguments, "playbook_file", None),
        )
        # for people at a terminal: only what they must know; `serve` sets its own
        set_up_logging("warning", "console")
        command: Callable[[Settings, argparse.Namespace], int]
        command = import_module(f"agent_sidecar.commands.{arguments.module}").run
        return command(settings, arguments)
    except SidecarError as exc:
        sys.stderr.write(f"agent-sidecar: {exc}\n")
        return 2
    except KeyboardInterrupt:
        return 130


def _end_as_by_ctrl_c() -> None:
    """Let SIGTERM and a closed terminal end a command as Ctrl-C does: it stops what it started."""

    def interrupt(signum: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        # under `nohup` it is ignored, and stays so
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, interrupt)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="agent-sidecar",
        description="A sidecar for live sales calls on Telnyx: scores engagement, hints the next"
        " strategy, hands hot prospects to a closer, learns from every call.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"agent-sidecar {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_demo(commands)
    _add_replay(commands)
    _add_import(commands)
    add_learn(commands, _command, _count)
    _add_policy(commands)
    add_availability(commands, _command)
    add_insights(commands, _command)
    add_leads(commands, _command)
    _add_transfer(commands)
    add_deliveries(commands, _command)
    add_care(commands, _command)
    add_backup(commands, _command)
    add_forgetting(commands, _command)
    _add_files(commands)
    return parser


_Commands = argparse._SubParsersAction  # noqa: SLF001  # argparse has no public name for it


def _command(
    commands: "_Commands[argparse.ArgumentParser]", name: str, about: str, module: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=about, description=about)
    parser.set_defaults(module=module)
    parser.add_argument(
        "--data-dir",
        type=Path,
        help="the data folder (SIDECAR_DATA_DIR, default ~/.agent-sidecar)",
    )
    return parser


def _add_serve(commands: "_Commands[argparse.ArgumentParser]") -> None:
    serve = _command(commands, "serve", "Run the service until SIGTERM or Ctrl-C.", "serve")
    serve.add_argument("--host", help="address to listen on (SIDECAR_HOST, default 127.0.0.1)")
    serve.add_argument(
        "--port", type=int, help="port to listen on, 0 for a free one (SIDECAR_PORT, default 8080)"
    )


def _add_demo(commands: "_Commands[argparse.ArgumentParser]") -> None:
    demo = _command(
        commands,
        "demo",
        "Start everything locally and play a sample call, from Telnyx frames to four stores.",
        "demo",
    )
    demo.add_argument(
        "--speed", type=_positive, default=1.0, help="times real time (default 1: about 100 s)"
    )
    demo.add_argument(
        "--keep", action="store_true", help="leave the service running at the end, until Ctrl-C"
    )


def _add_replay(commands: "_Commands[argparse.ArgumentParser]") -> None:
    replay = _command(
        commands,
        "replay",
        "Play recorded calls through the front door as Telnyx would, and show what came of them."
        " Uses the running service of the data folder, or starts one for as long as it runs.",
        "replay",
    )
    replay.add_argument("file", type=Path, help="recorded calls, JSON Lines, one call a line")
    replay.add_argument("--limit", type=_count, help="play only the first N calls")
    replay.add_argument("--speed", type=_positive, default=1.0, help="times real time (default 1)")
    replay.add_argument(
        "--url", type=_url, help="the front door of a service elsewhere, http://HOST:PORT"
    )
    replay.add_argument(
        "--codec",
        choices=("PCMU", "PCMA", "L16", "L16-LE", "G722", "OPUS"),
        default="PCMU",
        help="of the media streams (default PCMU); the last two need pip install '.[codecs]'",
    )
    replay.add_argument("--concurrency", type=_count, default=50, help="calls at once (default 50)")
    replay.add_argument("--json", action="store_true", help="one JSON object on stdout")


def _add_import(commands: "_Commands[argparse.ArgumentParser]") -> None:
    learn = _command(
        commands,
        "import",
        "Learn from finished calls: each becomes a record in all stores; twice is once, and an"
        " import that was interrupted goes on where it was.",
        "import_calls",
    )
    learn.add_argument("file", type=Path, help="recorded calls, JSON Lines, one call a line")
    learn.add_argument("--limit", type=_count, help="take only the first N calls")
    learn.add_argument(
        "--strategies", help="labels that are strategies, comma-separated: stand in for `strategy`"
    )
    learn.add_argument(
        "--no-wait", action="store_true", help="leave before the stores have taken the records"
    )
    learn.add_argument("--json", action="store_true", help="one JSON object on stdout")


def _add_policy(commands: "_Commands[argparse.ArgumentParser]") -> None:
    policy = commands.add_parser("policy", help="When to hint and to hand over.").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    trial = _command(
        policy,
        "try",
        "Play the data folder's finished calls under another playbook or other thresholds, and"
        " compare with the playbook in use: hints given and withheld, transfers proposed, on calls"
        " that ended well and badly. Changes nothing.",
        "policy",
    )
    trial.add_argument("--playbook", dest="other", type=Path, help="the playbook to try")
    trial.add_argument(
        "--set",
        action="append",
        metavar="THRESHOLD=VALUE",
        help="a threshold to try, such as transfer_engagement=80; may be repeated",
    )
    trial.add_argument("--since", type=_days, metavar="DAYS", help="only calls so young")
    trial.add_argument("--limit", type=_count, help="only the newest N calls")
    trial.add_argument(
        "--replays", action="store_true", help="replayed and demo calls too, which are no evidence"
    )
    trial.add_argument("--plot", type=Path, metavar="FILE", help="a picture, .svg or .png")
    trial.add_argument("--json", action="store_true", help="one JSON object on stdout")


def _add_transfer(commands: "_Commands[argparse.ArgumentParser]") -> None:
    transfer = commands.add_parser("transfer", help="Transfers to a closer.").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    result = _command(
        transfer,
        "result",
        "Say what came of a transfer: what is left out stays as it was said before. The id is in"
        " what the service shows of the call (GET /v1/calls/CALL_ID).",
        "transfer",
    )
    result.add_argument("id", help="the transfer's id, CALL_ID:t1 for a call's first")
    result.add_argument(
        "--rating", type=int, choices=range(1, 11), metavar="1-10", help="of the prospect, 10 best"
    )
    result.add_argument("--result", choices=get_args(Conversion), help="what came of it")
    result.add_argument("--notes", help="in the closer's words")
    result.add_argument("--json", action="store_true", help="one JSON object on stdout")


def _add_files(commands: "_Commands[argparse.ArgumentParser]") -> None:
    models = commands.add_parser("models", help="Embedding models.").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    prepare = _command(
        models, "prepare", "Prepare an embedding model and check it against the original.", "models"
    )
    prepare.add_argument(
        "--model", help="default all-MiniLM-L6-v2 (needs no torch); any other: hub name or folder"
    )
    prepare.add_argument(
        "--weights", type=Path, help="folder with the default model's weights, if not installed"
    )
    playbook = commands.add_parser("playbook", help="Playbooks.").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    check = _command(
        playbook, "check", "Explain every mistake in a playbook with its line.", "playbook"
    )
    check.add_argument("file", type=Path, nargs="?", help="default: SIDECAR_PLAYBOOK, or ours")
    check.add_argument("--json", action="store_true", help="one JSON object on stdout")
    _command(playbook, "show", "Print the playbook that ships, to start your own from.", "playbook")


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number above 0, at most 1000")
    return value


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = 0.0
    if not 0 < days <= 36_500:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number of days above 0")
    return days


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, 1 or more")
    return int(text)


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"{text!r} must begin with http:// or https://")
    return text
