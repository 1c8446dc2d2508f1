"""The media socket: Telnyx connects, shows its token, and sends frames until it stops.

Losing this socket never hurts the call, so whatever is wrong with one ends in closing it: the call
goes on with text, and Telnyx may connect again.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Final

import structlog
from aiohttp import WSCloseCode, web

from agent_sidecar.domain.media import (
    MediaFrame,
    StreamDigit,
    StreamError,
    StreamNotice,
    StreamStart,
    StreamStop,
)
from agent_sidecar.errors import FrameMalformed, TokenInvalid
from agent_sidecar.web.auth import bearer
from agent_sidecar.web.media_socket import End, MediaSocket
from agent_sidecar.web.parts import FrontDoorParts, MediaStream
from agent_sidecar.web.sockets import OpenSockets, close
from agent_sidecar.web.turns import Turns

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
        self._turns = Turns()
        self._waiting = 0

    async def serve(self, request: web.Request) -> web.StreamResponse:
        if self._waiting >= self._parts.limits.waiting_sockets:
            self._parts.metrics.count("media_refused", "too_many_waiting")
            raise web.HTTPServiceUnavailable(text="too many media sockets wait to be let in")
        connection = _MediaConnection(self._parts, request)
        socket = connection.socket
        answer = await socket.upgrade(request)
        with self._sockets.track(socket):
            try:
                stream = await self._admit(connection)
                if stream is not None:
                    await connection.hear(stream, self._turns)
            except Exception:  # one socket's trouble is its own
                log.exception("media_failed")
                self._parts.metrics.count("media_failed")
                await close(socket, WSCloseCode.INTERNAL_ERROR, "internal error")
        return answer

    async def _admit(self, connection: "_MediaConnection") -> MediaStream | None:
        self._waiting += 1
        try:
            return await connection.be_admitted()
        finally:
            self._waiting -= 1


class _MediaConnection:
    """One socket from its first frame to its last."""

    def __init__(self, parts: FrontDoorParts, request: web.Request) -> None:
        self.socket = MediaSocket(self._wait_for_start, max_bytes=parts.limits.frame_bytes)
        self._parts = parts
        self._decode = parts.decode_frame
        # Telnyx does not publish how it hands over the streaming auth token: all ways are open
        self._tokens = [t for t in (request.query.get("token"), bearer(request)) if t]
        self._stream_id = ""
        self._admitted: asyncio.Future[MediaStream] = asyncio.get_running_loop().create_future()
        # of the stream that was let in
        self._receive: Callable[[MediaFrame], None]
        # malformed frames since the last that was none
        self._malformed = 0
        self._said_malformed = False
        self._said_errors: set[str] = set()

    async def be_admitted(self) -> MediaStream | None:
        """Wait for the start frame and its right to enter; None: the socket is closed."""
        limits = self._parts.limits
        wait_s = limits.start_with_token_s if self._tokens else limits.start_s
        first: set[asyncio.Future[Any]] = {self._admitted, self.socket.ended}
        await asyncio.wait(first, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        if self._admitted.done():
            return self._admitted.result()
        if not self.socket.ended.done():
            self._refuse("no_start", f"no start frame within {wait_s:g} s")
        await self._close(self.socket.ended.result())
        return None

    async def hear(self, stream: MediaStream, turns: Turns) -> None:
        """Hear the stream until its end, and say how it ended."""
        end = End("internal error", WSCloseCode.INTERNAL_ERROR)
        try:
            with turns.take(self.socket):
                end = await self._heard(stream)
        finally:
            # before the closing handshake, which may take its time
            stream.stopped(end.reason)
        await self._close(end)

    async def _heard(self, stream: MediaStream) -> End:
        """Return why it ended: by its client, by what it said, or for a newer one."""
        ended = self.socket.ended
        superseded = asyncio.create_task(stream.superseded.wait(), name="media:superseded")
        either: set[asyncio.Future[Any]] = {ended, superseded}
        try:
            while True:
                await asyncio.wait(either, timeout=_PING_S, return_when=asyncio.FIRST_COMPLETED)
                if superseded.done():
                    self.socket.end(End("superseded by a newer stream", WSCloseCode.OK))
                if ended.done():
                    return ended.result()
                self.socket.ping()
        finally:
            superseded.cancel()

    def _wait_for_start(self, text: bytes) -> None:
        """Take in a text before the start frame, and the start frame."""
        try:
            frame = self._decode(text)
        except FrameMalformed as exc:
            self._count_malformed(exc)
            return
        if isinstance(frame, StreamStart):
            self._start(frame)
        elif not isinstance(frame, StreamNotice):
            self._parts.metrics.count("media_frames_malformed", "before_start")

    def _start(self, start: StreamStart) -> None:
        refused = TokenInvalid("a token is needed: in the URL, a header or custom_parameters")
        for token in self._tokens_of(start):
            try:
                stream = self._parts.registry.admit(token, start)
            except TokenInvalid as exc:
                refused = exc
                continue
            self._stream_id = start.stream_id
            self._receive = stream.receive
            self.socket.on_text = self._hear
            self._admitted.set_result(stream)
            return
        self._refuse("token", str(refused))

    def _tokens_of(self, start: StreamStart) -> Iterator[str]:
        yield from dict.fromkeys(self._tokens)
        for name in _CUSTOM_TOKENS:
            if token := start.custom_parameters.get(name):
                yield token

    def _hear(self, text: bytes) -> None:
        """Take in a text of a stream: the hot path, 100 times a second and call."""
        try:
            frame = self._decode(text)
        except FrameMalformed as exc:
            self._count_malformed(exc)
            self._malformed += 1
            if self._malformed >= self._parts.limits.malformed_frames:
                reason = f"{self._malformed} malformed frames in a row"
                self.socket.end(End(reason, WSCloseCode.INVALID_TEXT))
            return
        if type(frame) is MediaFrame:
            self._malformed = 0
            if frame.stream_id == self._stream_id:
                self._receive(frame)
            else:
                self._hear_other(frame)
        elif isinstance(frame, StreamStop):
            if frame.stream_id in ("", self._stream_id):
                self.socket.end(End("stopped", WSCloseCode.OK))
            else:
                self._parts.metrics.count("media_frames_malformed", "other_stream")
        else:
            self._note(frame)

    def _hear_other(self, frame: MediaFrame) -> None:
        """Hear a frame that does not say its stream; one of another stream is not mixed in."""
        if frame.stream_id and self._stream_id:
            self._parts.metrics.count("media_frames_malformed", "other_stream")
        else:
            self._receive(frame)

    async def _close(self, end: End) -> None:
        if end.is_defect:
            self._parts.metrics.count("media_failed")
        elif end.fault:
            self._parts.metrics.count("media_frames_malformed", end.fault)
        await close(self.socket, end.code or WSCloseCode.OK, end.reason)

    def _refuse(self, word: str, reason: str) -> None:
        self._parts.metrics.count("media_refused", word)
        log.warning("media_refused", reason=reason)
        self.socket.end(End(reason, WSCloseCode.POLICY_VIOLATION))

    def _count_malformed(self, exc: FrameMalformed) -> None:
        self._parts.metrics.count("media_frames_malformed", "frame")
        if not self._said_malformed:
            self._said_malformed = True
            log.warning("frame_malformed", reason=str(exc), more="counted, not logged")

    def _note(self, frame: object) -> None:
        match frame:
            case StreamError():
                self._parts.metrics.count("media_errors", frame.name)
                if frame.name not in self._said_errors:
                    self._said_errors.add(frame.name)
                    log.warning(
                        "media_error_received",
                        code=frame.code,
                        title=frame.title[:80],
                        what_to_do="nothing: the stream goes on; this kind is counted from now on",
                    )
            case StreamDigit():
                # whose it is and what it says is nobody's business here; gathers come by webhook
                self._parts.metrics.count("media_digits")
            case StreamNotice(known=False):
                self._parts.metrics.count("media_frames_unknown")
            case StreamStart():
                self._parts.metrics.count("media_frames_malformed", "second_start")
