"""What a recogniser would say of a recorded call: lines that grow to a final one."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from agent_sidecar.domain.recorded import RecordedCall, SpokenSegment
from agent_sidecar.domain.types import Track

# the recording was made on the prospect's leg: what that leg sends in is the prospect
TRACK_OF: dict[Literal["agent", "prospect"], Track] = {"prospect": "inbound", "agent": "outbound"}

_INTERIM_PARTS = {2: (0.4, 0.75), 3: (0.3, 0.55, 0.8)}
_LONG_WORDS = 8
_INTERIM_CONFIDENCE, _FINAL_CONFIDENCE = 0.82, 0.97


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardLine:
    """A transcript line and the second at which the recogniser has it."""

    at_s: float
    # index of its segment in the recorded call
    segment: int
    track: Track
    text: str
    is_final: bool
    confidence: float


def heard_lines(call: RecordedCall) -> list[HeardLine]:
    """Return all lines in the order in which they come; each segment ends in one final line."""
    lines = [line for index, segment in enumerate(call.segments) for line in _grow(index, segment)]
    return sorted(lines, key=lambda line: (line.at_s, line.segment, line.is_final))


def _grow(index: int, segment: SpokenSegment) -> Iterator[HeardLine]:
    words = segment.text.split()
    length_s = segment.end_s - segment.start_s
    track = TRACK_OF[segment.speaker]
    # a one-word answer is final before an interim could be sent
    parts = _INTERIM_PARTS[3 if len(words) >= _LONG_WORDS else 2] if len(words) > 2 else ()
    for part in parts:
        yield HeardLine(
            at_s=segment.start_s + part * length_s,
            segment=index,
            track=track,
            text=" ".join(words[: max(int(part * len(words)), 1)]),
            is_final=False,
            confidence=_INTERIM_CONFIDENCE,
        )
    yield HeardLine(
        at_s=segment.end_s,
        segment=index,
        track=track,
        text=segment.text,
        is_final=True,
        confidence=_FINAL_CONFIDENCE,
    )
