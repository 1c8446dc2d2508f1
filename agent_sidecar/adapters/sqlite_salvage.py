"""Copies a damaged journal row by row into a new one, as far as SQLite can still reach its rows."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

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
# those without rowids are walked by their key from both ends; but for what is there already
_BY_KEY: Mapping[str, tuple[tuple[str, str], str]] = {
    "meta": (
        ("SELECT * FROM meta ORDER BY 1", "SELECT * FROM meta ORDER BY 1 DESC"),
        "INSERT OR IGNORE INTO meta (key, value) VALUES (?, ?)",
    ),
    "pruned": (
        ("SELECT * FROM pruned ORDER BY 1", "SELECT * FROM pruned ORDER BY 1 DESC"),
        "INSERT OR IGNORE INTO pruned (call_id, version, source, external_id, committed_at)"
        " VALUES (?, ?, ?, ?, ?)",
    ),
    "forgetting": (
        ("SELECT * FROM forgetting ORDER BY 1", "SELECT * FROM forgetting ORDER BY 1 DESC"),
        "INSERT OR IGNORE INTO forgetting (call_id, reason, marked_at) VALUES (?, ?, ?)",
    ),
    "forgetting_store": (
        (
            "SELECT * FROM forgetting_store ORDER BY 1, 2",
            "SELECT * FROM forgetting_store ORDER BY 1 DESC, 2 DESC",
        ),
        "INSERT OR IGNORE INTO forgetting_store (store, call_id)"
        " SELECT ?1, call_id FROM forgetting WHERE call_id = ?2",
    ),
    "erasure": (
        ("SELECT * FROM erasure ORDER BY 1", "SELECT * FROM erasure ORDER BY 1 DESC"),
        "INSERT OR IGNORE INTO erasure (id, asked_at, person, traces, removed)"
        " VALUES (?, ?, ?, ?, ?)",
    ),
}
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


# any of them makes a file a journal
TABLES_OF_OURS = frozenset({*_BY_ROWID, *_BY_KEY, "delivery"} - {"meta"})


@dataclass(slots=True)
class Loss:
    """What was saved and what could not be read, by table; -1: nobody can say how much."""

    saved: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    # calls that deliveries name and no record is of
    calls: set[str] = field(default_factory=set)


def copy_readable(path: Path, new: sqlite3.Connection, stores: str) -> Loss:
    """Copy every row that can be read."""
    loss = Loss()
    try:
        old = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    except sqlite3.Error:
        return loss
    with closing(old):
        new.execute("BEGIN IMMEDIATE")
        for table, (newest, select, insert) in _BY_ROWID.items():
            loss.saved[table] = 0
            for row in _rows_by_rowid(old, newest, select, loss, table):
                taken = new.execute(insert, row).rowcount
                loss.saved[table] += taken
                loss.lost[table] += 1 - taken
        for table, (walks, insert) in _BY_KEY.items():
            rows = _rows_by_key(old, walks, loss, table)
            loss.saved[table] = sum(new.execute(insert, row).rowcount for row in rows)
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
    old: sqlite3.Connection, newest: str, select: str, loss: Loss, table: str
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
    old: sqlite3.Connection, select: str, first: int, last: int, loss: Loss, table: str
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
    old: sqlite3.Connection, walks: tuple[str, str], loss: Loss, table: str
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
