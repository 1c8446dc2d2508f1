"""Says what a call lacks, and when it has it again: to whoever listens, in the log, in counts."""

from collections.abc import Callable

import structlog

from agent_sidecar.domain.events import PublishDegraded
from agent_sidecar.telemetry import Metrics

log = structlog.get_logger()


class Degrading:
    """What one call was last told to lack."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._lacks: tuple[str, ...] = ()

    def tell(self, effect: PublishDegraded, tell: Callable[..., None]) -> None:
        """Tell of what is lacking now; `tell` takes a state and its fields."""
        new = [lack for lack in effect.lacks if lack not in self._lacks]
        self._lacks = effect.lacks
        if new:
            log.warning(
                "call_degraded",
                lacks=effect.lacks,
                reason=effect.reason,
                what_to_do="look at the leg's streaming and transcription; scoring goes on without",
            )
        for lack in new:
            self._metrics.count("calls_degraded", lack)
        state = "degraded" if effect.lacks else "recovered"
        tell(state, degraded=effect.lacks, reason=effect.reason)
