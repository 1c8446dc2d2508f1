"""The media socket: Telnyx is the client, and losing the socket never hurts the call."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidStatus,
    InvalidURI,
)

from agent_sidecar.domain.types import Track
from agent_sidecar.simulator.codecs import PCMU, StreamCodec
from agent_sidecar.simulator.frames import (
    FRAME_S,
    FaultyLine,
    FrameWriter,
    MediaFaults,
    frame_audio,
)
from agent_sidecar.simulator.legs import SimulatedLeg
from agent_sidecar.simulator.pace import ConversationClock

# at high speed many frames are due at once: a timer per frame would cost more than the frame
_SHORTEST_NAP_S = 0.005
_RECONNECT_S = 0.5
_OPEN_S = 5.0
_CLOSE_S = 2.0
# the server ended the stream on purpose: trying again would be rude
_FINAL_CODES = frozenset({1000, 1003, 1008, 1009})

# frames of an old socket beside the new one, and what they hold: 20 ms that nobody could overhear
_LINGERS = 25
_LOUD = bytes(range(80)) * 2

StreamEnd = Literal["stopped", "refused", "closed", "lost"]
StreamChange = Literal["started", "stopped", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOrder:
    """What `streaming_start` asked for."""

    url: str
    token: str | None = None
    tracks: tuple[Track, ...] = ("inbound",)
    custom_parameters: dict[str, str] = field(default_factory=dict)

    @property
    def public_url(self) -> str:
        """The URL without what may be secret in it."""
        return urlunsplit(urlsplit(self.url)._replace(query="", fragment=""))


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketTurn:
    """What happens to a socket at a second of the conversation.

    `returns`: it stops and comes again. `dies`: it is gone without a word, and comes again.
    `doubles`: a second one is opened, and the first sends on for a while and stops late.
    `complains`: an error frame.
    """

    at_s: float
    what: Literal["returns", "dies", "doubles", "complains"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRules:
    faults: MediaFaults | None = None
    # in the order of their time
    turns: tuple[SocketTurn, ...] = ()
    # how long a lost socket is tried again, wall seconds
    window_s: float = 60.0
    # the call's own: Telnyx streams it whatever was asked for, where it cannot transcode
    codec: StreamCodec = PCMU


class MediaStream:
    """Streams one leg's audio from the moment it is run until `stop`."""

    def __init__(
        self,
        order: StreamOrder,
        leg: SimulatedLeg,
        audio: Mapping[Track, bytes],
        clock: ConversationClock,
        rules: StreamRules,
    ) -> None:
        self.order = order
        self.stream_id = ""
        self.frames_sent = 0
        self.frames_heard = 0
        self.connects = 0
        # None while it runs
        self.end: StreamEnd | None = None
        self.reason = ""
        self.connected = False
        self._leg = leg
        self._audio = audio
        self._clock = clock
        self._rules = rules
        self._stop = asyncio.Event()
        self._turns = list(rules.turns)

    def stop(self) -> None:
        """Send the stop frame and close; `run` returns soon after."""
        self._stop.set()

    async def run(self, on_change: Callable[[StreamChange], None]) -> None:
        """Stream until stopped, refused, closed by the server, or unreachable for the window.

        Never raises for what the server does: `end` and `reason` say how it ended.
        """
        lost_at = asyncio.get_running_loop().time()
        while self.end is None:
            try:
                await self._connect(on_change)
            except ConnectionClosed as exc:
                self._judge_close(exc)
                lost_at = asyncio.get_running_loop().time()
            except InvalidStatus as exc:
                self._judge_status(exc.response.status_code)
            except InvalidURI as exc:
                self.end, self.reason = "refused", str(exc)
            except (OSError, InvalidHandshake, EOFError) as exc:
                self.reason = f"{self.order.public_url} cannot be reached: {exc}"
            if self.end is None:
                await self._wait_to_reconnect(lost_at)
        on_change("stopped" if self.end == "stopped" else "failed")

    async def _connect(self, on_change: Callable[[StreamChange], None]) -> None:
        token = self.order.token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with connect(
            self.order.url,
            additional_headers=headers,
            compression=None,
            proxy=None,
            open_timeout=_OPEN_S,
            close_timeout=_CLOSE_S,
        ) as socket:
            writer = FrameWriter(
                self._leg, self.order.custom_parameters, self._rules.codec.media_format
            )
            self.stream_id = writer.stream_id
            self.connects += 1
            self.connected = True
            hearing = asyncio.create_task(self._hear(socket, writer), name="media:hear")
            try:
                await socket.send(writer.connected())
                on_change("started")
                await socket.send(writer.start())
                turn = await self._pump(socket, writer)
                if turn == "doubles":
                    await self._double(socket, writer, on_change)
                    return
                await socket.send(writer.stop())
            finally:
                self.connected = False
                hearing.cancel()
                await asyncio.gather(hearing, return_exceptions=True)
        if turn is None:
            self.end, self.reason = "stopped", ""

    async def _double(
        self,
        socket: ClientConnection,
        writer: FrameWriter,
        on_change: Callable[[StreamChange], None],
    ) -> None:
        """Go on with another socket while this one still sends."""
        old = asyncio.create_task(_linger(socket, writer), name="media:old")
        try:
            await self._connect(on_change)
        finally:
            await asyncio.gather(old, return_exceptions=True)

    async def _pump(self, socket: ClientConnection, writer: FrameWriter) -> str | None:
        """Send frames until the stop, or until a turn that ends this socket: return which."""
        line = FaultyLine(self._rules.faults) if self._rules.faults else None
        encoders = {track: self._rules.codec.new_encoder() for track in self.order.tracks}
        index = int(self._clock.now_s() / FRAME_S)
        while not self._stop.is_set():
            due = int(self._clock.now_s() / FRAME_S)
            turn = self._next_turn()
            if turn == "complains":
                await socket.send(writer.error())
            elif turn == "dies":
                socket.transport.abort()
                # the next frame finds it gone
            elif turn is not None:
                return turn
            while index <= due and not self._stop.is_set():
                for track, encode in encoders.items():
                    audio = frame_audio(self._audio.get(track, b""), index)
                    frame = writer.media(track, encode(audio))
                    for arriving in line.carry(frame) if line else (frame,):
                        await socket.send(arriving)
                        self.frames_sent += 1
                index += 1
            nap_s = (index * FRAME_S - self._clock.now_s()) / self._clock.speed
            await asyncio.sleep(max(nap_s, _SHORTEST_NAP_S))
        return None

    def _next_turn(self) -> str | None:
        if self._turns and self._turns[0].at_s <= self._clock.now_s():
            return self._turns.pop(0).what
        return None

    async def _hear(self, socket: ClientConnection, writer: FrameWriter) -> None:
        """Take what the service sends; nothing is queued here, so a mark comes back at once."""
        with suppress(ConnectionClosed):
            async for message in socket:
                self.frames_heard += 1
                answer = _answer(message, writer)
                if answer is not None:
                    await socket.send(answer)

    def _judge_close(self, closed: ConnectionClosed) -> None:
        code = closed.rcvd.code if closed.rcvd else 1006
        self.reason = f"the service closed the media socket with {code}"
        if closed.rcvd and closed.rcvd.reason:
            self.reason += f": {closed.rcvd.reason}"
        if code in _FINAL_CODES:
            self.end = "refused" if code == 1008 else "closed"

    def _judge_status(self, status: int) -> None:
        self.reason = f"the service answered the media socket with HTTP {status}"
        if status < 500 and status not in (408, 429):
            self.end = "refused"

    async def _wait_to_reconnect(self, lost_at: float) -> None:
        waited_s = asyncio.get_running_loop().time() - lost_at
        if waited_s > self._rules.window_s:
            self.end = "lost"
            self.reason = f"gave up after {waited_s:.0f} s: {self.reason}"
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_RECONNECT_S):
                await self._stop.wait()
        if self._stop.is_set():
            self.end = "lost"


async def _linger(socket: ClientConnection, writer: FrameWriter) -> None:
    """Send loud frames of a socket that should be over, and a late stop."""
    with suppress(ConnectionClosed):
        for _ in range(_LINGERS):
            await socket.send(writer.media("inbound", _LOUD))
            await asyncio.sleep(FRAME_S)
        await socket.send(writer.stop())


def _answer(message: str | bytes, writer: FrameWriter) -> str | None:
    try:
        frame = msgspec.json.decode(message, type=dict[str, object])
    except msgspec.DecodeError:
        return _error(writer, 100003, "malformed_frame", "the frame is not a JSON object")
    match frame:
        case {"event": "mark", "mark": {"name": str(name)}}:
            return writer.mark(name)
        case {"event": "media" | "clear"}:
            return None
    return _error(writer, 100003, "malformed_frame", f"unknown event {frame.get('event')!r}")


def _error(writer: FrameWriter, code: int, title: str, detail: str) -> str:
    return msgspec.json.encode(
        {
            "event": "error",
            "stream_id": writer.stream_id,
            "payload": {"code": code, "title": title, "detail": detail},
        }
    ).decode()
