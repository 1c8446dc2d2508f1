"""Candidates from the vectors: strategies that are close to the moment, and answers that worked.

Two sources, asked at once. The playbook's own strategies are found by the moment they are for or by
their words. Proven answers come from `objection_responses` of successful outcomes: there a row is
keyed by the objection it answered, so that what is close is the moment and not the wording of the
answer; only answers that lifted the prospect, in calls that ended qualified, are offered.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

import numpy as np
from chromadb.api.types import QueryResult

from agent_sidecar.adapters.chroma_client import ChromaServer
from agent_sidecar.domain.hints import Candidate, Question, Retrieved
from agent_sidecar.domain.record import FinalStatus
from agent_sidecar.domain.types import StrategyName, Vector
from agent_sidecar.domain.vector_rows import collection
from agent_sidecar.errors import StoreUnavailable

SUCCESSFUL: tuple[FinalStatus, ...] = ("hot_transfer", "video_sent", "follow_up")
# a strategy has several texts, so the closest texts name fewer strategies than they are
_CLOSEST = 20


class ChromaCandidates:
    """The retriever of candidates; the best of each strategy and origin, closest first."""

    name = "chroma"

    def __init__(self, server: ChromaServer) -> None:
        self._server = server

    async def retrieve(self, question: Question) -> Retrieved:
        """Answer for the question's vector; without one there is nothing to compare.

        One failing source leaves the other's candidates, marked as degraded. Raises
        `StoreUnavailable` when none answers.
        """
        vector = question.vector
        if vector is None:
            return Retrieved(degraded=("embedding",))
        names = ["strategy_embeddings", *(collection("objection_responses", o) for o in SUCCESSFUL)]
        answers = await asyncio.gather(
            *(self._closest(name, vector) for name in names), return_exceptions=True
        )
        candidates: list[Candidate] = []
        failures: list[BaseException] = []
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, BaseException):
                failures.append(answer)
            elif answer is not None:
                read = _strategies if name == "strategy_embeddings" else _proven
                candidates += read(answer)
        if len(failures) == len(names) or not all(
            isinstance(failure, StoreUnavailable) for failure in failures
        ):
            raise failures[0]
        return Retrieved(
            candidates=tuple(_best_of_each(candidates)),
            degraded=(self.name,) if failures else (),
        )

    async def _closest(self, name: str, vector: Vector) -> QueryResult | None:
        return await self._server.ask(
            name,
            lambda c: c.query(
                query_embeddings=vector[np.newaxis],
                n_results=_CLOSEST,
                include=["metadatas", "documents", "distances"],
            ),
        )


def _strategies(answer: QueryResult) -> Iterable[Candidate]:
    for metadata, _, closeness in _hits(answer):
        yield Candidate(
            strategy=StrategyName(str(metadata["strategy"])),
            closeness=closeness,
            origin="playbook",
        )


def _proven(answer: QueryResult) -> Iterable[Candidate]:
    for metadata, document, closeness in _hits(answer):
        # a follow-up may have ended below what counts as qualified
        if metadata.get("qualified") is True:
            yield Candidate(
                strategy=StrategyName(str(metadata["strategy"])),
                closeness=closeness,
                origin="proven",
                say=document,
            )


def _hits(answer: QueryResult) -> Iterable[tuple[dict[str, Any], str, float]]:
    """Yield metadata, document and closeness of each row, closest first."""
    metadatas, documents, distances = answer["metadatas"], answer["documents"], answer["distances"]
    if metadatas is None or documents is None or distances is None:
        return
    for metadata, document, distance in zip(metadatas[0], documents[0], distances[0], strict=True):
        yield dict(metadata), document, 1.0 - float(distance)


def _best_of_each(candidates: Iterable[Candidate]) -> Iterable[Candidate]:
    seen: set[tuple[str, str]] = set()
    for candidate in sorted(candidates, key=lambda c: (-c.closeness, c.strategy, c.origin)):
        if (candidate.strategy, candidate.origin) not in seen:
            seen.add((candidate.strategy, candidate.origin))
            yield candidate
