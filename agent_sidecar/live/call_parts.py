"""What every live call of this process works with."""

from dataclasses import dataclass

from agent_sidecar.domain.record import Configuration
from agent_sidecar.live.hints import HintDesk
from agent_sidecar.ports import Clock, Closers, Embedder, Journal, Leads, Publisher
from agent_sidecar.telemetry import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class CallParts:
    """The ports of a call, and its times."""

    journal: Journal
    embedder: Embedder
    desk: HintDesk
    publisher: Publisher
    leads: Leads
    closers: Closers
    closer: str
    clock: Clock
    metrics: Metrics
    configuration: Configuration
    # from the final text to the hint on the wire, and what of it retrieval may take
    hint_deadline_s: float
    retrieval_s: float
    late_lines_s: float
