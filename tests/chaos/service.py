"""The service under test as a process that can be killed and started again on the same folder."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from subprocess import PIPE
from typing import IO

ROOT = Path(__file__).parents[2]
# a loaded machine with two cores is no defect of the service
START_S = 300.0
STOP_S = 90.0
_POLL_S = 0.01


class Nursery:
    """The process that services are forked from."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        # of every service
        self.environment = dict(environment)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, environment: Mapping[str, str], log: Path) -> int:
        """Start a service; return its pid."""
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.chaos.nursery"),
                cwd=ROOT,
                env=self.environment,
                stdin=PIPE,
                stdout=PIPE,
            )
        writer, reader = self._process.stdin, self._process.stdout
        assert writer is not None
        assert reader is not None
        order = {"environment": dict(environment), "log": str(log)}
        writer.write(json.dumps(order).encode() + b"\n")
        return int(await reader.readline())

    async def aclose(self) -> None:
        """End it; its services end with it."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()


class Service:
    """One data folder's `serve`; settings are given without their prefix."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str],
        nursery: Nursery,
        *,
        cold: Mapping[str, str] | None,
    ) -> None:
        """`cold`: it is never forked, and has this environment beside its settings."""
        self.folder = folder
        self.settings = dict(settings)
        self.log_file = folder.with_name(f"{folder.name}.log")
        # starts so far, and how long each took until it was ready
        self.starts_s: list[float] = []
        self.kills = 0
        self._nursery = nursery
        self._always_cold = cold
        self._pid: int | None = None
        self._cold: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings['PORT']}"

    @property
    def pid(self) -> int:
        assert self._pid is not None, "start it first"
        return self._pid

    @property
    def is_running(self) -> bool:
        return self._pid is not None and _lives(self._pid)

    async def launch(self, *, cold: bool = False) -> None:
        """Start it and do not wait; `cold`: by the command line, as people do."""
        assert not self.is_running
        ours = {f"SIDECAR_{name}": value for name, value in self.settings.items()}
        ours = {"SIDECAR_DATA_DIR": str(self.folder), **ours, **(self._always_cold or {})}
        if cold or self._always_cold is not None:
            with self.log_file.open("ab") as log:
                self._cold = await self._spawn(ours, log)
            self._pid = self._cold.pid
        else:
            self._pid = await self._nursery.start(ours, self.log_file)

    async def ready(self) -> None:
        """Wait until it has announced itself."""
        async with asyncio.timeout(START_S):
            while self._announced() != self._pid:
                if not self.is_running:
                    raise AssertionError(f"serve has ended:\n{self.tail()}")
                await asyncio.sleep(_POLL_S)

    async def start(self, *, cold: bool = False) -> None:
        """Start it and wait until it is ready."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        await self.launch(cold=cold)
        await self.ready()
        self.starts_s.append(loop.time() - began_s)

    async def kill(self) -> None:
        """End it as the kernel does when memory is short."""
        self.kills += 1
        await self._end(signal.SIGKILL, 30.0)

    def tell(self, signum: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, signum)

    async def stop(self) -> None:
        """Stop it as an operator would."""
        if self.is_running:
            await self._end(signal.SIGTERM, STOP_S)

    def tail(self, lines: int = 15) -> str:
        """Return what it said last."""
        return "\n".join(self.log_file.read_text("utf-8", "replace").splitlines()[-lines:])

    async def _end(self, signum: signal.Signals, within_s: float) -> None:
        if self.is_running:
            os.kill(self.pid, signum)
        async with asyncio.timeout(within_s):
            while self.is_running:  # noqa: ASYNC110  # it is no child of ours
                await asyncio.sleep(_POLL_S)
        if self._cold is not None:
            await self._cold.wait()
            self._cold = None

    def _announced(self) -> int | None:
        try:
            return int(json.loads((self.folder / "run" / "service.json").read_bytes())["pid"])
        except (FileNotFoundError, ValueError):
            return None

    async def _spawn(
        self, environment: Mapping[str, str], log: IO[bytes]
    ) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "agent_sidecar", "serve"),
            cwd=ROOT,
            env={**self._nursery.environment, **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
