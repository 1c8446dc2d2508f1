"""Asks every retriever at once under one deadline; what is late is answered from the warm copy.

The losers are not waited for: they are cancelled and die in the process's own task group, on their
own time. A retriever that fails again and again is skipped for a while by its breaker.
"""

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from agent_sidecar.domain.hints import Question, Retrieved
from agent_sidecar.domain.language import Reader
from agent_sidecar.domain.ranking import Ranked, rank
from agent_sidecar.errors import EmbeddingFailed, StoreUnavailable
from agent_sidecar.live.breaker import Breaker
from agent_sidecar.live.requests import Suggestion, SuggestRequest
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
        self._retrievers = retrievers
        self._breakers = {r.name: Breaker() for r in retrievers}
        self._warm = warm
        self._reader = reader
        self._embedder = embedder
        self._orphans = orphans
        self._retrieval_s = retrieval_s

    async def ask(self, question: Question, *, deadline: float) -> Retrieved:
        """Return what is known by `deadline` (loop time); never raises, never is late."""
        began = _now_s()
        asked: dict[asyncio.Task[Retrieved | None], Retriever] = {}
        if deadline > began:
            asked = {
                self._orphans.create_task(_ask(r, question), name=f"hint:{r.name}"): r
                for r in self._retrievers
                if self._breakers[r.name].allows(began)
            }
        try:
            if asked:
                await asyncio.wait(asked, timeout=deadline - began)
        finally:
            for task in asked:
                task.cancel("hint deadline")
        answers: dict[str, Retrieved] = {}
        for task, retriever in asked.items():
            answer = task.result() if task.done() and not task.cancelled() else None
            breaker = self._breakers[retriever.name]
            if answer is not None:
                answers[retriever.name] = answer
                breaker.succeeded()
            elif task.done() or deadline - began >= self._retrieval_s / 2:
                # who had hardly any time is late for somebody else's fault
                breaker.failed(_now_s())
        return self._together(question, answers)

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
        degraded = {r.name for r in self._retrievers} - set(answers)
        degraded |= {d for answer in answers.values() for d in answer.degraded}
        # the playbook's own strategies are always candidates: they live in memory anyway
        candidates += self._warm.candidates(question)
        if degraded:
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


async def _ask(retriever: Retriever, question: Question) -> Retrieved | None:
    """Turn a failure into None, so that one bad source cannot cancel the group."""
    try:
        return await retriever.retrieve(question)
    except StoreUnavailable as exc:
        log.warning("retriever_failed", retriever=retriever.name, error=str(exc))
    except Exception:  # one source's bug must not cost the others' answers
        log.exception("retriever_broke", retriever=retriever.name)
    return None


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
