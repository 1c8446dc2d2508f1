"""A day of calls in minutes, through the front door, with all that happens on a day.

    python bench/day.py [--calls 1000] [--minutes 15] [--kill] [--calm] [--quick] [--json] [--save]

The whole service on the embedded stack, as a child in a folder of its own, and Telnyx played by
the simulator: two tracks of audio and text of each call at real speed, closers who accept, decline
or are a machine, webhooks that come late, twice and out of order, stores that hang and are killed.
At the end every call must be one record in the journal and in every store.
"""

import argparse
import asyncio
import gc
import os
import signal
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import uvloop

from agent_sidecar.adapters.bolt import Bolt, BoltAddress
from agent_sidecar.adapters.neo4j_statements import ALL_ANSWERED
from agent_sidecar.adapters.sqlite_journal import SqliteJournal
from agent_sidecar.commands.running import RunningService, started_service
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.tally import counts, scope
from agent_sidecar.domain.types import STORES
from agent_sidecar.embedded.urls import running_stack
from agent_sidecar.errors import SidecarError
from agent_sidecar.ports import CommittedRecord
from agent_sidecar.settings import Settings, read_settings
from agent_sidecar.simulator.control import ControlStub
from agent_sidecar.simulator.front_door import FrontDoor
from agent_sidecar.simulator.legs import CONNECTION_ID, OUR_NUMBER
from agent_sidecar.simulator.signing import WebhookSigner
from agent_sidecar.simulator.subscriber import HintSubscriber
from bench import _cpu
from bench._day_calls import Told, Town, make_calls, plan_day
from bench._day_faults import FAULTS, Moment, misbehave
from bench._feed import FrameFeed
from bench._report import Document, document, parser, percentiles_ms, positive, screen, tell
from bench._service import DEADLINE_S, service_environment
from bench._talk import Final

LABELS = {
    "calls": "calls",
    "calls_at_once": "at once, at most",
    "lost": "calls lost: no record, or a store without it",
    "doubled": "calls doubled: in the journal, in a store or in the counts",
    "parked": "deliveries that a store refused",
    "complete_s": "all stores complete after the last hangup, s",
    "delivery_p50_ms": "record committed to stored, p50 ms",
    "delivery_p99_ms": "  p99 ms",
    "delivery_calm_p99_ms": "  p99 ms, where nothing misbehaved",
    "delivery_max_ms": "  max ms",
    "hints": "hints on the wire",
    "p50_ms": "text in to hint on the wire, p50 ms",
    "p99_ms": "  p99 ms",
    "max_ms": "  max ms",
    "late": "  over 500 ms",
    "rss_growth_mb": "memory of the service: growth over the last two thirds, MB",
    "rss_mb": "  at the end, MB",
    "service_cpu_percent": "service: CPU % of a core",
    "stores_cpu_percent": "its stores: CPU %",
    "load_cpu_percent": "this load: CPU %",
    "webhooks": "webhooks acknowledged",
    "retries": "  tried again",
    "repeats": "  sent twice on purpose",
    "streams_lost": "media sockets lost",
    "frames_late_p99_ms": "the load's frames sent late, p99 ms",
}
CLOSER_NUMBER = "+12125550101"
_COMPLETE_S = 180.0
# the window of `rss_growth_mb`: what comes before is a service that gets warm
_LAST = 2 / 3
# a fault is over for deliveries so long after its end: the pause before a try grows meanwhile
_AFTER_S = 5.0
_POLL_S = 0.2


def main() -> None:
    given = arguments()
    if given.quick:
        given.calls, given.minutes = min(given.calls, 60), min(given.minutes, 1.3)
    load = {
        "quick": given.quick,
        "calls": given.calls,
        "minutes": given.minutes,
        "kill": given.kill,
        "seed": given.seed,
    }
    packages = ("aiohttp", "uvloop", "onnxruntime", "chromadb", "neo4j", "arcadedb-embedded")
    said = document("day", load, *packages)
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="bench-") as folder:
        try:
            said |= uvloop.run(_live(Path(folder), given))
        except* SidecarError as failures:
            raise SystemExit(f"no result: {failures.exceptions[0]}") from None
    tell(said, LABELS, given)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    made = parser(__doc__, quick="at most 60 calls in 78 s")
    made.add_argument("--calls", type=positive, default=1000)
    made.add_argument("--minutes", type=float, default=15.0)
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--kill", action="store_true", help="kill -9 the service once as well")
    made.add_argument("--calm", action="store_true", help="no store misbehaves")
    made.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="the disk to write on"
    )
    return made.parse_args(given)


class Service:
    """The service under load: one process after the other, always at the same address."""

    def __init__(self, settings: Settings, environment: dict[str, str | None], log: Path) -> None:
        self._settings = settings
        self._environment = environment
        self._log = log
        self._exits = AsyncExitStack()
        self.running: RunningService | None = None

    async def start(self) -> RunningService:
        starting = started_service(self._settings, self._environment, log_file=self._log)
        self.running = await self._exits.enter_async_context(starting)
        return self.running

    async def kill(self) -> None:
        """End it as a crash does, and start it again."""
        assert self.running is not None
        os.kill(self.running.pid, signal.SIGKILL)
        await self._exits.aclose()
        self._exits = AsyncExitStack()
        await self.start()

    async def aclose(self) -> None:
        await self._exits.aclose()


@dataclass(slots=True)
class Memory:
    """What the service's process took, second by second; of a new process from its start on."""

    service: Service
    at_mb: list[tuple[float, float]] = field(default_factory=list)
    _pid: int = 0

    async def watch(self) -> None:
        while True:
            running = self.service.running
            if running is not None:
                if running.pid != self._pid:
                    self._pid, self.at_mb = running.pid, []
                if (mb := _rss_mb(running.pid)) is not None:
                    self.at_mb.append((time.monotonic(), mb))
            await asyncio.sleep(1.0)


def growth_mb(at_mb: Sequence[tuple[float, float]]) -> float | None:
    """Return how much a straight line through the last part of it rises."""
    part = np.array(at_mb[round(len(at_mb) * (1 - _LAST)) :])
    if len(part) < 3:
        return None
    slope = np.polyfit(part[:, 0] - part[0, 0], part[:, 1], 1)[0]
    return round(float(slope * (part[-1, 0] - part[0, 0])), 1)


async def _live(folder: Path, given: argparse.Namespace) -> Document:
    signer = WebhookSigner.generate()
    told = Told()
    settings = read_settings(data_dir=folder / "data")
    seconds = given.minutes * 60
    async with AsyncExitStack() as exits:
        control = await exits.enter_async_context(ControlStub())
        port = _free_port()
        environment = service_environment(folder, signer) | {
            "SIDECAR_PORT": str(port),
            "SIDECAR_TELNYX_API_KEY": "bench",
            "SIDECAR_TELNYX_API_BASE": control.url,
            "SIDECAR_TELNYX_CONNECTION_ID": CONNECTION_ID,
            "SIDECAR_CLOSER_NUMBER": CLOSER_NUMBER,
            "SIDECAR_CALLER_NUMBER": OUR_NUMBER,
            "SIDECAR_CLOSER_WRAP_UP_S": "0",
            "SIDECAR_CLOSER_RING_S": "5",
        }
        service = Service(settings, environment, folder / "service.log")
        screen.print("[dim]starting the service[/]")
        running = await service.start()
        exits.push_async_callback(service.aclose)
        door = await exits.enter_async_context(FrontDoor(running.url))
        connector = aiohttp.TCPConnector(limit=0)
        web = await exits.enter_async_context(
            aiohttp.ClientSession(running.url, connector=connector)
        )
        feed = await exits.enter_async_context(FrameFeed.started())
        subscriber = HintSubscriber(door, told.account.hear)
        memory = Memory(service)
        happened: list[Moment] = []
        town = Town(door=door, web=web, control=control, signer=signer, feed=feed, told=told)
        gc.freeze()
        async with asyncio.TaskGroup() as beside:
            listening = beside.create_task(subscriber.run(), name="hints")
            async with asyncio.timeout(10):
                await subscriber.open.wait()
            watching = beside.create_task(memory.watch(), name="memory")
            before = _used(running.pid)
            plans = plan_day(given.calls, seconds, given.seed)
            faults = beside.create_task(
                misbehave(
                    settings.data_dir,
                    seconds,
                    () if given.calm else FAULTS,
                    service.kill if given.kill else None,
                    happened,
                ),
                name="faults",
            )
            await make_calls(plans, town)
            await faults
            used = _used(service.running.pid if service.running else 0)
            complete_s = await _complete(door, told)
            frames = await feed.report()
            for task in (listening, watching):
                task.cancel()
        took_s = used["at"] - before["at"]
        found = await _audit(settings, door, told, happened)
        _explain(found, told, folder / "service.log")
        return {
            **found,
            "complete_s": complete_s,
            **_hints(told.account.finals, happened),
            "rss_growth_mb": growth_mb(memory.at_mb),
            "rss_mb": round(memory.at_mb[-1][1], 1) if memory.at_mb else None,
            "calls_at_once": told.most_up,
            "taken": len(told.taken),
            "transfers_asked": told.transfers_asked,
            "webhooks": told.webhooks,
            "retries": told.retries,
            "repeats": told.repeats,
            "streams_lost": frames.lost,
            "frames_late_p99_ms": frames.late_p99_ms,
            **{
                # of two processes nobody knows the sum
                f"{who}_cpu_percent": None
                if given.kill
                else round(100 * (used[who] - before[who]) / took_s, 1)
                for who in ("service", "stores")
            },
            "load_cpu_percent": round(
                100 * (used["load"] - before["load"] + frames.cpu_s) / took_s, 1
            ),
            "troubles": {what: n for what, n in told.troubles.items() if n},
            "faults": [f"{m.what} {m.end - m.begin:.1f} s" for m in happened],
        }


def _used(pid: int) -> dict[str, float]:
    stores = _cpu.family(pid)[1:]
    return {
        "at": time.monotonic(),
        "service": _cpu.used_s(pid),
        "stores": _cpu.used_s(*stores),
        "load": time.process_time(),
    }


async def _complete(door: FrontDoor, told: Told) -> float | None:
    """Wait until nothing is left to deliver; return how long after the last hangup that was."""
    until = time.monotonic() + _COMPLETE_S
    while time.monotonic() < until:
        try:
            rows = await door.stores()
        except SidecarError:
            rows = []
        if rows and all(_is_complete(row["deliveries"], len(told.taken)) for row in rows):
            return round(time.monotonic() - told.last_hangup_at, 1)
        await asyncio.sleep(_POLL_S)
    return None


def _is_complete(deliveries: dict[str, int], calls: int) -> bool:
    return deliveries["pending"] == 0 and deliveries["delivered"] + deliveries["parked"] >= calls


# --- what the stores hold -------------------------------------------------------------------------


async def _audit(
    settings: Settings, door: FrontDoor, told: Told, happened: Sequence[Moment]
) -> Document:
    """Compare what was called with what was kept, everywhere."""
    journal = await SqliteJournal.open(settings.data_dir / "journal.sqlite3", read_only=True)
    try:
        kept = [one async for batch in journal.records() for one in batch]
    finally:
        await journal.aclose()
    verified = await door.verify()
    stores = {row["store"]: row["counts"] for row in await door.stores()}
    by_leg = Counter(leg.leg_id for one in kept for leg in one.record.legs)
    delivered = {
        leg.leg_id
        for one in kept
        if all(one.deliveries[store].state == "delivered" for store in STORES)
        for leg in one.record.legs
    }
    known = {
        "conversations": stores["conversations"]["conversations"],
        "postgres": stores["postgres"]["calls"],
        "neo4j": stores["neo4j"]["calls"],
    }
    lost = [leg_id for leg_id in told.legs if leg_id not in delivered]
    doubled = sum(max(0, by_leg[leg_id] - 1) for leg_id in told.legs)
    doubled += sum(max(0, rows - len(kept)) for rows in known.values())
    doubled += await _miscounted(settings, [one.record for one in kept])
    return {
        "lost": len(lost),
        "doubled": doubled,
        "records": len(kept),
        "verify_clean": verified.clean,
        "differences": verified.differences[:10],
        "known": known,
        "parked": sum(d.state == "parked" for one in kept for d in one.deliveries.values()),
        # how calls were to end, and how they did by the record
        "outcomes": dict(
            Counter(
                f"{told.legs[leg.leg_id]}: {one.record.outcome.final_status}"
                for one in kept
                for leg in one.record.legs
                if leg.leg_id in told.legs
            )
        ),
        "transfers": dict(Counter(a.outcome for one in kept for a in one.record.transfers)),
        "interrupted": sum(one.record.interrupted for one in kept),
        **_deliveries(kept, happened),
    }


async def _miscounted(settings: Settings, records: Sequence[CallRecord]) -> int:
    """Return how many of the graph's counts are not the sum over these calls."""
    expected: dict[tuple[str, str], list[int]] = {}
    for record in records:
        for count in counts(record):
            if count.counter == "answered":
                context, kind, strategy = count.key
                key = (scope(context, kind), strategy)
                sums = zip(expected.get(key, [0] * 5), count.amounts, strict=True)
                expected[key] = [a + b for a, b in sums]
    urls = running_stack(settings.data_dir)
    assert urls is not None, "the service runs"
    address = BoltAddress(
        url=urls.neo4j or "", user=urls.neo4j_user or "", password=urls.neo4j_password or ""
    )
    async with Bolt(address) as bolt:
        rows = await bolt.read(ALL_ANSWERED)
    names = ("tried", "lifted", "sunk", "won", "hinted")
    found: dict[Any, list[int]] = {
        (row["scope"], row["strategy"]): [row["properties"][name] for name in names]  # type: ignore[index]
        for row in rows
    }
    return sum(found.get(key) != expected.get(key) for key in found.keys() | expected.keys())


def _deliveries(kept: Sequence[CommittedRecord], happened: Sequence[Moment]) -> Document:
    """Return how long records took to each store from their commit."""
    took_s: list[float] = []
    calm_s: list[float] = []
    for one in kept:
        at = one.committed_at.timestamp()
        for status in one.deliveries.values():
            if status.delivered_at is None:
                continue
            one_s = status.delivered_at.timestamp() - at
            took_s.append(one_s)
            if not any(m.begin - _AFTER_S < at < m.end + _AFTER_S for m in happened):
                calm_s.append(one_s)
    return {
        **percentiles_ms("delivery_", took_s, 50, 99),
        **percentiles_ms("delivery_calm_", calm_s, 99),
        "delivery_max_ms": round(1000 * max(took_s), 1) if took_s else None,
    }


def _hints(finals: Sequence[Final], happened: Sequence[Moment]) -> Document:
    """Return how long hints took; a service that was killed answers nothing meanwhile."""
    away = [m for m in happened if m.what.startswith("service")]
    shift = time.time() - time.monotonic()
    served = [
        f for f in finals if not any(m.begin - 1 < f.sent_at + shift < m.end + 2 for m in away)
    ]
    hints = [f.hint_s for f in served if f.hint_s is not None and not _is_unasked(f)]
    return {
        "finals": len(finals),
        "hints": len(hints),
        **percentiles_ms("", hints, 50, 99),
        "max_ms": round(1000 * max(hints), 1) if hints else None,
        "late": sum(hint > DEADLINE_S for hint in hints),
        "degraded_hints": sum(bool(f.degraded) for f in served),
    }


def _is_unasked(final: Final) -> bool:
    """Tell a hint that came of a transfer's end, not of words: it was ready when it was decided."""
    return (final.hint_s or 0.0) - (final.score_s or 0.0) > 2 * DEADLINE_S and not final.inside_ms


def _explain(found: Document, told: Told, log: Path) -> None:
    """Say on stderr what a number alone would hide."""
    if found["lost"] or found["doubled"] or found["parked"] or not found["verify_clean"]:
        screen.print(f"[red]{found}[/]")
        screen.print(f"troubles: {dict(told.troubles)}")
        kept = Path(tempfile.gettempdir()) / "day-service.log"
        kept.write_bytes(log.read_bytes())
        screen.print(f"the service's log: {kept}")


def _rss_mb(pid: int) -> float | None:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    line = next((one for one in status.splitlines() if one.startswith("VmRSS:")), None)
    return None if line is None else int(line.split()[1]) / 1024


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


if __name__ == "__main__":
    main()
