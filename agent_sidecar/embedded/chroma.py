"""The vectors: Chroma's own Rust server on a loopback port.

A server and not a file opened by us, because a second process reading the file sees stale
neighbours, and because clients then are the same as in production. It knows no passwords: any
local user may read it.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import ClassVar

from agent_sidecar.embedded.child import PYTHON_ENVIRONMENT, Child, NotReady, OnEvent
from agent_sidecar.embedded.folder import DataFolder

# the Rust server without the Python package around it: 46 MB instead of 126, 0.1 s instead of 1.3
_RUN = (
    "import sys, chromadb_rust_bindings as chroma; "
    "chroma.cli(['chroma', 'run', '--path', sys.argv[1], '--host', '127.0.0.1', "
    "'--port', sys.argv[2]])"
)
_HEARTBEAT = b"GET /api/v2/heartbeat HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


class Chroma(Child):
    name: ClassVar[str] = "chroma"
    setting: ClassVar[str] = "SIDECAR_CHROMA_URL"

    def __init__(self, folder: DataFolder, on_event: OnEvent) -> None:
        super().__init__(folder, on_event)
        self._port: int | None = None

    async def prepare(self) -> None:
        if self._port is None:  # a restart keeps it: clients know it by now
            self._port = self.folder.port(self.name)

    def command(self) -> Sequence[str]:
        return [sys.executable, "-c", _RUN, str(self.path / "data"), str(self._port)]

    def environment(self) -> Mapping[str, str]:
        return {**PYTHON_ENVIRONMENT, "ANONYMIZED_TELEMETRY": "False"}

    def urls(self) -> Mapping[str, str]:
        return {"chroma": f"http://127.0.0.1:{self._port}"}

    async def check(self) -> None:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError as exc:
            raise NotReady(str(exc)) from exc
        try:
            writer.write(_HEARTBEAT)
            answer = await reader.read(2000)
        except OSError as exc:
            raise NotReady(str(exc)) from exc
        finally:
            writer.close()
        if b"heartbeat" not in answer:
            raise NotReady(answer[:200].decode("utf-8", "replace"))
