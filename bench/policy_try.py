"""How long `policy try` takes for finished calls that are stored: the command as a person runs it.

    python bench/policy_try.py [--calls 1000] [--quick] [--json] [--save]

The calls are those of `_history.py`, imported once and kept. The clock runs from the command's
start to its end, its embedded stores' start and stop included.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench._history import filling, kept_history
from bench._report import KEPT, Document, document, medians, parser, positive, screen, tell

LABELS = {
    "calls": "stored calls",
    "command_s": "the whole command, s",
    "per_call_ms": "  a call, under both policies, ms",
    "hints_in_use": "hints under the playbook in use",
    "hints_tried": "  under the one that is tried",
}


def main() -> None:
    given = arguments()
    if given.quick:
        given.calls, given.runs = min(given.calls, 100), 1
    load = {
        "quick": given.quick,
        "calls": given.calls,
        "lines": given.lines,
        "runs": given.runs,
    }
    said = document("policy_try", load, "numpy", "msgspec", "arcadedb-embedded")
    folder = kept_history(given.kept, given.calls, lines=given.lines).parent
    runs = []
    for number in range(given.runs):
        screen.print(f"[dim]run {number + 1} of {given.runs}[/]")
        runs.append(_run(folder))
    tell(said | medians(runs), LABELS, given)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    made = parser(__doc__, quick="100 calls, one run")
    made.add_argument("--calls", type=positive, default=1000, help="that are stored")
    # as many as recorded calls of people have
    made.add_argument("--lines", type=positive, default=25, help="of each call")
    made.add_argument("--runs", type=positive, default=3)
    made.add_argument("--kept", type=Path, default=KEPT, help="where the calls are kept")
    return made.parse_args(given)


def _run(folder: Path) -> Document:
    command = "policy try --set hint_confidence=0.5 --json".split()
    began = time.monotonic()
    done = subprocess.run(  # noqa: S603  # our own command
        [sys.executable, "-m", "agent_sidecar", *command],
        env=filling(folder),
        stdout=subprocess.PIPE,
        check=True,
    )
    took_s = time.monotonic() - began
    said: Mapping[str, Any] = json.loads(done.stdout)
    calls = sum(said["calls"].values())
    return {
        "command_s": round(took_s, 2),
        "per_call_ms": round(1000 * took_s / calls, 2),
        "hints_in_use": said["in_use"]["total"]["hints_given"],
        "hints_tried": said["tried"]["total"]["hints_given"],
    }


if __name__ == "__main__":
    main()
