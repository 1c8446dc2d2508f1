"""Candidates from the vectors: answers that worked in moments like this one.

They are in `objection_responses` of successful outcomes, where a row is keyed by the objection it
answered, so that what is close is the moment and not the wording of the answer; only answers that
lifted the prospect, in calls that ended qualified, are offered. The playbook's own strategies are
no question to a store: their vectors are in memory (`live/warm.py`).
"""

import asyncio
from collections.abc import Iterable, Sequence

import numpy as np

from agent_sidecar.adapters.chroma_reads import ChromaReads, Found, Rows, query_body
from agent_sidecar.domain.hints import Candidate, ProvenLine, Question, Retrieved
from agent_sidecar.domain.types import StrategyName, Vector
from agent_sidecar.domain.vector_rows import SUCCESSFUL, collection
from agent_sidecar.errors import StoreUnavailable

# many rows may be of one strategy, so the closest name fewer strategies than they are
_CLOSEST = 20
# rows with vectors come as JSON: read at once, more would hold the event loop for too long
_PAGE = 50


class ChromaCandidates:
    """The retriever of candidates; the best of each strategy, closest first."""

    name = "chroma"

    def __init__(self, reads: ChromaReads) -> None:
        self._reads = reads

    async def retrieve(self, question: Question) -> Retrieved:
        """Answer for the question's vector; without one there is nothing to compare.

        One failing source leaves the others' candidates, marked as degraded. Raises
        `StoreUnavailable` when none answers.
        """
        if question.vector is None:
            return Retrieved(degraded=("embedding",))
        body = query_body(question.vector.tolist(), closest=_CLOSEST)
        answers = await asyncio.gather(
            *(self._reads.query(name, body) for name in _successful()), return_exceptions=True
        )
        candidates: list[Candidate] = []
        failures: list[BaseException] = []
        for answer in answers:
            if isinstance(answer, BaseException):
                failures.append(answer)
            elif answer is not None:
                candidates += _proven(answer)
        if len(failures) == len(answers) or not all(
            isinstance(failure, StoreUnavailable) for failure in failures
        ):
            raise failures[0]
        return Retrieved(
            candidates=tuple(_best_of_each(candidates)),
            degraded=(self.name,) if failures else (),
        )

    async def proven(self, *, most: int) -> Sequence[ProvenLine]:
        """Return the newest answers that worked, at most so many, for a copy in memory."""
        lines: list[ProvenLine] = []
        each = most // len(SUCCESSFUL)
        for name in _successful():
            count = await self._reads.count(name) or 0
            for offset in range(max(0, count - each), count, _PAGE):
                page = {
                    "include": ["metadatas", "documents", "embeddings"],
                    "limit": _PAGE,
                    "offset": offset,
                }
                rows = await self._reads.get(name, page)
                lines += _lines(rows) if rows is not None else ()
        return lines


def _successful() -> Sequence[str]:
    return [collection("objection_responses", outcome) for outcome in SUCCESSFUL]


def _proven(found: Found) -> Iterable[Candidate]:
    """Yield what each row proposes, closest first."""
    rows = zip(found.metadatas[0], found.documents[0], found.distances[0], strict=True)
    for metadata, document, distance in rows:
        # a follow-up may have ended below what counts as qualified
        if metadata is not None and metadata.get("qualified") is True:
            yield Candidate(
                strategy=StrategyName(str(metadata["strategy"])),
                closeness=1.0 - distance,
                origin="proven",
                say=document,
            )


def _lines(rows: Rows) -> Iterable[ProvenLine]:
    metadatas, documents, vectors = rows.metadatas, rows.documents, rows.embeddings
    if metadatas is None or documents is None or vectors is None:
        return
    for metadata, document, numbers in zip(metadatas, documents, vectors, strict=True):
        if metadata is not None and metadata.get("qualified") is True and document:
            vector: Vector = np.asarray(numbers, np.float32)
            yield ProvenLine(
                strategy=StrategyName(str(metadata["strategy"])), say=document, vector=vector
            )


def _best_of_each(candidates: Iterable[Candidate]) -> Iterable[Candidate]:
    seen: set[str] = set()
    for candidate in sorted(candidates, key=lambda c: (-c.closeness, c.strategy)):
        if candidate.strategy not in seen:
            seen.add(candidate.strategy)
            yield candidate
