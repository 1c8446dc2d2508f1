"""Starts services by fork from a process that has imported everything: a start costs one second.

`serve` itself is the program's own, from its first line; only its imports are done already. It runs
as `python -m tests.chaos.nursery`: a line of JSON in for each start, its pid as a line out.
"""

import json
import os
import signal
import sys
import traceback
from pathlib import Path

import agent_sidecar.app
import agent_sidecar.commands.serve  # noqa: F401  # what a start imports
from agent_sidecar.cli import run
from agent_sidecar.embedded.launch import _PR_SET_PDEATHSIG, _prctl


def main() -> None:
    """Fork until standard input ends."""
    # nobody here waits for the children: their own parent's `kill -9` must not leave a zombie
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(order["environment"], Path(order["log"]))
        print(pid, flush=True)  # noqa: T201  # the answer


def _become(environment: dict[str, str], log: Path) -> None:
    """Be `agent-sidecar serve` from here on."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for place, opened in enumerate((nothing, written, written)):
        os.dup2(opened, place)
    os.environ.update(environment)
    code = 1
    try:
        code = run(["serve"])
    except BaseException:  # noqa: BLE001  # as the interpreter does, which this child never leaves
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
