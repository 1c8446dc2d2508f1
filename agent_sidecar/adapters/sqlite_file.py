"""Opens the journal's file: who may use it, how SQLite treats it, which schema it has."""

import fcntl
import sqlite3
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import IO

from agent_sidecar.errors import JournalFailed

# How long a write waits for a stranger who locks the file, ms.
_BUSY_MS = 5000
# about a second's work
_REWRITTEN_BYTES = 256 * 1024 * 1024

_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full: make room, writing goes on by itself",
    sqlite3.SQLITE_BUSY: "another process keeps it locked: stop that process",
    sqlite3.SQLITE_LOCKED: "another process keeps it locked: stop that process",
    sqlite3.SQLITE_READONLY: "it may not be written: give this user the right to",
    sqlite3.SQLITE_PERM: "it may not be used: give this user the right to",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check that its folder exists and who may use it",
    sqlite3.SQLITE_IOERR: "the disk does not read or write it: check the disk",
    sqlite3.SQLITE_NOTADB: "it is not a journal: move that file away, or set another data folder",
    sqlite3.SQLITE_CORRUPT: "it is damaged: start the service again, which saves what can be read"
    " and keeps the file",
}

SCHEMA_VERSION = "SELECT value FROM meta WHERE key = 'schema_version'"
SET_SCHEMA_VERSION = (
    "INSERT INTO meta (key, value) VALUES ('schema_version', ?)"
    " ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)
HAS_META = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'meta'"
HAS_TABLES = "SELECT count(*) FROM sqlite_schema"


def journal_failed(exc: sqlite3.Error, path: Path) -> JournalFailed:
    """Say which file could not be used, why, and what to do."""
    # the low byte is the primary code
    code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
    advice = _ADVICE.get(code)
    return JournalFailed(
        f"journal {path}: {advice} ({exc})" if advice else f"journal {path}: {exc}"
    )


def suspicion(path: Path) -> Path:
    """Return the file whose being there has the journal checked whole at the next start."""
    return path.with_name(path.name + ".suspect")


def note_damage(exc: sqlite3.Error, path: Path) -> None:
    """Have the journal of this process checked at the next start if this tells of wrong pages."""
    if getattr(exc, "sqlite_errorcode", 0) & 0xFF in {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    }:
        with suppress(OSError):
            suspicion(path).touch()


def take_ownership(path: Path) -> IO[bytes]:
    """Lock the journal for this process until the returned file is closed or the process ends.

    SQLite's own locks last one transaction: two services would share the file and deliver twice.
    """
    lock_path = path.with_name(path.name + ".lock")
    try:
        lock = lock_path.open("ab")
    except OSError as exc:
        raise JournalFailed(
            f"journal {path}: its lock file cannot be opened ({exc.strerror}): check that the"
            " folder exists and that this user may write to it"
        ) from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        lock.close()
        raise JournalFailed(
            f"journal {path}: another process owns it: stop that service, or set another"
            " data folder"
        ) from exc
    return lock


def open_writer(path: Path) -> sqlite3.Connection:
    """Open the file for the one thread that writes; made if missing, schema brought up to date."""
    # check_same_thread: it is opened in one thread and handed over to another for good.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        # before the first table, or it counts only after a VACUUM
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        # Without it the WAL keeps the size of the largest backlog for ever.
        connection.execute("PRAGMA journal_size_limit = 67108864")
        _migrate(connection, path)
        _learn_to_shrink(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """Open the file to read only; beside a running writer or alone."""
    if not path.exists():
        raise JournalFailed(f"journal {path}: there is none yet: start the service once")
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        _check_version(_schema_version(connection), path, oldest=max(_migrations()))
    except BaseException:
        connection.close()
        raise
    return connection


def _migrations() -> dict[int, str]:
    folder = files("agent_sidecar.adapters") / "schema" / "journal"
    scripts = [script for script in folder.iterdir() if script.name.endswith(".sql")]
    return {int(s.name.split("_")[0]): s.read_text("utf-8") for s in scripts}


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    version = _schema_version(connection)
    if version == 0 and connection.execute(HAS_TABLES).fetchone()[0]:
        raise JournalFailed(
            f"journal {path}: it is some other database: move that file away, or set another"
            " data folder"
        )
    if version:
        _check_version(version, path)
    make_schema(connection, above=version)


def make_schema(connection: sqlite3.Connection, *, above: int = 0) -> None:
    """Bring a database to the newest schema, from the version that it has."""
    for number, script in sorted(_migrations().items()):
        if number > above:
            # executescript commits what is open before it runs: the transaction is in the script
            connection.executescript(f"BEGIN IMMEDIATE;\n{script}")
            connection.execute(SET_SCHEMA_VERSION, (str(number),))
            connection.execute("COMMIT")


def _learn_to_shrink(connection: sqlite3.Connection, path: Path) -> None:
    """Let a file of before give unused pages back: it is written anew once, if it is not large."""
    (mode,) = connection.execute("PRAGMA auto_vacuum").fetchone()
    if mode == 0 and path.stat().st_size <= _REWRITTEN_BYTES:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        # where there is no room for a second file it stays as it is, which harms nothing
        with suppress(sqlite3.OperationalError):
            connection.execute("VACUUM")


def _schema_version(connection: sqlite3.Connection) -> int:
    if not connection.execute(HAS_META).fetchone()[0]:
        return 0
    row = connection.execute(SCHEMA_VERSION).fetchone()
    return int(row[0]) if row else 0


def _check_version(version: int, path: Path, *, oldest: int = 1) -> None:
    newest = max(_migrations())
    if version > newest:
        raise JournalFailed(
            f"journal {path}: it was written by a newer agent_sidecar (schema {version}, this one"
            f" knows {newest}): upgrade"
        )
    if version == 0:
        raise JournalFailed(f"journal {path}: it is not a journal of agent_sidecar")
    if version < oldest:
        raise JournalFailed(
            f"journal {path}: it was written by an older agent_sidecar: start the service once,"
            " which brings it up to date"
        )
