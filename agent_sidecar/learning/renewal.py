"""Gives records of another embedding model the vectors of the one in use."""

from collections.abc import Sequence
from dataclasses import replace

from agent_sidecar.domain.record import CallRecord, TranscriptSegment
from agent_sidecar.ports import Embedder

# lines embedded together
_LINES = 64


async def renewed(records: Sequence[CallRecord], embedder: Embedder) -> Sequence[CallRecord]:
    """Return those records whose vectors are of another model, with new ones.

    Nothing else in them changes: what was concluded in the call stays. Raises `EmbeddingFailed`.
    """
    return [
        await _with_vectors(record, embedder)
        for record in records
        if record.configuration.model != embedder.name
    ]


async def _with_vectors(record: CallRecord, embedder: Embedder) -> CallRecord:
    texts = [segment.text for segment in record.segments if segment.text]
    vectors: list[bytes] = []
    for start in range(0, len(texts), _LINES):
        found = await embedder.embed(texts[start : start + _LINES])
        vectors += [vector.astype("<f4").tobytes() for vector in found]
    new = iter(vectors)
    segments: list[TranscriptSegment] = [
        replace(segment, vector=next(new) if segment.text else None) for segment in record.segments
    ]
    return replace(
        record,
        segments=tuple(segments),
        configuration=replace(record.configuration, model=embedder.name),
    )
