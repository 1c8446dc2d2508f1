"""Calls with labels on their lines, as fitting reads them."""

from dataclasses import dataclass

from agent_sidecar.domain.types import Party, Vector


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledLine:
    """One line of a recorded call with its vector; seconds from the start of the call."""

    speaker: Party
    text: str
    vector: Vector
    # what somebody said that the line does; None: nobody looked
    label: str | None
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledCall:
    """One recorded call; `source` tells files apart that are fitted together."""

    call_id: str
    lines: tuple[LabelledLine, ...]
    # how it ended, where known
    success: bool | None = None
    source: str = ""
