"""The conversation's own clock: runs `speed` times as fast as the wall's."""

import asyncio
from datetime import datetime, timedelta


class ConversationClock:
    """Counts seconds of the recording from the moment it is started."""

    def __init__(self, started_at: datetime, *, speed: float) -> None:
        if speed <= 0:
            raise ValueError(f"speed {speed} must be above 0")
        self.started_at = started_at
        self.speed = speed
        self._zero: float | None = None

    def start(self) -> None:
        """Let second 0 be now."""
        self._zero = asyncio.get_running_loop().time()

    def now_s(self) -> float:
        """Return the second of the recording that it is; 0 before `start`."""
        if self._zero is None:
            return 0.0
        return (asyncio.get_running_loop().time() - self._zero) * self.speed

    def at(self, second_s: float) -> datetime:
        """Return the conversation's date and time at a second of the recording."""
        return self.started_at + timedelta(seconds=second_s)

    def now(self) -> datetime:
        return self.at(self.now_s())

    async def sleep_until(self, second_s: float) -> None:
        """Return at once when that second is past."""
        await asyncio.sleep(max(second_s - self.now_s(), 0.0) / self.speed)

    async def sleep(self, length_s: float) -> None:
        """Sleep for so many conversation seconds."""
        await asyncio.sleep(length_s / self.speed)
