"""The media socket's wire: from bytes in whatever pieces come texts, or an end in good order."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from itertools import pairwise
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from agent_sidecar.web.media_socket import MediaSocket
from agent_sidecar.web.turns import EVERY_S as LIFE_S
from agent_sidecar.web.turns import FASTER_THAN_LIFE_HZ, SLOTS, Turns
from tests.flow.test_web_media import STOP, URL, media, start
from tests.flow.web_door import House, eventually, open_house

pytestmark = pytest.mark.real_time  # sockets of this machine

MAX_BYTES = 70_000
PING = Frame(Opcode.PING, b"are you there")


class Wire:
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.unread = 0
        self.is_cut = False
        self.has_eof = False

    def write(self, data: bytes) -> None:
        self.written += data

    def write_eof(self) -> None:
        self.has_eof = True

    def get_write_buffer_size(self) -> int:
        return self.unread

    def abort(self) -> None:
        self.is_cut = True

    def is_closing(self) -> bool:
        return self.is_cut

    def close(self) -> None:
        self.is_cut = True


class Ears:
    """A media socket on such a wire, and what came out of it."""

    def __init__(self, on_text: Callable[[bytes], None] | None = None) -> None:
        self.texts: list[bytes] = []
        self.wire = Wire()
        self.socket = MediaSocket(on_text or self.texts.append, max_bytes=MAX_BYTES)
        self.socket._transport = cast(asyncio.Transport, self.wire)

    def hear(self, data: bytes, cuts: list[int] | None = None) -> None:
        for begin, end in pairwise([0, *(cuts or []), len(data)]):
            self.socket.feed_data(data[begin:end])

    def answers(self) -> list[Frame]:
        """Return what the client reads."""
        client = ClientProtocol(parse_uri("ws://x/"), state=State.OPEN)
        client.receive_data(bytes(self.wire.written))
        return [event for event in client.events_received() if isinstance(event, Frame)]

    @property
    def how(self) -> tuple[str, int | None]:
        end = self.socket.ended.result()
        return end.reason, end.code


@contextmanager
def ears(on_text: Callable[[bytes], None] | None = None) -> Iterator[Ears]:
    """Have a loop without the test being a coroutine, which hypothesis could not repeat."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)

    async def made() -> Ears:
        return Ears(on_text)

    try:
        yield loop.run_until_complete(made())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def frame(opcode: Opcode, data: bytes, *, fin: bool = True, mask: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=mask)


sizes = st.one_of(st.integers(0, 300), st.sampled_from([125, 126, 127, 65_535, 65_536]))
contents = sizes.map(lambda size: bytes(n % 251 for n in range(size)))


@st.composite
def messages(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Return a message and its frames, with a ping or pong among them."""
    text = draw(contents)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=3)))
    pieces = [text[a:b] for a, b in pairwise([0, *cuts, len(text)])]
    raw = b""
    for number, piece in enumerate(pieces):
        opcode = Opcode.CONT if number else Opcode.TEXT
        raw += frame(opcode, piece, fin=number == len(pieces) - 1)
        if draw(st.booleans()):
            raw += frame(draw(st.sampled_from([Opcode.PING, Opcode.PONG])), b"x")
    return text, raw


@given(st.lists(messages(), max_size=5), st.data())
def test_texts_come_out_in_whatever_pieces_they_came(
    sent: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    raw = b"".join(raw for _, raw in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=12)))
    with ears() as ear:
        ear.hear(raw, cuts)
        assert ear.texts == [text for text, _ in sent]
        assert not ear.socket.ended.done()
        assert ear.socket.texts == len(sent)


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=4))
def test_no_bytes_break_it(raw: bytes, cuts: list[int]) -> None:
    with ears() as ear:
        ear.hear(raw, sorted(min(cut, len(raw)) for cut in cuts))
        ear.socket.feed_eof()
        assert ear.socket.ended.done()
        assert len(ear.socket._rest) <= len(raw)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (frame(Opcode.TEXT, b"{}", mask=False), 1002),
        (frame(Opcode.CONT, b"{}"), 1002),
        (frame(Opcode.TEXT, b"{", fin=False) + frame(Opcode.TEXT, b"x" * 200), 1002),
        (b"\x09\x80" + bytes(4), 1002),  # a ping in pieces
        (b"\xc1\xfe" + bytes(8), 1002),  # a reserved bit
        (b"\x83\x80" + bytes(4), 1002),  # an opcode that is none
        (b"\x81\xff" + (2**63).to_bytes(8) + bytes(4), 1009),
        (frame(Opcode.TEXT, bytes(MAX_BYTES + 1)), 1009),
        (frame(Opcode.TEXT, bytes(MAX_BYTES), fin=False) + frame(Opcode.CONT, b"12"), 1009),
        (frame(Opcode.CLOSE, b"\x00"), 1002),
        (frame(Opcode.CLOSE, b"\x03\xe8\xff"), 1007),
    ],
    # masks are random: the bytes are other ones each time
    ids=lambda one: str(one) if isinstance(one, int) else "frame",
)
def test_what_is_against_the_protocol_ends_it(raw: bytes, code: int) -> None:
    with ears() as ear:
        ear.hear(raw + frame(Opcode.TEXT, b"x" * 200))
        closing = ear.answers()[-1]
        assert closing.opcode is Opcode.CLOSE
        assert Close.parse(closing.data).code == code
        assert ear.texts == []
        reason, how = ear.how
        assert reason.startswith("protocol error: ")
        assert how is None  # said already
        assert ear.socket.ended.result().fault == "protocol"


def test_a_frame_is_refused_before_all_of_it_is_kept() -> None:
    with ears() as ear:
        ear.hear(b"\x81\xff" + (MAX_BYTES + 1).to_bytes(8))
        assert ear.socket.ended.done()
        assert not ear.socket._rest


def test_text_need_not_be_utf_8_here() -> None:
    # whoever decodes the JSON finds out, and counts it as malformed
    with ears() as ear:
        ear.hear(frame(Opcode.TEXT, b"\xff\xfe"))
        assert ear.texts == [b"\xff\xfe"]


def test_binary_is_refused_and_nothing_is_heard_after_it() -> None:
    with ears() as ear:
        ear.hear(frame(Opcode.BINARY, b"x") + frame(Opcode.TEXT, b"x" * 200))
        assert ear.texts == []
        assert ear.how == ("binary frames are not of this protocol", 1003)


def test_pings_are_answered_in_the_midst_of_a_message() -> None:
    with ears() as ear:
        ear.hear(frame(Opcode.TEXT, b"{", fin=False) + PING.serialize(mask=True))
        assert [(a.opcode, a.data) for a in ear.answers()] == [(Opcode.PONG, b"are you there")]
        ear.hear(frame(Opcode.CONT, b"}"))
        assert ear.texts == [b"{}"]


def test_who_asks_and_never_reads_the_answers_is_cut_off() -> None:
    with ears() as ear:
        ear.wire.unread = 1_000_000
        ear.hear(PING.serialize(mask=True))
        assert ear.wire.is_cut


def test_a_close_is_answered_and_told() -> None:
    with ears() as ear:
        ear.hear(frame(Opcode.CLOSE, Close(1001, "bye").serialize()))
        assert Close.parse(ear.answers()[0].data) == Close(1001, "bye")
        assert ear.how == ("socket closed (1001)", None)
        assert ear.wire.has_eof


def test_a_defect_of_whoever_hears_is_not_the_connections_end() -> None:
    with ears(lambda text: print(1 / 0)) as ear:  # noqa: T201
        ear.hear(frame(Opcode.TEXT, b"x" * 200))
        assert ear.how == ("internal error", 1011)
        assert ear.socket.ended.result().is_defect


# --- on the wire ----------------------------------------------------------------------------------


def request(path: str = URL, **headers: str) -> bytes:
    lines = {
        "Host": "us.example",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    } | headers
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"GET {path} HTTP/1.1\r\n{head}\r\n".encode()


def text(message: str) -> bytes:
    return frame(Opcode.TEXT, message.encode())


@asynccontextmanager
async def line(house: House) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def test_frames_that_come_with_the_handshake_are_heard() -> None:
    async with open_house() as house, line(house) as (reader, writer):
        writer.write(request() + text(start()) + text(media(1)) + text(STOP.decode()))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 2)
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
        [stream] = house.registry.streams
        await asyncio.wait_for(stream.has_ended.wait(), 2)
        assert [f.chunk for f in stream.frames] == [1]
        assert stream.ended == ["stopped"]


async def test_a_connection_that_was_used_for_http_may_become_a_media_socket() -> None:
    async with open_house() as house, line(house) as (reader, writer):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: us.example\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 2)
        length = next(
            int(row.partition(b":")[2])
            for row in head.splitlines()
            if row.lower().startswith(b"content-length")
        )
        assert json.loads(await reader.readexactly(length)) == {"ok": True}
        writer.write(request() + text(start()))
        await asyncio.wait_for(house.registry.admitted.wait(), 2)


@pytest.mark.parametrize(
    "headers",
    [
        {"Upgrade": ""},
        {"Connection": "keep-alive"},
        {"Sec-WebSocket-Key": ""},
        {"Sec-WebSocket-Key": "too short"},
        {"Sec-WebSocket-Version": "12"},
    ],
)
async def test_a_handshake_that_is_none_is_refused(headers: dict[str, str]) -> None:
    async with open_house() as house, line(house) as (reader, writer):
        writer.write(request(**headers))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 2)
        assert head.startswith(b"HTTP/1.1 426 ")


async def test_a_client_that_only_stops_sending_has_gone() -> None:
    async with open_house() as house, line(house) as (_, writer):
        writer.write(request() + text(start()))
        await asyncio.wait_for(house.registry.admitted.wait(), 2)
        writer.write_eof()
        [stream] = house.registry.streams
        await asyncio.wait_for(stream.has_ended.wait(), 2)
        assert stream.ended == ["socket closed (1006)"]


async def test_a_client_that_does_not_answer_a_close_is_hung_up_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agent_sidecar.web.sockets._CLOSE_S", 0.1)
    async with open_house() as house, line(house) as (reader, writer):
        writer.write(request() + text(start()) + text(STOP.decode()))
        # the handshake's answer, our close, the end
        assert await asyncio.wait_for(reader.read(-1), 2)


# --- turns ----------------------------------------------------------------------------------------

EVERY_S = 0.1


class Reads:
    """A connection that is read in turns."""

    def __init__(self, transport: asyncio.Transport, protocol: "Reading") -> None:
        self.transport = transport
        self._protocol = protocol
        self.gulps = 0

    @property
    def texts(self) -> int:
        return len(self._protocol.came)

    def feed_data(self, data: bytes) -> None:
        self.gulps += 1
        self._protocol.data_received(data)

    @property
    def is_loop_s(self) -> bool:
        return self.transport.is_reading()


class Reading(asyncio.Protocol):
    """A byte is a text."""

    def __init__(self) -> None:
        self.came = bytearray()
        self.is_gone = False

    def data_received(self, data: bytes) -> None:
        self.came += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_gone = True


@asynccontextmanager
async def reads() -> AsyncIterator[tuple[Reads, Reading, socket.socket]]:
    here, there = socket.socketpair()
    there.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(Reading, sock=here)
    try:
        yield Reads(transport, protocol), protocol, there
    finally:
        transport.close()
        there.close()
        await asyncio.sleep(0)


async def until(happened: Callable[[], bool], within_s: float = 1.0) -> None:
    async with asyncio.timeout(within_s):
        await eventually(happened)


async def test_what_comes_waits_for_the_next_turn_and_is_whole() -> None:
    async with reads() as (ours, reading, theirs):
        turns = Turns(every_s=EVERY_S)
        with turns.take(ours):
            await until(lambda: not ours.is_loop_s)
            for number in range(20):
                theirs.send(bytes([number]))
                await asyncio.sleep(EVERY_S / 10)
            await until(lambda: len(reading.came) == 20)
            assert bytes(reading.came) == bytes(range(20))
            assert ours.gulps <= 4
        assert ours.is_loop_s
        theirs.send(b"x")
        await until(lambda: len(reading.came) == 21)


async def test_a_stream_that_is_faster_than_life_is_read_as_it_comes_until_it_slows_down() -> None:
    async with reads() as (ours, _, theirs):
        turns = Turns(every_s=EVERY_S)
        with turns.take(ours):
            await until(lambda: not ours.is_loop_s)
            theirs.send(bytes(round(FASTER_THAN_LIFE_HZ * LIFE_S) + 1))
            await until(lambda: ours.is_loop_s)
            await until(lambda: not ours.is_loop_s)


async def test_a_late_loop_takes_no_stream_for_faster_than_life() -> None:
    async with reads() as (ours, _, theirs):
        turns = Turns(every_s=EVERY_S)
        with turns.take(ours):
            await until(lambda: not ours.is_loop_s)
            gulps = ours.gulps
            # what comes in 0.6 s at life's pace, read in one turn because the loop was held up
            theirs.send(bytes(60))
            time.sleep(0.6)  # noqa: ASYNC251  # the loop is what is late
            await until(lambda: ours.gulps > gulps)
            assert not ours.is_loop_s


async def test_others_have_the_loop_between_two_turns() -> None:
    order: list[str] = []
    talkers: list[socket.socket] = []
    async with AsyncExitStack() as opened:
        turns = Turns(every_s=EVERY_S)
        for _ in range(2 * SLOTS):
            ours, _, theirs = await opened.enter_async_context(reads())
            opened.enter_context(turns.take(ours))
            await until(lambda ours=ours: not ours.is_loop_s)  # type: ignore[misc]
            ours.feed_data = lambda data: order.append("turn")  # type: ignore[method-assign]
            talkers.append(theirs)

        def note() -> None:
            order.append("other")
            if order.count("turn") < 2 * SLOTS:
                asyncio.get_running_loop().call_soon(note)

        note()
        for theirs in talkers:
            theirs.send(b"x")
        # every one of them is due at once
        time.sleep(2 * EVERY_S)  # noqa: ASYNC251  # the loop is what is late
        await until(lambda: order.count("turn") >= 2 * SLOTS)
    assert all(pair != ("turn", "turn") for pair in pairwise(order))


async def test_a_connection_that_ends_between_its_turns_is_told_to_its_protocol() -> None:
    async with reads() as (ours, reading, theirs):
        turns = Turns(every_s=EVERY_S)
        with turns.take(ours):
            await until(lambda: not ours.is_loop_s)
            theirs.close()
            await until(lambda: reading.is_gone)
            await asyncio.sleep(EVERY_S)


async def test_sockets_have_their_turns_at_different_moments_and_nobody_ticks_for_none() -> None:
    turns = Turns(every_s=EVERY_S)
    async with reads() as (one, *_), reads() as (other, *_):
        with turns.take(one):
            with turns.take(other):
                assert sorted(map(len, turns._slots)) == [0] * (SLOTS - 2) + [1, 1]
            assert turns._timer is not None
        assert turns._timer is None


async def test_a_transport_that_was_lost_has_no_turn() -> None:
    class Lost:
        transport = None
        texts = 0

        def feed_data(self, data: bytes) -> None: ...

    turns = Turns(every_s=EVERY_S)
    with turns.take(Lost()):
        assert turns._timer is None
