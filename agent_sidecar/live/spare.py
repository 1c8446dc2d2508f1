"""Whether there is time to spare for work that may turn out to be for nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

# the loop must not have been later than this in the last second
ON_TIME_MS = 20.0


class SpareTime:
    """Knows who embeds; what is made ahead waits for nobody and makes nobody wait."""

    def __init__(self, lag_ms: Callable[[], float]) -> None:
        """`lag_ms`: how late the event loop was at worst, just now."""
        self._lag_ms = lag_ms
        self._embedding = 0

    @property
    def is_there(self) -> bool:
        """The loop is on time, and the embedder has nothing to do."""
        return not self._embedding and self._lag_ms() <= ON_TIME_MS

    @contextmanager
    def embedding(self) -> Iterator[None]:
        """Note that something is being embedded inside of the block."""
        self._embedding += 1
        try:
            yield
        finally:
            self._embedding -= 1
