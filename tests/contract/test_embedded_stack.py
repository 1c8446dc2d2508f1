"""The embedded stack on its real servers: data outlives everything, processes outlive nothing."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import chromadb
import neo4j
import pytest
import redis.asyncio as redis
from chromadb.api import AsyncClientAPI
from chromadb.api.async_fastapi import AsyncFastAPI
from chromadb.config import Settings
from pymongo import AsyncMongoClient

from agent_sidecar.embedded import Stack, StackUrls, running_stack
from agent_sidecar.embedded.child import Child
from agent_sidecar.embedded.chroma import Chroma
from agent_sidecar.embedded.folder import DataFolder
from agent_sidecar.embedded.pidfile import started
from agent_sidecar.embedded.valkey import Valkey
from agent_sidecar.errors import DataFolderInUse, EmbeddedServerFailed
from tests.secantus import secantus_server

pytestmark = pytest.mark.contract

ALL = ("postgres", "graph", "valkey", "chroma")
# a start takes 2 s on an idle machine; this one is shared
START_S = 30.0

SUPERVISE = """
import asyncio, json, sys
from pathlib import Path
import uvloop
from agent_sidecar.embedded import Stack

async def main():
    stack = Stack(Path(sys.argv[1]))
    await stack.start()
    print(json.dumps(dict(stack.pids())), flush=True)
    await stack.run()

uvloop.run(main())
"""


class Heard:
    """What a stack told its owner."""

    def __init__(self) -> None:
        self.events: list[tuple[str, object]] = []

    def __call__(self, event: str, values: Mapping[str, object]) -> None:
        self.events.append((event, values["server"]))

    def servers(self, event: str) -> set[object]:
        return {server for name, server in self.events if name == event}

    def restarts_are(self, count: int) -> bool:
        return sum(event == "server_restarted" for event, _ in self.events) == count


@contextlib.asynccontextmanager
async def running(stack: Stack) -> AsyncIterator[StackUrls]:
    """Start and supervise a stack as a service does, and stop it."""
    urls = await stack.start()
    keeping = asyncio.create_task(stack.run())
    try:
        yield urls
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await stack.aclose()


async def write_everywhere(urls: StackUrls) -> None:
    async with postgres_connection(urls) as connection:
        await connection.execute("CREATE TABLE kept (word text)")
        await connection.execute("INSERT INTO kept VALUES ('Grüße')")
    async with graph_session(urls) as session:
        await (await session.run("CREATE (:Kept {word: 'Grüße'})")).consume()
    async with valkey_client(urls) as client:
        await client.set("kept", "Grüße")
        await asyncio.sleep(1.1)  # its file is flushed once a second, and that is what we promise
    async with chroma_client(urls) as chroma:
        collection = await chroma.create_collection("kept", embedding_function=None)
        await collection.add(ids=["1"], embeddings=[1.0, 0.0], documents=["Grüße"])


async def read_everywhere(urls: StackUrls) -> set[object]:
    async with postgres_connection(urls) as connection:
        from_postgres = await connection.fetchval("SELECT word FROM kept")
    async with graph_session(urls) as session:
        node = await (await session.run("MATCH (k:Kept) RETURN k.word AS word")).single()
        from_graph = node and node["word"]
    async with valkey_client(urls) as client:
        from_valkey = await client.get("kept")
    async with chroma_client(urls) as chroma:
        collection = await chroma.get_collection("kept", embedding_function=None)
        nearest = await collection.query(query_embeddings=[1.0, 0.1], n_results=1)
        from_chroma = (nearest["documents"] or [["nothing"]])[0][0]
    return {from_postgres, from_graph, from_valkey, from_chroma}


@contextlib.asynccontextmanager
async def postgres_connection(urls: StackUrls) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(urls.postgres)
    try:
        yield connection
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def graph_session(urls: StackUrls) -> AsyncIterator[neo4j.AsyncSession]:
    assert urls.neo4j
    assert urls.neo4j_user
    assert urls.neo4j_password
    auth = (urls.neo4j_user, urls.neo4j_password)
    async with (
        neo4j.AsyncGraphDatabase.driver(urls.neo4j, auth=auth) as driver,
        driver.session() as session,
    ):
        yield session


@contextlib.asynccontextmanager
async def valkey_client(urls: StackUrls) -> AsyncIterator[redis.Redis]:
    assert urls.redis
    client = redis.from_url(urls.redis, decode_responses=True)
    try:
        yield client
    finally:
        await client.aclose()


@contextlib.asynccontextmanager
async def chroma_client(urls: StackUrls) -> AsyncIterator[AsyncClientAPI]:
    address = urlsplit(urls.chroma or "")
    assert address.hostname
    assert address.port
    try:
        yield await chromadb.AsyncHttpClient(
            host=address.hostname, port=address.port, settings=Settings(anonymized_telemetry=False)
        )
    finally:
        # the client has no close: its connections are kept by class, one pool for each loop
        while AsyncFastAPI._clients:
            await AsyncFastAPI._clients.popitem()[1].aclose()


def marks(pids: Mapping[str, int]) -> Mapping[int, str | None]:
    return {pid: started(pid) for pid in pids.values()}


def alive(before: Mapping[int, str | None]) -> set[int]:
    return {pid for pid, start in before.items() if start and started(pid) == start}


async def until(true: Callable[[], bool], *, within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110 - processes set no event
            await asyncio.sleep(0.02)


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """Name a folder too long for unix sockets, and with what Java and URLs must have quoted."""
    path = tmp_path / ("Größe & 'so' " + "x" * 80)
    yield path
    for server in ALL:
        # the sockets' folders outside
        sockets = DataFolder(path).socket_folder(server, longest_name=".s.PGSQL.5432")
        shutil.rmtree(sockets, ignore_errors=True)


class TestDataOutlives:
    async def test_a_stop_and_a_warm_start(self, data_dir):
        stack = Stack(data_dir)
        began = time.monotonic()
        urls = await stack.start()
        assert time.monotonic() - began < START_S
        assert set(stack.pids()) == set(ALL)
        assert running_stack(data_dir) == urls
        before = marks(stack.pids())
        await write_everywhere(urls)
        assert not shown_secrets(stack, data_dir)

        await stack.aclose()
        assert alive(before) == set()
        assert running_stack(data_dir) is None

        async with running(Stack(data_dir)) as again:
            assert await read_everywhere(again) == {"Grüße"}
            # whoever kept a URL may go on using it
            assert (again.postgres, again.redis) == (urls.postgres, urls.redis)

    async def test_every_server_killed(self, tmp_path):
        heard = Heard()
        stack = Stack(tmp_path, on_event=heard)
        async with running(stack) as urls:
            await write_everywhere(urls)
            before = marks(stack.pids())
            for pid in before:
                os.kill(pid, signal.SIGKILL)
            await until(lambda: heard.servers("server_restarted") == set(ALL), within_s=START_S)
            assert alive(before) == set()
            assert await read_everywhere(urls) == {"Grüße"}
        assert heard.servers("server_ended") == set(ALL)

    async def test_the_supervisor_killed_and_started_again_at_once(self, tmp_path):
        with supervisor(tmp_path) as (process, pids):
            urls = running_stack(tmp_path)
            assert urls is not None
            assert urls.pid == process.pid
            await write_everywhere(urls)
            before = marks(pids)
            assert len(alive(before)) == len(ALL)
            process.kill()
            process.wait()
        async with running(Stack(tmp_path)) as again:
            assert alive(before) == set()
            assert await read_everywhere(again) == {"Grüße"}


class TestProcessesDoNotOutlive:
    async def test_their_supervisor(self, tmp_path):
        with supervisor(tmp_path) as (process, pids):
            before = marks(pids)
            process.kill()
            process.wait()
        await until(lambda: not alive(before), within_s=5)
        assert running_stack(tmp_path) is None

    async def test_a_start_that_is_cancelled(self, tmp_path):
        stack = Stack(tmp_path)
        starting = asyncio.create_task(stack.start())
        await until(lambda: len(stack.pids()) >= 2, within_s=START_S)
        before = marks(stack.pids())
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert alive(before) == set()
        assert stack.pids() == {}
        assert not DataFolder(tmp_path).is_locked()

    async def test_a_stop_that_is_hurried(self, tmp_path):
        stack = stack_of(valkey=StubbornValkey)(tmp_path)
        await stack.start()
        before = marks(stack.pids())
        stopping = asyncio.create_task(stack.aclose())
        await asyncio.sleep(0.1)
        assert alive(before)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        assert alive(before) == set()
        assert not DataFolder(tmp_path).is_locked()

    async def test_a_stop_they_do_not_heed(self, tmp_path):
        heard = Heard()
        stack = stack_of(valkey=StubbornValkey)(tmp_path, on_event=heard)
        await stack.start()
        before = marks(stack.pids())
        began = time.monotonic()
        await stack.aclose()
        assert time.monotonic() - began < 3
        assert alive(before) == set()
        assert heard.servers("server_killed") == {"valkey"}

    async def test_the_next_start_whatever_the_kernel_did(self, tmp_path):
        # as on a system that does not tell children of their supervisor's death
        folder = DataFolder(tmp_path)
        folder.create()
        orphan = a_process_remembered_in(folder.run / "valkey.pid")
        heard = Heard()
        stack = Stack(tmp_path, only={"valkey"}, on_event=heard)
        async with running(stack):
            assert orphan.wait(1) == -signal.SIGTERM
        assert heard.servers("orphan_ended") == {"valkey"}


class TestFailures:
    async def test_a_second_stack_on_the_folder_is_refused(self, tmp_path):
        async with running(Stack(tmp_path, only={"valkey"})) as urls:
            with pytest.raises(DataFolderInUse, match=f"process {os.getpid()}"):
                await Stack(tmp_path, only={"chroma"}).start()
            assert running_stack(tmp_path) == urls

    async def test_a_broken_server_says_why_and_takes_the_rest_down(self, tmp_path):
        stack = stack_of(**(dict(Stack.servers) | {"valkey": BrokenValkey}))(tmp_path)
        with pytest.raises(EmbeddedServerFailed) as failed:
            await stack.start()
        said = str(failed.value)
        assert "server valkey failed: it ended with exit code 1" in said
        assert "Bad directive" in said
        assert "SIDECAR_REDIS_URL" in said
        assert stack.pids() == {}
        assert not DataFolder(tmp_path).is_locked()

    async def test_a_program_that_is_gone_is_named(self, tmp_path):
        with pytest.raises(EmbeddedServerFailed, match="/nowhere/valkey-server: No such file"):
            await stack_of(valkey=MissingValkey)(tmp_path).start()

    async def test_a_server_that_never_answers_is_given_up(self, tmp_path):
        stack = stack_of(valkey=SilentValkey)(tmp_path)
        with pytest.raises(EmbeddedServerFailed, match="did not answer within 0 s"):
            await stack.start()
        assert stack.pids() == {}

    async def test_a_server_that_keeps_ending_is_given_up(self, tmp_path):
        heard = Heard()
        stack = stack_of(valkey=Valkey, chroma=Chroma)(tmp_path, on_event=heard)
        await stack.start()
        try:
            keeping = asyncio.create_task(stack.run())
            for times in range(6):
                await until(partial(heard.restarts_are, times), within_s=10)
                os.kill(stack.pids()["valkey"], signal.SIGKILL)
            with pytest.raises(EmbeddedServerFailed, match="ended 6 times in 10 minutes"):
                await asyncio.wait_for(keeping, 10)
            assert set(stack.pids()) == {"chroma"}
        finally:
            await stack.aclose()

    async def test_passwords_that_were_lost_are_asked_back(self, tmp_path):
        async with running(Stack(tmp_path, only={"postgres"})):
            pass
        (tmp_path / "secrets.json").unlink()
        with pytest.raises(EmbeddedServerFailed, match=r"secrets\.json does not open .*data-18"):
            await Stack(tmp_path, only={"postgres"}).start()


async def test_the_mongodb_server_for_tests_answers_and_goes():
    async with secantus_server() as url:
        client: AsyncMongoClient[Mapping[str, object]]
        client = AsyncMongoClient(url, serverMonitoringMode="poll")
        async with client:
            await client.sidecar.kept.insert_one({"_id": 1, "word": "Grüße"})
            assert await client.sidecar.kept.find_one() == {"_id": 1, "word": "Grüße"}


def stack_of(**servers: type[Child]) -> type[Stack]:
    """Return a stack of other servers, which loses no time before a restart."""

    class Changed(Stack):
        first_wait_s = 0.001

    Changed.servers = servers
    return Changed


def a_process_remembered_in(pid_file: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(["/bin/sleep", "60"])
    pid_file.write_text(f"{process.pid} {started(process.pid)}")
    return process


class StubbornValkey(Valkey):
    stop_signal = signal.SIGCONT
    stop_s = 0.5


class BrokenValkey(Valkey):
    async def prepare(self) -> None:
        await super().prepare()
        with (self.path / "valkey.conf").open("a") as config:
            config.write("no-such-directive yes\n")


class MissingValkey(Valkey):
    def command(self) -> Sequence[str]:
        return ["/nowhere/valkey-server"]


class SilentValkey(Valkey):
    ready_s = 0.3

    def command(self) -> Sequence[str]:
        return ["/bin/sleep", "60"]


@contextlib.contextmanager
def supervisor(data_dir: Path) -> Iterator[tuple[subprocess.Popen[str], Mapping[str, int]]]:
    """Run a stack under another process, on uvloop, ready when entered."""
    command = [sys.executable, "-c", SUPERVISE, str(data_dir)]
    with subprocess.Popen(  # noqa: S603 - our own interpreter and words
        command, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def shown_secrets(stack: Stack, data_dir: Path) -> set[str]:
    """Return the passwords that anybody on the machine could read in a list of processes."""
    secrets = json.loads((data_dir / "secrets.json").read_text())
    shown = b" ".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in stack.pids().values())
    return {name for name, secret in secrets.items() if secret.encode() in shown}
