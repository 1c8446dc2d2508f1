"""Reads media sockets in turns, so that the loop wakes once for many frames.

Telnyx sends every 20 ms of a track on its own, and what a lone frame costs is the waking for it.
Nothing is done with audio before some 400 ms of it are there, so between its turns a socket's
frames wait in the kernel: reading them as they come takes four times the CPU (`bench/README.md`).

Audio gives way to text: what a turn reads is measured at once and takes milliseconds, so the loop
looks after everybody else between two turns, and a loop that is late lets frames wait longer.
"""

import asyncio
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

# how often each socket has its turn: the most that its frames are held up
EVERY_S: Final = 0.2
# sockets of different slots are read at different moments, or they would keep the loop in step
SLOTS: Final = 20
# texts a second from which a stream runs faster than life (replays do) and is left to the loop,
# which reads it as it comes: an early line must not find its audio unread
FASTER_THAN_LIFE_HZ: Final = 2 * 2 / 0.02
# between two turns: a hint is a dozen steps of the loop, which are not to have a turn each
PAUSE_S: Final = 0.001
# more than a turn of any codec at its own pace
_READ_BYTES: Final = 256 * 1024


class Readable(Protocol):
    """What is read in turns: a socket without TLS, which is the proxy's."""

    @property
    def transport(self) -> asyncio.Transport | None: ...

    @property
    def texts(self) -> int:
        """Texts that came so far."""
        ...

    def feed_data(self, data: bytes) -> object: ...


class Turns:
    """The round in which sockets have their turns; its timer runs only while there are any."""

    def __init__(self, *, every_s: float = EVERY_S) -> None:
        self._slots: list[set[_Turn]] = [set() for _ in range(SLOTS)]
        self._tick_s = every_s / SLOTS
        self._now = 0
        self._timer: asyncio.TimerHandle | None = None
        # whose turn has come, each once, however late the loop is
        self._due: deque[_Turn] = deque()
        # the loop is to call the next of them
        self._is_called = False

    @contextmanager
    def take(self, socket: Readable) -> Iterator[None]:
        """Read the socket in turns inside of the block; outside the loop reads it."""
        transport = socket.transport
        if transport is None:
            yield
            return
        turn = _Turn(socket, transport)
        slot = min(self._slots, key=len)
        slot.add(turn)
        if self._timer is None:
            self._tick_after(asyncio.get_running_loop().time())
        try:
            yield
        finally:
            slot.discard(turn)
            turn.leave()
            if self._timer is not None and not any(self._slots):
                self._timer.cancel()
                self._timer = None

    def _tick_after(self, before: float) -> None:
        loop = asyncio.get_running_loop()
        # a late loop does not make up for what it missed: others wait for it too
        due = max(before, loop.time() - self._tick_s) + self._tick_s
        self._timer = loop.call_at(due, self._tick, due)

    def _tick(self, due: float) -> None:
        self._tick_after(due)
        self._now = (self._now + 1) % SLOTS
        self._due += [turn for turn in self._slots[self._now] if turn not in self._due]
        self._call_next()

    def _call_next(self) -> None:
        if self._due and not self._is_called:
            self._is_called = True
            asyncio.get_running_loop().call_later(PAUSE_S, self._have_one)

    def _have_one(self) -> None:
        """Let one socket have its turn, then everybody else who waits for the loop."""
        self._is_called = False
        turn = self._due.popleft()
        # first, so that one turn that breaks does not end the others'
        self._call_next()
        turn.have()


class _Turn:
    """One socket's place in the round."""

    __slots__ = ("_came", "_fd", "_had_at", "_is_loop_s", "_left", "_socket", "_transport")

    def __init__(self, socket: Readable, transport: asyncio.Transport) -> None:
        self._socket = socket
        self._transport = transport
        self._fd: int = transport.get_extra_info("socket").fileno()
        self._came = socket.texts
        # loop time of the last turn
        self._had_at = asyncio.get_running_loop().time()
        self._left = False
        # the loop reads it: it begins so, and when it is faster than life
        self._is_loop_s = True

    def have(self) -> None:
        """Read what has come, or see whether the loop is to go on reading."""
        if self._left or self._transport.is_closing():
            return
        if not self._is_loop_s and not self._read():
            self._leave_to_loop(True)  # which finds its end, and tells
            return
        before, self._came = self._came, self._socket.texts
        before_s, self._had_at = self._had_at, asyncio.get_running_loop().time()
        # by the time that passed: on a late loop a stream of life's pace would seem to be fast, and
        # reading it as it comes would make the loop later still
        passed_s = max(EVERY_S, self._had_at - before_s)
        self._leave_to_loop(self._came - before > FASTER_THAN_LIFE_HZ * passed_s)

    def leave(self) -> None:
        """Let the loop read again."""
        self._left = True
        if not self._transport.is_closing():
            self._leave_to_loop(True)

    def _read(self) -> bool:
        """Read what has come; False when nothing more will."""
        # past the transport, for which the loop would wake twice more: 0.6 µs a frame
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if data:
            self._socket.feed_data(data)
        return bool(data)

    def _leave_to_loop(self, is_loop_s: bool) -> None:
        if is_loop_s and not self._is_loop_s:
            self._transport.resume_reading()
        elif self._is_loop_s and not is_loop_s:
            self._transport.pause_reading()
        self._is_loop_s = is_loop_s
