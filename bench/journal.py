"""How long a write to the journal takes until it is on disk, with many writers at once.

    python bench/journal.py [--quick] [--json] [--save] [--folder DIR]

Lines carry a vector of 384 numbers, records 100 of them. `alone` is SQLite with the same settings
and one commit per line, in a thread of its own: what the journal would cost without group commit.
`busy` is the same as `lines` while something else keeps the event loop working half of the time.
"""

import argparse
import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from agent_sidecar.adapters.sqlite_codec import encode_event
from agent_sidecar.adapters.sqlite_file import open_writer
from agent_sidecar.adapters.sqlite_journal import SqliteJournal
from agent_sidecar.adapters.sqlite_rows import KEEP_EVENT
from agent_sidecar.domain.events import LineEmbedded
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.types import CallId
from bench._report import document, parser, tell_rows
from tests.builders import rich_record

VECTOR = np.random.default_rng(7).standard_normal(384).astype(np.float32).tobytes()
Row = dict[str, float | int | str]


def main() -> None:
    given = arguments()
    load = {
        "quick": given.quick,
        "sqlite": sqlite3.sqlite_version,
        "folder": str(given.folder),
    }
    said = document("journal", load, "msgspec", "numpy")
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        said["rows"] = asyncio.run(_measure(Path(folder), quick=given.quick))
    tell_rows(said, said["rows"], given)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    made = parser(__doc__, quick="a tenth of the writes")
    made.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="the disk to measure"
    )
    return made.parse_args(given)


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
        "p50_ms": round(float(p50) * 1e3, 3),
        "p99_ms": round(float(p99) * 1e3, 3),
        "per_s": round(len(took_s) / whole_s),
    }


if __name__ == "__main__":
    main()
