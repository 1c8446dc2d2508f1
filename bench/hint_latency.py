"""From the words to the hint: how long the whole service takes while many calls talk to it.

Starts the service on the embedded stack in a folder of its own, lets simulated prospects talk
through its front door (signed webhooks on kept-alive connections, audio of both tracks) and takes
the time from sending a final line to receiving its hint, both by the clock of this process. The
load, the service and its stores share this machine.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import uvloop

from agent_sidecar.commands.running import started_service
from agent_sidecar.errors import SidecarError
from agent_sidecar.settings import read_settings
from agent_sidecar.simulator.front_door import FrontDoor
from agent_sidecar.simulator.signing import WebhookSigner
from agent_sidecar.simulator.subscriber import HintSubscriber
from bench import _cpu
from bench._faults import Fault, FaultyStack, faulty_stack
from bench._feed import FrameFeed
from bench._history import copy_history, kept_history
from bench._report import (
    KEPT,
    Document,
    document,
    medians,
    parser,
    percentiles_ms,
    positive,
    screen,
    tell,
)
from bench._service import DEADLINE_S, service_environment
from bench._streams import Report
from bench._talk import RAMP_S, Account, Final, Talk
from bench._usual import usual_ms

LABELS = {
    "calls": "calls at once",
    "seconds": "seconds measured",
    "finals": "final lines of prospects",
    "hints": "hints on the wire",
    "late": "late: over 500 ms, or given up inside",
    "p50_ms": "text in to hint on the wire, p50 ms",
    "p95_ms": "  p95 ms",
    "p99_ms": "  p99 ms",
    "max_ms": "  max ms",
    "inside_p50_ms": "of it, as the service measures it, p50 ms",
    "inside_p99_ms": "  p99 ms",
    "score_p50_ms": "text in to score on the wire, p50 ms",
    "score_p99_ms": "  p99 ms",
    "answer_p50_ms": "score to hint (retrieved, ranked), p50 ms",
    "answer_p99_ms": "  p99 ms",
    "ack_p50_ms": "webhook answered (line on disk), p50 ms",
    "ack_p99_ms": "  p99 ms",
    "degraded_hints": "hints that lacked a store",
    "unanswered": "webhooks not answered 200 in 2 s",
    "refused_calls": "calls not taken",
    "frames_sent": "media frames sent",
    "streams_lost": "media sockets lost",
    "service_lag_p99_ms": "service: event loop late, p99 ms",
    "service_cpu_percent": "service: CPU % of a core",
    "stores_cpu_percent": "its stores: CPU %",
    "load_cpu_percent": "this load: CPU %",
    "others_cpu_percent": "everybody else on this machine: CPU %",
    "lost": "given up by the service at its deadline",
    "fault_finals": "while the store misbehaved: final lines",
    "fault_hints": "  hints on the wire",
    "fault_p50_ms": "  text in to hint, p50 ms",
    "fault_p99_ms": "  p99 ms",
    "fault_max_ms": "  max ms",
    "fault_late": "  over 500 ms on the wire",
    "recovery_s": "from the store's return to the last hint without it, s",
    "usual_p50_ms": "the usual way, one question at a time, p50 ms",
    "usual_p99_ms": "  p99 ms",
    "ratio_usual": "  its p50 / ours",
    "send_late_p99_ms": "the load's lines sent late, p99 ms",
    "frames_late_p99_ms": "the load's frames sent late, p99 ms",
}
_WORST = (
    "late",
    "late_on_the_wire",
    "late_inside",
    "lost",
    "unanswered",
    "refused_calls",
    "streams_lost",
)
# everybody is there, and many have spoken
_WARM_UP_S = RAMP_S + 2.0
_LAST_ANSWERS_S = 1.5
# of the seconds measured the store misbehaves from here to there
_FAULT = (0.2, 0.6)
# longer than any recovery that is worth a number
_NO_MESSAGE_S = 20.0


def main() -> None:
    given = arguments()
    if given.quick:
        given.calls, given.seconds, given.runs = min(given.calls, 20), min(given.seconds, 25), 1
        given.vectors = min(given.vectors, 2000)
        given.history = min(given.history, 2000)
    if given.history and given.data is None:
        given.data = kept_history(given.kept, given.history)
    load = {
        "quick": given.quick,
        "calls": given.calls,
        "seconds": given.seconds,
        "runs": given.runs,
        "history": given.history,
    }
    if given.fault is not None:
        load["fault"] = f"{given.fault.store}:{given.fault.kind}"
    packages = ("aiohttp", "uvloop", "onnxruntime", "chromadb", "neo4j", "arcadedb-embedded")
    said = document("hint_latency", load, *packages)
    runs = []
    for number in range(given.runs):
        screen.print(f"[dim]run {number + 1} of {given.runs}: starting the service[/]")
        with tempfile.TemporaryDirectory(dir=given.folder, prefix="bench-") as folder:
            try:
                runs.append(uvloop.run(_measure(Path(folder), given, seed=number)))
            except* SidecarError as failures:
                raise SystemExit(f"no result: {_first(failures)}") from None
    said |= together(runs)
    if given.usual:
        said |= usual_ms(given.kept, given.vectors)
        if said["usual_p50_ms"] is not None and said["p50_ms"]:
            said["ratio_usual"] = round(said["usual_p50_ms"] / said["p50_ms"], 2)
    tell(said, LABELS, given)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    made = parser(__doc__, quick="at most 20 calls, one run of 25 s, 2,000 calls of history")
    made.add_argument("--calls", type=positive, default=100, help="at the same time")
    made.add_argument("--seconds", type=positive, default=60, help="measured, after the warm-up")
    made.add_argument("--runs", type=positive, default=1, help="each with a service of its own")
    made.add_argument("--fault", type=Fault.read, help="chroma:slow and others of _faults.py")
    made.add_argument(
        "--usual", action="store_true", help="then the usual way, one question at a time (torch)"
    )
    made.add_argument("--vectors", type=positive, default=100_000, help="of the usual way")
    made.add_argument(
        "--kept",
        type=Path,
        default=KEPT,
        help="where is kept what is made once",
    )
    made.add_argument(
        "--history",
        type=int,
        default=20_000,
        help="finished calls that taught it, five vectors each",
    )
    made.add_argument("--data", type=Path, help="a filled data folder in the place of those")
    made.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="the disk to write on"
    )
    return made.parse_args(given)


def together(runs: Sequence[Document]) -> Document:
    """Return the median of each number over the runs, the worst of what should not be at all."""
    said = medians(runs) | {name: max(run[name] for run in runs) for name in _WORST}
    return said | {"each_run": list(runs)} if len(runs) > 1 else said


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was used and counted until now."""

    at: float
    # seconds of CPU; None where the system does not tell
    service_s: float | None
    stores_s: float | None
    load_s: float | None
    machine_s: float | None
    late_inside: int
    unanswered: int
    refused_calls: int


async def _measure(folder: Path, given: argparse.Namespace, *, seed: int) -> Document:
    signer = WebhookSigner.generate()
    environment = service_environment(folder, signer)
    settings = read_settings(data_dir=folder / "data")
    stores = folder / ("data" if given.fault is None else "stores")
    if given.data is not None:
        await asyncio.to_thread(copy_history, given.data, stores)
    async with AsyncExitStack() as exits:
        faulty: FaultyStack | None = None
        if given.fault is not None:
            faulty = await exits.enter_async_context(faulty_stack(stores, given.fault))
            environment |= faulty.environment()
        log_file = folder / "service.log"
        running = started_service(settings, environment, log_file=log_file)
        service = await exits.enter_async_context(running)
        door = await exits.enter_async_context(FrontDoor(service.url))
        web = await exits.enter_async_context(aiohttp.ClientSession(service.url))
        feed = await exits.enter_async_context(FrameFeed.started())
        talk = Talk(door, signer, feed, seed=seed)
        subscriber = HintSubscriber(door, talk.account.hear)
        async with asyncio.TaskGroup() as beside:
            work = [beside.create_task(subscriber.run(), name="hints")]
            async with asyncio.timeout(10):
                await subscriber.open.wait()
            work.append(beside.create_task(talk.run(given.calls), name="talk"))
            await asyncio.sleep(_WARM_UP_S)
            await feed.report()
            before = await _read(service.pid, web, talk.account, faulty)
            screen.print(f"[dim]{given.calls} calls are up: measuring {given.seconds} s[/]")
            trouble = await _trouble(faulty, given.seconds)
            after = await _read(service.pid, web, talk.account, faulty)
            frames = await feed.report()
            lag_ms = (await _json(web, "/readyz"))["lag_p99_ms"]
            await asyncio.sleep(_LAST_ANSWERS_S)
            for task in work:
                task.cancel()
        finals = talk.account.between(before.at, after.at)
        said = summary(finals, before, after, frames) | {"service_lag_p99_ms": lag_ms}
        return said if trouble is None else said | during(finals, trouble)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """When a store misbehaved, by the monotonic clock."""

    store: str
    begin: float
    # it has been back since
    end: float
    # the first message on the channel in Redis after that; None: there was none
    message_at: float | None


async def _trouble(faulty: FaultyStack | None, seconds: float) -> Trouble | None:
    """Let the measured time pass, and the store misbehave in it."""
    if faulty is None:
        await asyncio.sleep(seconds)
        return None
    until = time.monotonic() + seconds
    await asyncio.sleep(_FAULT[0] * seconds)
    begin = time.monotonic()
    await faulty.begin()
    if faulty.fault.kind != "restart":  # which is over when it is over
        await asyncio.sleep((_FAULT[1] - _FAULT[0]) * seconds)
    end = await faulty.end()
    message_at = None
    if faulty.fault.store == "redis":
        with suppress(TimeoutError):
            async with asyncio.timeout(_NO_MESSAGE_S):
                message_at = await faulty.first_message()
    await asyncio.sleep(max(0.0, until - time.monotonic()))
    return Trouble(store=faulty.fault.store, begin=begin, end=end, message_at=message_at)


def during(finals: Sequence[Final], trouble: Trouble) -> Document:
    """Return what the misbehaving store cost."""
    hit = [final for final in finals if trouble.begin <= final.sent_at < trouble.end]
    hints = [final.hint_s for final in hit if final.hint_s is not None]
    if trouble.store == "redis":
        recovered_at = trouble.message_at
    else:
        without = [f.sent_at for f in finals if f.hint_s and trouble.store in f.degraded]
        recovered_at = max([at for at in without if at >= trouble.end], default=trouble.end)
    return {
        "fault_finals": len(hit),
        "fault_hints": len(hints),
        **percentiles_ms("fault_", hints, 50, 99),
        "fault_max_ms": round(max(hints) * 1000, 2) if hints else None,
        "fault_late": sum(hint > DEADLINE_S for hint in hints),
        "recovery_s": None if recovered_at is None else round(recovered_at - trouble.end, 2),
    }


def summary(finals: Sequence[Final], before: Reading, after: Reading, frames: Report) -> Document:
    """Return the numbers of one run."""
    hints = [final.hint_s for final in finals if final.hint_s is not None]
    answers = [f.hint_s - f.score_s for f in finals if f.hint_s and f.score_s]
    late = sum(hint > DEADLINE_S for hint in hints)
    late_inside = after.late_inside - before.late_inside
    return {
        "finals": len(finals),
        "hints": len(hints),
        "late": late + late_inside,
        "late_on_the_wire": late,
        "late_inside": late_inside,
        "lost": late_inside,
        **percentiles_ms("", hints, 50, 95, 99),
        "max_ms": round(max(hints) * 1000, 2) if hints else None,
        **percentiles_ms("inside_", [f.inside_ms / 1e3 for f in finals if f.inside_ms], 50, 95, 99),
        **percentiles_ms("score_", [f.score_s for f in finals if f.score_s], 50, 99),
        **percentiles_ms("answer_", answers, 50, 99),
        **percentiles_ms("ack_", [f.ack_s for f in finals if f.ack_s], 50, 99),
        "degraded_hints": sum(bool(final.degraded) for final in finals),
        "unanswered": after.unanswered - before.unanswered,
        "refused_calls": after.refused_calls - before.refused_calls,
        "frames_sent": frames.frames,
        "streams_lost": frames.lost,
        **_shares(before, after, frames),
        **percentiles_ms("send_late_", [final.sent_at - final.due_at for final in finals], 99),
        "frames_late_p99_ms": frames.late_p99_ms,
    }


def _shares(before: Reading, after: Reading, frames: Report) -> dict[str, float | None]:
    took_s = after.at - before.at

    def percent(then: float | None, now: float | None, less_s: float = 0.0) -> float | None:
        if then is None or now is None:
            return None
        return round(100 * max(0.0, now - then - less_s) / took_s, 1)

    pairs = ((before.service_s, after.service_s), (before.stores_s, after.stores_s))
    load = percent(before.load_s, after.load_s, -frames.cpu_s)
    ours_s = frames.cpu_s + sum((now or 0) - (then or 0) for then, now in pairs)
    ours_s += (after.load_s or 0) - (before.load_s or 0)
    return {
        "service_cpu_percent": percent(*pairs[0]),
        "stores_cpu_percent": percent(*pairs[1]),
        "load_cpu_percent": load,
        "others_cpu_percent": percent(before.machine_s, after.machine_s, ours_s),
    }


async def _read(
    pid: int, web: aiohttp.ClientSession, account: Account, faulty: FaultyStack | None
) -> Reading:
    known = _cpu.is_known()
    stores = _cpu.family(pid)[1:] if known else []
    if known and faulty is not None:
        stores += [one for server in faulty.stack.pids().values() for one in _cpu.family(server)]
    async with web.get("/metrics") as answer:
        late_inside = counted(await answer.text(), "sidecar_hints_total", reason="late")
    return Reading(
        at=time.monotonic(),
        service_s=_cpu.used_s(pid) if known else None,
        stores_s=_cpu.used_s(*stores) if known else None,
        load_s=time.process_time(),
        machine_s=_cpu.busy_s() if known else None,
        late_inside=late_inside,
        unanswered=account.unanswered,
        refused_calls=account.refused_calls,
    )


def counted(metrics: str, name: str, **labels: str) -> int:
    """Return a counter's value from Prometheus' text; 0 of what was never counted."""
    wanted = ",".join(f'{label}="{value}"' for label, value in labels.items())
    for line in metrics.splitlines():
        if line.startswith(f"{name}{{{wanted}}} "):
            return int(float(line.rpartition(" ")[2]))
    return 0


async def _json(web: aiohttp.ClientSession, path: str) -> Mapping[str, float]:
    async with web.get(path) as answer:
        said: Mapping[str, float] = await answer.json()
        return said


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    found: BaseException = failures
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


if __name__ == "__main__":
    main()
