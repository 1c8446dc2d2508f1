"""Who may take over a call."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from agent_sidecar.domain.availability import Step
from agent_sidecar.domain.playbook import Closer
from agent_sidecar.domain.types import TransferId


class Closers(Protocol):
    """Who may take over, when, and whether he is free now: leases are atomic over all processes."""

    async def load(self, closers: Sequence[Closer]) -> None:
        """Store the playbook's closers and hours where the store has none of its own."""
        ...

    async def is_available(self, name: str, at: datetime) -> bool:
        """He is working and nobody has him. Raises `StoreUnavailable`."""
        ...

    async def lease(self, name: str, transfer_id: TransferId) -> bool:
        """Reserve him for one transfer; False when somebody else has him, or he wraps up."""
        ...

    # how far the transfer is that holds him; never blocks and never fails
    def note(self, name: str, transfer_id: TransferId, step: Step) -> None: ...

    async def release(self, name: str, transfer_id: TransferId) -> None:
        """End the lease if this transfer still holds it; after a talk he wraps up first."""
        ...

    async def holder(self, name: str) -> TransferId | None: ...

    async def untended(self, name: str) -> TransferId | None:
        """Return who holds him if his process has not said for a minute that it looks after it."""
        ...
