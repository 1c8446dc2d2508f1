"""The two servers that `frame_path.py` compares, each a process of its own: `floor` and `ours`.

`floor` reads bytes and forgets them: what any server on this machine pays for a frame at least.
`ours` is the media socket as the service has it, from the upgrade to speech; its registry lets
everybody in and stops where a call would begin.

Prints its port, then answers each line on stdin with what happened since the one before.
"""

import asyncio
import gc
import random
import resource
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Literal, cast

import msgspec
import uvloop
from aiohttp import web
from msgspec import Struct

from agent_sidecar.adapters.av_decoder import AvDecoders
from agent_sidecar.adapters.telnyx_wire import decode_frame
from agent_sidecar.codecs import Codecs
from agent_sidecar.domain.events import SpeechHeard
from agent_sidecar.domain.listener import Listener
from agent_sidecar.domain.media import MediaFrame, StreamStart
from agent_sidecar.telemetry import Metrics
from agent_sidecar.web.media import media_routes
from agent_sidecar.web.parts import Frame, FrontDoorParts, Limits
from agent_sidecar.web.sockets import OpenSockets
from bench._report import percentiles_ms

Kind = Literal["floor", "ours"]
# how often the loop is asked how late it is; the same for both servers
_LAG_EVERY_S = 0.02


class Account(Struct):
    """What a server did since it was last asked."""

    cpu_s: float
    lag_p99_ms: float | None
    # seconds of audio heard on the longer track of each stream that has ended
    heard_s: float = 0.0
    frames_lost: int = 0
    # stretches of speech that were heard, and the seconds of speech in them
    speech: int = 0
    talk_s: float = 0.0


class _Floor(asyncio.Protocol):
    def data_received(self, data: bytes) -> None:
        """Forget it."""


class _Stream:
    """What `live/media_stream.py` does with a frame, without a call behind it."""

    def __init__(self, start: StreamStart, codecs: Codecs, account: Account) -> None:
        new_decoder = codecs.open(start.format)
        self.superseded = asyncio.Event()
        self._account = account
        self._listener = Listener(
            {"inbound": new_decoder(), "outbound": new_decoder()},
            start_s=0.0,
            parties={"inbound": "prospect", "outbound": "agent"},
            phase=random.random(),  # noqa: S311  # staggers work
        )

    def receive(self, frame: MediaFrame) -> None:
        for heard in self._listener.receive(frame):
            self._count(heard)

    def stopped(self, reason: str) -> None:
        for heard in self._listener.flush():
            self._count(heard)
        self._account.heard_s += self._listener.heard_s
        self._account.frames_lost += self._listener.frames_lost

    def _count(self, heard: SpeechHeard) -> None:
        self._account.speech += 1
        self._account.talk_s += heard.acoustics.talk_s


class _Registry:
    """Lets everybody in."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._codecs = Codecs(AvDecoders.load(), l16_byte_order=None)

    def admit(self, token: str | None, start: StreamStart) -> _Stream:
        return _Stream(start, self._codecs, self._account)


@dataclass(frozen=True, slots=True, kw_only=True)
class _MediaParts:
    """What the media socket uses of the front door's parts."""

    registry: _Registry
    decode_frame: Callable[[bytes], Frame] = decode_frame
    metrics: Metrics = field(default_factory=Metrics)
    limits: Limits = field(default_factory=Limits)


async def _serve(kind: Kind) -> None:
    account = Account(cpu_s=0.0, lag_p99_ms=None)
    async with AsyncExitStack() as exits:
        opened = _open_floor(exits) if kind == "floor" else _open_ours(exits, account)
        port = await opened
        # as `serve` does
        gc.collect()
        gc.freeze()
        _say({"port": port})
        late_s: list[float] = []
        probe = asyncio.create_task(_measure_lag(late_s), name="lag")
        await _answer(_Meter(account, late_s).read)
        probe.cancel()


async def _open_floor(exits: AsyncExitStack) -> int:
    server = await asyncio.get_running_loop().create_server(_Floor, "127.0.0.1", 0)
    exits.callback(server.close)
    port: int = server.sockets[0].getsockname()[1]
    return port


async def _open_ours(exits: AsyncExitStack, account: Account) -> int:
    app = web.Application()
    parts = cast(FrontDoorParts, _MediaParts(registry=_Registry(account)))
    app.add_routes(media_routes(parts, OpenSockets()))
    # as web/server.py runs it
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    exits.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port: int = runner.addresses[0][1]
    return port


class _Meter:
    def __init__(self, account: Account, late_s: list[float]) -> None:
        self._account = account
        self._late_s = late_s
        self._cpu_s = 0.0

    def read(self) -> Account:
        """Return what happened since it was last read."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        used_s = usage.ru_utime + usage.ru_stime
        since = msgspec.structs.replace(
            self._account,
            cpu_s=used_s - self._cpu_s,
            lag_p99_ms=percentiles_ms("", self._late_s, 99)["p99_ms"],
        )
        self._cpu_s = used_s
        self._late_s.clear()
        self._account.heard_s, self._account.talk_s = 0.0, 0.0
        self._account.frames_lost, self._account.speech = 0, 0
        return since


async def _measure_lag(late_s: list[float]) -> None:
    while True:
        # not the loop's time, which stands still while it works
        due = time.monotonic() + _LAG_EVERY_S
        await asyncio.sleep(_LAG_EVERY_S)
        late_s.append(max(0.0, time.monotonic() - due))


async def _answer(read: Callable[[], Account]) -> None:
    """Answer every line on stdin until it ends."""
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while await lines.readline():
        _say(read())


def _say(what: object) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    kind = sys.argv[1]
    assert kind in ("floor", "ours")
    uvloop.run(_serve(kind))  # type: ignore[arg-type]  # narrowed by the line above


if __name__ == "__main__":
    main()
