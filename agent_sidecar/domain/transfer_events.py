"""What is told of a transfer, and what a call asks for to begin and to stop one."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from agent_sidecar.domain.record import TransferOutcome
from agent_sidecar.domain.types import CommandId, LegId, TransferId


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferWanted:
    """Somebody asks for the transfer, or forbids it."""

    at: datetime
    by: str
    veto: bool = False


TransferStep = Literal[
    "leased",
    "dialing",
    "ringing",
    "answered",
    # `reason` is what machine detection said
    "detected",
    "briefing",
    "accepted",
    "bridging",
    "bridged",
    "ended",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferProgressed:
    """One step of a transfer was decided or observed."""

    transfer_id: TransferId
    at: datetime
    step: TransferStep
    closer: str
    reason: str = ""
    leg_id: LegId | None = None
    # decided and kept before the command is sent
    command_id: CommandId | None = None
    # with `ended` only
    outcome: TransferOutcome | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartTransfer:
    """Hand the prospect to the closer now."""

    transfer_id: TransferId
    engagement: float | None
    phase: int
    reasons: tuple[str, ...]
    last_objection: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelTransfer:
    """Stop the running transfer: the prospect left, or somebody vetoed."""

    transfer_id: TransferId
    reason: str
