"""A believable finished call, for tests that need one and do not care what it says."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from agent_sidecar.domain.record import (
    Acoustics,
    CallRecord,
    Configuration,
    LeadTraits,
    Learnt,
    Outcome,
    TranscriptSegment,
    Voice,
)
from agent_sidecar.domain.types import CallId, Lead, Leg, LegId, StrategyName

STARTED_AT = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


def a_record(call_id: str = "call-1", **changes: object) -> CallRecord:
    """Return a record of two lines; `changes` replace fields."""
    record = CallRecord(
        call_id=CallId(call_id),
        source="live",
        external_id=None,
        lead=Lead(lead_id=f"lead of {call_id}", first_name="Ada"),
        lead_kind=(("experience_level", "beginner"),),
        traits=LeadTraits(motivation=0.7),
        agent="assistant",
        legs=(Leg(leg_id=LegId(f"v3:{call_id}"), party="prospect"),),
        started_at=STARTED_AT,
        answered_at=STARTED_AT + timedelta(seconds=2),
        ended_at=STARTED_AT + timedelta(seconds=62),
        interrupted=False,
        hangup_cause="normal_clearing",
        segments=_segments(),
        engagement=61.5,
        progression=(61.5,),
        phase_reached=2,
        flow=(),
        key_phrases=(),
        key_moments=(),
        objections=(),
        hints=(),
        transfers=(),
        credits=(),
        patterns=(),
        learnt=Learnt(effective_strategies=("mirror",)),
        voice=Voice(pace_wpm=150.0),
        question_count=1,
        interruptions=0,
        keyword_triggers=(),
        outcome=Outcome(final_status="follow_up", result="callback", qualified=True),
        closer_available=True,
        closer="Kevin",
        time_of_day="morning",
        day_of_week=1,
        configuration=Configuration(system_version="0", playbook="p", weights="w", model="m"),
    )
    return replace(record, **changes)  # type: ignore[arg-type]  # checked by the record's users


def _segments() -> tuple[TranscriptSegment, ...]:
    agent = TranscriptSegment(
        index=0,
        speaker="agent",
        text="Hello Ada, is now a good time?",
        at=STARTED_AT + timedelta(seconds=3),
        start_s=3.0,
        end_s=5.5,
        strategy=StrategyName("mirror"),
        strategy_confidence=0.8,
    )
    prospect = TranscriptSegment(
        index=1,
        speaker="prospect",
        text="Yes, tell me more.",
        at=STARTED_AT + timedelta(seconds=6),
        start_s=6.0,
        end_s=7.5,
        sentiment=0.4,
        engagement=61.5,
        call_engagement=61.5,
        vector=b"\x00\x00\x80?" * 4,
        acoustics=Acoustics(pace_wpm=160.0, volume_dbfs=-21.0, talk_s=1.5),
    )
    return agent, prospect
