"""A circuit breaker: what fails again and again is not asked for a while."""

FAILURES = 3
# a store that is back is asked again within this: failed tries cost nobody a hint (`source.py`)
PAUSE_S = 0.5


class Breaker:
    """Closed: ask. Open after `FAILURES` in a row, until a try succeeds."""

    def __init__(self) -> None:
        self._failures = 0
        self._try_at_s = 0.0

    @property
    def is_open(self) -> bool:
        """What is asked of it now would most likely fail."""
        return self._failures >= FAILURES

    def is_to_try(self, now_s: float) -> bool:
        """Say whether to find out now if it is back, at most once a pause; loop time."""
        if not self.is_open or now_s < self._try_at_s:
            return False
        self._try_at_s = now_s + PAUSE_S
        return True

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self, now_s: float) -> None:
        self._failures += 1
        if self._failures == FAILURES:
            self._try_at_s = now_s + PAUSE_S
