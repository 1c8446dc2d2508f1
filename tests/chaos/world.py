"""Everything of one scenario: servers, doors, Telnyx's part, the service, the calls, the ledger."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import aiohttp

from agent_sidecar.embedded import Stack, StackUrls, running_stack
from agent_sidecar.embedded.folder import free_port
from agent_sidecar.simulator.control import ControlStub
from agent_sidecar.simulator.legs import CONNECTION_ID
from agent_sidecar.simulator.signing import WebhookSigner
from tests.chaos.audit import audit, journal_waits
from tests.chaos.board import Board, Row
from tests.chaos.doors import ChaosDoor, doors_of, settings_of
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.service import Nursery, Service

KEVIN = "+12125550101"
# until everything is delivered once nothing is in its way; a loaded machine is no defect
SETTLE_S = 180.0
_FINISH_S = 180.0
_VERIFY_S = 600.0
_POLL_S = 0.2


class Skipped(Exception):
    """A scenario that cannot run here; says what it lacks."""


class Broken(Exception):
    """A scenario that did not come to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for."""

    seed: int
    models: Path
    kills: int
    # seconds that a fault lasts
    fault_s: float
    at_once: int
    nursery: Nursery
    # wanted of scenarios that have parts; empty: all
    parts: frozenset[str] = frozenset()

    def wants(self, part: str) -> bool:
        """Say whether a part, SCENARIO:PART, is to be played."""
        rivals = [one for one in self.parts if one.partition(":")[0] == part.partition(":")[0]]
        return not rivals or any(part.startswith(one) for one in rivals)


@dataclass(slots=True, kw_only=True)
class World:
    """What a scenario works with."""

    options: Options
    folder: Path
    random: Random
    board: Board
    row: Row
    service: Service
    stub: ControlStub
    signer: WebhookSigner
    doors: Mapping[str, ChaosDoor]
    # None: the service runs its own servers
    stack: Stack | None
    _urls: StackUrls | None
    ledger: Ledger = field(default_factory=Ledger)
    # servers that came back, by name, in order
    restarted: list[str] = field(default_factory=list)
    _load: Load | None = None
    _calling: "asyncio.Task[None] | None" = None

    @property
    def urls(self) -> StackUrls:
        """Where the servers really are, past any door."""
        urls = self._urls or running_stack(self.service.folder)
        assert urls is not None, "no servers run"
        return urls

    @property
    def load(self) -> Load:
        assert self._load is not None, "call first"
        return self._load

    def do(self, doing: str) -> None:
        """Say what happens now."""
        self.row.calls = self.ledger.ended
        self.board.do(self.row, doing)

    def blow(self, doing: str) -> None:
        """Say what is done to the service or its servers."""
        self.row.blows += 1
        self.do(doing)

    def call(self, at_once: int | None = None) -> Load:
        """Let calls come from now on."""
        seed = self.random.getrandbits(32)
        count = at_once or self.options.at_once
        self._load = Load(self.service.url, self.signer, self.ledger, at_once=count, seed=seed)
        self._calling = asyncio.create_task(self._load.run(), name="load")
        return self._load

    async def settle(self, what: str) -> None:
        """End the calls, wait until everything is delivered, and hold it against the ledger."""
        self.do(f"{what}: ending the calls")
        if not self.service.is_running:
            await self.service.start()
        await self._finish(what)
        self.do(f"{what}: waiting for the journal")
        await self.until(self._is_done, within_s=SETTLE_S, what=f"{what}: {self._waits()}")
        await self.check(what)

    async def check(self, what: str) -> None:
        """Hold everything against the ledger."""
        self.do(f"{what}: comparing")
        verified = await self.ask("/v1/verify", within_s=_VERIFY_S)
        found = await audit(self.service.folder, self.urls, self.ledger, verified)
        row = self.row
        row.records, row.lost, row.doubled = found.records, len(found.lost), len(found.doubled)
        self.do(f"{what}: {found.summary()}")
        row.faults += [f"{what}: {fault}" for fault in found.faults]
        if self._load is not None:
            row.faults += [f"{what}: {refusal}" for refusal in self._load.refusals]
        if row.faults:
            raise Broken(row.faults[0])

    async def ask(self, path: str, *, within_s: float = 30.0) -> Any:
        """Ask the service something."""
        limit = aiohttp.ClientTimeout(total=within_s)
        async with (
            aiohttp.ClientSession() as session,
            session.get(self.service.url + path, timeout=limit) as answer,
        ):
            return await answer.json()

    async def until(
        self, condition: Callable[[], Awaitable[object]], *, within_s: float, what: str
    ) -> None:
        """Wait until it is so. Raises `Broken`."""
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + within_s
        while not await condition():
            if loop.time() > give_up_s:
                raise Broken(f"{what}: not within {within_s:.0f} s; {self._waits()}")
            await asyncio.sleep(_POLL_S)

    async def _finish(self, what: str) -> None:
        if self._calling is None:
            return
        self.load.finish()
        done, _ = await asyncio.wait({self._calling}, timeout=_FINISH_S)
        if not done:
            self._calling.cancel()
            raise Broken(f"{what}: calls did not end: {dict(self.ledger.answers)}")
        self._calling.result()
        self._calling = None

    async def _is_done(self) -> bool:
        try:
            live = (await self.ask("/v1/calls?limit=1"))["live"]
        except (aiohttp.ClientError, TimeoutError):
            return False
        return not live and not self._waits()

    def _waits(self) -> Mapping[str, int]:
        return journal_waits(self.service.folder)

    async def aclose(self) -> None:
        """End the calls at once."""
        if self._calling is not None:
            self._calling.cancel()
            with suppress(asyncio.CancelledError, BaseExceptionGroup):
                await self._calling


@asynccontextmanager
async def open_world(
    options: Options,
    folder: Path,
    board: Board,
    row: Row,
    *,
    own_servers: bool = False,
    cold: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[World]:
    """Run everything for the block; the service is ready.

    `own_servers`: the service runs them itself, and there are no doors. `cold`: the service is
    never forked, but started by the command line with this environment beside its settings.
    """
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240  # nothing runs yet
    async with AsyncExitStack() as exits:
        stack, urls, doors = None, None, dict[str, ChaosDoor]()
        restarted: list[str] = []
        if not own_servers:
            stack, urls = await _open_stack(folder, restarted, exits)
            doors = doors_of(urls)
            for door in doors.values():
                await door.open()
                exits.push_async_callback(door.shut)
        signer = WebhookSigner.generate()
        stub = await exits.enter_async_context(ControlStub())
        everything = {
            **_settings(options, signer, stub),
            **(settings_of(urls, doors) if urls is not None else {}),
            **(settings or {}),
        }
        service = Service(folder / "data", everything, options.nursery, cold=cold)
        world = World(
            options=options,
            folder=folder,
            random=Random(f"{options.seed}:{row.name}"),  # noqa: S311
            board=board,
            row=row,
            service=service,
            stub=stub,
            signer=signer,
            doors=doors,
            stack=stack,
            _urls=urls,
            restarted=restarted,
        )
        exits.push_async_callback(_end, world)
        await service.start(cold=True)
        yield world


async def _end(world: World) -> None:
    await world.aclose()
    world.ledger.write(world.folder / "ledger.json")
    for door in world.doors.values():
        await door.heal()
    try:
        await world.service.stop()
    except TimeoutError:
        await world.service.kill()


async def _open_stack(
    folder: Path, restarted: list[str], exits: AsyncExitStack
) -> tuple[Stack, StackUrls]:
    def note(name: str, values: Mapping[str, object]) -> None:
        if name == "server_restarted":
            restarted.append(str(values["server"]))

    stack = Stack(folder / "servers", on_event=note)
    urls = await stack.start()
    exits.push_async_callback(stack.aclose)
    keeping = asyncio.create_task(stack.run(), name="stack")

    async def stop() -> None:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping

    exits.push_async_callback(stop)
    return stack, urls


def _settings(options: Options, signer: WebhookSigner, stub: ControlStub) -> dict[str, str]:
    return {
        "MODELS_DIR": str(options.models),
        "PORT": str(free_port()),
        "LATE_LINES_S": "0.2",
        "RESUME_S": "10",
        "DRAIN_S": "10",
        "LOG_FORMAT": "json",
        # calls that are refused because this machine is busy are none of our questions
        "ADMISSION_LAG_MS": "20000",
        "TELNYX_API_KEY": "chaos",
        "TELNYX_API_BASE": stub.url,
        "TELNYX_CONNECTION_ID": CONNECTION_ID,
        "TELNYX_PUBLIC_KEY": signer.public_key,
        "CLOSER_NUMBER": KEVIN,
        "CLOSER_WRAP_UP_S": "1",
    }


def environment() -> dict[str, str]:
    """Return this process's environment without settings of ours, for children."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SIDECAR_")}
    # as people run it: not in the debug mode that tests may be run in
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONASYNCIODEBUG"):
        kept.pop(name, None)
    return {**kept, "PYTHONUNBUFFERED": "1"}
