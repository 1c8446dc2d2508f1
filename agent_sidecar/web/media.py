"""The media socket: Telnyx connects, shows its token, and sends frames until it stops.

Losing this socket never hurts the call, so whatever is wrong with one ends in closing it: the call
goes on with text, and Telnyx may connect again.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import WSCloseCode, WSMessage, WSMsgType, hdrs, web

from agent_sidecar.domain.media import (
    MediaFrame,
    StreamError,
    StreamNotice,
    StreamStart,
    StreamStop,
)
from agent_sidecar.errors import FrameMalformed, TokenInvalid
from agent_sidecar.web.auth import bearer
from agent_sidecar.web.parts import FrontDoorParts, MediaStream
from agent_sidecar.web.sockets import OpenSockets, close

log = structlog.get_logger()

# often enough for proxies that end connections on which one direction is silent
_PING_S: Final = 20.0
_CUSTOM_TOKENS: Final = ("token", "stream_auth_token")


def media_routes(parts: FrontDoorParts, sockets: OpenSockets) -> list[web.RouteDef]:
    """Return the media socket's route."""
    door = _MediaDoor(parts, sockets)
    return [web.get("/telnyx/media", door.serve)]


class _MediaDoor:
    """Bounds how many strangers may stand here."""

    def __init__(self, parts: FrontDoorParts, sockets: OpenSockets) -> None:
        self._parts = parts
        self._sockets = sockets
        self._waiting = 0

    async def serve(self, request: web.Request) -> web.StreamResponse:
        limits = self._parts.limits
        if self._waiting >= limits.waiting_sockets:
            self._parts.metrics.count("media_refused", "too_many_waiting")
            raise web.HTTPServiceUnavailable(text="too many media sockets wait to be let in")
        # no compression: the payload does not shrink, and every frame would pay for it
        socket = web.WebSocketResponse(
            decode_text=False, compress=False, max_msg_size=limits.frame_bytes
        )
        if not socket.can_prepare(request).ok:
            raise web.HTTPUpgradeRequired(
                text="this is a WebSocket; give it to Telnyx as stream_url",
                headers={hdrs.UPGRADE: "websocket"},
            )
        await socket.prepare(request)
        with self._sockets.track(socket):
            connection = _MediaConnection(self._parts, socket, request)
            try:
                stream = await self._admit(connection)
                if stream is not None:
                    await connection.hear(stream)
            except Exception:  # one socket's trouble is its own
                log.exception("media_failed")
                self._parts.metrics.count("media_failed")
                await close(socket, WSCloseCode.INTERNAL_ERROR, "internal error")
        return socket

    async def _admit(self, connection: "_MediaConnection") -> MediaStream | None:
        self._waiting += 1
        try:
            return await connection.be_admitted()
        finally:
            self._waiting -= 1


@dataclass(frozen=True, slots=True)
class _End:
    reason: str
    # how we close the socket; None: it is closed
    code: WSCloseCode | None = None


class _MediaConnection:
    """One socket from its first frame to its last."""

    def __init__(
        self, parts: FrontDoorParts, socket: web.WebSocketResponse, request: web.Request
    ) -> None:
        self._parts = parts
        self._socket = socket
        # Telnyx does not publish how it hands over the streaming auth token: all ways are open
        self._tokens = [t for t in (request.query.get("token"), bearer(request)) if t]
        self._said_malformed = False

    async def be_admitted(self) -> MediaStream | None:
        """Wait for the start frame and its right to enter; None: the socket is closed."""
        limits = self._parts.limits
        wait_s = limits.start_with_token_s if self._tokens else limits.start_s
        start: StreamStart | None = None
        try:
            async with asyncio.timeout(wait_s):
                start = await self._first_start()
        except TimeoutError:
            await self._refuse("no_start", f"no start frame within {wait_s:g} s")
        if start is None:
            return None
        refused = TokenInvalid("a token is needed: in the URL, a header or custom_parameters")
        for token in self._tokens_of(start):
            try:
                return self._parts.registry.admit(token, start)
            except TokenInvalid as exc:
                refused = exc
        await self._refuse("token", str(refused))
        return None

    async def hear(self, stream: MediaStream) -> None:
        """Hear the stream until its end, and say how it ended."""
        watch = asyncio.create_task(self._watch(stream), name="media:watch")
        end = _End("internal error", WSCloseCode.INTERNAL_ERROR)
        try:
            end = await self._receive(stream)
        finally:
            # before the closing handshake, which may take its time
            stream.stopped(end.reason)
            if not stream.superseded.is_set():
                watch.cancel()
        await asyncio.wait({watch})
        await self._close(end)

    async def _first_start(self) -> StreamStart | None:
        while True:
            message = await self._socket.receive()
            if message.type is not WSMsgType.TEXT:
                await self._close(self._end_of(message))
                return None
            try:
                frame = self._parts.decode_frame(message.data)
            except FrameMalformed as exc:
                self._count_malformed(exc)
                continue
            if isinstance(frame, StreamStart):
                return frame
            if not isinstance(frame, StreamNotice):
                self._parts.metrics.count("media_frames_malformed", "before_start")

    def _tokens_of(self, start: StreamStart) -> Iterator[str]:
        yield from dict.fromkeys(self._tokens)
        for name in _CUSTOM_TOKENS:
            if token := start.custom_parameters.get(name):
                yield token

    async def _receive(self, stream: MediaStream) -> _End:
        """Return why it ended. The loop is the hot path: 100 frames a second and call."""
        receive, decode, hear = self._socket.receive, self._parts.decode_frame, stream.receive
        malformed = 0
        while True:
            message = await receive()
            if message.type is not WSMsgType.TEXT:
                return self._end_of(message)
            try:
                frame = decode(message.data)
            except FrameMalformed as exc:
                malformed += 1
                self._count_malformed(exc)
                if malformed >= self._parts.limits.malformed_frames:
                    return _End(f"{malformed} malformed frames in a row", WSCloseCode.INVALID_TEXT)
                continue
            if type(frame) is MediaFrame:
                hear(frame)
                malformed = 0
            elif isinstance(frame, StreamStop):
                return _End("stopped", WSCloseCode.OK)
            else:
                self._note(frame)

    async def _watch(self, stream: MediaStream) -> None:
        """Close the socket when a newer one has taken its place."""
        while True:
            try:
                await asyncio.wait_for(stream.superseded.wait(), _PING_S)
            except TimeoutError:
                with suppress(ConnectionError):
                    await self._socket.ping()
                continue
            await close(self._socket, WSCloseCode.OK, "superseded by a newer stream")
            return

    def _end_of(self, message: WSMessage) -> _End:
        """Say why a message that is no text frame ends the stream."""
        if message.type is WSMsgType.BINARY:
            self._parts.metrics.count("media_frames_malformed", "binary")
            return _End("binary frames are not of this protocol", WSCloseCode.UNSUPPORTED_DATA)
        if message.type is WSMsgType.ERROR:
            # too big, or no WebSocket at all: aiohttp has closed the socket with its code
            self._parts.metrics.count("media_frames_malformed", "protocol")
            return _End(f"protocol error: {message.data}")
        return _End(f"socket closed ({self._socket.close_code})")

    async def _close(self, end: _End) -> None:
        if end.code is not None:
            await close(self._socket, end.code, end.reason)

    async def _refuse(self, word: str, reason: str) -> None:
        self._parts.metrics.count("media_refused", word)
        log.warning("media_refused", reason=reason)
        await close(self._socket, WSCloseCode.POLICY_VIOLATION, reason)

    def _count_malformed(self, exc: FrameMalformed) -> None:
        self._parts.metrics.count("media_frames_malformed", "frame")
        if not self._said_malformed:
            self._said_malformed = True
            log.warning("frame_malformed", reason=str(exc), more="counted, not logged")

    def _note(self, frame: object) -> None:
        match frame:
            case StreamError():
                self._parts.metrics.count("media_errors")
                log.warning("media_error_received", code=frame.code, title=frame.title)
            case StreamNotice(known=False):
                self._parts.metrics.count("media_frames_unknown")
            case StreamStart():
                self._parts.metrics.count("media_frames_malformed", "second_start")
