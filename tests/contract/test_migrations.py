"""A data folder of an older version is brought forward with everything that is in it."""

import sqlite3
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import asyncpg
import bson
import pytest

from agent_sidecar.adapters.pg import PgPool
from agent_sidecar.adapters.postgres_conversations import PostgresConversations
from agent_sidecar.adapters.postgres_crm import PostgresCrm
from agent_sidecar.adapters.postgres_leads import PostgresLeads
from agent_sidecar.adapters.sqlite_journal import SqliteJournal
from agent_sidecar.adapters.stored_conversation import stored_document
from agent_sidecar.domain.types import STORES
from tests.builders import rich_lead, rich_record

pytestmark = pytest.mark.contract

SCHEMA = resources.files("agent_sidecar.adapters") / "schema"
LOG = """
CREATE TABLE schema_migrations (
    part text NOT NULL, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (part, name))
"""
# what the first version wrote, in its own words
OLD_LEAD = """
INSERT INTO leads (phone, first_name, status, kevin_notes) VALUES ($1, 'Ada', 'closed', 'call Ed')
RETURNING id
"""
OLD_CALL = """
INSERT INTO calls (call_id, lead_id, start_time, end_time, final_status, kevin_available)
VALUES ('old', $1, '2026-01-02', '2026-01-02', 'hot_transfer', true) RETURNING id
"""
OLD_TRANSFER = """
INSERT INTO transfers (transfer_id, call_id, lead_id, closer, initiated_at, outcome_type,
    conversion_result)
VALUES ('old:t1', $1, $2, 'Kevin', '2026-01-02', 'bridged', 'scheduled')
"""
OLD_CONVERSATION = """
INSERT INTO conversations (id, lead_id, started_at, outcome, score, doc, search)
VALUES ($1, $2, $3, 'hot_transfer', 82.25, $4, to_tsvector('english', 'passive income'))
"""


def scripts(part: str) -> list[str]:
    folder = SCHEMA / "postgres" / part
    return sorted(file.name for file in folder.iterdir() if file.name.endswith(".sql"))


async def as_it_was(connection: "asyncpg.Connection[asyncpg.Record]", part: str, upto: int) -> None:
    """Apply the first migrations of a part, as an older version of us did."""
    for name in scripts(part)[:upto]:
        await connection.execute((SCHEMA / "postgres" / part / name).read_text("utf-8"))
        await connection.execute("INSERT INTO schema_migrations VALUES ($1, $2)", part, name)


async def only_row(
    connection: "asyncpg.Connection[asyncpg.Record]", table: str
) -> Mapping[str, object]:
    (row,) = await connection.fetch(f"SELECT * FROM {table}")  # noqa: S608  # of this test
    return dict(row)


@pytest.mark.parametrize("upto", range(1, len(scripts("crm")) + 1))
async def test_the_crm_of_any_older_version_keeps_everything(postgres_url: str, upto: int):
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(LOG)
    await as_it_was(connection, "crm", upto)
    lead_id = await connection.fetchval(OLD_LEAD, "+12125550101")
    call_id = await connection.fetchval(OLD_CALL, lead_id)
    await connection.execute(OLD_TRANSFER, call_id, lead_id)
    tables = ("leads", "calls", "transfers")
    before = {table: await only_row(connection, table) for table in tables}
    async with PgPool(postgres_url) as pool:
        crm = PostgresCrm(pool)
        applied = await crm.migrate()
        assert applied == [f"crm/{name}" for name in scripts("crm")[upto:]]
        after = {table: await only_row(connection, table) for table in tables}
        for table, row in before.items():
            assert {name: after[table][name] for name in row} == row, table
        # and what was kept is used: the old lead is called again
        record = rich_record(lead=rich_lead(lead_id="", external_id=None, phone="+12125550101"))
        await crm.apply(record)
        assert await crm.differences([record]) == {}
        assert len(await PostgresLeads(pool).find()) == 1
    await connection.close()


async def test_old_conversations_are_read_and_written(postgres_url: str):
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(LOG)
    await as_it_was(connection, "conversations", 1)
    record = rich_record()
    async with PgPool(postgres_url) as pool:
        store = PostgresConversations(pool)
        kept = bson.encode(stored_document(record))
        await connection.execute(
            OLD_CONVERSATION, record.call_id, record.lead.lead_id, record.started_at, kept
        )
        await store.migrate()
        assert await connection.fetchval("SELECT doc FROM conversations") == kept
        assert await store.differences([record]) == {}
        assert [r async for some in store.records(since=None, without=()) for r in some] == [record]
    await connection.close()


async def test_an_old_journal_keeps_its_records_and_delivers_them(tmp_path: Path):
    file, older = tmp_path / "journal.sqlite3", tmp_path / "older.sqlite3"
    # written by today's code, then carried over into the tables of the first version
    journal = await SqliteJournal.open(file)
    await journal.commit(rich_record())
    await journal.aclose()
    _carry_over(file, older)
    journal = await SqliteJournal.open(older)
    try:
        committed = await journal.record(rich_record().call_id)
        assert committed is not None
        assert committed.record == rich_record()
        assert {store: s.state for store, s in committed.deliveries.items()} == dict.fromkeys(
            STORES, "pending"
        )
        (delivery,) = await journal.claim("neo4j", limit=5)
        await journal.ack([delivery])
    finally:
        await journal.aclose()


def _carry_over(new: Path, old: Path) -> None:
    """Make a journal as the first migration did, with what another one holds."""
    source, target = sqlite3.connect(new), sqlite3.connect(old)
    target.executescript((SCHEMA / "journal" / "001_journal.sql").read_text("utf-8"))
    for table in ("meta", "record", "delivery"):
        columns = [row[1] for row in target.execute(f"PRAGMA table_info({table})")]
        names = ", ".join(columns)
        rows = source.execute(f"SELECT {names} FROM {table}").fetchall()  # noqa: S608
        marks = ", ".join("?" * len(columns))
        target.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)  # noqa: S608
    target.execute("UPDATE meta SET value = '1' WHERE key = 'schema_version'")
    target.commit()
    for connection in (source, target):
        connection.close()
