"""The tables of learning metrics on a real PostgreSQL: the beast-mode score."""

from collections.abc import AsyncIterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from agent_sidecar.adapters.pg import PgPool
from agent_sidecar.adapters.postgres_crm import PostgresCrm

pytestmark = pytest.mark.contract

SCORE = "SELECT calculate_beast_mode_score($1)"


class Tables:
    """The tables, past the adapter."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection

    async def score(self, on: date) -> Any:
        return await self._connection.fetchval(SCORE, on)

    async def day(self, day: int, rate: float | None, *, calls: int = 10) -> date:
        """Write a day, counted from the first; return its date."""
        on = date(2026, 1, 1) + timedelta(days=day)
        await self._connection.execute(
            "INSERT INTO learning_metrics (metric_date, total_calls, qualified_rate)"
            " VALUES ($1, $2, $3)",
            on,
            calls,
            None if rate is None else Decimal(str(rate)),
        )
        return on


@pytest_asyncio.fixture
async def tables(postgres_url: str, gated_postgres_url: str) -> AsyncIterator[Tables]:
    async with PgPool(gated_postgres_url) as pool:
        await PostgresCrm(pool).migrate()
    connection = await asyncpg.connect(postgres_url)
    yield Tables(connection)
    await connection.close()


async def test_the_score_is_against_the_mean_of_the_first_thirty_days_with_calls(tables: Tables):
    for day in range(30):
        await tables.day(day, 10 if day % 2 else 30)
    await tables.day(30, 99, calls=0)
    days = [await tables.day(40 + index, rate) for index, rate in enumerate((10, 20, 40, 90))]
    assert [await tables.score(day) for day in days] == [
        Decimal("2.50"),
        Decimal("5.00"),
        Decimal("10.00"),
        Decimal("10.00"),
    ]


async def test_without_a_baseline_or_a_rate_there_is_no_score(tables: Tables):
    assert await tables.score(date(2026, 1, 1)) is None
    assert await tables.score(await tables.day(0, 0)) is None
    assert await tables.score(await tables.day(1, None)) is None
    # the mean of both days is 20
    assert await tables.score(await tables.day(2, 40)) == Decimal("10.00")


async def test_a_mean_that_cannot_be_written_down_turns_no_digit(tables: Tables):
    days = [await tables.day(number, rate) for number, rate in enumerate((13.4, 13.3, 13.3))]
    # exactly 5.025
    assert await tables.score(days[0]) == Decimal("5.03")
