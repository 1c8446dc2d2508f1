"""The service of a data folder: found where it runs, or started for as long as it is needed."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from agent_sidecar.commands.terminal import screen
from agent_sidecar.embedded import launch
from agent_sidecar.embedded.pidfile import started
from agent_sidecar.errors import ServiceUnreachable
from agent_sidecar.settings import Settings

START_S = 120.0
STOP_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningService:
    """Where a service answers; kept in the data folder while it runs."""

    pid: int
    # tells this process from a later one with the same pid
    started: str
    url: str

    @staticmethod
    def file(data_dir: Path) -> Path:
        """Return where a data folder's service says where it is."""
        return data_dir / "run" / "service.json"


def announce(settings: Settings, port: int) -> None:
    """Say where this process's service answers."""
    host = "127.0.0.1" if settings.host in {"0.0.0.0", "::"} else settings.host  # noqa: S104
    here = RunningService(
        pid=os.getpid(), started=started(os.getpid()) or "", url=f"http://{host}:{port}"
    )
    file = RunningService.file(settings.data_dir)
    new = file.with_suffix(".new")
    new.write_bytes(msgspec.json.encode(here))
    new.replace(file)


def withdraw(settings: Settings) -> None:
    """Say that no service answers any more."""
    RunningService.file(settings.data_dir).unlink(missing_ok=True)


def find_running(settings: Settings) -> RunningService | None:
    """Return the data folder's service if its process lives."""
    try:
        found = msgspec.json.decode(
            RunningService.file(settings.data_dir).read_bytes(), type=RunningService
        )
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return found if started(found.pid) == found.started else None


def running_url(settings: Settings) -> str:
    """Return where the data folder's service answers. Raises `ServiceUnreachable`."""
    running = find_running(settings)
    if running is None:
        raise ServiceUnreachable(
            "the service of this data folder is starting or stopping: try again in a moment"
        )
    return running.url


@asynccontextmanager
async def service_for(
    settings: Settings, environment: Mapping[str, str | None]
) -> AsyncIterator[str]:
    """Yield the URL of the data folder's service; start one for the block when none runs.

    `environment` is for the one that is started only.
    """
    running = find_running(settings)
    if running is not None:
        yield running.url
        return
    screen.print("[dim]no service runs on this data folder: starting one for this command[/]")
    own = {"SIDECAR_DATA_DIR": str(settings.data_dir), "SIDECAR_PORT": "0", **environment}
    log_file = settings.data_dir / "logs" / "service.log"
    async with started_service(settings, own, log_file=log_file) as service:
        yield service.url


@asynccontextmanager
async def started_service(
    settings: Settings, environment: Mapping[str, str | None], *, log_file: Path
) -> AsyncIterator[RunningService]:
    """Start `serve` as a child with these settings over ours (None: unset); stop it at the end."""
    log_file.parent.mkdir(parents=True, exist_ok=True)
    # the file is small and written by the child; opening it is all that happens here
    with log_file.open("ab") as log:
        child = await asyncio.create_subprocess_exec(
            # by way of a program that ties its life to ours: kill -9 of a replay must not leave a
            # service behind that nobody knows of
            *(sys.executable, "-I", "-S", launch.__file__),
            *map(str, (os.getpid(), signal.SIGTERM.value, -1, -1, 0)),
            str(settings.data_dir),
            *(sys.executable, "-m", "agent_sidecar", "serve"),
            env=_environment(environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Ctrl-C is ours to pass on, in our order
            start_new_session=True,
        )
    try:
        yield await _wait_until_ready(settings, child, log_file)
    finally:
        await _stop(child)


def _environment(ours: Mapping[str, str | None]) -> Mapping[str, str]:
    """Return this process's environment with ours over it; None takes a variable out."""
    both = {**os.environ, **ours}
    return {name: value for name, value in both.items() if value is not None}


async def _wait_until_ready(
    settings: Settings, child: asyncio.subprocess.Process, log_file: Path
) -> RunningService:
    try:
        async with asyncio.timeout(START_S):
            while child.returncode is None:
                found = find_running(settings)
                if found is not None and found.pid == child.pid:
                    return found
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise ServiceUnreachable(
            f"the service did not start within {START_S:.0f} s; its log: {log_file}"
        ) from None
    raise ServiceUnreachable("the service did not start:\n  " + "\n  ".join(_tail(log_file)))


def _tail(log_file: Path) -> list[str]:
    return log_file.read_text("utf-8", "replace").strip().splitlines()[-5:]


async def _stop(child: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        child.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_S):
            await child.wait()
    except TimeoutError:
        child.kill()
        await child.wait()
