"""Puts the frames of one track back in order.

Telnyx does not guarantee order and says that `chunk` can be used to restore it. A frame that is
ahead waits until the missing ones come, or until `WINDOW` frames wait behind the gap; then the gap
is given up and reported as lost frames, which the listener conceals.

A frame whose place has passed is late, and dropped. But a stream that was stopped and started again
may count anew: when nothing but late frames comes, `ANEW` of them, close together, they are the new
numbering. They were kept until that was clear, so nothing of it is lost.
"""

from collections.abc import Sequence

# frames that may wait behind a gap: 8 x 20 ms = 160 ms of patience
WINDOW = 8
# the first of so many frames begins the order: Telnyx does not say with which number it does
FIRST = 3
# late frames in a row that are a new numbering: half a second
ANEW = 25
# a gap of more frames than this (60 s) is a new numbering at once, not a loss
RESTART = 3000


class TrackOrder:
    """The order of one track; `push` is on the hot path."""

    __slots__ = ("_ahead", "_kept", "_next", "late", "lost", "repeated")

    def __init__(self) -> None:
        self._next: int | None = None
        self._ahead: dict[int, bytes] = {}
        # late frames since the last that was not
        self._kept: dict[int, bytes] = {}
        # given up: concealed, whether they came too late or never
        self.lost = 0
        # came after their place was given up, or once more after they had been passed on
        self.late = 0
        # came once more while the first still waited
        self.repeated = 0

    @property
    def waiting(self) -> int:
        """How many places long is what waits, its gaps included."""
        if not self._ahead:
            return 0
        first = min(self._ahead) if self._next is None else self._next
        return max(self._ahead) + 1 - first

    def push(self, chunk: int, payload: bytes) -> Sequence[bytes | None]:
        """Return the payloads that are now in order; None stands for a frame that never came."""
        if chunk == self._next:
            self._next = chunk + 1
            if self._kept:
                self._kept.clear()
            if not self._ahead:
                return (payload,)
            return [payload, *self._follow()]
        if self._next is None:
            return self._begin(chunk, payload)
        if chunk < self._next:
            return self._behind(chunk, payload, self._next)
        self._kept.clear()
        return self._wait(chunk, payload, self._next)

    def flush(self) -> Sequence[bytes | None]:
        """Return what still waits, with its gaps: no more frames will come."""
        out: list[bytes | None] = []
        while self._ahead:
            out += self._give_up_gap()
        return out

    def _begin(self, chunk: int, payload: bytes) -> Sequence[bytes | None]:
        """Hold the first frames, as they may come in disorder as well."""
        if chunk in self._ahead:
            self.repeated += 1
            return ()
        self._ahead[chunk] = payload
        if len(self._ahead) < FIRST:
            return ()
        held, self._ahead = self._ahead, {}
        self._next = min(held)
        out: list[bytes | None] = []
        for number in sorted(held):
            out += self.push(number, held[number])
        return out

    def _wait(self, chunk: int, payload: bytes, expected: int) -> Sequence[bytes | None]:
        if chunk - expected > RESTART:
            return self._restart({chunk: payload})
        if chunk in self._ahead:
            self.repeated += 1
            return ()
        self._ahead[chunk] = payload
        if len(self._ahead) > WINDOW:
            return self._give_up_gap()
        return ()

    def _behind(self, chunk: int, payload: bytes, expected: int) -> Sequence[bytes | None]:
        if expected - chunk > RESTART:
            return self._restart({chunk: payload})
        self.late += 1
        self._kept[chunk] = payload
        if len(self._kept) < ANEW:
            return ()
        kept, self._kept = self._kept, {}
        if max(kept) - min(kept) >= ANEW + WINDOW:
            return ()
        self.late -= len(kept)
        return self._restart(kept)

    def _follow(self) -> list[bytes | None]:
        out: list[bytes | None] = []
        expected = self._next or 0
        while (payload := self._ahead.pop(expected, None)) is not None:
            out.append(payload)
            expected += 1
        self._next = expected
        return out

    def _give_up_gap(self) -> list[bytes | None]:
        first = min(self._ahead)
        # before the order has begun, nothing is missing
        missing = 0 if self._next is None else first - self._next
        if missing > RESTART:
            # another numbering that the flush has found behind it
            missing = 0
        self.lost += missing
        self._next = first
        return [*([None] * missing), *self._follow()]

    def _restart(self, frames: dict[int, bytes]) -> Sequence[bytes | None]:
        """Go on with these frames, of another numbering."""
        out = list(self.flush())
        self._kept.clear()
        self._next = min(frames)
        for number in sorted(frames):
            out += self.push(number, frames[number])
        return out
