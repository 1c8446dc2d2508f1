"""The parts of the embedded stack that need no server."""

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from agent_sidecar.embedded import DataFolderLock, Stack, StackUrls, missing_parts, running_stack
from agent_sidecar.embedded.folder import DataFolder, free_port, make_private, write_private
from agent_sidecar.embedded.graph import Graph
from agent_sidecar.embedded.pidfile import PidFile, started
from agent_sidecar.embedded.postgres import Postgres
from agent_sidecar.embedded.valkey import Valkey
from agent_sidecar.errors import DataFolderInUse, EmbeddedServerFailed, SettingsInvalid

HOLD_LOCK = (
    "import sys; from pathlib import Path; from agent_sidecar.embedded import DataFolderLock\n"
    "with DataFolderLock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
)


def ignore(event: str, values: Mapping[str, object]) -> None:
    pass


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def a_folder(path: Path) -> DataFolder:
    folder = DataFolder(path)
    folder.create()
    return folder


def sleeping() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["/bin/sleep", "30"])


def some_urls(pid: int) -> StackUrls:
    return StackUrls(
        postgres="postgresql://sidecar:pg-secret@/sidecar",
        neo4j="bolt://127.0.0.1:1",
        neo4j_user="root",
        neo4j_password="graph-secret",  # noqa: S106 - to see that it is not shown
        chroma="http://127.0.0.1:2",
        redis="unix://:redis-secret@/s",
        pid=pid,
    )


class TestDataFolderLock:
    def test_a_second_holder_is_refused_with_folder_pid_and_advice(self, tmp_path):
        with DataFolderLock(tmp_path), pytest.raises(DataFolderInUse) as refused:
            DataFolderLock(tmp_path).acquire()
        assert str(tmp_path) in str(refused.value)
        assert f"process {os.getpid()}" in str(refused.value)
        assert "SIDECAR_DATA_DIR" in str(refused.value)

    def test_it_can_be_taken_again_after_release(self, tmp_path):
        lock = DataFolderLock(tmp_path)
        with lock:
            assert lock.held
        assert not lock.held
        with DataFolderLock(tmp_path):
            pass

    def test_acquiring_twice_is_acquiring_once(self, tmp_path):
        lock = DataFolderLock(tmp_path)
        lock.acquire()
        lock.acquire()
        lock.release()
        lock.release()
        assert not DataFolder(tmp_path).is_locked()

    def test_the_kernel_frees_it_when_the_holder_is_killed(self, tmp_path):
        command = [sys.executable, "-c", HOLD_LOCK, str(tmp_path)]
        with subprocess.Popen(  # noqa: S603 - our own interpreter and words
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            with pytest.raises(DataFolderInUse, match=f"process {holder.pid}"):
                DataFolderLock(tmp_path).acquire()
            holder.kill()
        with DataFolderLock(tmp_path):
            pass

    def test_a_folder_that_cannot_be_made_names_the_setting(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(SettingsInvalid, match="SIDECAR_DATA_DIR"):
            DataFolderLock(tmp_path / "file" / "below").acquire()


class TestRunningStack:
    def test_there_is_none_in_a_folder_nobody_ever_used(self, tmp_path):
        assert running_stack(tmp_path / "new") is None
        assert not (tmp_path / "new").exists()

    def test_it_is_found_while_its_process_holds_the_lock(self, tmp_path):
        with DataFolderLock(tmp_path):
            urls = some_urls(os.getpid())
            write_private(DataFolder(tmp_path).urls_file, msgspec.json.encode(urls))
            assert running_stack(tmp_path) == urls
        assert running_stack(tmp_path) is None

    def test_what_a_killed_stack_left_behind_does_not_count(self, tmp_path):
        with DataFolderLock(tmp_path):
            write_private(DataFolder(tmp_path).urls_file, msgspec.json.encode(some_urls(2**22)))
            assert running_stack(tmp_path) is None

    def test_the_file_of_another_live_process_does_not_count(self, tmp_path):
        with DataFolderLock(tmp_path):
            other = some_urls(os.getppid())
            write_private(DataFolder(tmp_path).urls_file, msgspec.json.encode(other))
            assert running_stack(tmp_path) is None

    @pytest.mark.parametrize("content", [b"", b"{", b'{"pid": "x"}'])
    def test_a_damaged_file_does_not_count(self, tmp_path, content):
        with DataFolderLock(tmp_path):
            DataFolder(tmp_path).urls_file.write_bytes(content)
            assert running_stack(tmp_path) is None

    def test_urls_do_not_show_passwords_when_logged(self):
        assert "secret" not in repr(some_urls(1))


class TestDataFolder:
    def test_a_secret_is_made_once_and_only_its_owner_may_read_it(self, tmp_path):
        first = a_folder(tmp_path / "d").secret("postgres")
        again = DataFolder(tmp_path / "d")
        assert again.secret("postgres") == first
        assert again.secret("graph") != first
        assert mode_of(tmp_path / "d") == 0o700
        assert mode_of(tmp_path / "d" / "secrets.json") == 0o600

    @pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"postgres": 1}'])
    def test_a_damaged_secrets_file_is_refused_and_not_overwritten(self, tmp_path, content):
        folder = a_folder(tmp_path)
        secrets_file = tmp_path / "secrets.json"
        secrets_file.write_bytes(content)
        with pytest.raises(EmbeddedServerFailed, match=r"secrets\.json .* restore it"):
            folder.secret("postgres")
        assert secrets_file.read_bytes() == content

    def test_a_port_stays_the_same_as_long_as_it_is_free(self, tmp_path):
        port = a_folder(tmp_path).port("graph")
        again = DataFolder(tmp_path)
        assert again.port("graph") == port
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", port))
            taken.listen()
            assert again.port("graph") != port

    def test_a_free_port_is_outside_the_range_of_outgoing_connections(self):
        assert 20_000 <= free_port() < 30_000

    def test_a_short_path_keeps_its_socket_inside(self):
        folder = DataFolder(Path("/srv/sidecar"))
        assert folder.socket_folder("valkey", longest_name="s") == Path("/srv/sidecar/valkey/run")

    @pytest.mark.parametrize(
        "path", ["/srv/" + "x" * 90, "/srv/a,b", '/srv/a"b', "/srv/" + "ü" * 40]
    )
    def test_a_path_that_sockets_cannot_bear_moves_them_out(self, path):
        moved = DataFolder(Path(path)).socket_folder("postgres", longest_name=".s.PGSQL.5432")
        assert moved.name.startswith("agent-sidecar-")
        assert moved != DataFolder(Path(path)).socket_folder("valkey", longest_name="s")

    def test_a_private_folder_is_closed_to_others(self, tmp_path):
        (tmp_path / "open").mkdir(mode=0o755)
        make_private(tmp_path / "open", owners={os.geteuid(): "this user"})
        make_private(tmp_path / "fresh", owners={os.geteuid(): "this user"})
        assert mode_of(tmp_path / "open") == mode_of(tmp_path / "fresh") == 0o700

    def test_a_folder_of_somebody_else_is_refused(self, tmp_path):
        with pytest.raises(EmbeddedServerFailed, match="does not belong to postgres"):
            make_private(tmp_path, owners={os.geteuid() + 1: "postgres"})

    def test_a_link_in_its_place_is_refused(self, tmp_path):
        (tmp_path / "target").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "target")
        with pytest.raises(EmbeddedServerFailed, match="does not belong to"):
            make_private(tmp_path / "link", owners={os.geteuid(): "this user"})


class TestPidFile:
    def test_a_live_process_has_a_start_and_a_dead_one_none(self):
        assert started(os.getpid())
        assert started(2**22) is None

    async def test_a_pid_that_was_used_again_is_left_alone(self, tmp_path):
        with sleeping() as innocent:
            (tmp_path / "pid").write_text(f"{innocent.pid} 1")
            assert await PidFile(tmp_path / "pid").end_orphan(signal.SIGTERM) is None
            assert innocent.poll() is None
            innocent.kill()

    @pytest.mark.parametrize("content", ["", "x", "12", "12 None"])
    async def test_a_file_cut_in_writing_is_harmless(self, tmp_path, content):
        (tmp_path / "pid").write_text(content)
        assert await PidFile(tmp_path / "pid").end_orphan(signal.SIGTERM) is None

    async def test_no_file_is_no_orphan(self, tmp_path):
        assert await PidFile(tmp_path / "pid").end_orphan(signal.SIGTERM) is None


class TestServers:
    async def test_no_command_line_holds_a_secret_and_their_files_are_private(self, tmp_path):
        folder = a_folder(tmp_path)
        for server in (Graph(folder, ignore), Valkey(folder, ignore)):
            server.path.mkdir()
            await server.prepare()
            secret = folder.secret(server.name)
            assert not [word for word in server.command() if secret in word]
            holding = [p for p in server.path.iterdir() if p.is_file() and secret in p.read_text()]
            assert holding
            assert {mode_of(path) for path in holding} == {0o600}

    async def test_a_restart_keeps_the_port_that_clients_know(self, tmp_path):
        graph = Graph(a_folder(tmp_path), ignore)
        graph.path.mkdir()
        await graph.prepare()
        before = graph.urls()
        await graph.prepare()
        assert graph.urls() == before

    async def test_a_path_with_quotes_and_blanks_survives_the_argument_file(self, tmp_path):
        graph = Graph(a_folder(tmp_path / 'a "b" \\c'), ignore)
        graph.path.mkdir()
        await graph.prepare()
        arguments = (graph.path / "java.args").read_text().splitlines()
        quoted = str(graph.path).replace("\\", "\\\\").replace('"', '\\"')
        assert f'"-Djava.io.tmpdir={quoted}"' in arguments

    def test_data_of_another_major_version_is_refused_by_name(self, tmp_path):
        postgres = Postgres(a_folder(tmp_path), ignore)
        (tmp_path / "postgres" / "data-17").mkdir(parents=True)
        (tmp_path / "postgres" / "data-17" / "PG_VERSION").write_text("17")
        with pytest.raises(EmbeddedServerFailed, match="data-17"):
            postgres._refuse_other_major()

    @pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
    def test_the_lock_of_a_dead_postmaster_does_not_outlive_it(self, tmp_path):
        postgres = Postgres(a_folder(tmp_path), ignore)
        postgres._data = tmp_path
        lock = tmp_path / "postmaster.pid"
        lock.write_text(f"{os.getpid()}\n/data\n")  # its pid is another program's by now
        postgres._forget_dead_postmaster()
        assert not lock.exists()

    async def test_a_disk_that_takes_no_file_is_said_so(self, tmp_path):
        folder = a_folder(tmp_path)
        (tmp_path / "valkey").write_text("in the way")
        with pytest.raises(EmbeddedServerFailed, match="files could not be written"):
            await Valkey(folder, ignore).start()

    def test_servers_are_not_started_from_another_thread(self, tmp_path):
        # the kernel would end them with that thread
        async def from_a_thread() -> str:
            def start() -> str:
                with pytest.raises(RuntimeError, match="main thread") as refused:
                    asyncio.run(Valkey(a_folder(tmp_path), ignore).spawn(["/bin/true"], output=1))
                return str(refused.value)

            return await asyncio.to_thread(start)

        assert asyncio.run(from_a_thread())


class TestStack:
    def test_a_server_it_does_not_know_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="mongo"):
            Stack(tmp_path, only={"mongo"})

    async def test_no_server_wanted_is_a_stack_without_urls(self, tmp_path):
        stack = Stack(tmp_path, only=())
        urls = await stack.start()
        assert (urls.postgres, urls.neo4j, urls.chroma, urls.redis) == (None,) * 4
        await stack.aclose()
        assert running_stack(tmp_path) is None

    async def test_a_lock_that_is_passed_in_stays_with_its_owner(self, tmp_path):
        with DataFolderLock(tmp_path) as lock:
            stack = Stack(tmp_path, only=(), lock=lock)
            urls = await stack.start()
            assert running_stack(tmp_path) == urls
            await stack.aclose()
            assert lock.held

    async def test_closing_what_never_started_is_safe(self, tmp_path):
        stack = Stack(tmp_path)
        await stack.aclose()
        await stack.aclose()
        assert stack.pids() == {}

    def test_all_wheels_are_installed_here_and_an_unknown_need_is_none(self):
        assert missing_parts() == []
        assert missing_parts(()) == []
