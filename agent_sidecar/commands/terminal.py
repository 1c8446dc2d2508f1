"""What a person sees: plain lines on stdout, complaints on stderr, JSON for programs."""

import os
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


def leave_pipe() -> None:
    """Go on without stdout: whoever reads has had enough, as `head` has.

    What is still buffered must not complain.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
