"""A recorded call: what `replay`, `import` and the simulator read, one JSON line a call."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from agent_sidecar.domain.types import Lead


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenSegment:
    """What one party said in one go; times are seconds from the start of the call."""

    speaker: Literal["agent", "prospect"]
    text: str
    start_s: float
    end_s: float
    strategy: str | None = None
    label: str | None = None
    # float32, little-endian, of the call's `model`; None: to be embedded
    vector: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedOutcome:
    """How a recorded call ended, as far as its file says; None is unknown."""

    success: bool | None = None
    final_status: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCall:
    """One call of a recorded-call file with every segment paced."""

    # the file's own id: becomes the `external_id` of each replay
    call_id: str
    segments: tuple[SpokenSegment, ...]
    lead: Lead = field(default_factory=Lead)
    # the embedding model that the vectors of the segments are of
    model: str | None = None
    started_at: datetime | None = None
    outcome: RecordedOutcome = field(default_factory=RecordedOutcome)
    # absolute paths of 8 kHz or 16 kHz mono WAV files, one per party, from second 0 of the call
    audio: dict[Literal["agent", "prospect"], str] = field(default_factory=dict)

    @property
    def duration_s(self) -> float:
        """When the last word has been said."""
        return max((segment.end_s for segment in self.segments), default=0.0)
