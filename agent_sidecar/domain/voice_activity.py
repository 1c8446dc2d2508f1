"""Says of each 20 ms of a track how much it stands out from the noise of the line.

The floor follows the level of the noise: it falls quickly, rises a little in what is hardly above
it, and hardly at all in speech. Two things let it jump up, as noise may begin at any time and a
line's gain may change: the quietest moments of the last second, when speech stands out
from them; and noise that has been steady for `STEADY_S` without a pitch, which the caller finds
(`Steadiness`). Digital silence is no noise: the line behind it may be noisy.
"""

from collections import deque
from collections.abc import Sequence

STEP_S = 0.02
SILENT, FAINT, LOUD = 0, 1, 2
# quieter is digital silence, G.711's smallest steps included
DIGITAL_SILENCE_DBFS = -70.0
LOWEST_FLOOR_DBFS = -62.0
# above the floor: what may be the edge of speech, and what is speech
FAINT_RISE_DB, LOUD_RISE_DB = 4.0, 7.0
# what is so much quieter than the speech before is not its edge
FAINT_BELOW_PEAK_DB = 30.0
PEAK_FALL_DB_S = 5.0
FLOOR_RISE_DB_S = 1.0
# steady noise: so long, within so many decibels
STEADY_S, STEADY_DB = 0.4, 5.0
# in digital silence the floor sinks by so much a step
_RELAX_DB = 0.5
_STEADY = round(STEADY_S / STEP_S)
# quietest moments are kept of so many steps, and the last few of them compared
_BLOCK, _BLOCKS = 25, 3
# speech stands out so far from its own quietest moments, where they are the line's noise
_STANDS_OUT_DB = 18.0


class VoiceActivity:
    """The noise floor and the speech level of one track; `judge` each step in order."""

    __slots__ = ("_blocks", "_count", "_floor", "_highest", "_lowest", "_peak", "steadiness")

    def __init__(self) -> None:
        self._floor = LOWEST_FLOOR_DBFS
        self._peak = LOWEST_FLOOR_DBFS
        self._blocks: deque[tuple[float, float]] = deque(maxlen=_BLOCKS)
        self._count, self._lowest, self._highest = 0, 0.0, -200.0
        self.steadiness = Steadiness()

    def judge(self, level_dbfs: float) -> int:
        """Return whether this step is `SILENT`, `FAINT` or `LOUD`."""
        floor = self._floor
        if level_dbfs < DIGITAL_SILENCE_DBFS:
            self._floor = max(LOWEST_FLOOR_DBFS, floor - _RELAX_DB)
            self.steadiness.interrupt()
            return SILENT
        rise = level_dbfs - floor
        self._peak = peak = (
            self._peak + 0.3 * (level_dbfs - self._peak)
            if level_dbfs > self._peak
            else self._peak - PEAK_FALL_DB_S * STEP_S
        )
        if rise < 0.0:
            self._floor = max(LOWEST_FLOOR_DBFS, floor + 0.4 * rise)
        elif rise < FAINT_RISE_DB:
            self._floor = floor + 0.1 * rise
        else:
            self._floor = floor + FLOOR_RISE_DB_S * STEP_S
        self._note(level_dbfs)
        if rise <= FAINT_RISE_DB or level_dbfs <= peak - FAINT_BELOW_PEAK_DB:
            self.steadiness.interrupt()
            return SILENT
        self.steadiness.hear(level_dbfs)
        return LOUD if rise > LOUD_RISE_DB else FAINT

    def rest(self, levels_dbfs: Sequence[float]) -> bool:
        """Hear several steps at once, if all are digital silence; return whether they are."""
        if max(levels_dbfs, default=0.0) >= DIGITAL_SILENCE_DBFS:
            return False
        self._floor = max(LOWEST_FLOOR_DBFS, self._floor - _RELAX_DB * len(levels_dbfs))
        self.steadiness.interrupt()
        return True

    def learn_noise(self) -> None:
        """Take what has been steady for noise."""
        self._floor = max(LOWEST_FLOOR_DBFS, self.steadiness.level_dbfs)
        self._peak = self._floor
        self.steadiness.interrupt()

    def _note(self, level_dbfs: float) -> None:
        """Remember the quietest moments; they are the floor if it lies far below them."""
        self._lowest = min(self._lowest, level_dbfs)
        self._highest = max(self._highest, level_dbfs)
        self._count += 1
        if self._count < _BLOCK:
            return
        self._blocks.append((self._lowest, self._highest))
        self._count, self._lowest, self._highest = 0, 0.0, -200.0
        lowest = min(low for low, _ in self._blocks)
        stands_out = max(high for _, high in self._blocks) - lowest > _STANDS_OUT_DB
        if len(self._blocks) > 1 and stands_out:
            self._floor = max(self._floor, lowest)


# lower than any high, higher than any low, after no step
_NO_LEVELS = (0.0, -200.0, 0)


class Steadiness:
    """How long the level has hardly moved."""

    __slots__ = ("_high", "_low", "_steps")

    def __init__(self) -> None:
        self._low, self._high, self._steps = _NO_LEVELS

    @property
    def reached(self) -> bool:
        """It has been steady for `STEADY_S`, just now."""
        return self._steps == _STEADY

    @property
    def level_dbfs(self) -> float:
        """Where it has been steady."""
        return 0.5 * (self._low + self._high)

    def hear(self, level_dbfs: float) -> None:
        """Hear another step that is not silent."""
        low, high = min(self._low, level_dbfs), max(self._high, level_dbfs)
        if high - low > STEADY_DB:
            low, high, self._steps = level_dbfs, level_dbfs, 0
        self._low, self._high = low, high
        self._steps += 1

    def interrupt(self) -> None:
        """Begin anew."""
        self._low, self._high, self._steps = _NO_LEVELS
