"""One store as questions see it: asked at once or not at all, never queued for.

    asked ──answers──▶ closed ◀──a try succeeds──┐
      └─fails or is late, 3 times in a row──▶ open: skipped, tried beside the questions

A question that was given up dies on its own time; as long as it does it counts towards `AT_ONCE`,
so that a store that swallows questions is skipped before they pile up.
"""

import asyncio

import structlog

from agent_sidecar.domain.hints import Question, Retrieved
from agent_sidecar.errors import StoreUnavailable
from agent_sidecar.live.breaker import Breaker
from agent_sidecar.ports import Retriever

log = structlog.get_logger()

# of one store; a hundred calls ask some twenty questions a second, of some ten milliseconds each
AT_ONCE = 32
# what a try may take: it holds nobody up, and one that was given up sooner would never get past the
# handshake of a new connection (some servers take 0.3 s for a password on a busy machine)
TRY_S = 2.0

Asked = asyncio.Task[Retrieved | None]


class Source:
    """A retriever behind its breaker."""

    def __init__(
        self, retriever: Retriever, *, orphans: asyncio.TaskGroup, patience_s: float
    ) -> None:
        """`orphans` is the process's group; `patience_s` is what a question waits at most."""
        self.name = retriever.name
        self._retriever = retriever
        self._orphans = orphans
        self._patience_s = patience_s
        self._breaker = Breaker()
        self._alive: set[Asked] = set()
        self._is_trying = False

    def ask(self, question: Question) -> Asked | None:
        """Begin to ask; None: it is skipped."""
        if self._breaker.is_open:
            if not self._is_trying and self._breaker.is_to_try(_now_s()):
                self._is_trying = True
                self._orphans.create_task(self._try(question), name=f"try:{self.name}")
            return None
        return self._begin(question)

    def settle(self, asked: Asked, *, had_time: bool) -> Retrieved | None:
        """Return what came in time, and give up what did not; None: nothing came.

        Who hardly `had_time` is late for somebody else's fault.
        """
        is_done = asked.done()
        answer = asked.result() if is_done and not asked.cancelled() else None
        if answer is not None:
            self._breaker.succeeded()
        elif is_done or had_time:
            self._breaker.failed(_now_s())
        if not is_done:
            asked.cancel("hint deadline")
        return answer

    def _begin(self, question: Question) -> Asked | None:
        if len(self._alive) >= AT_ONCE:
            return None
        asked = self._orphans.create_task(self._retrieve(question), name=f"hint:{self.name}")
        self._alive.add(asked)
        asked.add_done_callback(self._alive.discard)
        return asked

    async def _try(self, question: Question) -> None:
        """Find out whether the store is back: it answers as soon as a question needs it to."""
        began = _now_s()
        try:
            if (asked := self._begin(question)) is None:
                return
            try:
                await asyncio.wait({asked}, timeout=TRY_S)
            finally:
                asked.cancel("it took too long")
            is_answer = not asked.cancelled() and asked.done() and asked.result() is not None
            if is_answer and _now_s() - began <= self._patience_s:
                self._breaker.succeeded()
                log.info("store_back", store=self.name)
        finally:
            self._is_trying = False

    async def _retrieve(self, question: Question) -> Retrieved | None:
        """Turn a failure into None, so that one bad source cannot cancel the group."""
        try:
            return await self._retriever.retrieve(question)
        except StoreUnavailable as exc:
            log.warning("retriever_failed", retriever=self.name, error=str(exc))
        except Exception:  # one source's bug must not cost the others' answers
            log.exception("retriever_broke", retriever=self.name)
        return None


def _now_s() -> float:
    return asyncio.get_running_loop().time()
