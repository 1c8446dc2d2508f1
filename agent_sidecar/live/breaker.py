"""A circuit breaker: what fails again and again is not asked for a while."""

FAILURES = 3
PAUSE_S = 2.0


class Breaker:
    """Closed: ask. Open after `FAILURES` in a row: skip, but let one question through per pause."""

    def __init__(self) -> None:
        self._failures = 0
        self._open_until_s = 0.0

    def allows(self, now_s: float) -> bool:
        """Say whether to ask now; `now_s` is the loop's time."""
        if self._failures < FAILURES:
            return True
        if now_s < self._open_until_s:
            return False
        self._open_until_s = now_s + PAUSE_S
        return True

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self, now_s: float) -> None:
        self._failures += 1
        if self._failures == FAILURES:
            self._open_until_s = now_s + PAUSE_S
