"""How long a write to the journal takes until it is on disk, with many writers at once.

    python bench/journal.py [--quick] [--json] [--folder DIR]

Lines carry a vector of 384 numbers, records 100 of them. `alone` is SQLite with the same settings
and one commit per line, in a thread of its own: what the journal would cost without group commit.
`busy` is the same as `lines` while something else keeps the event loop working half of the time.
"""

import argparse
import asyncio
import json
import os
import platform
import sqlite3
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from agent_sidecar.adapters.sqlite_codec import encode_event
from agent_sidecar.adapters.sqlite_file import open_writer
from agent_sidecar.adapters.sqlite_journal import SqliteJournal
from agent_sidecar.adapters.sqlite_rows import KEEP_EVENT
from agent_sidecar.domain.events import LineEmbedded
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.types import CallId
from tests.builders import rich_record

VECTOR = np.random.default_rng(7).standard_normal(384).astype(np.float32).tobytes()
Row = dict[str, float | int | str]


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        rows = asyncio.run(_measure(Path(folder), quick=arguments.quick))
    setting = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count() or 0,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "folder": str(arguments.folder),
        "quick": arguments.quick,
    }
    if arguments.json:
        print(json.dumps({"setting": setting, "rows": rows}))
        return
    print("  ".join(f"{name}={value}" for name, value in setting.items()))
    print(f"{'what':<8} {'writers':>7} {'writes':>7} {'p50 ms':>8} {'p99 ms':>8} {'per s':>8}")
    for row in rows:
        print(
            f"{row['what']:<8} {row['writers']:>7} {row['writes']:>7}"
            f" {row['p50_ms']:>8.2f} {row['p99_ms']:>8.2f} {row['per_s']:>8.0f}"
        )


async def _measure(folder: Path, *, quick: bool) -> list[Row]:
    each = 20 if quick else 200
    rows = [await asyncio.to_thread(_alone, folder / "alone.sqlite", each * 10)]
    journal = await SqliteJournal.open(folder / "journal.sqlite")
    try:
        rows.append(await _lines(journal, "one", writers=1, each=each * 10))
        rows.append(await _lines(journal, "lines", writers=100, each=each))
        busy = asyncio.create_task(_keep_loop_busy(), name="busy")
        rows.append(await _lines(journal, "busy", writers=100, each=each))
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)
        rows.append(await _records(journal, writers=8, each=max(each // 4, 5)))
    finally:
        await journal.aclose()
    return rows


def _alone(path: Path, writes: int) -> Row:
    connection = open_writer(path)
    took_s: list[float] = []
    began = time.perf_counter()
    for n in range(writes):
        asked = time.perf_counter()
        connection.execute(KEEP_EVENT, ("call", encode_event(_line(n))))
        took_s.append(time.perf_counter() - asked)
    connection.close()
    return _row("alone", 1, took_s, time.perf_counter() - began)


async def _lines(journal: SqliteJournal, what: str, *, writers: int, each: int) -> Row:
    took_s: list[float] = []

    async def write(writer: int) -> None:
        call_id = CallId(f"{what}-{writer}")
        for n in range(each):
            asked = time.perf_counter()
            await journal.append(call_id, _line(n))
            took_s.append(time.perf_counter() - asked)

    began = time.perf_counter()
    await asyncio.gather(*(write(writer) for writer in range(writers)))
    return _row(what, writers, took_s, time.perf_counter() - began)


async def _records(journal: SqliteJournal, *, writers: int, each: int) -> Row:
    took_s: list[float] = []
    record = _long_record()

    async def write(writer: int) -> None:
        for n in range(each):
            asked = time.perf_counter()
            await journal.commit(replace(record, call_id=CallId(f"record-{writer}-{n}")))
            took_s.append(time.perf_counter() - asked)

    began = time.perf_counter()
    await asyncio.gather(*(write(writer) for writer in range(writers)))
    return _row("records", writers, took_s, time.perf_counter() - began)


async def _keep_loop_busy() -> None:
    while True:
        until = time.perf_counter() + 0.001
        while time.perf_counter() < until:
            pass
        await asyncio.sleep(0.001)


def _line(number: int) -> LineEmbedded:
    return LineEmbedded(line_id=f"line-{number}", vector=VECTOR)


def _long_record() -> CallRecord:
    record = rich_record()
    segment = replace(record.segments[0], vector=VECTOR)
    return replace(record, segments=tuple(replace(segment, index=n) for n in range(100)))


def _row(what: str, writers: int, took_s: list[float], whole_s: float) -> Row:
    p50, p99 = np.percentile(took_s, [50, 99])
    return {
        "what": what,
        "writers": writers,
        "writes": len(took_s),
        "p50_ms": float(p50) * 1e3,
        "p99_ms": float(p99) * 1e3,
        "per_s": len(took_s) / whole_s,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a tenth of the writes")
    parser.add_argument("--json", action="store_true", help="one object on stdout")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="the disk to measure"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
