"""The journal's SQL for people and upkeep: list, retry and drop deliveries; prune, shrink, measure.

Each piece of work that writes is small, since it goes into a group with what calls wait for.
"""

import shutil
import sqlite3
from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import cast

import msgspec

from agent_sidecar.adapters.sqlite_rows import (
    StatusRow,
    committed_rows,
    from_us,
    status_of,
    to_us,
)
from agent_sidecar.domain.types import CallId, DeliveryState, StoreName
from agent_sidecar.ports import CommittedRecord, JournalRoom, ListedDelivery

LISTED = (
    "SELECT d.call_id, d.version, r.committed_at, d.store, d.state, d.attempts, d.next_try_at,"
    " d.delivered_at, d.last_error, d.dropped_by, d.dropped_at, d.dropped_why"
    " FROM delivery d JOIN record r ON r.call_id = d.call_id"
    " WHERE (?1 IS NULL OR d.store = ?1) AND d.state IN (SELECT value FROM json_each(?2))"
    " ORDER BY r.committed_at, r.seq, d.store LIMIT ?3"
)
RETRY = (
    "UPDATE delivery SET state = 'pending', attempts = 0, next_try_at = ?1, dropped_at = NULL,"
    " dropped_by = NULL, dropped_why = NULL WHERE (?3 IS NULL OR store = ?3)"
    " AND (call_id = ?2 AND state = 'dropped' OR (?2 IS NULL OR call_id = ?2)"
    " AND state IN ('pending', 'parked'))"
)
DROP = (
    "UPDATE delivery SET state = 'dropped', next_try_at = NULL, dropped_at = ?, dropped_by = ?,"
    " dropped_why = ? WHERE call_id = ? AND store = ? AND state IN ('pending', 'parked')"
)
PRUNABLE = (
    "SELECT seq, record, version, committed_at FROM record r WHERE seq > ? AND committed_at < ?"
    " AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.call_id = r.call_id"
    " AND d.state <> 'delivered') ORDER BY seq LIMIT ?"
)
# only what is still as it was when it was looked at
MAY_GO = (
    "SELECT 1 FROM record r WHERE call_id = ? AND version = ? AND NOT EXISTS"
    " (SELECT 1 FROM delivery d WHERE d.call_id = r.call_id AND d.state <> 'delivered')"
)
REMEMBER = (
    "INSERT OR REPLACE INTO pruned (call_id, version, source, external_id, committed_at)"
    " SELECT call_id, version, source, external_id, committed_at FROM record WHERE call_id = ?"
)
FORGET = (
    "DELETE FROM event WHERE call_id = ?",
    "DELETE FROM delivery WHERE call_id = ?",
    "DELETE FROM record WHERE call_id = ?",
)
PROBE = (
    "INSERT INTO meta (key, value) VALUES ('probed_at', ?)"
    " ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)
# 2 MB: what the next calls need anyway
_KEPT_PAGES = 512
_PAGES_A_STEP = 128
# whatever its argument: `sqlite3` ends it after the first page, since it has no columns
SHRINK = "PRAGMA incremental_vacuum(1)"


def listed(
    connection: sqlite3.Connection,
    store: StoreName | None,
    states: Collection[DeliveryState],
    limit: int,
) -> Sequence[ListedDelivery]:
    wanted = msgspec.json.encode(sorted(states)).decode()
    rows: list[tuple[object, ...]] = connection.execute(LISTED, (store, wanted, limit)).fetchall()
    return [_listed(cast(tuple[CallId, int, int], row[:3]), row[3:]) for row in rows]


def _listed(head: tuple[CallId, int, int], status: tuple[object, ...]) -> ListedDelivery:
    call_id, version, committed_us = head
    row = cast(StatusRow, status)
    return ListedDelivery(
        call_id=call_id,
        store=row[0],
        version=version,
        committed_at=from_us(committed_us),
        status=status_of(row),
    )


def prunable(
    connection: sqlite3.Connection, before: datetime, after: int, limit: int
) -> list[tuple[int, CommittedRecord]]:
    return committed_rows(connection, PRUNABLE, (after, to_us(before), limit))


def prune(connection: sqlite3.Connection, calls: Sequence[tuple[CallId, int]]) -> int:
    """Forget the records of `(call_id, version)`; return how many there were."""
    gone = 0
    for call_id, version in calls:
        if connection.execute(MAY_GO, (call_id, version)).fetchone() is None:
            continue
        connection.execute(REMEMBER, (call_id,))
        for forget in FORGET:
            connection.execute(forget, (call_id,))
        gone += 1
    return gone


def shrink(connection: sqlite3.Connection) -> bool:
    """Give some unused pages back; True: there are more. Does nothing to a file of before."""
    (gives_back,) = connection.execute("PRAGMA auto_vacuum").fetchone()
    if not gives_back or _unused_pages(connection) <= _KEPT_PAGES:
        return False
    for _ in range(_PAGES_A_STEP):
        connection.execute(SHRINK)
    return _unused_pages(connection) > _KEPT_PAGES


def room(connection: sqlite3.Connection, path: Path) -> JournalRoom:
    (page,) = connection.execute("PRAGMA page_size").fetchone()
    wal = path.with_name(path.name + "-wal")
    used = path.stat().st_size + (wal.stat().st_size if wal.exists() else 0)
    return JournalRoom(
        used=used,
        unused=page * _unused_pages(connection),
        disk_free=shutil.disk_usage(path.parent).free,
    )


def _unused_pages(connection: sqlite3.Connection) -> int:
    pages: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
    return pages
