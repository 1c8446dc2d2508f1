"""CPU time of processes, from /proc: elsewhere than on Linux there are no such numbers."""

import os
import sys
from pathlib import Path

_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
# user, nice, system, irq and softirq of /proc/stat: the columns in which somebody works here
_BUSY = (1, 2, 3, 6, 7)


def is_known() -> bool:
    """Say whether this system tells what its processes use."""
    return sys.platform == "linux"


def family(pid: int) -> list[int]:
    """Return the process and everything that it started and that lives, oldest first."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += [int(child) for child in task.read_text().split()]
            except OSError:
                continue  # it has just ended
    return found


def used_s(*pids: int) -> float:
    """Return the CPU seconds that these processes have used; one that has ended counts nothing."""
    total = 0
    for pid in pids:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            continue
        # the program's name, in brackets, may itself hold blanks and brackets
        fields = stat.rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total * _TICK_S


def busy_s() -> float:
    """Return the CPU seconds that everything on this machine has used since it started."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return sum(int(fields[column]) for column in _BUSY) * _TICK_S
