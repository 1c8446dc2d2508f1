"""The graph: ArcadeDB, which speaks Neo4j's Bolt protocol and Cypher, with the wheel's own Java.

It takes no part in Bolt transaction timeouts; `_COMMAND_TIMEOUT_S` bounds every statement instead.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from agent_sidecar.embedded.child import Child, NotReady, OnEvent, executable
from agent_sidecar.embedded.folder import DataFolder, write_private
from agent_sidecar.embedded.wheels import wheel_folder

_DATABASE = "sidecar"
# the server knows no other first user
_USER = "root"
_COMMAND_TIMEOUT_S = 30
# protocols and consoles nobody here uses: they would only open doors
_UNUSED_JARS = ("console", "graphql", "-mcp-", "redisw", "postgresw", "studio")
_JVM_OPTIONS = (
    "-Xmx384m",
    "-Xms48m",
    "-XX:+UseSerialGC",
    # starts 0.8 s faster; the heavy compiler never pays off at our load
    "-XX:TieredStopAtLevel=1",
    # a server that is out of memory is restarted, not kept half alive
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Dfile.encoding=UTF-8",
    "--enable-native-access=ALL-UNNAMED",
    "--add-modules=jdk.incubator.vector",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
)
_SETTINGS: Mapping[str, object] = {
    "server.name": "sidecar",
    # production mode replaces every error text by "check the server log"; what else it would
    # set follows by hand
    "server.mode": "development",
    "txWalFlush": 1,
    "opencypher.loadCsv.allowFileUrls": "false",
    "opencypher.loadCsv.allowRemoteUrls": "false",
    # the default drops the time zone, and stored datetimes come back naive
    "dateTimeImplementation": "java.time.ZonedDateTime",
    "server.plugins": "Bolt:com.arcadedb.bolt.BoltProtocolPlugin",
    "server.defaultDatabases": f"{_DATABASE}[]",
    "bolt.host": "127.0.0.1",
    "bolt.defaultDatabase": _DATABASE,
    # HTTP cannot be switched off without losing the default database: any free loopback port
    "server.httpIncomingHost": "127.0.0.1",
    "server.httpIncomingPort": 0,
    "server.httpWorkerThreads": 8,
    "command.timeout": _COMMAND_TIMEOUT_S * 1000,
    "serverMetrics": "false",
}


class Graph(Child):
    name: ClassVar[str] = "graph"
    setting: ClassVar[str] = "SIDECAR_NEO4J_URL"

    def __init__(self, folder: DataFolder, on_event: OnEvent) -> None:
        super().__init__(folder, on_event)
        self._arguments_file = self.path / "java.args"
        self._port: int | None = None

    async def prepare(self) -> None:
        if self._port is None:  # a restart keeps it: clients know it by now
            self._port = self.folder.port(self.name)
        password_file = self.path / "password"
        write_private(password_file, self.folder.secret(self.name).encode())
        settings = {
            **_SETTINGS,
            "server.rootPath": self.path,
            # counts on the first start only
            "server.rootPasswordPath": password_file,
            "server.logsDirectory": self.folder.logs,
            "bolt.port": self._port,
        }
        arguments = [
            *_JVM_OPTIONS,
            f"-Djava.io.tmpdir={self.path}",
            *(f"-Darcadedb.{key}={value}" for key, value in settings.items()),
            "-cp",
            ":".join(map(str, self._jars())),
            "com.arcadedb.server.ArcadeDBServer",
        ]
        write_private(self._arguments_file, "\n".join(map(_quoted, arguments)).encode())

    def command(self) -> Sequence[str]:
        java = executable(wheel_folder("arcadedb_embedded") / "jre" / "bin" / "java")
        return [java, f"@{self._arguments_file}"]

    def environment(self) -> Mapping[str, str]:
        # under the plain C locale Java cannot open a path that is not ASCII
        return {"LC_ALL": "C.UTF-8"}

    def urls(self) -> Mapping[str, str]:
        return {
            "neo4j": f"bolt://127.0.0.1:{self._port}",
            "neo4j_user": _USER,
            "neo4j_password": self.folder.secret(self.name),
        }

    async def check(self) -> None:
        # by hand first: the driver logs a warning for each attempt that finds nobody listening
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError as exc:
            raise NotReady(str(exc)) from exc
        writer.close()
        # imported while Java starts, not before: it takes as long as the rest of our start
        import neo4j
        from neo4j.exceptions import AuthError, DriverError, Neo4jError

        urls = self.urls()
        try:
            async with (
                neo4j.AsyncGraphDatabase.driver(
                    urls["neo4j"], auth=(_USER, urls["neo4j_password"])
                ) as driver,
                driver.session(database=_DATABASE) as session,
            ):
                # Bolt listens before the database exists
                await (await session.run("RETURN 1")).consume()
        except AuthError as exc:
            secrets_file = self.folder.path / "secrets.json"
            raise self.failure(
                f"the password in {secrets_file} does not open {self.path}; restore that file"
            ) from exc
        except (DriverError, Neo4jError, OSError) as exc:
            raise NotReady(str(exc)) from exc

    def _jars(self) -> Sequence[Path]:
        jars = (wheel_folder("arcadedb_embedded") / "jars").glob("*.jar")
        return sorted(jar for jar in jars if not any(word in jar.name for word in _UNUSED_JARS))


def _quoted(argument: str) -> str:
    """Write one argument as Java's argument files want it."""
    return '"' + argument.replace("\\", "\\\\").replace('"', '\\"') + '"'
