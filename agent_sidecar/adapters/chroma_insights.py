"""Moments of calls that ended well, close to a text or to how objections usually sound.

Answers that worked are found by the moment they answered; for a text, whole calls as well, by what
their prospects said. Both lie in collections by outcome, and only successful ones are asked.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence

from agent_sidecar.adapters.chroma_reads import ChromaReads, Found, query_body
from agent_sidecar.domain.insights import Moment
from agent_sidecar.domain.record import FinalStatus
from agent_sidecar.domain.types import CallId, ObjectionType, StrategyName, Vector
from agent_sidecar.domain.vector_rows import SUCCESSFUL, CallFamily, collection

# imported calls may say no more than that they succeeded
_OUTCOMES: tuple[FinalStatus, ...] = (*SUCCESSFUL, "unknown")
# many rows may be of one call, or of one that did not qualify after all
_CLOSEST = 20
_SHOWN_CHARACTERS = 400
_EVIDENCE = ("live", "import")


class ChromaInsights:
    """What the vectors know of such moments."""

    def __init__(self, reads: ChromaReads) -> None:
        self._reads = reads

    async def similar(
        self, text: Vector | None, objections: Mapping[ObjectionType, Vector]
    ) -> Sequence[Moment]:
        """Return what is close to the text, or without one to any of the objections.

        Raises `StoreUnavailable`.
        """
        families: tuple[CallFamily, ...] = ("objection_responses",)
        likes: list[ObjectionType | None] = list(objections)
        vectors = list(objections.values())
        if text is not None:
            families = ("objection_responses", "conversation_patterns")
            likes, vectors = [None], [text]
        if not vectors:
            return ()
        body = query_body(*(vector.tolist() for vector in vectors), closest=_CLOSEST)
        asked = [(family, outcome) for family in families for outcome in _OUTCOMES]
        answers = await asyncio.gather(
            *(self._reads.query(collection(family, outcome), body) for family, outcome in asked)
        )
        return [
            moment
            for (_, outcome), found in zip(asked, answers, strict=True)
            if found is not None
            for moment in _moments(found, outcome, likes)
        ]


def _moments(
    found: Found, outcome: FinalStatus, likes: Sequence[ObjectionType | None]
) -> Iterator[Moment]:
    for like, metadatas, documents, distances in zip(
        likes, found.metadatas, found.documents, found.distances, strict=True
    ):
        for known, document, distance in zip(metadatas, documents, distances, strict=True):
            if known is None or not document or known.get("source") not in _EVIDENCE:
                continue
            # a follow-up may have ended below what counts as qualified
            if known.get("qualified") is not True:
                continue
            strategy, objection = known.get("strategy"), known.get("objection")
            yield Moment(
                call_id=CallId(str(known["call_id"])),
                text=document[:_SHOWN_CHARACTERS],
                outcome=outcome,
                closeness=round(1.0 - distance, 4),
                like=like,
                strategy=StrategyName(str(strategy)) if strategy else None,
                objection=ObjectionType(str(objection)) if objection else None,
            )
