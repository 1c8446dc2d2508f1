"""What `retention` and `erase` take; apart from the commands, which need more than a parser."""

import argparse
from collections.abc import Callable

_Commands = argparse._SubParsersAction  # noqa: SLF001  # argparse has no public name for it
# adds a command: (commands, name, about, module)
AddCommand = Callable[..., argparse.ArgumentParser]


def add_forgetting(commands: "_Commands[argparse.ArgumentParser]", add: AddCommand) -> None:
    """Add both commands."""
    retention = add(
        commands,
        "retention",
        "Move calls that were kept for long enough (SIDECAR_RETENTION) from all stores into"
        " compressed files in `archives` of the data folder, which `import` reads. The service does"
        " so every day.",
        "retention",
    )
    retention.add_argument("--dry-run", action="store_true", help="only count them")
    retention.add_argument("--json", action="store_true", help="one JSON object on stdout")
    erase = add(
        commands,
        "erase",
        "Erase one lead everywhere: his calls in all stores, journal, archives and recordings, and"
        " his row. What cannot be done now is done later by the service. Leaves a proof in"
        " `erasures` of the data folder, and says which backups still hold him.",
        "erase",
    )
    whom = erase.add_mutually_exclusive_group(required=True)
    whom.add_argument("--lead", metavar="ID", help="by his id, ours or your own")
    whom.add_argument("--phone", metavar="NUMBER", help="by his number, E.164: +12025550123")
    erase.add_argument("--yes", action="store_true", help="do not ask: there is no way back")
    erase.add_argument("--json", action="store_true", help="one JSON object on stdout")
