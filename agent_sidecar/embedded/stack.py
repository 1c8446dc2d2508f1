"""The embedded stack: all local servers, started at once, kept alive, stopped together.

```
start ──> all answer, urls.json written ──> run: a server that ends is restarted
  │ one fails                                │ more than 5 times in 10 minutes
  └──────────> the rest stopped, EmbeddedServerFailed <──┘
```
"""

import asyncio
import os
from collections import deque
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import ClassVar

import msgspec

from agent_sidecar.embedded.child import Child, OnEvent
from agent_sidecar.embedded.chroma import Chroma
from agent_sidecar.embedded.folder import DataFolder, DataFolderLock, write_private
from agent_sidecar.embedded.graph import Graph
from agent_sidecar.embedded.postgres import Postgres
from agent_sidecar.embedded.urls import StackUrls
from agent_sidecar.embedded.valkey import Valkey
from agent_sidecar.embedded.wheels import INSTALL, missing_parts
from agent_sidecar.errors import EmbeddedServerFailed

_RESTARTS = 5
_RESTARTS_WITHIN_S = 600.0


def _nobody_listens(event: str, values: Mapping[str, object]) -> None:
    """Stand in where the owner of the stack does not want to know."""


class Stack:
    """The local servers of one data folder, or those of them named in `only`.

    `on_event` hears ``server_ready``, ``server_ended``, ``server_restarted``, ``server_killed``
    and ``orphan_ended``. Without a `lock` the stack takes the folder's for as long as it runs;
    a lock that is passed in stays its owner's. Use it from the main thread's event loop.
    """

    servers: ClassVar[Mapping[str, type[Child]]] = {
        "postgres": Postgres,
        "graph": Graph,
        "valkey": Valkey,
        "chroma": Chroma,
    }
    # before the first restart of a server; doubles with each one that follows
    first_wait_s: ClassVar[float] = 0.2

    def __init__(
        self,
        data_dir: Path,
        *,
        only: Collection[str] | None = None,
        on_event: OnEvent | None = None,
        lock: DataFolderLock | None = None,
    ) -> None:
        wanted = self.servers.keys() if only is None else set(only)
        unknown = wanted - self.servers.keys()
        if unknown:
            raise ValueError(f"no such servers: {sorted(unknown)}; known: {list(self.servers)}")
        self._folder = DataFolder(data_dir)
        self._on_event = on_event or _nobody_listens
        self._lock = lock or DataFolderLock(data_dir)
        self._lock_is_ours = lock is None
        self._children = {
            name: kind(self._folder, self._on_event)
            for name, kind in self.servers.items()
            if name in wanted
        }
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self) -> StackUrls:
        """Start all at once and return where they answer.

        Raises `DataFolderInUse`, or `EmbeddedServerFailed` after stopping those that did start.
        """
        missing = missing_parts(self._children)
        if missing:
            raise EmbeddedServerFailed(
                f"the embedded servers need packages that are not installed: {', '.join(missing)}."
                f" What to do: {INSTALL}, or set the URLs of servers of your own"
            )
        self._lock.acquire()
        try:
            self._folder.create()
            self._folder.urls_file.unlink(missing_ok=True)
            async with asyncio.TaskGroup() as starting:
                for child in self._children.values():
                    starting.create_task(self._start(child), name=f"start:{child.name}")
            urls = self._urls()
            write_private(self._folder.urls_file, msgspec.json.encode(urls))
        except BaseExceptionGroup as failures:
            await self.aclose()
            raise failures.exceptions[0] from None
        except BaseException:
            await self.aclose()
            raise
        return urls

    async def run(self) -> None:
        """Restart each server that ends by itself, until cancelled or closed.

        Raises `EmbeddedServerFailed` when one ends too often; the others live until `aclose`.
        """
        try:
            async with asyncio.TaskGroup() as keeping:
                self._keepers = [
                    keeping.create_task(self._keep(child), name=f"keep:{child.name}")
                    for child in self._children.values()
                ]
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def aclose(self) -> None:
        """Stop all at once and give the folder back; safe at any time and more than once.

        Takes no longer than the slowest server may (`Child.stop_s` and the time of a kill).
        """
        try:
            # first, or one would start again what we stop
            for keeper in self._keepers:
                keeper.cancel("the stack closes")
            await asyncio.gather(*self._keepers, return_exceptions=True)
            async with asyncio.TaskGroup() as stopping:
                for child in self._children.values():
                    stopping.create_task(child.stop(), name=f"stop:{child.name}")
            if self._lock.held:
                self._folder.urls_file.unlink(missing_ok=True)
        finally:
            if self._lock_is_ours:
                self._lock.release()

    def pids(self) -> Mapping[str, int]:
        """Return the process id of each server that lives."""
        return {name: pid for name, child in self._children.items() if (pid := child.pid)}

    async def _start(self, child: Child) -> None:
        took_s = await child.start()
        self._on_event("server_ready", {"server": child.name, "took_s": round(took_s, 3)})

    async def _keep(self, child: Child) -> None:
        loop = asyncio.get_running_loop()
        ended_at: deque[float] = deque()
        last_failure: EmbeddedServerFailed | None = None
        while True:
            exit_code = await child.ended()
            self._on_event("server_ended", {"server": child.name, "exit_code": exit_code})
            ended_at.append(loop.time())
            while ended_at[0] < loop.time() - _RESTARTS_WITHIN_S:
                ended_at.popleft()
            if len(ended_at) > _RESTARTS:
                reason = f"it ended {len(ended_at)} times in {_RESTARTS_WITHIN_S / 60:.0f} minutes"
                raise child.failure(reason) from last_failure
            await asyncio.sleep(self.first_wait_s * 2 ** (len(ended_at) - 1))
            try:
                took_s = await child.start()
            except EmbeddedServerFailed as exc:
                last_failure = exc
            else:
                restart = {"server": child.name, "took_s": round(took_s, 3)}
                self._on_event("server_restarted", {**restart, "restarts": len(ended_at)})

    def _urls(self) -> StackUrls:
        nowhere: dict[str, str | int | None] = dict.fromkeys(StackUrls.__dataclass_fields__)
        for child in self._children.values():
            nowhere.update(child.urls())
        return msgspec.convert({**nowhere, "pid": os.getpid()}, StackUrls)
