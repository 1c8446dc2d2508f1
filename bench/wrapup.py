"""Records a second through journal and relay to all four stores, against the drivers alone.

    python bench/wrapup.py [--quick] [--json] [--save]

Both sides write the same records in alternating rounds, each to an embedded stack of its own: ours
from the commit to the last acknowledgement, the drivers from the first batch to the last answer.
At the end every store of both is compared with every record, and the counts of both graphs with
each other. Then records are committed while 100 live calls write to the same journal.
"""

import argparse
import asyncio
import gc
import random
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import uvloop

from agent_sidecar.adapters.bolt import Bolt, BoltAddress
from agent_sidecar.adapters.chroma_client import ChromaServer
from agent_sidecar.adapters.chroma_index import ChromaIndex
from agent_sidecar.adapters.neo4j_graph import Neo4jGraph
from agent_sidecar.adapters.neo4j_statements import ALL_ANSWERED
from agent_sidecar.adapters.pg import PgPool
from agent_sidecar.adapters.postgres_conversations import PostgresConversations
from agent_sidecar.adapters.postgres_crm import PostgresCrm
from agent_sidecar.adapters.sqlite_journal import SqliteJournal
from agent_sidecar.clock import SystemClock
from agent_sidecar.domain.events import LineEmbedded, LineHeard
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.types import STORES, CallId, LegId
from agent_sidecar.embedded import Stack, StackUrls
from agent_sidecar.ports import Journal, Projection, ReceivedWebhook
from agent_sidecar.wrapup.relay import Relay, Settled
from bench import _cpu
from bench._raw import Batch, RawStores, batches
from bench._records import finished_records
from bench._report import (
    Document,
    document,
    medians,
    parser,
    percentiles_ms,
    positive,
    screen,
    tell,
)

LABELS = {
    "records": "records a round",
    "records_s": "journal and relay to all four stores, records/s",
    "raw_records_s": "the drivers alone, records/s",
    "ratio_raw": "  ours / the drivers",
    "cpu_ms": "  ours: CPU ms a record, stores included",
    "raw_cpu_ms": "  the drivers: CPU ms a record",
    "raw_same": "both sides stored the same",
    "commit_p99_ms": "a record on disk beside live calls, p99 ms",
    "commit_p50_ms": "  p50 ms",
    "write_p99_ms": "a webhook or line on disk meanwhile, p99 ms",
}
# of --alone
ALONE = {
    f"{side}{store}_s": f"{store} by itself, {who}, records/s"
    for store in STORES
    for side, who in (("", "ours"), ("raw_", "the driver"))
}
# lines of a live call come so far apart, its webhooks in such numbers
_LINE_S, _INTERIMS = 6.0, 3
# records are committed so often meanwhile: 100 calls of 40 s each end so
_COMMIT_S = 0.4
_SETTLE_S = 120.0


def main() -> None:
    given = arguments()
    if given.quick:
        given.records, given.rounds = min(given.records, 150), min(given.rounds, 2)
        given.seconds = min(given.seconds, 8)
    load = {
        "quick": given.quick,
        "records": given.records,
        "rounds": given.rounds,
        "batch": given.batch,
        "live": given.live,
    }
    said = document("wrapup", load, "asyncpg", "neo4j", "chromadb", "pymongo", "arcadedb-embedded")
    screen.print("[dim]making records[/]")
    # one round more: nothing is warm in the first
    made = finished_records(given.records * (given.rounds + 1) + given.spare, seed=given.seed)
    # so many records would slow down every collection of both sides
    gc.freeze()
    said |= uvloop.run(_measure(given, *made))
    tell(said, LABELS | (ALONE if given.alone else {}), given)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    made = parser(__doc__, quick="150 records a round, two rounds, 8 s of live calls")
    made.add_argument("--records", type=positive, default=500, help="a round and side")
    made.add_argument("--rounds", type=positive, default=5, help="measured, each side in turn")
    made.add_argument("--batch", type=positive, default=100, help="of the drivers")
    made.add_argument("--live", type=positive, default=100, help="calls that write meanwhile")
    made.add_argument("--seconds", type=positive, default=60, help="of live calls")
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--alone", action="store_true", help="then each store by itself as well")
    said = made.parse_args(given)
    said.spare = 150
    return said


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One embedded stack and our adapters on it."""

    urls: StackUrls
    stack: Stack
    graph: Bolt
    projections: tuple[Projection, ...]

    def cpu_s(self) -> float:
        """Return the CPU seconds of this process and of this side's servers."""
        own = time.process_time()
        pids = [pid for server in self.stack.pids().values() for pid in _cpu.family(server)]
        return own + _cpu.used_s(*pids)


async def _measure(
    given: argparse.Namespace, records: list[CallRecord], model: str, dimension: int
) -> Document:
    async with AsyncExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        screen.print("[dim]starting two stacks[/]")
        ours = await exits.enter_async_context(_side(folder / "ours", model, dimension))
        theirs = await exits.enter_async_context(_side(folder / "raw", model, dimension))
        raw = await RawStores.connect(theirs.urls)
        exits.push_async_callback(raw.aclose)
        journal = await SqliteJournal.open(folder / "journal.sqlite3")
        exits.push_async_callback(journal.aclose)
        line = _Line(journal, ours)
        rounds: list[Document] = []
        for number in range(given.rounds + 1):
            share = records[number * given.records : (number + 1) * given.records]
            made = batches(share, given.batch)
            said = await _round(line, ours, theirs, raw, (share, made), ours_first=number % 2 == 0)
            screen.print(f"[dim]{said}[/]")
            rounds.append(said)
        said = medians(rounds[1:])
        stored = records[: given.records * (given.rounds + 1)]
        said["raw_same"] = await _compare(ours, theirs, stored)
        if given.alone:
            said |= await _alone(ours, raw, records[-given.spare :], given.batch)
        said |= await _beside_live_calls(line, records[-given.spare :], given)
        return said


@asynccontextmanager
async def _side(folder: Path, model: str, dimension: int) -> AsyncIterator[Side]:
    stack = Stack(folder, only=("postgres", "graph", "chroma"))
    urls = await stack.start()
    try:
        address = BoltAddress(
            url=urls.neo4j or "", user=urls.neo4j_user or "", password=urls.neo4j_password or ""
        )
        async with (
            PgPool(urls.postgres or "") as pool,
            Bolt(address, serialize_writes=True) as bolt,
            ChromaServer(urls.chroma or "", model=model, dimension=dimension) as chroma,
        ):
            projections = (
                PostgresConversations(pool),
                PostgresCrm(pool),
                Neo4jGraph(bolt),
                ChromaIndex(chroma),
            )
            for projection in projections:
                await projection.migrate()
            yield Side(urls=urls, stack=stack, graph=bolt, projections=projections)
    finally:
        await stack.aclose()


class _Line:
    """Our way: a record is committed, and has arrived when every store acknowledged it."""

    def __init__(self, journal: Journal, side: Side) -> None:
        self.commit_s: list[float] = []
        self._journal = journal
        self._left = 0
        self._done = asyncio.Event()
        self.relay = Relay(journal, side.projections, SystemClock(), on_settled=self._settle)

    async def carry(self, records: Sequence[CallRecord]) -> None:
        """Commit all, and wait until every store has every one."""
        self._left = len(records) * len(STORES)
        self._done.clear()
        running = asyncio.create_task(self.relay.run(), name="relay")
        await asyncio.gather(*(self.commit(record) for record in records))
        async with asyncio.timeout(_SETTLE_S):
            await self._done.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    async def commit(self, record: CallRecord) -> None:
        asked = time.perf_counter()
        await self._journal.commit(record)
        self.commit_s.append(time.perf_counter() - asked)
        self.relay.wake()

    def _settle(self, settled: Settled) -> None:
        if settled.state == "parked":
            raise SystemExit(f"no result: {settled.store} refused a record: {settled.error}")
        if settled.state == "delivered":
            self._left -= 1
            if self._left == 0:
                self._done.set()


async def _round(
    line: _Line,
    ours: Side,
    theirs: Side,
    raw: RawStores,
    work: tuple[Sequence[CallRecord], Sequence[Batch]],
    *,
    ours_first: bool,
) -> Document:
    share, made = work
    said: Document = {}

    async def carry() -> None:
        cpu_s, began = ours.cpu_s(), time.perf_counter()
        await line.carry(share)
        said["records_s"] = round(len(share) / (time.perf_counter() - began), 1)
        said["cpu_ms"] = round(1000 * (ours.cpu_s() - cpu_s) / len(share), 2)

    async def write() -> None:
        cpu_s, began = theirs.cpu_s(), time.perf_counter()
        await raw.write(made)
        said["raw_records_s"] = round(len(share) / (time.perf_counter() - began), 1)
        said["raw_cpu_ms"] = round(1000 * (theirs.cpu_s() - cpu_s) / len(share), 2)

    for side in (carry, write) if ours_first else (write, carry):
        await side()
    return said | {"ratio_raw": round(said["records_s"] / said["raw_records_s"], 3)}


async def _compare(ours: Side, theirs: Side, records: Sequence[CallRecord]) -> bool:
    """Compare what both sides hold. Raises SystemExit: then nothing that was measured counts."""
    for side, name in ((ours, "ours"), (theirs, "the drivers")):
        for projection in side.projections:
            for call_id, wrong in (await projection.differences(records)).items():
                raise SystemExit(f"no result: {name}: {projection.store}: {call_id}: {wrong}")
    for mine, other in zip(ours.projections, theirs.projections, strict=True):
        if await mine.counts() != await other.counts():
            raise SystemExit(
                f"no result: {mine.store}: {await mine.counts()}, not {await other.counts()}"
            )
    counted = [await _answered(side) for side in (ours, theirs)]
    if counted[0] != counted[1]:
        raise SystemExit("no result: the counts in the two graphs differ")
    return True


async def _answered(side: Side) -> Mapping[tuple[object, object], object]:
    rows = await side.graph.read(ALL_ANSWERED)
    kept = ("tried", "lifted", "sunk", "won", "hinted")
    return {
        (row["scope"], row["strategy"]): [row["properties"][name] for name in kept]  # type: ignore[index]
        for row in rows
    }


async def _alone(ours: Side, raw: RawStores, records: Sequence[CallRecord], batch: int) -> Document:
    """Return what each store takes when no other writes, by either way."""
    said: Document = {}
    fresh = [replace(record, call_id=CallId(str(uuid4()))) for record in records]
    for projection in ours.projections:
        began = time.perf_counter()
        for start in range(0, len(fresh), 50):
            await projection.apply_all(fresh[start : start + 50])
        said[f"{projection.store}_s"] = round(len(fresh) / (time.perf_counter() - began), 1)
        made = batches(fresh, batch)
        began = time.perf_counter()
        await raw.write_to(projection.store, made)
        said[f"raw_{projection.store}_s"] = round(len(fresh) / (time.perf_counter() - began), 1)
    return said


async def _beside_live_calls(
    line: _Line, records: Sequence[CallRecord], given: argparse.Namespace
) -> Document:
    """Commit and deliver records while calls are up that write their lines and webhooks."""
    written_s: list[float] = []
    line.commit_s.clear()
    until = time.monotonic() + given.seconds
    async with asyncio.TaskGroup() as tasks:
        relay = tasks.create_task(line.relay.run(), name="relay")
        for number in range(given.live):
            call = _LiveCall(line, CallId(f"live-{number}"), written_s)
            tasks.create_task(call.talk(until), name=f"call:{number}")
        while time.monotonic() < until:
            record = random.choice(records)  # noqa: S311
            tasks.create_task(
                line.commit(replace(record, call_id=CallId(str(uuid4())))), name="commit"
            )
            await asyncio.sleep(_COMMIT_S)
        relay.cancel()
    return {
        **percentiles_ms("commit_", line.commit_s, 50, 99),
        **percentiles_ms("write_", written_s, 50, 99),
    }


class _LiveCall:
    """What a call writes to the journal: each line with its webhooks, every few seconds."""

    def __init__(self, line: _Line, call_id: CallId, written_s: list[float]) -> None:
        self._journal = line._journal  # noqa: SLF001  # of the same module
        self._call_id = call_id
        self._written_s = written_s

    async def talk(self, until: float) -> None:
        await asyncio.sleep(random.random() * _LINE_S)  # noqa: S311
        number = 0
        while time.monotonic() < until:
            number += 1
            for _ in range(_INTERIMS):
                await self._timed(self._journal.receive(self._webhook()))
                await asyncio.sleep(0.4)
            heard = LineHeard(
                line_id=f"line-{number}",
                at=datetime.now(UTC),
                party="prospect",
                text="I cannot afford to put money into something that may not come back.",
                is_final=True,
            )
            embedded = LineEmbedded(line_id=heard.line_id, vector=bytes(4 * 384))
            await asyncio.gather(
                self._timed(self._journal.receive(self._webhook())),
                self._timed(self._journal.append(self._call_id, heard)),
                self._timed(self._journal.append(self._call_id, embedded)),
            )
            await asyncio.sleep(_LINE_S - 0.4 * _INTERIMS)

    async def _timed(self, written: Awaitable[None]) -> None:
        asked = time.perf_counter()
        await written
        self._written_s.append(time.perf_counter() - asked)

    def _webhook(self) -> ReceivedWebhook:
        return ReceivedWebhook(
            event_id=str(uuid4()),
            event_type="call.transcription",
            leg_id=LegId(f"v3:{self._call_id}"),
            received_at=datetime.now(UTC),
            body=bytes(700),
        )


if __name__ == "__main__":
    main()
