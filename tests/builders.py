"""Records for tests: one with every field filled in, and one of a stranger who hung up at once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from agent_sidecar.domain.hints import Hint
from agent_sidecar.domain.record import (
    Acoustics,
    CallRecord,
    Configuration,
    Credit,
    GivenHint,
    KeyMoment,
    KeyPhrase,
    LeadTraits,
    Learnt,
    ObjectionMet,
    Outcome,
    Pattern,
    PhaseVisit,
    Recording,
    TranscriptSegment,
    TransferAttempt,
    Voice,
)
from agent_sidecar.domain.types import (
    CallId,
    HintId,
    Lead,
    Leg,
    LegId,
    ObjectionType,
    Party,
    StrategyName,
    TransferId,
)

# not a whole millisecond, as real times are
STARTED_AT = datetime(2026, 3, 2, 15, 0, 0, 123456, tzinfo=UTC)
DIMENSION = 384

PRICE = ObjectionType("price")
REFRAME = StrategyName("reframe_price_as_investment")


def rich_record(call_id: str = "call-rich", **changes: object) -> CallRecord:
    """Return a hot transfer after a price objection with no field left empty.

    `changes` replace fields. Ids of legs, hints and transfers are made of the call's, so that two
    records never share one.
    """
    record = CallRecord(
        call_id=CallId(call_id),
        source="live",
        external_id=f"file-{call_id}",
        lead=rich_lead(),
        lead_kind=(("experience_level", "beginner"), ("motivation", "high")),
        traits=LeadTraits(
            motivation=0.8,
            scepticism=0.4,
            urgency=0.6,
            pace=0.5,
            formality=0.3,
            technical_comfort=0.7,
        ),
        agent="human",
        legs=_legs(call_id),
        started_at=STARTED_AT,
        answered_at=at(4),
        ended_at=at(244),
        interrupted=False,
        hangup_cause="normal_clearing",
        segments=rich_segments(call_id),
        engagement=82.25,
        progression=(55.0, 71.5, 82.25),
        phase_reached=7,
        flow=_flow(),
        key_phrases=(
            KeyPhrase(
                phrase="passive income", frequency=2, sentiment=0.6, context="I want passive income"
            ),
        ),
        key_moments=(
            KeyMoment(at=at(20), kind="objection", text="that is too expensive for me"),
            KeyMoment(at=at(40), kind="rise", text="when could I start"),
        ),
        objections=(
            ObjectionMet(
                type=PRICE,
                phase=5,
                at=at(20),
                resolved=True,
                strategy=REFRAME,
                trigger="too expensive",
            ),
        ),
        hints=(_given_hint(call_id),),
        transfers=(rich_transfer(call_id),),
        credits=(
            Credit(
                segment=1,
                strategy=REFRAME,
                phase=5,
                objection=PRICE,
                hinted=True,
                lifted=True,
                score_change=16.5,
            ),
        ),
        patterns=(
            Pattern(
                id="objection:price>reframe_price_as_investment>rise",
                type="objection_answered",
                effectiveness=7.5,
            ),
        ),
        learnt=Learnt(
            effective_strategies=(REFRAME,),
            objection_handling=(f"price → {REFRAME}",),
            engagement_triggers=("what would a hundred a day change for you",),
            improvement_areas=("phase 3: the score fell",),
        ),
        voice=Voice(tonal_shift_st=1.5, pace_wpm=148.0, pause_s=0.7, volume_dbfs=-23.5),
        question_count=2,
        interruptions=1,
        keyword_triggers=("passive income", "start"),
        outcome=Outcome(
            final_status="hot_transfer",
            result="transferred",
            qualified=True,
            booked=True,
            follow_up_at=at(86_400),
        ),
        closer_available=True,
        closer="Kevin",
        time_of_day="morning",
        day_of_week=1,
        configuration=Configuration(
            system_version="0.1.0",
            playbook="default 3f2a",
            weights="w1",
            model="all-MiniLM-L6-v2 int8",
        ),
        recording=Recording(url="https://recordings.example.com/1.mp3", recording_id="rec-1"),
        frames_lost=3,
    )
    return replace(record, **changes)  # type: ignore[arg-type]  # fields by name


def stranger_record(call_id: str = "call-stranger", **changes: object) -> CallRecord:
    """Return a call from a withheld number that was hung up at once: nothing is known of it."""
    record = CallRecord(
        call_id=CallId(call_id),
        source="live",
        external_id=None,
        lead=Lead(),
        lead_kind=(),
        traits=LeadTraits(),
        agent="assistant",
        legs=(),
        started_at=STARTED_AT,
        answered_at=None,
        ended_at=at(1),
        interrupted=False,
        hangup_cause=None,
        segments=(),
        engagement=None,
        progression=(),
        phase_reached=1,
        flow=(),
        key_phrases=(),
        key_moments=(),
        objections=(),
        hints=(),
        transfers=(),
        credits=(),
        patterns=(),
        learnt=Learnt(),
        voice=Voice(),
        question_count=0,
        interruptions=0,
        keyword_triggers=(),
        outcome=Outcome(final_status="no_answer", result="no_answer", qualified=None),
        closer_available=False,
        closer="Kevin",
        time_of_day="unknown",
        day_of_week=1,
        configuration=Configuration(system_version="0.1.0", playbook="p", weights="w", model="m"),
    )
    return replace(record, **changes)  # type: ignore[arg-type]  # fields by name


def rich_lead(**changes: object) -> Lead:
    """Return a lead with every field filled in."""
    lead = Lead(
        lead_id="0196f3c2-7c1e-7d2a-9f64-5d0c6b1e2a01",
        external_id="crm-4711",
        first_name="Ada",
        last_name="Byron",
        phone="+12125550142",
        email="ada@example.com",
        source="webinar",
        initial_interest="side income",
        timezone="America/New_York",
        country="US",
        state="NY",
        city="New York",
        status="contacted",
        current_income_range="50-75k",
        desired_income_range="100-150k",
        time_availability="evenings",
        experience_level="beginner",
        extra={"webinar": {"date": "2026-02-11", "minutes": 55}},
    )
    return replace(lead, **changes)  # type: ignore[arg-type]  # fields by name


def rich_transfer(
    call_id: str = "call-rich", number: int = 1, **changes: object
) -> TransferAttempt:
    """Return a transfer that Kevin accepted and that was bridged for 170 s."""
    attempt = TransferAttempt(
        transfer_id=TransferId(f"{call_id}:transfer:{number}"),
        closer="Kevin",
        initiated_at=at(45),
        outcome="bridged",
        reason="engagement 82 for 2 segments in phase 7",
        engagement=82.25,
        phase=7,
        key_indicators=("engagement", "buying signal: when could I start"),
        leg_id=LegId(f"v3:{call_id}:kevin"),
        answered_at=at(58),
        accepted=True,
        bridged_at=at(70),
        completed_at=at(240),
    )
    return replace(attempt, **changes)  # type: ignore[arg-type]  # fields by name


def rich_segments(call_id: str = "call-rich") -> tuple[TranscriptSegment, ...]:
    """Return an objection, its answer, a buying signal, and the closer's first words."""
    return (
        _prospect(0, 18, "I want passive income but that is too expensive for me", -0.4, 55.0),
        replace(
            _said(1, "agent", 26, "What would a hundred a day change for you?", 0.3),
            call_engagement=55.0,
            strategy=REFRAME,
            strategy_confidence=0.81,
            hint_id=f"{call_id}:hint:1",
            vector=unit_vector(1),
        ),
        _prospect(2, 38, "Passive income, great, when could I start?", 0.7, 82.25),
        _said(3, "closer", 72, "Hi, this is Kevin.", 0.1),
    )


def unit_vector(seed: int) -> bytes:
    """Return a vector of unit length as records keep it: float32 little-endian."""
    vector = np.random.default_rng(seed).standard_normal(DIMENSION)
    return bytes((vector / np.linalg.norm(vector)).astype("<f4").tobytes())


def at(seconds: float) -> datetime:
    """Return a moment so many seconds after the start of the call."""
    return STARTED_AT + timedelta(seconds=seconds)


def _said(index: int, speaker: Party, start_s: float, text: str, sentiment: float):
    return TranscriptSegment(
        index=index,
        speaker=speaker,
        text=text,
        at=at(start_s),
        start_s=start_s,
        end_s=start_s + 5,
        confidence=0.94,
        sentiment=sentiment,
        phase=5,
        keywords=("start",),
        questions=text.count("?"),
        vector=unit_vector(index),
        acoustics=Acoustics(
            tonal_shift_st=1.2,
            pace_wpm=150.0,
            pause_s=0.6,
            volume_dbfs=-24.0,
            response_latency_s=0.9,
            overtalk_s=0.2,
            talk_s=4.8,
        ),
    )


def _prospect(index: int, start_s: float, text: str, sentiment: float, score: float):
    return replace(
        _said(index, "prospect", start_s, text, sentiment),
        objection=PRICE,
        engagement=score,
        call_engagement=score,
    )


def _legs(call_id: str) -> tuple[Leg, ...]:
    parties: tuple[tuple[Party, str, float], ...] = (
        ("prospect", f"v3:{call_id}", 0),
        ("agent", f"v3:{call_id}:agent", 1),
        ("closer", f"v3:{call_id}:kevin", 45),
    )
    return tuple(
        Leg(
            leg_id=LegId(leg_id),
            party=party,
            call_leg_id=f"leg of {leg_id}",
            call_session_id=f"session of {call_id}",
            from_at=at(start_s),
            to_at=at(240),
        )
        for party, leg_id, start_s in parties
    )


def _flow() -> tuple[PhaseVisit, ...]:
    return (
        PhaseVisit(
            phase=5,
            start_at=STARTED_AT,
            end_at=at(30),
            outcome="positive",
            notes="the score rose by 27 after the price was answered",
        ),
        PhaseVisit(
            phase=7,
            start_at=at(30),
            end_at=at(240),
            outcome="advanced",
            notes="handed over to Kevin",
        ),
    )


def _given_hint(call_id: str) -> GivenHint:
    return GivenHint(
        hint=Hint(
            hint_id=HintId(f"{call_id}:hint:1"),
            question_id=f"{call_id}:question:1",
            strategy=REFRAME,
            say="What would a hundred a day change for you?",
            why=("answers price", "worked in 8 of 11 such calls"),
            confidence=0.72,
            base_rate=0.45,
            tried=11,
            lifted=8,
            won=5,
            phase=5,
            objection=PRICE,
            engagement=55.0,
            degraded=("neo4j",),
            given_at=at(24),
            expires_at=at(54),
        ),
        status="used",
        latency_ms=41.5,
    )
