"""What a person sees: plain lines on stdout, complaints on stderr, JSON for programs."""

import sys

import msgspec
from rich.console import Console

# progress and tables for people: never on stdout when a program reads that
screen = Console(stderr=True, highlight=False)
paper = Console(highlight=False)


def out(text: str) -> None:
    """Print a line."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """Print a line on stderr."""
    sys.stderr.write(text + "\n")


def out_json(value: object) -> None:
    """Print one JSON object."""
    out(msgspec.json.encode(value).decode())
