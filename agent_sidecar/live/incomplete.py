"""A source of what has worked that is being made anew: what it holds meanwhile misleads."""

from collections.abc import Callable

from agent_sidecar.domain.hints import Question, Retrieved
from agent_sidecar.errors import StoreUnavailable
from agent_sidecar.ports import Retriever


class UnlessIncomplete:
    """A retriever that counts as out while its store lacks calls, so that memory answers."""

    def __init__(self, retriever: Retriever, is_incomplete: Callable[[], bool]) -> None:
        self._retriever = retriever
        self._is_incomplete = is_incomplete

    @property
    def name(self) -> str:
        return self._retriever.name

    async def retrieve(self, question: Question) -> Retrieved:
        """Answer once the store is complete again. Raises `StoreUnavailable`."""
        if self._is_incomplete():
            raise StoreUnavailable(f"{self.name} is being made anew")
        return await self._retriever.retrieve(question)
