"""The clock, the embedder, and whoever knows what has worked."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from agent_sidecar.domain.hints import Question, Retrieved
from agent_sidecar.domain.types import Vector


class Clock(Protocol):
    """The wall's clock."""

    def now(self) -> datetime:
        """Return the time, aware, UTC."""
        ...


class Embedder(Protocol):
    """Turns texts into vectors of unit length."""

    @property
    def name(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        """Return one vector per text. Raises `EmbeddingFailed`."""
        ...


class Retriever(Protocol):
    """One source of what has worked; named as it appears in `degraded`."""

    @property
    def name(self) -> str: ...

    async def retrieve(self, question: Question) -> Retrieved:
        """Answer as well as it can. Raises `StoreUnavailable`. Safe to cancel at any time."""
        ...
