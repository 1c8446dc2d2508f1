"""Copies of the CRM's tables on a real PostgreSQL: all of them, and back as they were."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from agent_sidecar.adapters.pg import PgPool
from agent_sidecar.adapters.postgres_conversations import PostgresConversations
from agent_sidecar.adapters.postgres_copies import TABLES, PostgresCopies
from agent_sidecar.adapters.postgres_crm import PostgresCrm
from tests.builders import rich_record, stranger_record

pytestmark = pytest.mark.contract

# what is not copied: the documents are, as records; a schema is made anew; leads that are filled in
# count as changed, and the graph is told of them
_OTHERS = {"conversations", "schema_migrations", "lead_changes"}


@pytest_asyncio.fixture
async def pool(postgres_url: str) -> AsyncIterator[PgPool]:
    async with PgPool(postgres_url) as opened:
        await PostgresCrm(opened).migrate()
        await PostgresConversations(opened).migrate()
        yield opened


async def test_every_table_is_copied(pool: PgPool, postgres_url: str):
    connection = await asyncpg.connect(postgres_url)
    try:
        rows = await connection.fetch(
            "SELECT table_name FROM information_schema.tables"
            " WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'"
        )
    finally:
        await connection.close()
    assert {row["table_name"] for row in rows} - _OTHERS == set(TABLES)


async def test_tables_come_back_as_they_were(pool: PgPool, postgres_url: str, tmp_path: Path):
    crm, copies = PostgresCrm(pool), PostgresCopies(pool)
    records = [rich_record(), stranger_record()]
    await crm.apply_all(records)
    connection = await asyncpg.connect(postgres_url)
    try:
        await connection.execute("INSERT INTO closers (name) VALUES ('Kevin')")
        await connection.execute(
            "INSERT INTO kevin_availability (override_start, override_end, reason)"
            " VALUES (now(), 'infinity', 'a, \"b\"\nc')"
        )
        before = await _everything(connection)
        written = await copies.write(tmp_path)
        assert written == {name: len(rows) for name, rows in before.items()}
        await connection.execute("UPDATE leads SET city = 'elsewhere'")
        await connection.execute("DELETE FROM transfers")
        assert await copies.read(tmp_path) == written
        # twice is as once
        assert await copies.read(tmp_path) == written
        assert await _everything(connection) == before
    finally:
        await connection.close()
    assert not await crm.differences(records)


async def _everything(
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> dict[str, list[str]]:
    return {
        name: sorted(
            [str(row[0]) for row in await connection.fetch(f"SELECT t::text FROM {name} AS t")]  # noqa: S608
        )
        for name in TABLES
    }
