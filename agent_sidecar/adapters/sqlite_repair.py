"""Opens a journal whose file was damaged: sets it aside, saves what can be read, says what is lost.

SQLite itself recovers from a crash: what its WAL holds whole is taken, a torn tail is not. What it
cannot recover from is a file whose pages are wrong. Such a file is copied row by row into a new
one; then the damaged one gets another name and the new one takes its place:

    FILE ─copy─▶ FILE.rescuing ─rename─▶ FILE.rescued     FILE ─rename─▶ FILE.damaged-<time>
                                             └──rename─▶ FILE

A crash anywhere in between is gone on from at the next start: only a whole copy is called
`.rescued`, and the damaged file leaves its place only when there is one.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import structlog

from agent_sidecar.adapters.sqlite_file import SCHEMA_VERSION, make_schema, suspicion
from agent_sidecar.adapters.sqlite_wal import database_of, lost_commits
from agent_sidecar.errors import JournalFailed

log = structlog.get_logger()

_WRONG_CONTENT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
# above this size only the structure is checked: about a second for each 500 MB
_CHECKED_WHOLE = 64 * 1024 * 1024
QUICK_CHECK = "PRAGMA quick_check(1)"
WHOLE_CHECK = "PRAGMA integrity_check(1)"
# as bytes: a damaged text may be no text
SCHEMA = "SELECT CAST(name AS BLOB), CAST(sql AS BLOB) FROM sqlite_schema WHERE sql IS NOT NULL"
TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table'"
# what a read of rows costs at most before it is split
_SPAN = 1024
# a journal of a year has fewer rows than 2 to the power of this
_POWERS = 32

# What is copied: the newest rowid, the rows of a range of rowids, and how one of them is put into
# the new file. By position and under names of our own, since a name in the old file's schema may be
# what is damaged; with a limit nobody looks at what comes behind the last row, which may be too.
_BY_ROWID: Mapping[str, tuple[str, str, str]] = {
    "inbox": (
        "SELECT max(rowid) FROM inbox",
        "WITH found (a, b, c, d, e, f) AS"
        " (SELECT rowid, * FROM inbox WHERE rowid BETWEEN ? AND ? LIMIT ?) SELECT * FROM found",
        "INSERT OR IGNORE INTO inbox (rowid, event_id, event_type, leg_id, received_at, body)"
        " VALUES (?, ?, ?, ?, ?, ?)",
    ),
    "event": (
        "SELECT max(rowid) FROM event",
        "WITH found (a, b, c) AS"
        " (SELECT * FROM event WHERE rowid BETWEEN ? AND ? LIMIT ?) SELECT * FROM found",
        "INSERT OR IGNORE INTO event (seq, call_id, event) VALUES (?, ?, ?)",
    ),
    "record": (
        "SELECT max(rowid) FROM record",
        "WITH found (a, b, c, d, e, f, g) AS"
        " (SELECT * FROM record WHERE rowid BETWEEN ? AND ? LIMIT ?) SELECT * FROM found",
        "INSERT OR IGNORE INTO record (seq, call_id, version, source, external_id, committed_at,"
        " record) VALUES (?, ?, ?, ?, ?, ?, ?)",
    ),
}
# those without rowids are walked by their key from both ends
_META = ("SELECT * FROM meta ORDER BY 1", "SELECT * FROM meta ORDER BY 1 DESC")
# but for what the new file has of its own
_PUT_META = "INSERT OR IGNORE INTO meta (key, value) VALUES (?, ?)"
_PRUNED = ("SELECT * FROM pruned ORDER BY 1", "SELECT * FROM pruned ORDER BY 1 DESC")
_PUT_PRUNED = (
    "INSERT OR IGNORE INTO pruned (call_id, version, source, external_id, committed_at)"
    " VALUES (?, ?, ?, ?, ?)"
)
_DELIVERIES = (
    "SELECT * FROM delivery ORDER BY 1, 2",
    "SELECT * FROM delivery ORDER BY 1 DESC, 2 DESC",
)
_PUT_DELIVERY = (
    "INSERT OR IGNORE INTO delivery (call_id, store, version, state, attempts, next_try_at,"
    " delivered_at, last_error, dropped_at, dropped_by, dropped_why)"
    " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11"
    " FROM record WHERE call_id = ?1 AND version = ?3"
)
# a record whose deliveries were lost is told to every store again, which changes nothing there
_PUT_MISSING = (
    "INSERT OR IGNORE INTO delivery (call_id, store, version, state, next_try_at)"
    " SELECT r.call_id, s.value, r.version, 'pending', r.committed_at"
    " FROM record r, json_each(?) s"
)
# the second where a name in the schema is no text any more
_UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
_NO_DROP = (None, None, None)
_DELIVERY_COLUMNS = 11
_PRUNED_STAYS = "DELETE FROM pruned WHERE call_id IN (SELECT call_id FROM record)"


@dataclass(slots=True)
class _Loss:
    """What could not be read."""

    saved: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    # calls that deliveries name and no record is of
    calls: set[str] = field(default_factory=set)


def open_sound(
    path: Path, open_writer: Callable[[Path], sqlite3.Connection], stores: str
) -> sqlite3.Connection:
    """Open the journal for writing; one that is damaged is rescued first.

    `open_writer` makes the file where there is none; `stores`: the names of all, a JSON array.
    """
    _finish(path)
    _fill_what_is_empty(path)
    wal = path.with_name(path.name + "-wal")
    before = wal.read_bytes() if wal.exists() else b""
    try:
        connection = open_writer(path)
    except JournalFailed as exc:
        if not _has_lost_its_meta(path):
            raise
        return _rescue(path, open_writer, stores, str(exc))
    except ValueError as exc:
        return _rescue(path, open_writer, stores, f"its schema's version is no number: {exc}")
    except sqlite3.DatabaseError as exc:
        if not _is_wrong_content(exc):
            raise
        return _rescue(path, open_writer, stores, str(exc))
    try:
        reason = _damage(connection, path, was_crash=bool(before))
        if reason is None and (count := lost_commits(before, connection)):
            _keep_tail(path, before, count)
    except BaseException:
        connection.close()
        raise
    if reason is None:
        return connection
    connection.close()
    return _rescue(path, open_writer, stores, reason)


def _is_wrong_content(exc: sqlite3.Error) -> bool:
    return getattr(exc, "sqlite_errorcode", 0) & 0xFF in _WRONG_CONTENT


def _changed_schema(connection: sqlite3.Connection) -> str | None:
    """Say which table or index is not as it was made: every name in it must be ours."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        make_schema(made)
        wanted = set(made.execute(SCHEMA))
    changed = sorted(wanted - set(connection.execute(SCHEMA)))
    return f"the schema of {changed[0][0].decode()} is not as it was made" if changed else None


def _has_lost_its_meta(path: Path) -> bool:
    """Say whether a file that does not say it is a journal has a journal's tables all the same."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as old:
            names = {name for (name,) in old.execute(TABLES)}
            if "meta" in names and old.execute(SCHEMA_VERSION).fetchone() is not None:
                return False
    except sqlite3.Error:
        return False
    return not names.isdisjoint({*_BY_ROWID, "delivery", "pruned"})


def _damage(connection: sqlite3.Connection, path: Path, *, was_crash: bool) -> str | None:
    """Say what is wrong with the file; None: nothing, as far as was looked."""
    is_suspect = suspicion(path).exists()
    size = path.stat().st_size
    if size > _CHECKED_WHOLE and not (was_crash or is_suspect):
        return None
    whole = is_suspect or size <= _CHECKED_WHOLE
    try:
        (found,) = connection.execute(WHOLE_CHECK if whole else QUICK_CHECK).fetchone()
    except sqlite3.DatabaseError as exc:
        if not _is_wrong_content(exc):
            raise
        return str(exc)
    if found == "ok" and (changed := _changed_schema(connection)) is not None:
        return changed
    if found == "ok":
        suspicion(path).unlink(missing_ok=True)
        return None
    return " ".join(str(found).splitlines())[:300]


def _fill_what_is_empty(path: Path) -> None:
    """Make an empty or missing file of its WAL: SQLite would throw that away without a word."""
    wal = path.with_name(path.name + "-wal")
    if path.exists() and path.stat().st_size > 0:
        return
    if wal.exists() and wal.stat().st_size > 0:
        aside = _aside(path)
        made = path.with_name(path.name + ".rescuing")
        made.write_bytes(database_of(wal.read_bytes()))
        wal.rename(aside.with_name(aside.name + "-wal"))
        made.rename(path)
        log.error(
            "journal_was_empty",
            kept_as=f"{aside.name}-wal",
            what_to_do="check the disk; what its last writes hold is saved, what was older is lost"
            " here: `agent-sidecar verify` compares",
        )
    elif path.exists():
        log.error(
            "journal_was_empty",
            what_to_do="nothing, if the service was never used; else what was not delivered yet"
            " is lost: check the disk; a new journal is begun",
        )


def _keep_tail(path: Path, wal: bytes, count: int) -> None:
    aside = _aside(path)
    kept = aside.with_name(aside.name + "-wal")
    kept.write_bytes(wal)
    log.error(
        "journal_tail_damaged",
        commits=count,
        kept_as=kept.name,
        what_to_do="the last writes before the crash cannot be read: check the disk, keep the file",
    )


def _aside(path: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    return path.with_name(f"{path.name}.damaged-{stamp}")


# --- the rescue -----------------------------------------------------------------------------------


def _rescue(
    path: Path, open_writer: Callable[[Path], sqlite3.Connection], stores: str, reason: str
) -> sqlite3.Connection:
    rescuing = path.with_name(path.name + ".rescuing")
    for left in (rescuing, *_companions(rescuing)):
        left.unlink(missing_ok=True)
    with closing(open_writer(rescuing)) as new:
        loss = _copy(path, new, stores)
    rescuing.rename(path.with_name(path.name + ".rescued"))
    kept_as = _finish(path)
    log.error(
        "journal_rescued",
        reason=reason,
        kept_as=kept_as,
        saved=loss.saved,
        lost=loss.lost,
        lost_calls=sorted(loss.calls)[:100],
        what_to_do="check the disk; keep the damaged file; lost calls that a store has are not"
        " lost: `agent-sidecar verify` compares",
    )
    return open_writer(path)


def _companions(path: Path) -> tuple[Path, Path]:
    return path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")


def _finish(path: Path) -> str | None:
    """Put a whole rescued file in its place; return the name that the damaged one got."""
    rescued = path.with_name(path.name + ".rescued")
    if not rescued.exists():
        return None
    aside = _aside(path)
    wal, shm = _companions(path)
    # the WAL first: beside the new file it would be taken for its own
    if wal.exists():
        wal.rename(aside.with_name(aside.name + "-wal"))
    shm.unlink(missing_ok=True)
    if path.exists():
        path.rename(aside)
    rescued.rename(path)
    suspicion(path).unlink(missing_ok=True)
    return aside.name


def _copy(path: Path, new: sqlite3.Connection, stores: str) -> _Loss:
    """Copy every row that can be read."""
    loss = _Loss()
    try:
        old = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    except sqlite3.Error:
        return loss
    with closing(old):
        new.execute("BEGIN IMMEDIATE")
        for row in _rows_by_key(old, _META, loss, "meta"):
            new.execute(_PUT_META, row)
        for table, (newest, select, insert) in _BY_ROWID.items():
            loss.saved[table] = 0
            for row in _rows_by_rowid(old, newest, select, loss, table):
                taken = new.execute(insert, row).rowcount
                loss.saved[table] += taken
                loss.lost[table] += 1 - taken
        pruned = _rows_by_key(old, _PRUNED, loss, "pruned")
        loss.saved["pruned"] = sum(new.execute(_PUT_PRUNED, row).rowcount for row in pruned)
        new.execute(_PRUNED_STAYS)
        deliveries = _rows_by_key(old, _DELIVERIES, loss, "delivery")
        loss.saved["delivery"] = 0
        known = {row[0] for row in new.execute("SELECT call_id FROM record")}
        for row in deliveries:
            if row[0] in known:
                # the first version of the schema knew of no drops
                loss.saved["delivery"] += _put(new, (*row, *_NO_DROP)[:_DELIVERY_COLUMNS])
            else:
                loss.calls.add(str(row[0]))
        new.execute(_PUT_MISSING, (stores,))
        new.execute("COMMIT")
    return loss


def _put(new: sqlite3.Connection, row: tuple[object, ...]) -> int:
    try:
        return new.execute(_PUT_DELIVERY, row).rowcount
    except sqlite3.IntegrityError:
        # its bytes are wrong in a way that the page does not show: it is told again
        return 0


def _rows_by_rowid(
    old: sqlite3.Connection, newest: str, select: str, loss: _Loss, table: str
) -> Iterator[tuple[object, ...]]:
    """Yield the rows; a range that cannot be read is split until what is wrong is alone."""
    loss.lost[table] = 0
    try:
        last = old.execute(newest).fetchone()[0] or 0
    except _UNREADABLE:
        last = _last_by_trying(old, select)
    for first in range(1, last + 1, _SPAN):
        yield from _span(old, select, first, min(first + _SPAN - 1, last), loss, table)


def _span(
    old: sqlite3.Connection, select: str, first: int, last: int, loss: _Loss, table: str
) -> Iterator[tuple[object, ...]]:
    try:
        rows: list[tuple[object, ...]] = old.execute(
            select, (first, last, last - first + 1)
        ).fetchall()
    except _UNREADABLE:
        if first == last:
            loss.lost[table] += 1
            return
        middle = (first + last) // 2
        yield from _span(old, select, first, middle, loss, table)
        yield from _span(old, select, middle + 1, last, loss, table)
    else:
        yield from rows


def _last_by_trying(old: sqlite3.Connection, select: str) -> int:
    """Return a rowid behind which nothing can be read, where the end of the table cannot be."""
    last = _SPAN
    for power in range(_POWERS):
        with suppress(*_UNREADABLE):
            row = old.execute(select, (1 << power, 1 << 62, 1)).fetchone()
            last = max(last, 2 * row[0] if row else 0)
    return last


def _rows_by_key(
    old: sqlite3.Connection, walks: tuple[str, str], loss: _Loss, table: str
) -> Iterator[tuple[object, ...]]:
    """Yield the rows of a table from its beginning, and from its end if something is in between."""
    loss.lost[table] = 0
    for walk in walks:
        try:
            yield from old.execute(walk)
        except _UNREADABLE:
            # how many are in between nobody can say
            loss.lost[table] = -1
        else:
            return
