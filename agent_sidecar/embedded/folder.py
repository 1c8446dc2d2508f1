"""The data folder of one stack: what lies where, who owns it, its secrets and its ports.

``run/`` (lock, pids, ports, urls), ``logs/``, ``secrets.json``, and one folder for each server.
Everything in it is for its owner's eyes only.
"""

import contextlib
import fcntl
import hashlib
import os
import random
import secrets
import socket
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from agent_sidecar.errors import DataFolderInUse, EmbeddedServerFailed, SettingsInvalid

_T = TypeVar("_T")

# `running_stack` holds the lock for an instant to see whether anybody else does.
_LOCK_PATIENCE_S = 0.3
# sockaddr_un.sun_path less its final NUL: 107 on Linux, 103 on macOS
_SOCKET_PATH_BYTES = 103
# what server options and URLs cannot carry unambiguously in a socket's path
_AWKWARD = frozenset(",\"'\\\n")
# Below the range from which the kernel takes the source ports of outgoing connections: there,
# any client may take our port while its server restarts.
_PORTS = range(20_000, 30_000)


class DataFolderLock:
    """The right to write to a data folder; one process has it at a time.

    Use it as a context manager, or `acquire` and `release`. The kernel frees it when the
    process ends, however that happens.
    """

    def __init__(self, data_dir: Path) -> None:
        self._folder = DataFolder(data_dir)
        self._fd: int | None = None

    @property
    def held(self) -> bool:
        return self._fd is not None

    def acquire(self) -> None:
        """Take the lock or raise `DataFolderInUse`; taking it again changes nothing."""
        if self._fd is not None:
            return
        self._folder.create()
        fd = os.open(self._folder.lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        give_up_at = time.monotonic() + _LOCK_PATIENCE_S
        while not _try_flock(fd):
            if time.monotonic() > give_up_at:
                os.close(fd)
                raise DataFolderInUse(self._refusal())
            time.sleep(0.02)
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        self._fd = fd

    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def _refusal(self) -> str:
        pid = self._folder.lock_pid()
        who = "another process" if pid is None else f"process {pid}"
        return (
            f"the data folder {self._folder.path} is in use by {who}: stop that one, talk to the "
            "service it runs, or set SIDECAR_DATA_DIR to another folder"
        )


class DataFolder:
    """The paths, secrets and ports of one data folder; creating the object touches no disk."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.run = self.path / "run"
        self.logs = self.path / "logs"
        self.lock_file = self.run / "lock"
        self.urls_file = self.run / "urls.json"
        self._ports_file = self.run / "ports.json"
        self._secrets_file = self.path / "secrets.json"

    def create(self) -> None:
        """Make the folders that are missing."""
        try:
            for folder in (self.path, self.run, self.logs):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise SettingsInvalid(
                f"SIDECAR_DATA_DIR: cannot make the folder {exc.filename} ({exc.strerror}): "
                "name a folder that this user may write to"
            ) from exc

    def lock_pid(self) -> int | None:
        """Return who wrote itself into the lock file last; it may have ended since."""
        try:
            return int(self.lock_file.read_text())
        except (OSError, ValueError):
            return None

    def is_locked(self) -> bool:
        try:
            fd = os.open(self.lock_file, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            return not _try_flock(fd)
        finally:
            os.close(fd)

    def secret(self, name: str) -> str:
        """Return the password of a server; made once and on disk before anybody uses it."""
        known = self._read(self._secrets_file, dict[str, str])
        if name not in known:
            known[name] = secrets.token_urlsafe(24)
            write_private(self._secrets_file, msgspec.json.encode(known))
        return known[name]

    def port(self, name: str) -> int:
        """Return a free loopback port, the one of last time where it is free."""
        known = self._read(self._ports_file, dict[str, int])
        port = free_port(preferred=known.get(name))
        write_private(self._ports_file, msgspec.json.encode({**known, name: port}))
        return port

    def socket_folder(self, server: str, *, longest_name: str) -> Path:
        """Return where a server's unix socket fits: inside, or in the temporary folder.

        The folder may not exist yet; one in the temporary folder is checked by `make_private`.
        """
        inside = self.path / server / "run"
        path_bytes = len(os.fsencode(inside / longest_name))
        if path_bytes <= _SOCKET_PATH_BYTES and not _AWKWARD.intersection(str(inside)):
            return inside
        digest = hashlib.sha256(os.fsencode(inside)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"agent-sidecar-{digest}"

    def _read(self, path: Path, kind: type[_T]) -> _T:
        try:
            return msgspec.json.decode(path.read_bytes(), type=kind)
        except FileNotFoundError:
            return kind()
        except msgspec.DecodeError as exc:
            raise EmbeddedServerFailed(
                f"{path} cannot be read ({exc}): restore it from a backup; without the passwords "
                "in it the embedded servers do not open their data"
            ) from exc


def make_private(folder: Path, *, owners: Mapping[int, str]) -> None:
    """Make a folder only its owner may enter, or check that it is one of `owners` (uid -> name)."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if not folder.is_dir() or folder.is_symlink() or status.st_uid not in owners:
        raise EmbeddedServerFailed(
            f"{folder} does not belong to {' or '.join(owners.values())}: remove it, or set TMPDIR "
            "to a folder of your own"
        )
    if status.st_mode & 0o077:
        folder.chmod(0o700)


def write_private(path: Path, content: bytes) -> None:
    """Replace a file at once and for good (0600, fsync, rename): old or new, never half."""
    fresh = path.with_name(f"{path.name}.new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder_fd = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder_fd)
    finally:
        os.close(folder_fd)


def free_port(*, preferred: int | None = None) -> int:
    """Return a loopback port that nobody listens on at this moment."""
    tries = random.sample(_PORTS, 50)
    for port in (*(() if preferred is None else (preferred,)), *tries, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise EmbeddedServerFailed("no loopback port is free: end some of the programs that listen")


def _try_flock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
