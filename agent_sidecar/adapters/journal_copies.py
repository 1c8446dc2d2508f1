"""Copies of a journal: of one in use, and made ready to be gone on with elsewhere."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from agent_sidecar.adapters.sqlite_codec import decode_record
from agent_sidecar.adapters.sqlite_file import journal_failed, open_reader, open_writer
from agent_sidecar.adapters.sqlite_rows import to_us
from agent_sidecar.domain.types import Lead

_CHECK = "PRAGMA integrity_check(1)"
_RECORDS = "SELECT record FROM record"
_COUNT = "SELECT count(*) FROM record"
# a store that was copied earlier than it was acknowledged to have the record is told again
_DELIVER_AGAIN = (
    "UPDATE delivery SET state = 'pending', next_try_at = ?, delivered_at = NULL, attempts = 0"
    " WHERE state = 'delivered' AND delivered_at >= ?"
)


def copy_journal(source: Path, target: Path) -> int:
    """Copy a journal that may be in use, as it is at one moment; return its records.

    Takes what WAL holds with it, and holds nobody up. Raises `JournalFailed`.
    """
    with (
        _translated(source),
        closing(open_reader(source)) as there,
        closing(sqlite3.connect(target)) as here,
    ):
        there.backup(here)
        # one file, not three
        here.execute("PRAGMA journal_mode = DELETE")
        return int(here.execute(_COUNT).fetchone()[0])


def check_journal(path: Path) -> str | None:
    """Return what is wrong with a copy; None: nothing."""
    try:
        with closing(open_reader(path)) as there:
            said = str(there.execute(_CHECK).fetchone()[0])
    except sqlite3.Error as exc:
        return str(exc)
    return None if said == "ok" else said


def leads_in(path: Path) -> Iterator[Lead]:
    """Yield the leads of a copy's records. Raises `JournalFailed`, ValueError."""
    with _translated(path), closing(open_reader(path)) as there:
        for (raw,) in there.execute(_RECORDS):
            yield decode_record(raw).lead


def deliver_again(path: Path, *, since: datetime) -> int:
    """Make pending what was delivered since then; return how many. Raises `JournalFailed`."""
    now_us = to_us(datetime.now(UTC))
    with _translated(path), closing(open_writer(path)) as there:
        return there.execute(_DELIVER_AGAIN, (now_us, to_us(since))).rowcount


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as exc:
        raise journal_failed(exc, path) from exc
