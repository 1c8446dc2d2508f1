"""How every bench speaks: its load and machine, a table for people, one JSON object for programs.

`baseline.json` holds one document per bench and load, as `--json` prints it; where there is one for
the load that was run, the table shows it beside the new numbers.
"""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

Document = dict[str, Any]

BASELINE = Path(__file__).parent / "baseline.json"
# what is made once and is too much to make each time
KEPT = Path("~/.cache/agent-sidecar-bench").expanduser()
# what a bench does meanwhile: never on stdout, which a program may read
screen = Console(stderr=True, highlight=False)


def parser(about: str | None, *, quick: str) -> argparse.ArgumentParser:
    """Return a parser with what every bench understands; `quick` says what is less then."""
    made = argparse.ArgumentParser(description=about.splitlines()[0] if about else None)
    made.add_argument("--quick", action="store_true", help=f"within a minute: {quick}")
    made.add_argument("--json", action="store_true", help="one JSON object on stdout")
    made.add_argument(
        "--save", action="store_true", help="keep the numbers as the baseline of this load"
    )
    return made


def positive(text: str) -> int:
    """Read a count from the command line."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def document(bench: str, load: Mapping[str, Any], *packages: str) -> Document:
    """Begin a bench's document: what is run, on which machine, with which versions of what."""
    return {
        "bench": bench,
        **load,
        "setting": {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": _commit(),
            "cpu": _cpu_model(),
            "cores": os.cpu_count(),
            "ram_gb": _ram_gb(),
            "system": f"{platform.system()} {platform.release()}",
            "python": platform.python_version(),
            "versions": {package: version(package) for package in packages},
            # who else was busy here when it began
            "load_average_1m": round(os.getloadavg()[0], 2),
        },
    }


def percentiles_ms(prefix: str, took_s: Sequence[float], *points: int) -> dict[str, float | None]:
    """Return `{prefix}p50_ms` and so on; None of nothing."""
    ordered = sorted(took_s)
    return {
        f"{prefix}p{point}_ms": round(ordered[_rank(point, len(ordered))] * 1000, 2)
        if ordered
        else None
        for point in points
    }


def medians(rounds: Sequence[Mapping[str, Any]]) -> Document:
    """Return the median of each number over the rounds; what is no number is left out."""
    found: Document = {}
    for name in rounds[0]:
        values = [one[name] for one in rounds if isinstance(one[name], (int, float))]
        if values:
            median = statistics.median(values)
            found[name] = round(median, 2) if isinstance(median, float) else median
        else:
            found[name] = None
    return found


def tell(said: Document, labels: Mapping[str, str], given: argparse.Namespace) -> None:
    """Print the document as it was asked for, its numbers in the labels' order."""
    before = _baseline(said)
    if given.save:
        _save(said)
    if given.json:
        print(msgspec.json.encode(said).decode())
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("what")
    table.add_column("now", justify="right")
    if before:
        table.add_column(f"baseline {before['setting']['commit']}", justify="right")
    for name, label in labels.items():
        row = [label, _shown(said.get(name))]
        table.add_row(*row, *([_shown(before.get(name))] if before else []))
    _print(said, table)


def tell_rows(said: Document, rows: Sequence[Document], given: argparse.Namespace) -> None:
    """Print the document as it was asked for; to people, these rows of its numbers."""
    if given.save:
        _save(said)
    if given.json:
        print(msgspec.json.encode(said).decode())
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading, value in rows[0].items():
        table.add_column(heading, justify="left" if isinstance(value, str) else "right")
    for row in rows:
        table.add_row(*(_shown(value) for value in row.values()))
    _print(said, table)


def _print(said: Document, table: Table) -> None:
    paper = Console(highlight=False)
    setting = said["setting"]
    versions = ", ".join(f"{package} {number}" for package, number in setting["versions"].items())
    quick = " [yellow](--quick: a smaller load, read it as a smoke test)[/]"
    paper.print(f"[bold]{said['bench']}[/]{quick if said.get('quick') else ''}")
    paper.print(
        f"[dim]{setting['at']}  commit {setting['commit']}  {setting['cpu']} x {setting['cores']},"
        f" {setting['ram_gb']} GB, {setting['system']}\nPython {setting['python']}, {versions}"
        f"; load average at the start {setting['load_average_1m']}[/]",
        soft_wrap=True,
    )
    paper.print(table)


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,.2f}" if isinstance(value, float) else f"{value}"


def _rank(point: int, count: int) -> int:
    """Return the place of a percentile, the nearest one above."""
    return min(count - 1, max(0, -(-point * count // 100) - 1))


def _load(said: Mapping[str, Any]) -> tuple[object, ...]:
    return tuple(said.get(name) for name in ("bench", "quick", "calls", "seconds", "fault"))


def _baselines() -> list[Document]:
    if not BASELINE.exists():
        return []
    return msgspec.json.decode(BASELINE.read_bytes(), type=list[Document])


def _baseline(said: Document) -> Document | None:
    return next((kept for kept in _baselines() if _load(kept) == _load(said)), None)


def _save(said: Document) -> None:
    kept = [before for before in _baselines() if _load(before) != _load(said)]
    kept.append(said)
    kept.sort(key=lambda one: (one["bench"], bool(one.get("quick")), one.get("calls", 0)))
    BASELINE.write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=2) + b"\n")
    screen.print(f"kept in {BASELINE}")


def _commit() -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    asked = [git, "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
    return answer.stdout.strip() or None


def _cpu_model() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _ram_gb() -> float:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
