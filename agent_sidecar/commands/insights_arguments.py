"""What `insights` takes; apart from the command, which needs more than a parser."""

import argparse
from collections.abc import Callable

_Commands = argparse._SubParsersAction  # noqa: SLF001  # argparse has no public name for it
# adds a command: (commands, name, about, module)
AddCommand = Callable[..., argparse.ArgumentParser]

# options for the fields of the playbook that ships, and the fields they are
FIELDS = {
    "experience": "experience_level",
    "income": "current_income_range",
    "motivation": "motivation",
    "scepticism": "scepticism",
}


def add_insights(commands: "_Commands[argparse.ArgumentParser]", add: AddCommand) -> None:
    """Add the command."""
    parser = add(
        commands,
        "insights",
        "Show what the four stores know together of a kind of lead, or of a stored one.",
        "insights",
    )
    parser.add_argument("--lead", metavar="ID", help="a stored lead: his fields are used")
    parser.add_argument("--phone", help="the same, by his number")
    for option, name in FIELDS.items():
        parser.add_argument(f"--{option}", metavar="VALUE", help=f"the lead's {name}")
    parser.add_argument(
        "--field",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another field that the playbook names in lead_kind; repeatable",
    )
    parser.add_argument("--text", help="words of the moment: similar moments are looked for")
    parser.add_argument("--objection", metavar="TYPE", help="only what is about this objection")
    parser.add_argument("--phase", type=int, metavar="N", help="only strategies used in this phase")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
