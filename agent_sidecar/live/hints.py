"""Asks every retriever at once under one deadline; what is late is answered from the warm copy.

The losers are not waited for: they are cancelled and die in the process's own task group, on their
own time. A store that fails again and again is skipped until a try beside the questions succeeds.
"""

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from agent_sidecar.domain.hints import Question, Retrieved
from agent_sidecar.domain.language import Reader
from agent_sidecar.domain.ranking import Ranked, rank
from agent_sidecar.errors import EmbeddingFailed
from agent_sidecar.live.requests import Suggestion, SuggestRequest
from agent_sidecar.live.source import Asked, Source
from agent_sidecar.live.warm import WarmCopy
from agent_sidecar.ports import Embedder, Retriever

log = structlog.get_logger()


class HintDesk:
    """Answers questions about the moment."""

    def __init__(
        self,
        *,
        retrievers: Sequence[Retriever],
        warm: WarmCopy,
        reader: Reader,
        embedder: Embedder,
        orphans: asyncio.TaskGroup,
        retrieval_s: float,
    ) -> None:
        """`orphans` is the process's group: a retriever that lost the race dies there."""
        self._sources = [
            Source(retriever, orphans=orphans, patience_s=retrieval_s) for retriever in retrievers
        ]
        self._warm = warm
        self._reader = reader
        self._embedder = embedder
        self._retrieval_s = retrieval_s
        # loop time of the last question
        self._asked_at = 0.0

    async def ask(self, question: Question, *, deadline: float) -> Retrieved:
        """Return what is known by `deadline` (loop time); never raises, never is late."""
        began = _now_s()
        self._asked_at = began
        asked: dict[Source, Asked] = {}
        if deadline > began:
            tasks = {source: source.ask(question) for source in self._sources}
            asked = {source: task for source, task in tasks.items() if task is not None}
        had_time = deadline - began >= self._retrieval_s / 2
        answers: dict[str, Retrieved] = {}
        try:
            if asked:
                await asyncio.wait(asked.values(), timeout=deadline - began)
        except asyncio.CancelledError:
            had_time = False
            raise
        finally:
            for source, task in asked.items():
                if (answer := source.settle(task, had_time=had_time)) is not None:
                    answers[source.name] = answer
        return self._together(question, answers)

    async def rehearse(self, text: str, *, unless_asked_for_s: float = 0.0) -> None:
        """Ask as a call would, so that the next one finds everything ready; raises nothing."""
        if _now_s() - self._asked_at < unless_asked_for_s:
            return
        request = SuggestRequest(text=text, phase=None, objection=None, lead={}, top_k=1)
        await self.suggest(request)

    async def suggest(self, request: SuggestRequest) -> Suggestion:
        """Answer an agent that pulls: always the best `top_k`, whatever their confidence."""
        began = _now_s()
        question = await self._question(request)
        retrieved = await self.ask(question, deadline=began + self._retrieval_s)
        ranked = rank(self._reader.playbook, question, retrieved)[: request.top_k]
        return Suggestion(
            hints=tuple(_pulled(r, question) for r in ranked),
            degraded=retrieved.degraded,
            latency_ms=round((_now_s() - began) * 1000, 2),
        )

    def _together(self, question: Question, answers: Mapping[str, Retrieved]) -> Retrieved:
        candidates = [c for answer in answers.values() for c in answer.candidates]
        evidence = [e for answer in answers.values() for e in answer.evidence]
        self._warm.remember(evidence)
        degraded = {source.name for source in self._sources} - set(answers)
        degraded |= {d for answer in answers.values() for d in answer.degraded}
        # the playbook's own strategies are always candidates: they live in memory anyway
        candidates += self._warm.candidates(question)
        if degraded:
            candidates += self._warm.proven(question)
            known = {(e.scope, e.strategy) for e in evidence}
            warm = self._warm.evidence(question)
            evidence += [e for e in warm if (e.scope, e.strategy) not in known]
        return Retrieved(
            candidates=tuple(candidates),
            evidence=tuple(evidence),
            degraded=tuple(sorted(degraded)),
        )

    async def _question(self, request: SuggestRequest) -> Question:
        vector = None
        try:
            async with asyncio.timeout(self._retrieval_s / 2):
                [vector] = await self._embedder.embed([request.text])
        except (EmbeddingFailed, TimeoutError) as exc:
            log.warning("suggest_without_vector", error=repr(exc))
        except Exception:  # words alone are better than no answer
            log.exception("suggest_without_vector", what_to_do="report this")
        read = self._reader.read_prospect(request.text, vector)
        kind = tuple(
            (name, str(request.lead[name]))
            for name in self._reader.playbook.lead_kind
            if request.lead.get(name) is not None
        )
        return Question(
            question_id="suggest",
            call_id=None,
            text=request.text,
            vector=vector,
            # nothing known: the phase in which objections are answered
            phase=request.phase or 9,
            objection=request.objection or read.objection,
            lead_kind=kind,
        )


def _pulled(ranked: Ranked, question: Question) -> Mapping[str, object]:
    return {
        "strategy": ranked.strategy.name,
        "say": ranked.say,
        "why": list(ranked.why),
        "confidence": ranked.confidence,
        "evidence": {"tried": ranked.tried, "lifted": ranked.lifted, "won": ranked.won},
        "phase": question.phase,
        "objection": question.objection,
    }


def _now_s() -> float:
    return asyncio.get_running_loop().time()
