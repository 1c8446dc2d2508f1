"""What a run of a fuzzer did and what it cost."""

import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


def rss_mb() -> float:
    """Return the memory that this process holds."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * _PAGE_MB


@dataclass(slots=True)
class Account:
    """Counts what was thrown and what came back; `failures` must stay empty."""

    name: str
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest_ms: float = 0.0
    began_s: float = field(default_factory=time.monotonic)
    ended_s: float = 0.0
    # once everything is warm, and at the end
    warm_mb: float = 0.0
    end_mb: float = 0.0

    @property
    def executions(self) -> int:
        return self.outcomes.total()

    def note(self, outcome: str, took_s: float = 0.0) -> None:
        """Count one throw."""
        self.outcomes[outcome] += 1
        self.slowest_ms = max(self.slowest_ms, 1000 * took_s)

    def fail(self, what: str) -> None:
        """Keep what must not be; the first ones tell enough."""
        if len(self.failures) < 20:
            self.failures.append(what)

    def warm(self) -> None:
        """Measure memory from here."""
        self.warm_mb = rss_mb()

    def end(self) -> None:
        """Stop counting."""
        self.ended_s = time.monotonic()
        self.end_mb = rss_mb()

    def document(self) -> Mapping[str, object]:
        """Return the account as JSON has it."""
        seconds = max(self.ended_s - self.began_s, 1e-9)
        return {
            "name": self.name,
            "executions": self.executions,
            "seconds": round(seconds, 1),
            "executions_per_s": round(self.executions / seconds),
            "slowest_ms": round(self.slowest_ms, 1),
            "rss_warm_mb": round(self.warm_mb, 1),
            "rss_growth_mb": round(self.end_mb - self.warm_mb, 1),
            "outcomes": dict(self.outcomes.most_common()),
            "failures": self.failures,
        }
