"""Speech pace from sound alone: the syllables are counted by their nuclei.

After de Jong and Wempe (2009, Behavior Research Methods 41:2): a nucleus is a peak of intensity,
above a threshold, that stands out from the dips beside it by 2 dB and is voiced.
"""

import numpy as np

from agent_sidecar.domain.types import Samples

DIP_DB = 2.0
# a peak so far below the loudest of its speech is no nucleus
THRESHOLD_DB = 25.0
_SMOOTH = np.array([0.25, 0.5, 0.25], np.float32)


def syllables(levels_dbfs: Samples, is_voiced: np.typing.NDArray[np.bool_]) -> int:
    """Count the nuclei in levels of 20 ms, of which is known where they are voiced."""
    if levels_dbfs.size < _SMOOTH.size:
        return 0
    smooth = np.convolve(np.pad(levels_dbfs, 1, mode="edge"), _SMOOTH, mode="valid")
    turns = np.flatnonzero(np.diff(np.sign(np.diff(smooth, prepend=-200.0, append=-200.0))))
    threshold = float(np.quantile(smooth, 0.99)) - THRESHOLD_DB
    count, dip, peak, at = 0, -200.0, -200.0, 0
    for place in turns.tolist():
        level = float(smooth[place])
        if level > peak:
            peak, at = level, place
        elif peak - level >= DIP_DB:
            count += peak > threshold and peak - dip >= DIP_DB and bool(is_voiced[at])
            dip = peak = level
        dip = min(dip, level)
    return count + (peak > threshold and peak - dip >= DIP_DB and bool(is_voiced[at]))
