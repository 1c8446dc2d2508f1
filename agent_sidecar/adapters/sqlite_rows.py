"""The journal's SQL, and how rows become values; the caller owns connection and transaction."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from agent_sidecar.adapters.sqlite_codec import decode_event, decode_record
from agent_sidecar.domain.events import CallEvent
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.types import DELIVERY_STATES, STORES, CallId, DeliveryState, StoreName
from agent_sidecar.ports import (
    LONGEST_PAUSE,
    CommittedRecord,
    Delivery,
    DeliveryStatus,
    Drop,
    OpenCall,
    Pruned,
    ReceivedWebhook,
)

KEEP_WEBHOOK = (
    "INSERT OR IGNORE INTO inbox (event_id, event_type, leg_id, received_at, body)"
    " VALUES (?, ?, ?, ?, ?)"
)
RECENT_WEBHOOKS = (
    "SELECT event_id, received_at FROM inbox WHERE received_at >= ?"
    " ORDER BY received_at DESC LIMIT ?"
)
PRUNE_INBOX = (
    "DELETE FROM inbox WHERE rowid IN (SELECT rowid FROM inbox WHERE received_at < ? LIMIT ?)"
)
KEEP_EVENT = "INSERT INTO event (call_id, event) VALUES (?, ?)"
FORGET_EVENTS = "DELETE FROM event WHERE call_id = ?"
OPEN_EVENTS = (
    "SELECT call_id, event FROM event"
    " WHERE call_id NOT IN (SELECT call_id FROM record)"
    " AND call_id NOT IN (SELECT call_id FROM pruned) ORDER BY seq"
)
PUT_RECORD = (
    "INSERT INTO record (call_id, version, source, external_id, committed_at, record)"
    " VALUES (?1, 1 + coalesce((SELECT version FROM pruned WHERE call_id = ?1), 0), ?2, ?3, ?4, ?5)"
    " ON CONFLICT (call_id) DO UPDATE SET version = version + 1, source = excluded.source,"
    " external_id = excluded.external_id, committed_at = excluded.committed_at,"
    " record = excluded.record"
    " RETURNING version"
)
UNPRUNE = "DELETE FROM pruned WHERE call_id = ?"
PUT_DELIVERY = (
    "INSERT INTO delivery (call_id, store, version, state, next_try_at)"
    " VALUES (?, ?, ?, 'pending', ?)"
    " ON CONFLICT (call_id, store) DO UPDATE SET version = excluded.version, state = 'pending',"
    " attempts = 0, next_try_at = excluded.next_try_at, delivered_at = NULL, last_error = NULL,"
    " dropped_at = NULL, dropped_by = NULL, dropped_why = NULL"
)
DUE = (
    "SELECT d.call_id, d.version, d.attempts, r.committed_at FROM delivery d"
    " JOIN record r ON r.call_id = d.call_id"
    " WHERE d.store = ? AND d.state = 'pending' AND d.next_try_at <= ?"
    " ORDER BY d.next_try_at, r.seq LIMIT ?"
)
DUE_BY_ANOTHER_CLOCK = (
    "SELECT d.call_id, d.version, d.attempts, r.committed_at FROM delivery d"
    " JOIN record r ON r.call_id = d.call_id"
    " WHERE d.store = ? AND d.state = 'pending' AND d.next_try_at > ?"
    " ORDER BY d.next_try_at, r.seq LIMIT ?"
)
NEXT_DUE = "SELECT min(next_try_at) FROM delivery WHERE store = ? AND state = 'pending'"
ACK = (
    "UPDATE delivery SET state = 'delivered', attempts = attempts + 1, next_try_at = NULL,"
    " delivered_at = ?, last_error = NULL, dropped_at = NULL, dropped_by = NULL,"
    " dropped_why = NULL WHERE call_id = ? AND store = ? AND version = ?"
)
POSTPONE = (
    "UPDATE delivery SET attempts = attempts + 1, next_try_at = ?, last_error = ?"
    " WHERE call_id = ? AND store = ? AND version = ? AND state = 'pending'"
)
PARK = (
    "UPDATE delivery SET state = 'parked', attempts = attempts + 1, next_try_at = NULL,"
    " last_error = ? WHERE call_id = ? AND store = ? AND version = ? AND state = 'pending'"
)
RAW_RECORD = "SELECT record FROM record WHERE call_id = ?"
RECORD = "SELECT seq, record, version, committed_at FROM record WHERE call_id = ?"
RECORDS_AFTER = (
    "SELECT seq, record, version, committed_at FROM record WHERE seq > ? ORDER BY seq LIMIT ?"
)
RECENT = "SELECT seq, record, version, committed_at FROM record ORDER BY seq DESC LIMIT ?"
DELIVERIES = (
    "SELECT store, state, attempts, next_try_at, delivered_at, last_error, dropped_by, dropped_at,"
    " dropped_why FROM delivery WHERE call_id = ?"
)
KNOWN = (
    "SELECT 1 FROM record WHERE call_id = ?1 UNION SELECT 1 FROM pruned WHERE call_id = ?1"
    " UNION SELECT 1 FROM forgetting WHERE call_id = ?1 AND reason = 'erased'"
)
ERASED = "SELECT 1 FROM forgetting WHERE call_id = ? AND reason = 'erased'"
UNARCHIVE = "DELETE FROM forgetting WHERE call_id = ?"
PRUNED = "SELECT version, committed_at FROM pruned WHERE call_id = ?"
FIND_EXTERNAL = (
    "SELECT call_id FROM pruned WHERE external_id = ?1 AND source = 'import'"
    " UNION ALL SELECT call_id FROM record WHERE external_id = ?1 AND source = 'import' LIMIT 1"
)
WAITING_SINCE = (
    "SELECT d.store, min(r.committed_at) FROM delivery d JOIN record r ON r.call_id = d.call_id"
    " WHERE d.state = 'pending' AND d.store = ?"
)
BACKLOG = "SELECT store, state, count(*) FROM delivery GROUP BY store, state"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# records by call and version, as they would be read
Fresh: TypeAlias = Mapping[tuple[CallId, int], CallRecord]
# seq, record, version, committed_at
CommittedRow: TypeAlias = tuple[int, bytes, int, int]
# store, state, attempts, next_try_at, delivered_at, last_error, dropped_by, dropped_at, dropped_why
StatusRow: TypeAlias = tuple[
    StoreName,
    DeliveryState,
    int,
    int | None,
    int | None,
    str | None,
    str | None,
    int | None,
    str | None,
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What a store should be told now, and deliveries whose record cannot be read."""

    deliveries: tuple[Delivery, ...]
    # call, version, and what is wrong with it
    unreadable: tuple[tuple[CallId, int, str], ...]


def to_us(at: datetime) -> int:
    """Microseconds since 1970."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def from_us(us: int) -> datetime:
    """Return the aware time in UTC."""
    return _EPOCH + timedelta(microseconds=us)


# --- writing ------------------------------------------------------------------------------------


def keep_webhook(connection: sqlite3.Connection, webhook: ReceivedWebhook) -> None:
    received_us = to_us(webhook.received_at)
    row = (webhook.event_id, webhook.event_type, webhook.leg_id, received_us, webhook.body)
    connection.execute(KEEP_WEBHOOK, row)


def put_record(
    connection: sqlite3.Connection, row: tuple[CallId, str, str | None, int, bytes]
) -> int:
    """Write `(call_id, source, external_id, committed_us, record)`; return its version.

    Of a call that was erased nothing is kept, which is version 0.
    """
    call_id, _, _, committed_us, _ = row
    if connection.execute(ERASED, (call_id,)).fetchone() is not None:
        connection.execute(FORGET_EVENTS, (call_id,))
        return 0
    connection.execute(UNARCHIVE, (call_id,))
    version: int = connection.execute(PUT_RECORD, row).fetchall()[0][0]
    connection.execute(UNPRUNE, (call_id,))
    connection.execute(FORGET_EVENTS, (call_id,))
    connection.executemany(
        PUT_DELIVERY, [(call_id, store, version, committed_us) for store in STORES]
    )
    return version


def ack(connection: sqlite3.Connection, deliveries: Iterable[Delivery], at_us: int) -> None:
    connection.executemany(ACK, [(at_us, d.record.call_id, d.store, d.version) for d in deliveries])


# --- reading ------------------------------------------------------------------------------------


def open_calls(connection: sqlite3.Connection) -> tuple[list[OpenCall], list[tuple[CallId, str]]]:
    """Return the calls without a record, and `(call_id, what is wrong)` per unreadable event."""
    calls: dict[CallId, list[CallEvent]] = {}
    unreadable: list[tuple[CallId, str]] = []
    for call_id, raw in connection.execute(OPEN_EVENTS):
        events = calls.setdefault(call_id, [])
        try:
            events.append(decode_event(raw))
        except ValueError as exc:
            unreadable.append((call_id, str(exc)))
    return [OpenCall(call_id=c, events=tuple(e)) for c, e in calls.items()], unreadable


def due(
    connection: sqlite3.Connection, store: StoreName, now_us: int, limit: int, fresh: Fresh
) -> Due:
    """Return what is due; a record that is among `fresh` is neither read nor decoded again."""
    deliveries: list[Delivery] = []
    unreadable: list[tuple[CallId, int, str]] = []
    # One snapshot: a record and its delivery must be of the same version.
    connection.execute("BEGIN")
    try:
        found = connection.execute(DUE, (store, now_us, limit)).fetchall()
        if len(found) < limit:
            # two questions, since one with OR would sort a whole backlog for each batch
            latest_us = now_us + LONGEST_PAUSE // timedelta(microseconds=1)
            ahead = (store, latest_us, limit - len(found))
            found += connection.execute(DUE_BY_ANOTHER_CLOCK, ahead).fetchall()
        for call_id, version, attempts, committed_us in found:
            try:
                record = fresh.get((call_id, version)) or _record_of(connection, call_id)
            except ValueError as exc:
                unreadable.append((call_id, version, str(exc)))
            else:
                deliveries.append(
                    Delivery(
                        store=store,
                        record=record,
                        version=version,
                        committed_at=from_us(committed_us),
                        attempts=attempts,
                    )
                )
    finally:
        connection.execute("COMMIT")
    return Due(deliveries=tuple(deliveries), unreadable=tuple(unreadable))


def _record_of(connection: sqlite3.Connection, call_id: CallId) -> CallRecord:
    (raw,) = connection.execute(RAW_RECORD, (call_id,)).fetchone()
    return decode_record(raw)


def next_due_at(connection: sqlite3.Connection, store: StoreName) -> datetime | None:
    (us,) = connection.execute(NEXT_DUE, (store,)).fetchone()
    return None if us is None else from_us(us)


def record(connection: sqlite3.Connection, call_id: CallId) -> CommittedRecord | None:
    found = committed_rows(connection, RECORD, (call_id,))
    return found[0][1] if found else None


def records_after(
    connection: sqlite3.Connection, after: int, limit: int
) -> list[tuple[int, CommittedRecord]]:
    """Return the next records with their place in the walk."""
    return committed_rows(connection, RECORDS_AFTER, (after, limit))


def recent(connection: sqlite3.Connection, limit: int) -> list[CommittedRecord]:
    return [committed for _, committed in committed_rows(connection, RECENT, (limit,))]


def pruned(connection: sqlite3.Connection, call_id: CallId) -> Pruned | None:
    row = connection.execute(PRUNED, (call_id,)).fetchone()
    return row and Pruned(call_id=call_id, version=row[0], committed_at=from_us(row[1]))


def knows(connection: sqlite3.Connection, call_id: CallId) -> bool:
    return connection.execute(KNOWN, (call_id,)).fetchone() is not None


def find_external(connection: sqlite3.Connection, external_id: str) -> CallId | None:
    row = connection.execute(FIND_EXTERNAL, (external_id,)).fetchone()
    return None if row is None else CallId(row[0])


def waiting_since(connection: sqlite3.Connection) -> Mapping[StoreName, datetime]:
    since: dict[StoreName, datetime] = {}
    for store in STORES:
        (us,) = connection.execute(WAITING_SINCE, (store,)).fetchone()[1:]
        if us is not None:
            since[store] = from_us(us)
    return since


def backlog(connection: sqlite3.Connection) -> Mapping[StoreName, Mapping[DeliveryState, int]]:
    counts: dict[StoreName, dict[DeliveryState, int]] = {
        store: dict.fromkeys(DELIVERY_STATES, 0) for store in STORES
    }
    for store, state, count in connection.execute(BACKLOG):
        counts[store][state] = count
    return counts


def recent_webhooks(
    connection: sqlite3.Connection, since_us: int, limit: int
) -> Sequence[tuple[str, int]]:
    """Return `(event_id, received_us)` of the newest webhooks, oldest first."""
    return connection.execute(RECENT_WEBHOOKS, (since_us, limit)).fetchall()[::-1]


def committed_rows(
    connection: sqlite3.Connection, sql: str, arguments: tuple[object, ...]
) -> list[tuple[int, CommittedRecord]]:
    """Return records with their places, and each with its deliveries."""
    # One snapshot: a record and its deliveries must be of the same version.
    connection.execute("BEGIN")
    try:
        rows: list[CommittedRow] = connection.execute(sql, arguments).fetchall()
        return [(row[0], _with_deliveries(connection, row)) for row in rows]
    finally:
        connection.execute("COMMIT")


def status_of(row: StatusRow) -> DeliveryStatus:
    _, state, attempts, next_us, delivered_us, error, dropped_by, dropped_us, dropped_why = row
    dropped = None
    if dropped_by is not None and dropped_us is not None:
        dropped = Drop(by=dropped_by, at=from_us(dropped_us), reason=dropped_why)
    return DeliveryStatus(
        state=state,
        attempts=attempts,
        next_try_at=None if next_us is None else from_us(next_us),
        delivered_at=None if delivered_us is None else from_us(delivered_us),
        last_error=error,
        dropped=dropped,
    )


def _with_deliveries(connection: sqlite3.Connection, row: CommittedRow) -> CommittedRecord:
    seq, raw, version, committed_us = row
    try:
        record = decode_record(raw)
    except ValueError as exc:
        raise ValueError(f"row {seq} of table record: {exc}") from exc
    statuses: list[StatusRow] = connection.execute(DELIVERIES, (record.call_id,)).fetchall()
    return CommittedRecord(
        record=record,
        version=version,
        committed_at=from_us(committed_us),
        deliveries={status[0]: status_of(status) for status in statuses},
    )
