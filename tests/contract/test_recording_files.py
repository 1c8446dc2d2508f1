"""Copies of recordings from a server of this machine: whole, private, bounded, or none."""

import asyncio
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from agent_sidecar.adapters.recording_files import RecordingFiles
from agent_sidecar.errors import RecordingRefused, RecordingUnavailable
from agent_sidecar.ports import Recordings

pytestmark = pytest.mark.contract

SOUND = b"RIFF" + bytes(range(256)) * 12_000
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Gives recordings, as well or badly as it is told."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: Answer = gives
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        return await self.answer(request)


async def gives(request: web.Request) -> web.StreamResponse:
    return web.Response(body=SOUND)


async def breaks_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    response.content_length = len(SOUND)
    await response.prepare(request)
    await response.write(SOUND[:1000])
    assert request.transport is not None
    request.transport.abort()
    return response


async def hangs(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    response.content_length = len(SOUND)
    await response.prepare(request)
    await response.write(SOUND[:1000])
    await asyncio.sleep(60)
    return response


def says(status: int) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": "https://example.com/"})

    return answer


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_get("/{file}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[RecordingFiles]:
    files = RecordingFiles(tmp_path / "recordings", loopback=True)
    yield files
    await files.aclose()


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "recordings").glob("*"))


async def test_a_copy_is_whole_and_nobody_else_s_to_read(
    server: Server, files: RecordingFiles, tmp_path: Path
):
    port: Recordings = files
    assert await port.keep(f"{server.url}/1.wav?x=.mp3", "call-1") == "recordings/call-1.wav"
    copy = tmp_path / "recordings" / "call-1.wav"
    assert copy.read_bytes() == SOUND
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert stat.S_IMODE(copy.parent.stat().st_mode) == 0o700


async def test_the_same_name_is_fetched_once(server: Server, files: RecordingFiles):
    first = await files.keep(f"{server.url}/1.mp3", "call-1")
    assert (first, await files.keep(f"{server.url}/1.mp3", "call-1")) == (
        "recordings/call-1.mp3",
        first,
    )
    assert server.asked == 1


async def test_a_name_leads_nowhere_else(server: Server, files: RecordingFiles, tmp_path: Path):
    place = await files.keep(f"{server.url}/1.exe", "../../etc/v3:x y")
    assert place == "recordings/.._.._etc_v3_x_y.wav"
    assert kept(tmp_path) == [".._.._etc_v3_x_y.wav"]


@pytest.mark.parametrize("answer", [breaks_off, says(500), says(503), says(429)])
async def test_what_breaks_off_leaves_nothing_and_may_be_tried_again(
    server: Server, files: RecordingFiles, tmp_path: Path, answer: Answer
):
    server.answer = answer
    with pytest.raises(RecordingUnavailable) as broke:
        await files.keep(f"{server.url}/1.wav?secret=1", "call-1")
    assert "secret" not in str(broke.value)
    assert kept(tmp_path) == []
    server.answer = gives
    assert await files.keep(f"{server.url}/1.wav", "call-1")


@pytest.mark.parametrize("status", [302, 403, 404, 410])
async def test_a_link_that_gives_nothing_is_refused_or_not_followed(
    server: Server, files: RecordingFiles, tmp_path: Path, status: int
):
    server.answer = says(status)
    with pytest.raises((RecordingRefused, RecordingUnavailable), match=str(status)) as refused:
        await files.keep(f"{server.url}/1.wav", "call-1")
    assert isinstance(refused.value, RecordingRefused) == (status != 302)
    assert (kept(tmp_path), server.asked) == ([], 1)


async def test_more_than_a_call_can_be_is_refused(server: Server, tmp_path: Path):
    files = RecordingFiles(tmp_path / "recordings", loopback=True, largest=1_000_000)
    with pytest.raises(RecordingRefused, match="larger than 1000000 bytes"):
        await files.keep(f"{server.url}/1.wav", "call-1")
    assert kept(tmp_path) == []
    await files.aclose()


async def test_a_stop_in_the_middle_leaves_nothing(
    server: Server, files: RecordingFiles, tmp_path: Path
):
    server.answer = hangs
    copying = asyncio.create_task(files.keep(f"{server.url}/1.wav", "call-1"))
    async with asyncio.timeout(5):
        while not kept(tmp_path):  # noqa: ASYNC110  # the server has no event for it
            await asyncio.sleep(0.01)
    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying
    assert kept(tmp_path) == []


async def test_a_folder_that_cannot_be_made_is_tried_again(server: Server, tmp_path: Path):
    (tmp_path / "recordings").write_text("a file")
    files = RecordingFiles(tmp_path / "recordings", loopback=True)
    with pytest.raises(RecordingUnavailable, match="cannot be written"):
        await files.keep(f"{server.url}/1.wav", "call-1")
    await files.aclose()


@pytest.mark.parametrize(
    "url",
    [
        "http://recordings.example.com/1.wav",
        "https://127.0.0.1/1.wav",
        "https://[::1]/1.wav",
        "https://localhost/1.wav",
        "https://169.254.169.254/latest",
        "http://127.0.0.1:1/1.wav",
        "file:///etc/passwd",
        "1.wav",
    ],
)
async def test_links_into_a_private_network_are_not_followed(url: str, tmp_path: Path):
    files = RecordingFiles(tmp_path / "recordings")
    with pytest.raises(RecordingRefused, match="must be https to a name"):
        await files.keep(url, "call-1")
    await files.aclose()
