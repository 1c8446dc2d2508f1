"""Remembers a child across the death of its supervisor, and ends it if it outlived that.

A pid alone is not enough, because pids are used again; with the start time it names one process.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

# It may be on its way out already, told by the kernel when its supervisor died.
_GRACE_S = 1.0
_STOP_S = 10.0
_KILL_S = 5.0


class PidFile:
    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, pid: int) -> None:
        self._path.write_text(f"{pid} {started(pid)}")

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)

    async def end_orphan(self, stop_signal: signal.Signals) -> int | None:
        """End the process in the file if it still lives; return its pid when it had to be told."""
        try:
            written_pid, _, start = self._path.read_text().partition(" ")
            pid = int(written_pid)
        except (OSError, ValueError):
            return None
        told = None
        if not await _ended(pid, start, _GRACE_S):
            told = pid
            for signum, patience_s in ((stop_signal, _STOP_S), (signal.SIGKILL, _KILL_S)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signum)
                if await _ended(pid, start, patience_s):
                    break
        self.remove()
        return told


def started(pid: int) -> str | None:
    """Return a mark of when a process started, or None when it does not live."""
    if sys.platform != "linux":
        return _started_by_ps(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # the program's name, in brackets, may itself hold blanks and brackets
    fields = stat.rpartition(")")[2].split()
    state, start_ticks = fields[0], fields[19]
    return None if state in "ZX" else start_ticks


def _started_by_ps(pid: int) -> str | None:
    answer = subprocess.run(  # noqa: S603 - a fixed program and a number
        ["/bin/ps", "-o", "lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
        env={"LC_ALL": "C", "TZ": "UTC"},
    )
    return answer.stdout.strip() or None


async def _ended(pid: int, start: str, within_s: float) -> bool:
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + within_s
    while started(pid) == start:
        if loop.time() > give_up_at:
            return False
        await asyncio.sleep(0.03)
    return True
