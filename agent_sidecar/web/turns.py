"""Reads media sockets in turns, so that the loop wakes once for many frames.

Telnyx sends every 20 ms of a track on its own, and what a lone frame costs is the waking for it.
Nothing is done with audio before some 400 ms of it are there, so between its turns a socket's
frames wait in the kernel: reading them as they come takes four times the CPU (`bench/README.md`).
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

# how often each socket has its turn: the most that its frames are held up
EVERY_S: Final = 0.2
# sockets of different slots are read at different moments, or they would keep the loop in step
SLOTS: Final = 20
# texts in one turn from which a stream runs faster than life (replays do) and is left to the loop,
# which reads it as it comes: an early line must not find its audio unread
FASTER_THAN_LIFE: Final = 2 * round(2 * EVERY_S / 0.02)
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
        for turn in tuple(self._slots[self._now]):
            turn.have()


class _Turn:
    """One socket's place in the round."""

    __slots__ = ("_came", "_fd", "_is_loop_s", "_socket", "_transport")

    def __init__(self, socket: Readable, transport: asyncio.Transport) -> None:
        self._socket = socket
        self._transport = transport
        self._fd: int = transport.get_extra_info("socket").fileno()
        self._came = socket.texts
        # the loop reads it: it begins so, and when it is faster than life
        self._is_loop_s = True

    def have(self) -> None:
        """Read what has come, or see whether the loop is to go on reading."""
        if self._transport.is_closing():
            return
        if not self._is_loop_s and not self._read():
            self._leave_to_loop(True)  # which finds its end, and tells
            return
        before, self._came = self._came, self._socket.texts
        self._leave_to_loop(self._came - before > FASTER_THAN_LIFE)

    def leave(self) -> None:
        """Let the loop read again."""
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
