"""A media socket's wire: WebSocket frames in, texts out, without a task or a queue in between.

aiohttp upgrades the connection and passes on what is read from it. A whole text frame, which is
what Telnyx sends 100 times a second and call, is unmasked here and handed over at once: aiohttp's
`receive` takes 1.5 µs more (`bench/README.md`). Everything else is rare and left to the websockets
library: fragments, pings, closing, whatever is wrong.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import WSCloseCode, hdrs, web
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.utils import accept_key

try:
    from websockets.speedups import apply_mask  # a tenth of the time
except ImportError:
    from websockets.utils import apply_mask

log = structlog.get_logger()

# final, text, masked, its length in the next two bytes
_TEXT: Final = b"\x81\xfe"
_MASKED: Final = 0x80
# answers (pings want some) that a client has not read; he is cut off then
_UNREAD_BYTES: Final = 64 * 1024
_MORE: Final = (False, b"")


@dataclass(frozen=True, slots=True)
class End:
    """Why nothing more comes from a socket."""

    reason: str
    # how it is to be closed; None: it is closed already, or the library said why
    code: WSCloseCode | None = None
    # what was wrong with the wire, in a word for the metrics
    fault: str = ""
    # the mistake is ours
    is_defect: bool = False


class MediaSocket:
    """One connection's frames; `on_text` is called for each text, until the end."""

    def __init__(self, on_text: Callable[[bytes], None], *, max_bytes: int) -> None:
        self.on_text = on_text
        # handed over so far
        self.texts = 0
        # set once, by whatever ends it first
        self.ended: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self._protocol = ServerProtocol(state=State.OPEN, max_size=max_bytes)
        self._max_bytes = max_bytes
        self._transport: asyncio.Transport | None = None
        # the client has closed, or is gone
        self._is_over = asyncio.Event()
        # of a frame that has not come whole, and how many bytes it needs to be looked at again
        self._rest = bytearray()
        self._needed = 0
        # of a message in fragments
        self._pieces = bytearray()
        self._is_in_pieces = False

    async def upgrade(self, request: web.Request) -> web.StreamResponse:
        """Answer the request and begin to read. Raises `HTTPUpgradeRequired`."""
        if not web.WebSocketResponse().can_prepare(request).ok:
            raise web.HTTPUpgradeRequired(
                text="this is a WebSocket; give it to Telnyx as stream_url",
                headers={hdrs.UPGRADE: "websocket"},
            )
        answer = web.StreamResponse(
            status=101,
            headers={
                hdrs.UPGRADE: "websocket",
                hdrs.CONNECTION: "upgrade",
                hdrs.SEC_WEBSOCKET_ACCEPT: accept_key(request.headers[hdrs.SEC_WEBSOCKET_KEY]),
            },
        )
        answer.force_close()
        await answer.prepare(request)
        self._transport = request.transport
        # as aiohttp's own WebSocketResponse does
        request.protocol.keep_alive(False)
        request.protocol.set_parser(self)  # type: ignore[arg-type]  # both methods that it uses
        if self._transport is None:
            self.feed_eof()
        return answer

    @property
    def transport(self) -> asyncio.Transport | None:
        """What is read; None when it was lost during the upgrade."""
        return self._transport

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take in what was read."""
        try:
            self._feed(data)
        except Exception:  # out of here the loop would drop the connection without a word
            log.exception("media_failed")
            self.end(End("internal error", WSCloseCode.INTERNAL_ERROR, is_defect=True))
        return _MORE

    def feed_eof(self) -> None:
        """Take in that the connection is gone."""
        self._protocol.receive_eof()
        self.end(End(f"socket closed ({WSCloseCode.ABNORMAL_CLOSURE:d})"))
        self._is_over.set()

    def end(self, end: End) -> None:
        """Hear nothing more; the first reason stands."""
        self.on_text = _forget
        if not self.ended.done():
            self.ended.set_result(end)

    def ping(self) -> None:
        """Show proxies that somebody is here."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_ping(b"")
            self._write()

    async def close(self, *, code: int, message: bytes = b"") -> None:
        """Say why, unless that was said, wait for the client to close, and hang up.

        A caller who cannot wait cancels it: the connection is closed all the same.
        """
        self.end(End(f"socket closed ({code:d})"))
        try:
            if self._protocol.state is State.OPEN:
                self._protocol.send_close(code, message.decode(errors="ignore"))
                self._write()
            await self._is_over.wait()
        finally:
            if self._transport is not None:
                self._transport.close()

    def _feed(self, data: bytes) -> None:
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return
            data = bytes(self._rest)
            self._rest.clear()
        at, size = 0, len(data)
        while at < size:
            if data[at : at + 2] == _TEXT and size - at >= 8 and not self._is_in_pieces:
                length = data[at + 2] << 8 | data[at + 3]
                end = at + 8 + length
                if end <= size and length <= self._max_bytes:
                    self.texts += 1
                    self.on_text(apply_mask(data[at + 8 : end], data[at + 4 : at + 8]))
                    at = end
                    continue
            at = self._feed_rare(data, at)

    def _feed_rare(self, data: bytes, at: int) -> int:
        """Take in one frame of any kind, or keep what there is of it; return where it ends."""
        size = len(data)
        end = _end_of_frame(data, at, self._max_bytes)
        if end is None or end > size:
            self._needed = size - at + 1 if end is None else end - at
            self._rest += data[at:]
            return size
        self._protocol.receive_data(data[at:end])
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._take(event)
        self._write()
        if self._protocol.parser_exc is not None:
            self.end(End(f"protocol error: {self._protocol.parser_exc}", fault="protocol"))
        elif (close := self._protocol.close_rcvd) is not None:
            self.end(End(f"socket closed ({close.code:d})"))
            self._is_over.set()
        return end

    def _take(self, frame: Frame) -> None:
        match frame.opcode:
            case Opcode.BINARY:
                reason = "binary frames are not of this protocol"
                self.end(End(reason, WSCloseCode.UNSUPPORTED_DATA, "binary"))
            case Opcode.TEXT | Opcode.CONT:
                self._pieces += frame.data
                self._is_in_pieces = not frame.fin
                if frame.fin:
                    text = bytes(self._pieces)
                    self._pieces.clear()
                    self.texts += 1
                    self.on_text(text)

    def _write(self) -> None:
        transport = self._transport
        for data in self._protocol.data_to_send():
            if transport is None or transport.is_closing():
                continue
            if data:
                transport.write(data)
            else:
                # the other side may be gone already
                with suppress(OSError):
                    transport.write_eof()
        if transport is not None and transport.get_write_buffer_size() > _UNREAD_BYTES:
            transport.abort()


def _end_of_frame(data: bytes, at: int, max_bytes: int) -> int | None:
    """Return where the frame ends that begins there; None: too little of it has come.

    What is against the protocol needs no end: all that came is the library's to refuse.
    """
    size = len(data) - at
    if size < 2:
        return None
    length, head = data[at + 1] & 0x7F, 2
    if length > 125:
        head = 4 if length == 126 else 10
        if size < head:
            return None
        length = int.from_bytes(data[at + 2 : at + head])
    if not data[at + 1] & _MASKED or length > max_bytes:
        return len(data)
    return at + head + 4 + length


def _forget(text: bytes) -> None:
    """Nobody listens any more."""
