"""One suite for `learning.metrics.DailyMetrics`: on the fake and on a real PostgreSQL."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest
import pytest_asyncio

from agent_sidecar.adapters.pg import PgPool
from agent_sidecar.adapters.postgres_crm import PostgresCrm
from agent_sidecar.adapters.postgres_metrics import PostgresMetrics
from agent_sidecar.domain.metrics import LearningDay
from agent_sidecar.domain.record import CallRecord, FinalStatus, Outcome
from agent_sidecar.domain.types import Source
from agent_sidecar.errors import StoreUnavailable
from agent_sidecar.learning.metrics import DailyMetrics, LearningMetrics
from agent_sidecar.ports import Projection
from tests.builders import rich_record, rich_transfer, stranger_record
from tests.contract.gate import Gate
from tests.fake_metrics import FakeDailyMetrics
from tests.fakes import FakeProjection

pytestmark = pytest.mark.contract

FIRST = datetime(2026, 1, 5, 15, 0, tzinfo=UTC)
EASTERN = ZoneInfo("America/New_York")
INSERT = """
INSERT INTO calls (call_id, start_time, final_status, qualified, kevin_available)
VALUES ($1, $2, 'follow_up', $3, false)
"""
SCORES = "SELECT metric_date, calculate_beast_mode_score(metric_date) FROM learning_metrics"


@dataclass
class SetClock:
    """Shows what a test sets."""

    at: datetime

    def now(self) -> datetime:
        return self.at


class House:
    """Calls in a store, and the metrics of them."""

    def __init__(self, calls: Projection, table: DailyMetrics) -> None:
        self.clock = SetClock(FIRST + timedelta(days=100))
        self.calls = calls
        self.table = table
        self.metrics = self.metrics_in(ZoneInfo("UTC"))

    def metrics_in(self, zone: ZoneInfo) -> LearningMetrics:
        return LearningMetrics(self.table, self.clock, zone)

    async def keep(self, *records: CallRecord) -> None:
        await self.calls.apply_all(records)

    async def rows(self) -> dict[date, LearningDay]:
        """Refresh, and return what is there then."""
        await self.metrics.refresh()
        return {day.metric_date: day for day in await self.table.days()}

    async def row(self) -> LearningDay:
        (row,) = (await self.rows()).values()
        return row

    async def erase(self, call_id: str) -> None:
        raise NotImplementedError


class FakeHouse(House):
    def __init__(self) -> None:
        self._held = FakeProjection("postgres")
        self._table = FakeDailyMetrics(self._held)
        super().__init__(self._held, self._table)

    async def erase(self, call_id: str) -> None:
        self._held.held = {k: r for k, r in self._held.held.items() if k != call_id}


class RealHouse(House):
    def __init__(self, pool: PgPool, past: "asyncpg.Connection[asyncpg.Record]") -> None:
        super().__init__(PostgresCrm(pool), PostgresMetrics(pool))
        # past the adapters
        self.past = past

    async def erase(self, call_id: str) -> None:
        await self.past.execute("DELETE FROM calls WHERE call_id = $1", call_id)

    async def scores(self) -> dict[date, Any]:
        """Return what the function in the database says of each day."""
        return {row[0]: row[1] for row in await self.past.fetch(SCORES)}


@pytest.fixture
def is_pooled() -> bool:
    """Go without PgBouncer: a fixture that asks for others by their names gets no parameters."""
    return False


@pytest_asyncio.fixture
async def real(gated_postgres_url: str, postgres_url: str) -> AsyncIterator[RealHouse]:
    async with PgPool(gated_postgres_url) as pool:
        await PostgresCrm(pool).migrate()
        past = await asyncpg.connect(postgres_url)
        yield RealHouse(pool, past)
        await past.close()


@pytest.fixture(params=["fake", "postgres"])
def house(request: pytest.FixtureRequest) -> House:
    if request.param == "fake":
        return FakeHouse()
    found: RealHouse = request.getfixturevalue("real")
    return found


def call(
    call_id: str,
    *,
    day: int = 0,
    status: FinalStatus = "disqualified",
    qualified: bool | None = False,
    **changes: object,
) -> CallRecord:
    """Return a call of two minutes that ended so, on that day."""
    started_at = FIRST + timedelta(days=day)
    record = stranger_record(
        call_id,
        started_at=started_at,
        ended_at=started_at + timedelta(seconds=120),
        outcome=Outcome(final_status=status, result="callback", qualified=qualified),
    )
    return replace(record, **changes)  # type: ignore[arg-type]  # fields by name


def won(call_id: str, **changes: Any) -> CallRecord:
    return call(call_id, status="video_sent", qualified=True, **changes)


def on(day: int) -> date:
    return (FIRST + timedelta(days=day)).date()


async def test_nothing_is_made_of_nothing(house: House):
    assert await house.rows() == {}
    assert (await house.metrics.report(30)).to_json()["today"] == {
        "metric_date": "2026-04-15",
        "total_calls": 0,
        "qualified_rate": None,
        "avg_engagement_score": None,
        "transfer_success_rate": None,
        "pattern_recognition_accuracy": None,
        "beast_mode_score": None,
    }


async def test_a_day_tells_of_its_calls(house: House):
    rich = rich_record("rich", started_at=FIRST)
    failed = rich_transfer("twice", 1, bridged_at=None, completed_at=None, outcome="declined")
    await house.keep(
        rich,
        rich_record("twice", started_at=FIRST, transfers=(failed, rich_transfer("twice", 2))),
        call("a", engagement=11.11),
        call("b", engagement=None),
    )
    assert await house.row() == LearningDay(
        metric_date=on(0),
        total_calls=4,
        qualified_rate=Decimal("50.00"),
        # two rich ones of 82.25, and 11.11: 58.5366…
        avg_engagement_score=Decimal("58.54"),
        transfer_success_rate=Decimal("66.67"),
        pattern_recognition_accuracy=Decimal("100.00"),
        beast_mode_score=Decimal("5.00"),
    )


@pytest.mark.parametrize(("source", "counts"), [("live", 1), ("import", 1), ("replay", 0)])
async def test_only_live_and_imported_calls_count(house: House, source: Source, counts: int):
    await house.keep(won("a", source=source), call("b", source="demo"))
    rows = (await house.rows()).values()
    assert [row.total_calls for row in rows] == [1] * counts


async def test_calls_that_nobody_or_a_machine_answered_are_not_of_the_total(house: House):
    machine = call("m", status="no_answer", qualified=None, answered_at=FIRST, engagement=50.0)
    await house.keep(machine, call("n", status="no_answer", qualified=None))
    assert await house.row() == LearningDay(metric_date=on(0))
    await house.keep(won("a"))
    assert (await house.row()).qualified_rate == Decimal("100.00")


async def test_an_unknown_end_counts_once_it_is_known_or_a_day_old(house: House):
    unknown = call("u", status="unknown", qualified=None)
    await house.keep(unknown, won("a"))
    house.clock.at = unknown.ended_at + timedelta(hours=23, minutes=59)
    assert (await house.row()).total_calls == 2
    assert (await house.row()).qualified_rate == Decimal("100.00")
    house.clock.at = unknown.ended_at + timedelta(hours=24)
    assert (await house.row()).qualified_rate == Decimal("50.00")
    # what a person says later counts all the same
    await house.keep(won("u"))
    assert (await house.row()).qualified_rate == Decimal("100.00")


async def test_twice_changes_nothing(house: House):
    await house.keep(won("a"), call("b", day=1))
    assert await house.metrics.refresh() == 2
    assert await house.metrics.refresh() == 0
    # a record that comes again is none that changed
    await house.keep(won("a"))
    assert await house.metrics.refresh() == 0


async def test_a_corrected_old_call_changes_its_day_and_what_all_days_are_compared_with(
    house: House,
):
    await house.keep(*(won(f"a{n}", day=n) for n in range(4)), call("b", day=0))
    assert [str(row.beast_mode_score) for row in (await house.rows()).values()] == [
        "2.86",
        *["5.71"] * 3,
    ]
    await house.keep(won("b", day=0))
    rows = await house.rows()
    assert rows[on(0)].qualified_rate == Decimal("100.00")
    assert {str(row.beast_mode_score) for row in rows.values()} == {"5.00"}


async def test_records_that_come_days_late_are_found_in_their_days(house: House):
    await house.keep(won("new", day=50))
    await house.rows()
    await house.keep(call("late", day=3), won("later", day=3), won("latest", day=20))
    rows = await house.rows()
    assert {day: str(row.qualified_rate) for day, row in rows.items()} == {
        on(3): "50.00",
        on(20): "100.00",
        on(50): "100.00",
    }


async def test_an_erased_call_is_gone_from_its_day_and_with_the_last_the_row(house: House):
    await house.keep(won("a"), call("b"), won("c", day=1))
    await house.rows()
    await house.erase("b")
    assert (await house.rows())[on(0)].qualified_rate == Decimal("100.00")
    await house.erase("a")
    assert list(await house.rows()) == [on(1)]


async def test_a_closed_day_stands_when_its_calls_are_removed(house: House):
    await house.keep(won("a"), call("b"), won("c", day=1))
    # what is not counted yet is, first
    await house.metrics.close([FIRST])
    await house.erase("a")
    await house.erase("b")
    await house.keep(call("d", day=1))
    rows = await house.rows()
    assert (rows[on(0)].total_calls, rows[on(0)].qualified_rate) == (2, Decimal("50.00"))
    assert {str(row.beast_mode_score) for row in rows.values()} == {"5.00"}


async def test_a_day_begins_and_ends_where_the_business_is(house: House):
    # eight in the evening of the day before, in New York
    evening = datetime(2026, 1, 6, 1, 0, tzinfo=UTC)
    await house.keep(call("a", started_at=evening, ended_at=evening))
    assert list(await house.rows()) == [date(2026, 1, 6)]
    eastern = house.metrics_in(EASTERN)
    assert await eastern.refresh() == 2
    assert [row.metric_date for row in await house.table.days()] == [date(2026, 1, 5)]
    house.clock.at = evening
    assert (await eastern.report(1)).today.total_calls == 1


async def test_two_at_once_make_each_row_once(house: House):
    await house.keep(*(won(f"a{n}", day=n) for n in range(10)))
    changed = await asyncio.gather(*(house.metrics.refresh() for _ in range(4)))
    assert sorted(changed) == [0, 0, 0, 10]


async def test_the_report_has_the_days_asked_for_and_what_they_are_compared_with(house: House):
    quarter = [won("q"), call("r"), call("s"), call("t")]
    await house.keep(*quarter, won("a", day=1), call("b", day=1), won("c", day=3), won("d", day=4))
    house.clock.at = FIRST + timedelta(days=4, hours=1)
    await house.metrics.refresh()
    report = (await house.metrics.report(4)).to_json()
    days: Sequence[Any] = report["days"]  # type: ignore[assignment]
    assert [day["metric_date"] for day in days] == ["2026-01-06", "2026-01-08", "2026-01-09"]
    assert report["today"] == days[-1]
    assert report["baseline"] == {
        # of 25, 50, 100 and 100
        "qualified_rate": 68.75,
        "days": 4,
        "complete": False,
        "first": "2026-01-05",
        "last": "2026-01-09",
    }
    # that of yesterday: today goes on
    assert (report["score_date"], report["beast_mode_score"]) == ("2026-01-08", 7.27)
    trend: Any = report["trend"]
    assert trend["qualified_rate"] == {"recent": 58.33, "before": None, "change": None}
    assert trend["transfer_success_rate"] is None


async def test_the_function_in_the_database_agrees_to_the_digit(real: RealHouse):
    luck = random.Random(11)  # noqa: S311  # no secret
    for number in range(45):
        rate, day = luck.random(), FIRST + timedelta(days=number + number // 7)
        calls = [(f"{number}:{n}", day, luck.random() < rate) for n in range(luck.randint(1, 60))]
        await real.past.executemany(INSERT, calls)
        if number % 9 == 0 or number > 40:
            rows = await real.rows()
            assert {on: row.beast_mode_score for on, row in rows.items()} == await real.scores()
    assert len({row.beast_mode_score for row in rows.values()}) > 20


async def test_a_store_that_is_down_is_told_and_later_everything_is_made_up_for(
    real: RealHouse, postgres_gate: Gate
):
    await real.keep(won("a"))
    await postgres_gate.shut()
    with pytest.raises(StoreUnavailable):
        await real.metrics.refresh()
    await postgres_gate.open()
    assert (await real.row()).total_calls == 1


async def test_rows_of_somebodys_own_sql_may_lack_status_and_end(real: RealHouse):
    await real.past.execute(
        "INSERT INTO calls (call_id, start_time, kevin_available) VALUES ('x', $1, false)", FIRST
    )
    real.clock.at = FIRST + timedelta(hours=1)
    assert (await real.row()).qualified_rate is None
    real.clock.at = FIRST + timedelta(days=1)
    assert await real.row() == LearningDay(
        metric_date=on(0), total_calls=1, qualified_rate=Decimal("0.00")
    )
