"""What the vector store holds: rows made of a finished call, and of the playbook.

Of a call: `conversation_embeddings`, the agent's lines; `conversation_patterns`, the whole call as
the mean of what the prospect said; `objection_responses`, answers that lifted the prospect. An
answer is found by the moment it was given in, so its key is the vector of the objection it
answered, and its document is the answer. Only calls that are evidence teach answers.

Each of the three is split by the call's outcome (`collection`), because a live question asks about
successful calls only and a filter costs more the more rows pass it. Lines without a vector (it
could not be made) are left out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, TypeAlias, get_args

import numpy as np

from agent_sidecar.domain.playbook import Playbook
from agent_sidecar.domain.record import CallRecord, Credit, FinalStatus, TranscriptSegment
from agent_sidecar.domain.types import CallId, Vector

CallFamily = Literal["conversation_embeddings", "conversation_patterns", "objection_responses"]
PlaybookFamily = Literal["strategy_embeddings", "objection_embeddings"]
CALL_FAMILIES: tuple[CallFamily, ...] = get_args(CallFamily)
PLAYBOOK_FAMILIES: tuple[PlaybookFamily, ...] = get_args(PlaybookFamily)
OUTCOMES: tuple[FinalStatus, ...] = get_args(FinalStatus)
# of calls that may have ended qualified
SUCCESSFUL: tuple[FinalStatus, ...] = ("hot_transfer", "video_sent", "follow_up")
# a transcript is stored to be read beside its vector; the whole of it is in the conversation store
DOCUMENT_CHARACTERS = 16_000

Metadata: TypeAlias = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VectorRow:
    """One row: where it lies, what it says, and what is known of it."""

    id: str
    vector: Vector
    document: str
    metadata: Metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybookText:
    """One text of the playbook that is worth finding; its id changes whenever anything does."""

    id: str
    text: str
    metadata: Metadata


def collection(family: CallFamily, outcome: FinalStatus) -> str:
    """Name the collection of this family for calls that ended so."""
    return f"{family}.{outcome}"


def pattern_id(call_id: CallId) -> str:
    """Name the row of a whole call: there is one for each in which the prospect said something."""
    return f"pattern_{call_id}"


def call_rows(record: CallRecord) -> Mapping[CallFamily, tuple[VectorRow, ...]]:
    """Return every row of this call, by the family it belongs to."""
    return {
        "conversation_embeddings": tuple(_agent_lines(record)),
        "conversation_patterns": tuple(_whole_call(record)),
        "objection_responses": tuple(_answers(record)),
    }


def playbook_texts(playbook: Playbook) -> Mapping[PlaybookFamily, tuple[PlaybookText, ...]]:
    """Return the texts to embed: moments and wordings of strategies, wordings of objections."""
    strategies = (
        _playbook_text(text, {"strategy": strategy.name, "kind": kind})
        for strategy in playbook.strategies
        for kind, texts in (("when", (strategy.when,)), ("say", strategy.say))
        for text in texts
    )
    objections = (
        _playbook_text(text, {"objection": objection.type, "is_refusal": objection.is_refusal})
        for objection in playbook.objections
        for text in objection.wordings
    )
    return {
        "strategy_embeddings": _without_repeats(strategies),
        "objection_embeddings": _without_repeats(objections),
    }


def _agent_lines(record: CallRecord) -> Iterable[VectorRow]:
    limit = record.configuration.sentiment_limit
    for segment in record.segments:
        vector = _vector(segment)
        if segment.speaker != "agent" or vector is None:
            continue
        yield VectorRow(
            id=f"{record.call_id}_segment_{segment.index}",
            vector=vector,
            document=segment.text,
            metadata=_known(
                {
                    **_of_call(record),
                    "phase": segment.phase,
                    "engagement_score": segment.call_engagement,
                    "sentiment": _sentiment_word(segment.sentiment, limit),
                    "strategy": segment.strategy,
                }
            ),
        )


def _whole_call(record: CallRecord) -> Iterable[VectorRow]:
    said = [
        vector
        for segment in record.segments
        if segment.speaker == "prospect" and (vector := _vector(segment)) is not None
    ]
    mean = np.mean(said, axis=0, dtype=np.float64) if said else np.zeros(1)
    length = float(np.linalg.norm(mean))
    if length == 0.0:  # nothing was said, or its parts cancel out: it points nowhere
        return
    yield VectorRow(
        id=pattern_id(record.call_id),
        vector=np.asarray(mean / length, dtype=np.float32),
        document=record.full_text[:DOCUMENT_CHARACTERS],
        metadata=_known(
            {
                **_of_call(record),
                "outcome": record.outcome.result,
                "engagement_score": record.engagement,
                "phase": record.phase_reached,
                "kevin_available": record.closer_available,
            }
        ),
    )


def _answers(record: CallRecord) -> Iterable[VectorRow]:
    if not record.is_evidence:
        return
    lines = {segment.index: segment for segment in record.segments}
    for credit in record.credits:
        answer = lines.get(credit.segment)
        if credit.objection is None or credit.lifted is not True or answer is None:
            continue
        moment = _objection_vector(record, credit)
        if moment is None or not answer.text:
            continue
        yield VectorRow(
            id=f"{record.call_id}_response_{credit.segment}",
            vector=moment,
            document=answer.text,
            metadata=_known(
                {
                    **_of_call(record),
                    "strategy": credit.strategy,
                    "objection": credit.objection,
                    "phase": credit.phase,
                    "hinted": credit.hinted,
                }
            ),
        )


def _objection_vector(record: CallRecord, credit: Credit) -> Vector | None:
    """Return the vector of the last line before the answer that raised this objection."""
    for segment in reversed(record.segments):
        if (
            segment.index < credit.segment
            and segment.speaker == "prospect"
            and segment.objection == credit.objection
        ):
            return _vector(segment)
    return None


def _of_call(record: CallRecord) -> Mapping[str, str | bool | None]:
    return {
        "call_id": record.call_id,
        "lead_id": record.lead.lead_id or None,
        "source": record.source,
        "final_outcome": record.outcome.final_status,
        "qualified": record.outcome.qualified,
        "successful_transfer": record.transfer_successful,
    }


def _known(metadata: Mapping[str, str | int | float | bool | None]) -> Metadata:
    """Leave out what is not known: a vector store has no null."""
    return {key: value for key, value in metadata.items() if value is not None}


def _vector(segment: TranscriptSegment) -> Vector | None:
    if not segment.vector or not segment.text:
        return None
    return np.frombuffer(segment.vector, dtype="<f4").astype(np.float32, copy=False)


def _sentiment_word(sentiment: float, limit: float) -> str:
    if sentiment >= limit:
        return "positive"
    return "negative" if sentiment <= -limit else "neutral"


def _playbook_text(text: str, metadata: Metadata) -> PlaybookText:
    content = "\x1f".join([text, *(f"{key}={value}" for key, value in sorted(metadata.items()))])
    return PlaybookText(id=sha256(content.encode()).hexdigest()[:32], text=text, metadata=metadata)


def _without_repeats(texts: Iterable[PlaybookText]) -> tuple[PlaybookText, ...]:
    return tuple({text.id: text for text in texts}.values())
