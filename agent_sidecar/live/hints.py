"""Asks every retriever at once under one deadline; what is late is answered from the warm copy.

The losers are not waited for: they are cancelled and die in the process's own task group, on their
own time. A retriever that fails again and again is skipped for a while by its breaker.
"""

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from agent_sidecar.domain.hints import Candidate, Evidence, Question, Retrieved
from agent_sidecar.domain.language import Reader
from agent_sidecar.domain.ranking import Ranked, rank
from agent_sidecar.errors import EmbeddingFailed, SidecarError, StoreUnavailable
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
        now = asyncio.get_running_loop().time()
        asked = {
            self._orphans.create_task(self._ask(r, question), name=f"hint:{r.name}"): r.name
            for r in self._retrievers
            if self._breakers[r.name].allows(now)
        }
        answers: list[Retrieved] = []
        missing = {r.name for r in self._retrievers} - set(asked.values())
        if asked:
            done, late = await asyncio.wait(asked, timeout=max(0.0, deadline - now))
            for task in late:
                task.cancel("hint deadline")
                self._breakers[asked[task]].failed(asyncio.get_running_loop().time())
                missing.add(asked[task])
            for task in done:
                answer = task.result()
                if answer is None:
                    missing.add(asked[task])
                else:
                    answers.append(answer)
        return self._together(question, answers, missing)

    async def suggest(self, request: SuggestRequest) -> Suggestion:
        """Answer an agent that pulls: always the best `top_k`, whatever their confidence."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        question = await self._question(request)
        retrieved = await self.ask(question, deadline=began + self._retrieval_s)
        ranked = rank(self._reader.playbook, question, retrieved)[: request.top_k]
        return Suggestion(
            hints=tuple(_pulled(r, question) for r in ranked),
            degraded=retrieved.degraded,
            latency_ms=round((loop.time() - began) * 1000, 2),
        )

    async def _ask(self, retriever: Retriever, question: Question) -> Retrieved | None:
        """Turn a failure into None, so that one bad source cannot cancel the group."""
        breaker = self._breakers[retriever.name]
        try:
            answer = await retriever.retrieve(question)
        except StoreUnavailable as exc:
            log.warning("retriever_failed", retriever=retriever.name, error=str(exc))
        except SidecarError:
            log.exception("retriever_failed", retriever=retriever.name)
        except Exception:  # one source's bug must not cost the others' answers
            log.exception("retriever_broke", retriever=retriever.name)
        else:
            breaker.succeeded()
            return answer
        breaker.failed(asyncio.get_running_loop().time())
        return None

    def _together(
        self, question: Question, answers: Sequence[Retrieved], missing: set[str]
    ) -> Retrieved:
        candidates: list[Candidate] = [c for answer in answers for c in answer.candidates]
        evidence: list[Evidence] = [e for answer in answers for e in answer.evidence]
        self._warm.remember(evidence)
        degraded = {d for answer in answers for d in answer.degraded} | missing
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
        except (EmbeddingFailed, TimeoutError):
            log.warning("suggest_without_vector")
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
