"""What misbehaves in the course of a day: the servers of the embedded stack, and the service."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench import _cpu
from bench._report import screen


@dataclass(frozen=True, slots=True, kw_only=True)
class DayFault:
    """One server that is stopped for a while (SIGSTOP) or killed (SIGKILL) and comes back."""

    # of the day
    share: float
    server: str
    # None: killed
    hangs_s: float | None


FAULTS: Sequence[DayFault] = (
    DayFault(share=0.20, server="chroma", hangs_s=3.0),
    DayFault(share=0.35, server="graph", hangs_s=None),
    DayFault(share=0.50, server="postgres", hangs_s=3.0),
    DayFault(share=0.60, server="valkey", hangs_s=None),
    DayFault(share=0.70, server="graph", hangs_s=3.0),
    DayFault(share=0.80, server="chroma", hangs_s=None),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When something misbehaved, by the wall's clock."""

    what: str
    begin: float
    end: float


async def misbehave(
    data: Path,
    seconds: float,
    faults: Sequence[DayFault],
    kill_service: Callable[[], Awaitable[None]] | None,
    happened: list[Moment],
) -> None:
    """Let each thing happen in its time; `happened` tells of it."""
    began = time.monotonic()
    for fault in faults:
        await asyncio.sleep(max(0.0, began + fault.share * seconds - time.monotonic()))
        begin = time.time()
        await _befall(data, fault)
        what = f"{fault.server} {'killed' if fault.hangs_s is None else 'hung'}"
        happened.append(Moment(what=what, begin=begin, end=time.time()))
        screen.print(f"[dim]{what} for {time.time() - begin:.1f} s[/]")
    if kill_service is not None:
        await asyncio.sleep(max(0.0, began + 0.9 * seconds - time.monotonic()))
        begin = time.time()
        await kill_service()
        happened.append(Moment(what="service killed", begin=begin, end=time.time()))
        screen.print(f"[dim]the service killed, back after {time.time() - begin:.1f} s[/]")


async def _befall(data: Path, fault: DayFault) -> None:
    pid = _pid(data, fault.server)
    if pid is None:
        screen.print(f"[yellow]{fault.server} is not there to misbehave[/]")
        return
    if fault.hangs_s is None:
        os.kill(pid, signal.SIGKILL)
        while _pid(data, fault.server) in (pid, None):  # noqa: ASYNC110  # another process
            await asyncio.sleep(0.05)
        return
    family = _cpu.family(pid)
    _signal(family, signal.SIGSTOP)
    try:
        await asyncio.sleep(fault.hangs_s)
    finally:
        _signal(family, signal.SIGCONT)


def _signal(pids: Sequence[int], what: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, what)


def _pid(data: Path, server: str) -> int | None:
    try:
        return int((data / "run" / f"{server}.pid").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
