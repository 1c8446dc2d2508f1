"""Makes ready what a prospect's line will need while he is still finishing it.

Recognisers repeat a line, growing, until it is final; the final comes when the speaker has been
silent for a while, and mostly says the words of the last interim. So an interim that has not
changed for `STABLE_S`, or that is repeated, is embedded and asked for. When the final has the same
words (case, punctuation and spaces aside) its vector and its answers are there; in any other case
it is as if nothing had been made ready.

    interim ──unchanged──▶ guess: vector ──▶ foreseen question ──▶ answers
                             final, same words ▲        same moment ▲

Guesses give way: one at a time for a call, and none when the loop is late or the embedder busy.
They are told to nobody: not to the call, not to the journal.
"""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
import structlog

from agent_sidecar.domain.events import CallEvent, LineHeard
from agent_sidecar.domain.hints import Question, Retrieved
from agent_sidecar.domain.types import Vector
from agent_sidecar.errors import EmbeddingFailed
from agent_sidecar.live.call_parts import CallParts

log = structlog.get_logger()

# recognisers send interims every 0.1 to 0.3 s while somebody speaks: he has paused
STABLE_S = 0.25
# a shorter line is “yes” or “no”: nothing is asked because of it
FEWEST_WORDS = 3
# evidence may have changed since
KEPT_S = 5.0

_T = TypeVar("_T")
Foresee = Callable[[str, Vector], Question | None]
_Spawn = Callable[[Callable[[], Awaitable[None]], str], None]


class _Guess:
    """What was made ready for some words."""

    def __init__(self, key: str, text: str, at_s: float) -> None:
        loop = asyncio.get_running_loop()
        self.key = key
        self.text = text
        self.at_s = at_s
        self.vector: asyncio.Future[Vector | None] = loop.create_future()
        # known together with the vector
        self.question: Question | None = None
        self.answer: asyncio.Future[Retrieved | None] = loop.create_future()

    @property
    def is_under_way(self) -> bool:
        return not self.answer.done()

    def end(self) -> None:
        """Say that nothing more comes."""
        for awaited in (self.vector, self.answer):
            if not awaited.done():
                awaited.set_result(None)


class Ahead:
    """The guesses of one call; none begin after its block."""

    def __init__(self, parts: CallParts, *, foresee: Foresee, spawn: _Spawn) -> None:
        """`foresee` says what would be asked if these words were final; `spawn` runs work."""
        self._embedder = parts.embedder
        self._desk = parts.desk
        self._spare = parts.spare
        self._metrics = parts.metrics
        self._retrieval_s = parts.retrieval_s
        self._foresee = foresee
        self._spawn = spawn
        self._said = ""
        self._is_over = False
        self._timer: asyncio.TimerHandle | None = None
        self._guess: _Guess | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_over = True
        self._cancel_timer()

    def hear(self, event: CallEvent, *, counts: bool) -> None:
        """Take what the prospect says; `counts`: a hint may come of it."""
        if isinstance(event, LineHeard) and event.party == "prospect":
            if event.is_final:
                # what is made ready after it comes too late
                self._said = ""
                self._cancel_timer()
            elif counts:
                self._hear_interim(event.text)

    async def vector(self, text: str, *, deadline: float) -> Vector | None:
        """Return the vector of these words if it was made ready, or is by then (loop time)."""
        guess = self._guess
        if guess is None or guess.key != words_of(text) or _now_s() - guess.at_s > KEPT_S:
            return None
        vector = await _by(guess.vector, deadline)
        self._metrics.count("ahead", "no_vector" if vector is None else "vector")
        return vector

    async def answer(self, question: Question, *, deadline: float) -> Retrieved | None:
        """Return what is known of this moment if it was asked ahead, or is by then.

        An answer that lacks a store is none: there may be time to ask it now.
        """
        guess, self._guess = self._guess, None
        if guess is None or guess.question is None or not _is_same(guess.question, question):
            if guess is not None and guess.key == words_of(question.text):
                self._metrics.count("ahead", "other_moment")
            return None
        retrieved = await _by(guess.answer, deadline)
        if retrieved is None or retrieved.degraded:
            self._metrics.count("ahead", "no_answer")
            return None
        self._metrics.count("ahead", "answer")
        return retrieved

    def _hear_interim(self, text: str) -> None:
        key = words_of(text)
        is_repeated, self._said = key == self._said, key
        self._cancel_timer()
        is_ready = self._guess is not None and self._guess.key == key
        if self._is_over or is_ready or len(text.split()) < FEWEST_WORDS:
            return
        if is_repeated:
            self._begin(key, text)
        else:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(STABLE_S, self._begin, key, text)

    def _begin(self, key: str, text: str) -> None:
        self._cancel_timer()
        if self._guess is not None and self._guess.is_under_way:
            return
        guess = self._guess = _Guess(key, text, _now_s())

        async def work() -> None:
            try:
                await self._make_ready(guess)
            finally:
                guess.end()

        self._spawn(work, "ahead")

    async def _make_ready(self, guess: _Guess) -> None:
        # only now: another call's guess may have begun in the same turn of the loop
        if not self._spare.is_there:
            self._metrics.count("ahead", "no_time")
            return
        self._metrics.count("ahead", "begun")
        try:
            with self._spare.embedding():
                [vector] = await self._embedder.embed([guess.text])
        except EmbeddingFailed as exc:
            log.warning("interim_not_embedded", error=repr(exc))
            return
        guess.question = self._foresee(guess.text, vector)
        guess.vector.set_result(vector)
        if guess.question is not None:
            deadline = _now_s() + self._retrieval_s
            guess.answer.set_result(await self._desk.ask(guess.question, deadline=deadline))

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def words_of(text: str) -> str:
    """Return what two writings of the same words have in common, in any script."""
    return "".join(character for character in text.casefold() if character.isalnum())


def _is_same(guessed: Question, asked: Question) -> bool:
    """Say whether the stores would be asked the same."""
    if guessed.vector is None or asked.vector is None:
        return False
    return (
        (guessed.phase, guessed.objection, guessed.lead_kind)
        == (asked.phase, asked.objection, asked.lead_kind)
    ) and np.array_equal(guessed.vector, asked.vector)


async def _by(awaited: asyncio.Future[_T], deadline: float) -> _T | None:
    """Return what is there by that moment; it is not cancelled, others may wait for it."""
    if not awaited.done():
        await asyncio.wait({awaited}, timeout=max(0.0, deadline - _now_s()))
    return awaited.result() if awaited.done() else None


def _now_s() -> float:
    return asyncio.get_running_loop().time()
