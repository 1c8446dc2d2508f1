"""A MongoDB-wire server for tests of the MongoDB store: SecantusDB, in a process of its own.

It is GPL-2.0-only and never imported by us; nothing of the product needs it. It has no ``$text``.
"""

import asyncio
import contextlib
import struct
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import bson

from agent_sidecar.embedded.child import PYTHON_ENVIRONMENT, Child, NotReady
from agent_sidecar.embedded.folder import DataFolder, free_port

_OP_MSG = 2013


@contextlib.asynccontextmanager
async def secantus_server() -> AsyncIterator[str]:
    """Run a server on an empty folder for as long as the block lasts; yield its URL.

    A client that lives for less than a second wants ``serverMonitoringMode="poll"``: closed while
    its second monitor connects, pymongo leaks that socket, and warnings are errors here.
    """
    with tempfile.TemporaryDirectory(prefix="secantus-") as path:
        folder = DataFolder(Path(path))
        folder.create()
        server = Secantus(folder, lambda event, values: None)
        try:
            await server.start()
            yield server.urls()["mongodb"]
        finally:
            await server.stop()


class Secantus(Child):
    name: ClassVar[str] = "secantus"
    setting: ClassVar[str] = "MONGODB_TEST_URL"

    _port: int | None = None

    async def prepare(self) -> None:
        if self._port is None:
            self._port = free_port()

    def command(self) -> Sequence[str]:
        return [
            *(sys.executable, "-m", "secantus", "--standalone", "--log-level", "WARNING"),
            *("--host", "127.0.0.1", "--port", str(self._port)),
            *("--storage-path", str(self.path / "data"), "--cache-size", "128M"),
            # without it a kill loses acknowledged writes
            "--sync-on-commit",
        ]

    def environment(self) -> Mapping[str, str]:
        return PYTHON_ENVIRONMENT

    def urls(self) -> Mapping[str, str]:
        return {"mongodb": f"mongodb://127.0.0.1:{self._port}/sidecar"}

    async def check(self) -> None:
        # by hand: a driver's client that is closed while its monitors connect leaks their sockets
        body = b"\0\0\0\0\0" + bson.encode({"ping": 1, "$db": "admin"})
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError as exc:
            raise NotReady(str(exc)) from exc
        try:
            writer.write(struct.pack("<iiii", 16 + len(body), 1, 0, _OP_MSG) + body)
            answer = await reader.readexactly(16)
        except (OSError, asyncio.IncompleteReadError) as exc:
            raise NotReady(str(exc)) from exc
        finally:
            writer.close()
        if struct.unpack("<iiii", answer)[2:] != (1, _OP_MSG):
            raise NotReady(f"no answer to a ping: {answer!r}")
