"""What stores are told again: single calls that differ there, or all when one is made anew."""

import sqlite3
from collections.abc import Collection, Iterable, Mapping
from typing import cast, get_args

from agent_sidecar.domain.types import STORES, CallId, StoreName
from agent_sidecar.ports import RebuildStep

RESTORE_RECORD = (
    "INSERT INTO record (call_id, version, source, external_id, committed_at, record)"
    " SELECT ?1, 1 + coalesce((SELECT version FROM pruned WHERE call_id = ?1), 0), ?2, ?3, ?4, ?5"
    # the conversation store may not have forgotten it yet
    " WHERE NOT EXISTS (SELECT 1 FROM forgetting WHERE call_id = ?1)"
    " ON CONFLICT (call_id) DO NOTHING"
)
UNPRUNE = "DELETE FROM pruned WHERE call_id = ?"
RESTORE_DELIVERY = (
    "INSERT INTO delivery (call_id, store, version, state, delivered_at)"
    " SELECT call_id, ?2, version, 'delivered', ?3 FROM record WHERE call_id = ?1"
)
# a store that is newer than the record has no row yet
DUE_AGAIN = (
    "INSERT INTO delivery (call_id, store, version, state, next_try_at)"
    " SELECT call_id, ?, version, 'pending', ? FROM record WHERE call_id = ?"
    " ON CONFLICT (call_id, store) DO UPDATE SET state = 'pending', attempts = 0,"
    " next_try_at = excluded.next_try_at, delivered_at = NULL, last_error = NULL,"
    " dropped_at = NULL, dropped_by = NULL, dropped_why = NULL"
)
LEAVING = "SELECT DISTINCT call_id FROM forgetting_store"
REBUILDS = "SELECT substr(key, 9), value FROM meta WHERE key LIKE 'rebuild:%'"
PUT_REBUILD = (
    "INSERT INTO meta (key, value) VALUES ('rebuild:' || ?, ?)"
    " ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)
END_REBUILD = "DELETE FROM meta WHERE key = 'rebuild:' || ?"


def redeliver(
    connection: sqlite3.Connection,
    rows: Iterable[tuple[CallId, str, str | None, int, bytes]],
    stores: Collection[StoreName],
) -> None:
    """Take `(call_id, source, external_id, now_us, record)` of calls to be told again."""
    for row in rows:
        call_id, now_us = row[0], row[3]
        if connection.execute(RESTORE_RECORD, row).rowcount:
            connection.execute(UNPRUNE, (call_id,))
            connection.executemany(RESTORE_DELIVERY, [(call_id, s, now_us) for s in STORES])
        connection.executemany(DUE_AGAIN, [(store, now_us, call_id) for store in stores])


def leaving(connection: sqlite3.Connection) -> Collection[CallId]:
    return [row[0] for row in connection.execute(LEAVING)]


def put_rebuild(connection: sqlite3.Connection, store: StoreName, step: RebuildStep | None) -> None:
    if step is None:
        connection.execute(END_REBUILD, (store,))
    else:
        connection.execute(PUT_REBUILD, (store, step))


def rebuilds(connection: sqlite3.Connection) -> Mapping[StoreName, RebuildStep]:
    """Return the steps by store; what an unknown version wrote is left alone."""
    return {
        cast(StoreName, store): cast(RebuildStep, step)
        for store, step in connection.execute(REBUILDS)
        if store in STORES and step in get_args(RebuildStep)
    }
