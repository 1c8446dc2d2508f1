"""One server as a supervised child process: start, wait until it answers, stop, leave nothing.

The promise: whatever ends the supervising process, no server of it stays behind. A clean end
stops each; on kill -9 the kernel signals them (Linux); what survives even that is ended by the
next start, through its pid file.
"""

import abc
import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar, TypeAlias

from agent_sidecar.embedded import launch
from agent_sidecar.embedded.folder import DataFolder
from agent_sidecar.embedded.pidfile import PidFile
from agent_sidecar.errors import EmbeddedServerFailed

OnEvent: TypeAlias = Callable[[str, Mapping[str, object]], None]

# HOME differs in a child, so an installation that lives by PYTHONPATH or the user's own
# site-packages would not be found there without this.
PYTHON_ENVIRONMENT: Mapping[str, str] = {
    "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    "PYTHONNOUSERSITE": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}

_POLL_S = 0.03
_ANSWER_S = 5.0
_KILL_S = 5.0
_TAIL_BYTES = 2000
_LOG_BYTES = 8_000_000


class NotReady(Exception):
    """The server does not answer as it should yet; ask again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAs:
    """The user a child becomes before it starts."""

    name: str
    uid: int
    gid: int
    # stay able to pass folders that only root may enter
    keep_dac_override: bool = False


class Child(abc.ABC):
    """A server of the stack. One object serves for any number of starts, one at a time."""

    name: ClassVar[str]
    # what names a server elsewhere in place of this one
    setting: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    stop_s: ClassVar[float] = 20.0
    ready_s: ClassVar[float] = 90.0

    def __init__(self, folder: DataFolder, on_event: OnEvent) -> None:
        self.folder = folder
        self.path = folder.path / self.name
        self.log_file = folder.logs / f"{self.name}.log"
        self.run_as: RunAs | None = None
        self._on_event = on_event
        self._pid_file = PidFile(folder.run / f"{self.name}.pid")
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process id while the child lives."""
        process = self._process
        return None if process is None or process.returncode is not None else process.pid

    @abc.abstractmethod
    async def prepare(self) -> None:
        """Write what the server reads at its start; `path` exists, no old process lives."""

    @abc.abstractmethod
    def command(self) -> Sequence[str]:
        """Return the command line; it never holds a secret, since anybody may read it."""

    @abc.abstractmethod
    async def check(self) -> None:
        """Return when the server can be used; raise `NotReady` as long as it cannot."""

    @abc.abstractmethod
    def urls(self) -> Mapping[str, str]:
        """Return how to reach the server, by field of `StackUrls`; known once prepared."""

    def environment(self) -> Mapping[str, str]:
        """Return what the server needs in its environment beyond the bare minimum."""
        return {}

    async def start(self) -> float:
        """Start and wait until it answers; return how long that took, in seconds.

        Raises `EmbeddedServerFailed`. However it is left other than by returning, the child is
        stopped.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        orphan = await self._pid_file.end_orphan(self.stop_signal)
        if orphan is not None:
            self._on_event("orphan_ended", {"server": self.name, "pid": orphan})
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
            await self.prepare()
        except OSError as exc:
            raise self.failure(f"its files could not be written: {exc}") from exc
        log_start = self._trim_log()
        with self.log_file.open("ab") as log:
            self._process = await self.spawn(self.command(), output=log)
        self._pid_file.write(self._process.pid)
        try:
            await self._answering(self._process, log_start)
        except BaseException:
            await self.stop()
            raise
        return loop.time() - began

    async def ended(self) -> int:
        """Wait until the child has ended; return its exit code, negative for a signal."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was never started")
        return await self._process.wait()

    async def stop(self) -> None:
        """End the child: politely, then by force; safe at any time, cancelled it only hurries."""
        process = self._process
        if process is None:
            return
        try:
            async with asyncio.timeout(self.stop_s):
                _send(process, self.stop_signal)
                await process.wait()
        except TimeoutError:
            self._on_event("server_killed", {"server": self.name, "waited_s": self.stop_s})
        finally:
            if process.returncode is None:
                _send(process, signal.SIGKILL)
                # one that even this does not end is left to the next start, by its pid file
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_KILL_S):
                        await process.wait()
            if process.returncode is not None:
                self._pid_file.remove()

    async def spawn(
        self, command: Sequence[str], *, output: IO[bytes] | int
    ) -> asyncio.subprocess.Process:
        """Start a program as this server's user, in its folder; its life is tied to ours."""
        if threading.current_thread() is not threading.main_thread():
            # the kernel's death signal goes out when the *thread* that forked ends
            raise RuntimeError("servers are started from the main thread only")
        user = self.run_as or RunAs(name="", uid=-1, gid=-1)
        ties = (
            os.getpid(),
            self.stop_signal.value,
            user.uid,
            user.gid,
            int(user.keep_dac_override),
        )
        launcher = (sys.executable, "-I", "-S", launch.__file__)
        return await asyncio.create_subprocess_exec(
            *launcher,
            *map(str, ties),
            str(self.folder.path),
            *command,
            env={
                "PATH": "/usr/bin:/bin",
                "LC_ALL": "C",
                "TZ": "UTC",
                "HOME": str(self.path),
                **self.environment(),
            },
            cwd=self.path,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output if output != asyncio.subprocess.PIPE else asyncio.subprocess.STDOUT,
            # otherwise Ctrl-C at a terminal ends the servers before we can stop them cleanly
            start_new_session=True,
        )

    async def output_of(self, command: Sequence[str]) -> tuple[int, str]:
        """Run a short program as `spawn` does; return its exit code and what it said."""
        process = await self.spawn(command, output=asyncio.subprocess.PIPE)
        try:
            said, _ = await process.communicate()
        except BaseException:
            _send(process, signal.SIGKILL)
            await process.wait()
            raise
        return await process.wait(), said.decode("utf-8", "replace").strip()

    def failure(self, reason: str, said: str = "") -> EmbeddedServerFailed:
        """Return the error that tells a person what happened and what to do."""
        evidence = f" It said:\n{said[-_TAIL_BYTES:]}\n" if said else " "
        return EmbeddedServerFailed(
            f"the embedded server {self.name} failed: {reason}.{evidence}"
            f"What to do: mend what is named here and start again (whole log: {self.log_file}), "
            f"or set {self.setting} to a server of your own"
        )

    async def _answering(self, process: asyncio.subprocess.Process, log_start: int) -> None:
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self.ready_s
        while True:
            if process.returncode is not None:
                reason = f"it ended with exit code {process.returncode} while starting"
                raise self.failure(reason, self._log_tail(log_start))
            try:
                async with asyncio.timeout(_ANSWER_S):
                    return await self.check()
            except (NotReady, TimeoutError) as exc:
                if loop.time() > give_up_at:
                    reason = f"it did not answer within {self.ready_s:.0f} s ({exc})"
                    raise self.failure(reason, self._log_tail(log_start)) from exc
            await asyncio.sleep(_POLL_S)

    def _trim_log(self) -> int:
        """Put a long log aside; return where this start's part will begin."""
        with contextlib.suppress(FileNotFoundError):
            size = self.log_file.stat().st_size
            if size <= _LOG_BYTES:
                return size
            self.log_file.replace(self.log_file.with_suffix(".log.old"))
        return 0

    def _log_tail(self, log_start: int) -> str:
        with self.log_file.open("rb") as log:
            log.seek(log_start)
            return log.read()[-_TAIL_BYTES:].decode("utf-8", "replace").strip()


def executable(path: Path) -> str:
    """Return the path of a server's program as text, or raise when a wheel does not have it."""
    if not path.exists():
        raise EmbeddedServerFailed(f"{path} is missing: install its package again")
    return str(path)


def _send(process: asyncio.subprocess.Process, signum: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signum)
