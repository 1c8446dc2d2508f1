"""The real thing as child processes on one data folder: `serve`, and commands beside it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[2]
# a loaded machine with two cores is no defect of the service
START_S = 90.0
STOP_S = 60.0
COMMAND_S = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return what it printed, which must be one JSON object and nothing else."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)


class Sidecar:
    """One data folder; settings are given without their prefix. Use it as a context manager."""

    def __init__(self, folder: Path, models: Path, **settings: str) -> None:
        self.folder = folder
        # all children share it: where nobody may write byte code, each would compile for seconds
        self._byte_code = models.parent / "byte-code"
        self.settings: dict[str, str] = {"MODELS_DIR": str(models), "PORT": "0", **settings}
        self._process: subprocess.Popen[bytes] | None = None
        self._commands: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill_everything()
        self.kill_everything()

    # --- the service ----------------------------------------------------------------------------

    def start(self, **settings: str) -> str:
        """Run `serve` until it says that it is ready; return its URL."""
        with self.log_file.open("ab") as log:
            self._process = process = subprocess.Popen(  # noqa: S603  # our own program
                _command("serve"), cwd=ROOT, env=self._environment(settings), stdout=log, stderr=log
            )
        give_up_at = time.monotonic() + START_S
        while time.monotonic() < give_up_at:
            assert process.poll() is None, f"serve ended with {process.returncode}:\n{self.log}"
            if (url := self.announced(process.pid)) is not None:
                return url
            time.sleep(0.05)
        raise AssertionError(f"serve was not ready within {START_S} s:\n{self.log}")

    def announced(self, pid: int | None = None) -> str | None:
        """Return the URL that the folder's service has announced, if it is of this process."""
        try:
            found = json.loads((self.folder / "run" / "service.json").read_bytes())
        except FileNotFoundError:
            return None
        return str(found["url"]) if pid in (None, found["pid"]) else None

    def tell(self, signum: signal.Signals) -> None:
        """Send the service a signal."""
        self._serving().send_signal(signum)

    def ended(self, within_s: float = STOP_S) -> int:
        """Return the service's exit code, once it has ended."""
        return self._serving().wait(within_s)

    def is_running(self) -> bool:
        return self._serving().poll() is None

    def stop(self) -> int:
        """Stop the service as an operator would; return its exit code."""
        self.tell(signal.SIGTERM)
        return self.ended()

    def kill(self) -> None:
        """End the service, and only it, as the kernel does when memory is short."""
        self._serving().kill()
        self._serving().wait()

    def kill_everything(self) -> None:
        """End every process that works on this folder, as losing the container does."""
        for _ in range(3):
            for pid in self.processes():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            for process in (self._process, *self._commands):
                if process is not None:
                    process.kill()
                    process.wait()
        for command in self._commands:
            for pipe in (command.stdout, command.stderr):
                if pipe is not None:
                    pipe.close()

    def processes(self) -> Mapping[int, str]:
        """Return every process that names this folder: pid and command line."""
        return {pid: line for pid, line in _processes_of(self.folder) if pid != os.getpid()}

    def processes_left(self, within_s: float = 10.0) -> Mapping[int, str]:
        """Return the processes that are still there when those that are ending have ended."""
        give_up_at = time.monotonic() + within_s
        while (found := self.processes()) and time.monotonic() < give_up_at:
            time.sleep(0.05)
        return found

    @property
    def log_file(self) -> Path:
        self.folder.mkdir(exist_ok=True)
        return self.folder / "serve.log"

    @property
    def log(self) -> str:
        """What the service has said, over all its lives."""
        return self.log_file.read_text("utf-8", "replace")

    # --- other commands -------------------------------------------------------------------------

    def run(self, *arguments: str, **settings: str) -> Finished:
        """Run a command to its end."""
        finished = subprocess.run(  # noqa: S603  # our own program
            _command(*arguments),
            cwd=ROOT,
            env=self._environment(settings),
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        return Finished(code=finished.returncode, out=finished.stdout, err=finished.stderr)

    def open(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a command beside the service."""
        process = subprocess.Popen(  # noqa: S603  # our own program
            _command(*arguments),
            cwd=ROOT,
            env=self._environment({}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._commands.append(process)
        return process

    def _serving(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None, "start it first"
        return self._process

    def _environment(self, settings: Mapping[str, str]) -> Mapping[str, str]:
        """Return this process's environment with only these settings of ours in it."""
        others = {k: v for k, v in os.environ.items() if not k.startswith("SIDECAR_")}
        # as people run it: not in the debug mode that tests may be run in
        for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONASYNCIODEBUG"):
            others.pop(name, None)
        others["PYTHONPYCACHEPREFIX"] = str(self._byte_code)
        ours = {"DATA_DIR": str(self.folder), **self.settings, **settings}
        # wide enough for tables and lines to stay whole
        return {**others, "COLUMNS": "200", **{f"SIDECAR_{k}": v for k, v in ours.items()}}


def finish(process: "subprocess.Popen[str]") -> Finished:
    """Wait for a command that was started with `open`."""
    out, err = process.communicate(timeout=COMMAND_S)
    return Finished(code=process.returncode, out=out, err=err)


def _command(*arguments: str) -> Sequence[str]:
    return [sys.executable, "-m", "agent_sidecar", *arguments]


def _processes_of(folder: Path) -> Iterator[tuple[int, str]]:
    name = os.fsencode(folder)
    for place in Path("/proc").iterdir():
        if not place.name.isdigit():
            continue
        try:
            line = (place / "cmdline").read_bytes()
            if name in line or name in (place / "environ").read_bytes():
                yield int(place.name), line.replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            # it has just ended, or is not ours
            continue
