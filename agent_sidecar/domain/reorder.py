"""Puts the frames of one track back in order.

Telnyx does not guarantee order and says that `chunk` can be used to restore it. A frame that is
ahead waits until the missing ones come, or until `WINDOW` frames wait behind the gap; then the gap
is given up and reported as lost frames, which the listener conceals.
"""

from collections.abc import Sequence

# frames that may wait behind a gap: 8 x 20 ms = 160 ms of patience
WINDOW = 8
# a gap of more frames than this (60 s) is a new numbering, not a loss
RESTART = 3000


class TrackOrder:
    """The order of one track; `push` is on the hot path.

    The first frame that comes begins the order: Telnyx does not say with which number it does.
    """

    __slots__ = ("_ahead", "_next", "late", "lost", "repeated")

    def __init__(self) -> None:
        self._next: int | None = None
        self._ahead: dict[int, bytes] = {}
        # given up: concealed, whether they came too late or never
        self.lost = 0
        # came after their place was given up, or once more after they had been passed on
        self.late = 0
        # came once more while the first still waited
        self.repeated = 0

    def push(self, chunk: int, payload: bytes) -> Sequence[bytes | None]:
        """Return the payloads that are now in order; None stands for a frame that never came."""
        if chunk == self._next:
            self._next = chunk + 1
            if not self._ahead:
                return (payload,)
            return [payload, *self._follow()]
        if self._next is None:
            self._next = chunk + 1
            return (payload,)
        return self._out_of_order(chunk, payload)

    def flush(self) -> Sequence[bytes | None]:
        """Return what still waits, with its gaps: no more frames will come."""
        out: list[bytes | None] = []
        while self._ahead:
            out += self._give_up_gap()
        return out

    def _out_of_order(self, chunk: int, payload: bytes) -> Sequence[bytes | None]:
        expected = self._next or 0
        if chunk < expected:
            if expected - chunk > RESTART:
                return self._restart(chunk, payload)
            self.late += 1
            return ()
        if chunk - expected > RESTART:
            return self._restart(chunk, payload)
        if chunk in self._ahead:
            self.repeated += 1
            return ()
        self._ahead[chunk] = payload
        if len(self._ahead) > WINDOW:
            return self._give_up_gap()
        return ()

    def _follow(self) -> list[bytes | None]:
        out: list[bytes | None] = []
        expected = self._next or 0
        while (payload := self._ahead.pop(expected, None)) is not None:
            out.append(payload)
            expected += 1
        self._next = expected
        return out

    def _give_up_gap(self) -> list[bytes | None]:
        expected, first = self._next or 0, min(self._ahead)
        missing = first - expected
        self.lost += missing
        self._next = first
        return [*([None] * missing), *self._follow()]

    def _restart(self, chunk: int, payload: bytes) -> Sequence[bytes | None]:
        waiting = list(self.flush())
        self._next = chunk + 1
        return [*waiting, payload]
