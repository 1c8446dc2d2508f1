"""An event loop whose time is free: when nothing is ready it jumps to the next timer.

An hour of back-off takes a millisecond, and durations come out exact. There is no waiting for
threads or the network: code under such a loop talks to fakes only.
"""

import asyncio
import selectors


class _JumpingSelector(selectors.SelectSelector):
    """Never waits; tells the loop how long it would have."""

    def __init__(self) -> None:
        super().__init__()
        self.time_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise RuntimeError(
                "everything waits and no timer is set: a deadlock, or something that this loop"
                " cannot wait for (a thread, a socket)"
            )
        self.time_s += max(timeout, 0.0)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Starts at second 0."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        # A timer fires when it is less than this away. The default, 1 ns, vanishes beside a float
        # of some weeks, and the loop would turn for ever at the timer's very time.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._jumping.time_s
