"""Connections to a real PostgreSQL that goes, comes back, sleeps, or stands behind a pooler."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from agent_sidecar.adapters.pg import PgPool
from agent_sidecar.adapters.postgres_conversations import PostgresConversations
from agent_sidecar.adapters.postgres_crm import PostgresCrm
from agent_sidecar.domain.types import Lead
from agent_sidecar.embedded import StackUrls
from agent_sidecar.errors import StoreUnavailable
from tests.builders import rich_record
from tests.contract.conftest import postgres_socket, through
from tests.contract.gate import Gate

pytestmark = pytest.mark.contract


@pytest_asyncio.fixture
async def crm(gated_postgres_url: str) -> AsyncIterator[PostgresCrm]:
    async with PgPool(gated_postgres_url) as pool:
        crm = PostgresCrm(pool)
        await crm.migrate()
        yield crm


async def test_a_server_that_is_gone_is_unavailable_and_used_again_when_it_is_back(
    crm: PostgresCrm, postgres_gate: Gate
):
    await crm.apply(rich_record("a"))
    await postgres_gate.shut()
    with pytest.raises(StoreUnavailable, match="What to do: check that it runs"):
        await crm.apply(rich_record("b"))
    await postgres_gate.open()
    await crm.apply(rich_record("b"))
    assert (await crm.counts())["calls"] == 2


async def test_connections_that_the_server_closed_meanwhile_are_no_failure(
    crm: PostgresCrm, postgres_gate: Gate
):
    await asyncio.gather(*(crm.counts() for _ in range(5)))
    await postgres_gate.shut()
    await postgres_gate.open()
    # the first thing asked, on a connection whose end may not have been noticed yet
    assert (await crm.counts())["calls"] == 0


async def test_a_server_that_never_answers_is_unavailable_in_time():
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"postgresql://me:secret@127.0.0.1:{port}/none?sslmode=disable"
    async with server, PgPool(url, connect_s=0.3) as pool:
        began = asyncio.get_running_loop().time()
        with pytest.raises(StoreUnavailable, match="no answer in time"):
            await pool.ping()
        assert asyncio.get_running_loop().time() - began < 2.0


async def test_a_wrong_password_and_a_wrong_database_say_what_to_mend(postgres_url: str):
    password = postgres_url.split("@")[0].rpartition(":")[2]
    async with PgPool(postgres_url.replace(password, "wrong")) as pool:
        with pytest.raises(StoreUnavailable, match="check user and password in SIDECAR_POSTGRES_U"):
            await pool.ping()
    async with PgPool(postgres_url.replace("/test_", "/gone_")) as pool:
        with pytest.raises(StoreUnavailable, match="create the database, or name another"):
            await pool.ping()


async def test_a_closed_pool_is_unavailable(postgres_url: str):
    pool = PgPool(postgres_url)
    await pool.ping()
    await pool.aclose()
    await pool.aclose()
    with pytest.raises(StoreUnavailable, match="closed"):
        await pool.ping()


async def test_everything_works_where_sessions_forget_everything_between_transactions(
    stack: StackUrls, postgres_url: str
):
    async with Gate(postgres_socket(stack), forgets=True) as pooler:
        url = f"{through(postgres_url, pooler)}&pgbouncer=true&channel_binding=prefer"
        async with PgPool(url) as pool:
            crm, conversations = PostgresCrm(pool), PostgresConversations(pool)
            await crm.migrate()
            await conversations.migrate()
            records = [rich_record(f"call-{n}", lead=Lead(phone="+12125550142")) for n in range(4)]
            for store in (crm, conversations):
                await asyncio.gather(*(store.apply(record) for record in records * 2))
                assert await store.differences(records) == {}
        assert pooler.forgotten > 20
