"""Holds everything against the ledger: the journal, each store asked by its own client, `verify`.

Nothing of the service's own reading is trusted but `verify`, which is asked as one witness more.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import bson
import chromadb
from neo4j import AsyncGraphDatabase

from agent_sidecar.adapters.sqlite_codec import decode_record
from agent_sidecar.domain.facts import graph_facts
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.tally import scope
from agent_sidecar.embedded import StackUrls
from tests.chaos.ledger import Ledger, Told

_NAMED = 8
_RECORDS = "SELECT record FROM record"
_WAITING = "SELECT state, count(*) FROM delivery WHERE state <> 'delivered' GROUP BY state"
_EVENTS = "SELECT call_id, count(*) FROM event GROUP BY call_id"
_DOCUMENTS = "SELECT id, doc FROM conversations"
_CALLS = "SELECT call_id, telnyx_call_control_id AS leg_id, final_status FROM calls"
_TRANSFERS = "SELECT transfer_id FROM transfers"
_GRAPH_CALLS = "MATCH (c:Call) RETURN c.id AS id, count(*) AS n"
_ANSWERED = """
MATCH (x)-[a:ANSWERED_BY]->(s:Strategy)
RETURN coalesce(x.scope, 'phase:' + toString(x.number), 'objection:' + x.type) AS scope,
    s.name AS strategy, properties(a) AS properties
"""
_AMOUNTS = ("tried", "lifted", "sunk", "won", "hinted")


@dataclass(slots=True, kw_only=True)
class Audit:
    """What was found; clean when `faults` is empty."""

    records: int = 0
    # acknowledged calls that are missing somewhere, and calls that are somewhere twice
    lost: set[str] = field(default_factory=set)
    doubled: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.faults or self.lost or self.doubled)

    def lose(self, call_id: str, where: str) -> None:
        """Note a call that is missing."""
        self.lost.add(call_id)
        self.faults.append(f"{call_id} is lost: {where}")

    def double(self, call_id: str, where: str) -> None:
        """Note a call that is there twice."""
        self.doubled.add(call_id)
        self.faults.append(f"{call_id} is doubled: {where}")

    def summary(self) -> str:
        """Say it in one line."""
        if self.clean:
            return f"{self.records} records: 0 lost, 0 doubled, counts exact, verify clean"
        return (
            f"{self.records} records: {len(self.lost)} lost, {len(self.doubled)} doubled,"
            f" {len(self.faults)} faults: " + "; ".join(self.faults[:_NAMED])
        )


def journal_waits(folder: Path) -> Mapping[str, int]:
    """Return what the journal still has to do: deliveries by state, and events of open calls."""
    connection = _open(folder)
    try:
        waiting: dict[str, int] = dict(connection.execute(_WAITING).fetchall())
        events = sum(count for _, count in connection.execute(_EVENTS))
    finally:
        connection.close()
    return {**waiting, **({"events": events} if events else {})}


async def audit(
    folder: Path, urls: StackUrls, ledger: Ledger, verified: Mapping[str, Any]
) -> Audit:
    """Compare; `verified` is the service's own report."""
    found = Audit()
    records = _records(folder)
    found.records = len(records)
    for state, count in journal_waits(folder).items():
        found.faults.append(f"the journal is not empty: {count} {state}")
    _check_ledger(ledger, records, found)
    await _check_postgres(urls, records, ledger, found)
    await _check_graph(urls, records, found)
    await _check_vectors(urls, records, found)
    if not verified["clean"]:
        found.faults.append(f"verify: {verified['summary']}")
    return found


def _open(folder: Path) -> sqlite3.Connection:
    file = folder / "journal.sqlite3"
    return sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=10)


def _records(folder: Path) -> dict[str, CallRecord]:
    connection = _open(folder)
    try:
        rows = connection.execute(_RECORDS).fetchall()
    finally:
        connection.close()
    return {record.call_id: record for record in (decode_record(raw) for (raw,) in rows)}


def _check_ledger(ledger: Ledger, records: Mapping[str, CallRecord], found: Audit) -> None:
    known = ledger.acknowledged
    for call_id, told in known.items():
        record = records.get(call_id)
        if record is None:
            found.lose(call_id, f"the journal has no record of {told.leg_id}")
            continue
        said = [segment.text for segment in record.segments]
        faults = told.faults(said, record.outcome.final_status)
        found.faults += [f"{call_id} ({told.leg_id}): {fault}" for fault in faults]
    legs = Counter(_leg(record) for record in records.values())
    for call_id, record in records.items():
        if legs[_leg(record)] > 1:
            found.double(call_id, f"leg {_leg(record)} has {legs[_leg(record)]} records")


async def _check_postgres(
    urls: StackUrls, records: Mapping[str, CallRecord], ledger: Ledger, found: Audit
) -> None:
    connection = await asyncpg.connect(urls.postgres)
    try:
        documents = await connection.fetch(_DOCUMENTS)
        calls = await connection.fetch(_CALLS)
        transfers = await connection.fetch(_TRANSFERS)
    finally:
        await connection.close()
    _compare(Counter(row["id"] for row in documents), records, "conversations", found)
    _compare(Counter(row["call_id"] for row in calls), records, "postgres", found)
    known = ledger.acknowledged
    for row in documents:
        told = known.get(row["id"])
        if told is not None:
            found.faults += _document_faults(told, bson.decode(row["doc"]))
    made = Counter(a.transfer_id for record in records.values() for a in record.transfers)
    if made != Counter(row["transfer_id"] for row in transfers):
        found.faults.append(f"postgres has {len(transfers)} transfers, the records {made.total()}")


async def _check_graph(urls: StackUrls, records: Mapping[str, CallRecord], found: Audit) -> None:
    login = (urls.neo4j_user or "", urls.neo4j_password or "")
    async with (
        AsyncGraphDatabase.driver(urls.neo4j or "", auth=login) as driver,
        driver.session() as session,
    ):
        rows = await (await session.run(_GRAPH_CALLS)).data()
        answered = await (await session.run(_ANSWERED)).data()
    _compare(Counter({row["id"]: row["n"] for row in rows}), records, "neo4j", found)
    wanted: Counter[tuple[str, str, str]] = Counter()
    for record in records.values():
        for count in graph_facts(record).contribution:
            if count.counter == "answered":
                context, kind, strategy = count.key
                for name, amount in zip(_AMOUNTS, count.amounts, strict=True):
                    wanted[scope(context, kind), strategy, name] += amount
    stored: Counter[tuple[str, str, str]] = Counter()
    for row in answered:
        for name in _AMOUNTS:
            amount = row["properties"].get(name, 0)
            stored[row["scope"], row["strategy"], name] += amount
    for key in sorted(wanted.keys() | stored.keys()):
        if wanted[key] != stored[key]:
            found.faults.append(f"the graph counts {stored[key]} of {key}, not {wanted[key]}")


async def _check_vectors(urls: StackUrls, records: Mapping[str, CallRecord], found: Audit) -> None:
    host, _, port = (urls.chroma or "").removeprefix("http://").partition(":")
    client = await chromadb.AsyncHttpClient(host=host, port=int(port))
    places: Counter[str] = Counter()
    for collection in await client.list_collections():
        if collection.name.startswith("conversation_patterns"):
            got = await collection.get(include=[])
            places.update(identity.removeprefix("pattern_") for identity in got["ids"])
    for call_id, times in places.items():
        if times > 1:
            found.double(call_id, f"chroma has {times} patterns of it")
        if call_id not in records:
            found.faults.append(f"chroma has a call {call_id} that nobody recorded")


def _compare(
    stored: Counter[str], records: Mapping[str, CallRecord], store: str, found: Audit
) -> None:
    for call_id, times in stored.items():
        if times > 1:
            found.double(call_id, f"{store} has it {times} times")
        if call_id not in records:
            found.faults.append(f"{store} has a call {call_id} that nobody recorded")
    for call_id in records.keys() - stored.keys():
        found.lose(call_id, f"{store} does not have it")


def _document_faults(told: Told, document: Mapping[str, Any]) -> Iterator[str]:
    segments: Sequence[Mapping[str, Any]] = document["transcript"]["segments"]
    said = [str(segment["text"]) for segment in segments]
    status = str(document["outcome"]["finalStatus"])
    for fault in told.faults(said, status):
        yield f"the document of {told.call_id}: {fault}"


def _leg(record: CallRecord) -> str:
    prospect = next((leg.leg_id for leg in record.legs if leg.party == "prospect"), None)
    return prospect or record.call_id
