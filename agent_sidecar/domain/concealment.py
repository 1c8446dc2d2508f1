"""Sound that stands in for frames that never came.

After ITU-T G.711 appendix I: the last period of what was heard goes on, and fades within 60 ms; the
period is where the last samples are most like those before them. So level and pitch hold between
two halves of a word; longer gaps become silence, which they may have been.
"""

import numpy as np

from agent_sidecar.domain.audio import RATE_HZ
from agent_sidecar.domain.types import Samples

FADE_S = 0.06
# so much of what was heard is looked at
CONTEXT = round(0.04 * RATE_HZ)
_SHORTEST, _LONGEST = round(0.0025 * RATE_HZ), round(0.0145 * RATE_HZ)
# so much of its end is looked for in what came before
_TEMPLATE = 160
_FADE = np.linspace(1.0, 0.0, round(FADE_S * RATE_HZ), dtype=np.float32)


def conceal(before: Samples, count: int) -> Samples:
    """Return so many samples to follow those before."""
    out = np.zeros(count, np.float32)
    faded = min(count, _FADE.size)
    if before.size >= CONTEXT:
        period = before[-_period(before[-CONTEXT:]) :]
        out[:faded] = np.resize(period, faded) * _FADE[:faded]
    return out


def _period(context: Samples) -> int:
    """Return after how many samples the sound repeats itself best."""
    template = context[-_TEMPLATE:]
    searched = context[-_TEMPLATE - _LONGEST : -_SHORTEST]
    alike = np.correlate(searched, template, "valid")
    sums = np.cumsum(np.pad(np.square(searched), (1, 0)))
    energy = sums[_TEMPLATE:] - sums[:-_TEMPLATE]
    place = int(np.argmax(alike / np.sqrt(energy + np.float32(1e-9))))
    return _LONGEST - place
