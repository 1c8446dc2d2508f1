"""`import FILE`: finished calls from elsewhere, into the journal and from there to every store.

The file is read while it is sent, a few batches at a time, so that the service embeds one while it
reads another. A call keeps its id, so an import that was interrupted goes on where it was.
"""

import argparse
import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass
from math import inf

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from agent_sidecar.adapters.recorded_calls import count_lines, read_recorded_calls
from agent_sidecar.commands.running import service_for
from agent_sidecar.commands.terminal import complain, out_json, paper, screen
from agent_sidecar.domain.recorded import RecordedCall
from agent_sidecar.errors import RecordedCallInvalid
from agent_sidecar.settings import Settings
from agent_sidecar.simulator.front_door import FrontDoor

# calls of one request, and requests under way
BATCH, AT_ONCE = 16, 3
# the stores are asked so often how far they are, and waited for while they get on
ASK_S, PATIENCE_S = 0.5, 30.0


@dataclass(slots=True)
class _Account:
    """What has become of the file so far."""

    calls: int = 0
    imported: int = 0
    # what ended the reading, with its line
    wrong: RecordedCallInvalid | None = None
    # deliveries that the stores had not taken when we left
    waiting: int = 0


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Import a file; calls that are known already are left alone."""
    account = asyncio.run(_import(settings, arguments))
    if not account.calls and account.wrong is None:
        raise RecordedCallInvalid(f"{arguments.file}: holds no call; one JSON object a line")
    if account.wrong is not None and not account.calls:
        raise account.wrong
    known = account.calls - account.imported
    if arguments.json:
        told = {"calls": account.calls, "imported": account.imported, "known": known}
        out_json(told | ({"waiting": account.waiting} if account.waiting else {}))
    else:
        paper.print(f"{account.imported} calls imported, {known} were known already")
    if account.waiting:
        screen.print(
            f"{account.waiting} deliveries to stores still wait: the service goes on with them"
            " whenever it runs; `agent-sidecar doctor` says which store does not answer"
        )
    if account.wrong is not None:
        complain(f"stopped: {account.wrong}; the calls before it were imported")
        return 1
    return 0


async def _import(settings: Settings, arguments: argparse.Namespace) -> _Account:
    token = settings.api_token.get_secret_value() if settings.api_token else None
    strategies = {s.strip() for s in (arguments.strategies or "").split(",") if s.strip()}
    account = _Account()
    batches = _batches(read_recorded_calls(arguments.file, limit=arguments.limit), account)
    # a file that cannot be read, or holds nothing, starts no service
    first = next(batches, None)
    if first is None:
        return account
    lines = count_lines(arguments.file)
    total = min(lines, arguments.limit) if arguments.limit else lines
    async with service_for(settings, {}) as url, FrontDoor(url, token) as door:
        with _progress() as progress:
            task = progress.add_task("importing", total=total)

            async def send(batch: list[RecordedCall] | None) -> None:
                while batch is not None:
                    new = await door.take_in_all(batch, strategies)
                    account.imported += new
                    account.calls += len(batch)
                    progress.advance(task, len(batch))
                    batch = next(batches, None)

            await _together([send(first), *(send(next(batches, None)) for _ in range(AT_ONCE - 1))])
            if not arguments.no_wait:
                account.waiting = await _settled(door, progress, task)
    return account


async def _together(work: Sequence[Coroutine[None, None, None]]) -> None:
    """Do all of it at once; the first failure ends it, and is raised by itself."""
    try:
        async with asyncio.TaskGroup() as tasks:
            for part in work:
                tasks.create_task(part)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


def _batches(calls: Iterator[RecordedCall], account: _Account) -> Iterator[list[RecordedCall]]:
    """Yield the calls in batches; a line that is wrong ends them, after those before it."""
    batch: list[RecordedCall] = []
    try:
        for call in calls:
            batch.append(call)
            if len(batch) == BATCH:
                yield batch
                batch = []
    except RecordedCallInvalid as exc:
        account.wrong = exc
    if batch:
        yield batch


async def _settled(door: FrontDoor, progress: Progress, task: TaskID) -> int:
    """Wait until the stores have taken what waits for them; return what is left."""
    least, until_s = inf, 0.0
    while True:
        left = int(sum(row["deliveries"]["pending"] for row in await door.stores()))
        now_s = asyncio.get_running_loop().time()
        if left < least:
            least, until_s = left, now_s + PATIENCE_S
        if not left or now_s > until_s:
            return left
        progress.update(task, description=f"the stores take them: {left} deliveries left")
        await asyncio.sleep(ASK_S)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
    )
