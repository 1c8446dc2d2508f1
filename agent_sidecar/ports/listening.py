"""Who is told what happens."""

from collections.abc import Mapping
from typing import Literal, Protocol

from agent_sidecar.domain.types import CallId

MessageType = Literal["hint", "score", "transfer", "call"]


class Publisher(Protocol):
    """Tells everybody who listens: sockets of this process, and the hint channel in Redis."""

    def publish(self, call_id: CallId, message: Mapping[str, object]) -> None:
        """Never blocks and never fails: a slow listener loses messages, not the call."""
        ...
