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
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import structlog

from agent_sidecar.adapters.sqlite_file import SCHEMA_VERSION, make_schema, suspicion
from agent_sidecar.adapters.sqlite_salvage import TABLES_OF_OURS, copy_readable
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
    return not names.isdisjoint(TABLES_OF_OURS)


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
        loss = copy_readable(path, new, stores)
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
