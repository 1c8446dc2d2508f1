"""The conversation document: a finished call in the shape that MongoDB users query.

A function of the record alone, so that a stored document can be checked at any time against what
it should be. Field names are those of the original schema (camelCase), values are plain.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice

from agent_sidecar.domain.record import CallRecord, TranscriptSegment, TransferAttempt

# enough to see what is wrong without filling a screen per call
_SHOWN = 8
_SHOWN_CHARACTERS = 60


def conversation_document(record: CallRecord) -> dict[str, object]:
    """Return the document of a record: aware times in whole milliseconds, plain values."""
    return {
        "_id": record.call_id,
        "callId": record.call_id,
        "leadId": record.lead.lead_id or None,
        "transcript": _transcript(record),
        "analysis": _analysis(record),
        "audioData": _audio(record),
        "engagement": _engagement(record),
        "outcome": _outcome(record),
        "metadata": _metadata(record),
    }


def document_differences(
    found: Mapping[str, object], expected: Mapping[str, object]
) -> tuple[str, ...]:
    """Say where a stored document is not what it should be; what was added to it is no matter."""
    return tuple(islice(_differences("", found, expected), _SHOWN))


def _transcript(record: CallRecord) -> dict[str, object]:
    limit = record.configuration.sentiment_limit
    return {
        "fullText": record.full_text,
        "segments": [_segment(segment, limit) for segment in record.segments],
        "keyPhrases": [
            {
                "phrase": key.phrase,
                "frequency": key.frequency,
                "sentiment": _in_words(key.sentiment, limit),
                "context": key.context,
            }
            for key in record.key_phrases
        ],
        "conversationFlow": [
            {
                "phase": visit.phase,
                "startTime": _milliseconds(visit.start_at),
                "endTime": _milliseconds(visit.end_at),
                "outcome": visit.outcome,
                "notes": visit.notes,
            }
            for visit in record.flow
        ],
    }


def _segment(segment: TranscriptSegment, sentiment_limit: float) -> dict[str, object]:
    document: dict[str, object] = {
        "speaker": segment.speaker,
        "text": segment.text,
        "timestamp": _milliseconds(segment.at),
        "confidence": segment.confidence,
        "sentiment": _in_words(segment.sentiment, sentiment_limit),
        "phase": segment.phase,
        "keywords": list(segment.keywords),
    }
    if segment.speaker != "closer":
        document["engagementScore"] = segment.call_engagement
    if segment.speaker == "prospect":
        document["objection"] = segment.objection
    if segment.speaker == "agent":
        document["strategy"] = segment.strategy
        if segment.hint_id is not None:
            document["hint_id"] = segment.hint_id
    return document


def _analysis(record: CallRecord) -> dict[str, object]:
    heard = [s.sentiment for s in record.segments if s.speaker == "prospect" and s.text]
    return {
        "totalWords": sum(len(segment.text.split()) for segment in record.segments),
        "averageSentiment": sum(heard) / len(heard) if heard else None,
        # each once, in the order of the call
        "objectionTypes": list(dict.fromkeys(met.type for met in record.objections)),
        "keyMoments": [
            {"at": _milliseconds(moment.at), "kind": moment.kind, "text": moment.text}
            for moment in record.key_moments
        ],
    }


def _audio(record: CallRecord) -> dict[str, object]:
    leg = next((leg for leg in record.legs if leg.party == "prospect"), None)
    recording = record.recording
    talked_s = record.answered_at and (record.ended_at - record.answered_at).total_seconds()
    return {
        "recordingUrl": recording.place,
        "recordingId": recording.recording_id,
        "duration": talked_s,
        "telnyx": {
            "callControlId": leg and leg.leg_id,
            "callLegId": leg and leg.call_leg_id,
            "callSessionId": leg and leg.call_session_id,
            # the first schema has it here
            "recordingId": recording.recording_id,
        },
    }


def _engagement(record: CallRecord) -> dict[str, object]:
    voice = record.voice
    # one field for what may be several: the last that was left open, else the last
    open_last = sorted(record.objections, key=lambda met: (not met.resolved, met.at))
    return {
        "overallScore": record.engagement,
        "voiceIndicators": {
            "tonalShift": voice.tonal_shift_st,
            "speechPace": voice.pace_wpm,
            "pauseLength": voice.pause_s,
            "volume": voice.volume_dbfs,
        },
        "conversationalCues": {
            "questionCount": record.question_count,
            "interruptions": record.interruptions,
            "keywordTriggers": list(record.keyword_triggers),
            "objectionType": open_last[-1].type if open_last else None,
        },
    }


def _outcome(record: CallRecord) -> dict[str, object]:
    outcome, learnt = record.outcome, record.learnt
    attempt = _decisive(record.transfers)
    resolved = [met.resolved for met in record.objections]
    return {
        "finalStatus": outcome.final_status,
        "result": outcome.result,
        "qualified": outcome.qualified,
        "posted": outcome.posted,
        "booked": outcome.booked,
        "nextFollowup": outcome.follow_up_at and _milliseconds(outcome.follow_up_at),
        "hotTransfer": {
            "attempted": record.transfer_attempted,
            "successful": record.transfer_successful,
            "kevinAvailable": record.closer_available,
            "transferTime": attempt and _milliseconds(attempt.initiated_at),
            "transferDuration": attempt and attempt.duration_s,
        },
        "learningData": {
            "effectiveStrategies": list(learnt.effective_strategies),
            "objectionHandling": list(learnt.objection_handling),
            "engagementTriggers": list(learnt.engagement_triggers),
            "improvementAreas": list(learnt.improvement_areas),
        },
        "factors": {
            "engagementLevel": record.engagement,
            "phaseCompleted": record.phase_reached,
            "objectionHandling": sum(resolved) / len(resolved) if resolved else None,
            "timeOfDay": record.time_of_day,
            "dayOfWeek": record.day_of_week,
        },
        "learningPatterns": [pattern.id for pattern in record.patterns],
    }


def _metadata(record: CallRecord) -> dict[str, object]:
    configuration = record.configuration
    return {
        "startTime": _milliseconds(record.started_at),
        "endTime": _milliseconds(record.ended_at),
        "duration": record.duration_s,
        "kevinAvailability": record.closer_available,
        "systemVersion": configuration.system_version,
        "agentConfiguration": (
            f"playbook {configuration.playbook}; weights {configuration.weights};"
            f" model {configuration.model}"
        ),
        "source": record.source,
        "externalId": record.external_id,
        "interrupted": record.interrupted,
        "hangupCause": record.hangup_cause,
    }


def _decisive(attempts: Sequence[TransferAttempt]) -> TransferAttempt | None:
    """Return the attempt that the call is remembered for: the last that was bridged, else the last.

    Sorting is stable, so the order of the call decides among equals.
    """
    return max(reversed(attempts), key=lambda attempt: attempt.bridged_at is not None, default=None)


def _in_words(sentiment: float, limit: float) -> str:
    if abs(sentiment) < limit:
        return "neutral"
    return "positive" if sentiment > 0 else "negative"


def _milliseconds(at: datetime) -> datetime:
    """Return the time as BSON keeps it."""
    return at.astimezone(UTC).replace(microsecond=at.microsecond // 1000 * 1000)


def _differences(path: str, found: object, expected: object) -> Iterator[str]:
    match found, expected:
        case Mapping(), Mapping():
            for key, value in expected.items():
                place = f"{path}.{key}" if path else str(key)
                if key in found:
                    yield from _differences(place, found[key], value)
                else:
                    yield f"{place}: missing, expected {_short(value)}"
        case list(), list():
            if len(found) != len(expected):
                yield f"{path}: found {len(found)} entries, expected {len(expected)}"
            for index, (left, right) in enumerate(zip(found, expected, strict=False)):
                yield from _differences(f"{path}.{index}", left, right)
        case _:
            if found != expected:
                yield f"{path}: found {_short(found)}, expected {_short(expected)}"


def _short(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"
