"""How a call hears a recorded segment: as a live one hears a final line and its vector."""

from datetime import timedelta

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.call import Call
from agent_sidecar.domain.recorded import SpokenSegment
from agent_sidecar.domain.types import StrategyName, Vector


def hear_segment(
    call: Call, index: int, segment: SpokenSegment, vector: Vector, strategy: str | None = None
) -> None:
    """Let the call hear its segment number `index`; `strategy`: the label that somebody gave it."""
    opened = call.log.opened
    line_id = f"{opened.call_id}:{index}"
    call.receive(
        ev.LineHeard(
            line_id=line_id,
            at=opened.at + timedelta(seconds=segment.end_s),
            party=segment.speaker,
            text=segment.text,
            is_final=True,
            strategy=StrategyName(strategy) if strategy else None,
            source="recorded",
        )
    )
    call.receive(ev.LineEmbedded(line_id=line_id, vector=vector.astype("<f4").tobytes()))
