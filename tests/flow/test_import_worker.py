"""Records of finished calls are made in a process of its own, and without it if need be."""

import asyncio
import multiprocessing
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.connection import wait

import numpy as np

from agent_sidecar.adapters.recorded_calls import read_recorded_calls
from agent_sidecar.domain.engagement import STARTING_WEIGHTS
from agent_sidecar.domain.record import CallRecord, Configuration
from agent_sidecar.learning.import_worker import ImportWorker
from agent_sidecar.learning.imported import Ears, Finished, make_imported
from agent_sidecar.simulator.sample import HISTORY
from tests.domain.playbooks import reader

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CONFIGURATION = Configuration(system_version="1", playbook="p", weights="w", model="m")
EARS = Ears(reader=reader(), weights=STARTING_WEIGHTS, configuration=CONFIGURATION)
NONE: frozenset[str] = frozenset()
# starts a worker as the service does, says so, and is then killed
SERVICE = """
import asyncio, time
from tests.flow.test_import_worker import EARS, NONE, NOW, ImportWorker, finished

async def main():
    worker = ImportWorker(EARS)
    await worker.records(finished(2), NONE, NOW)
    print("begun", flush=True)
    time.sleep(600)

if __name__ == "__main__":
    asyncio.run(main())
"""


def finished(count: int) -> list[Finished]:
    call = next(iter(read_recorded_calls(HISTORY)))
    vectors = [np.full(4, n + 1.0, np.float32) for n in range(len(call.segments))]
    return [
        Finished(recorded=replace(call, call_id=f"c{n}"), lead=call.lead, vectors=vectors)
        for n in range(count)
    ]


def here(calls: Sequence[Finished]) -> list[CallRecord]:
    return [make_imported(call, EARS, NONE, NOW) for call in calls]


def with_worker(work: Callable[[ImportWorker], Awaitable[None]]) -> None:
    """Run it on a real loop: a process knows nothing of virtual time."""

    async def run() -> None:
        with ImportWorker(EARS) as worker:
            await work(worker)

    asyncio.run(run())


def the_process() -> multiprocessing.process.BaseProcess:
    """Return the newest one: of another test's some may not have ended yet."""
    return max(multiprocessing.active_children(), key=lambda process: process.pid or 0)


def test_a_process_makes_the_records_that_we_would_make_and_ends_with_the_block():
    calls, seen = finished(3), []

    async def work(worker: ImportWorker) -> None:
        assert await worker.records(calls, NONE, NOW) == here(calls)
        seen.append(the_process())

    with_worker(work)
    # not `is_alive`, which may look while another thread takes the exit code
    assert wait([seen[0].sentinel], timeout=10)


def test_a_lone_call_is_worth_no_process():
    calls = finished(1)

    before = set(multiprocessing.active_children())

    async def work(worker: ImportWorker) -> None:
        assert await worker.records(calls, NONE, NOW) == here(calls)
        assert set(multiprocessing.active_children()) <= before

    with_worker(work)


def test_a_process_that_is_killed_costs_no_call_and_the_next_batch_has_one_again():
    calls = finished(4)

    async def work(worker: ImportWorker) -> None:
        await worker.records(finished(2), NONE, NOW)
        killed = the_process()
        killed.kill()
        killed.join(10)
        assert await worker.records(calls, NONE, NOW) == here(calls)
        assert await worker.records(calls, NONE, NOW) == here(calls)
        assert the_process().pid != killed.pid

    with_worker(work)
    for process in multiprocessing.active_children():
        process.join(10)


def test_a_process_does_not_outlive_a_service_that_is_killed(tmp_path):
    script = tmp_path / "service.py"
    script.write_text(SERVICE)
    with subprocess.Popen(  # noqa: S603  # a script of this file
        [sys.executable, str(script)], stdout=subprocess.PIPE, env={"PYTHONPATH": "."}
    ) as service:
        assert service.stdout is not None
        assert service.stdout.readline() == b"begun\n"
        service.kill()
        # the pipe is its process's too, and ends with it
        assert service.stdout.read() == b""
