"""The story of a closed call: everything its record says, from what its log has kept."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from agent_sidecar.domain.credits import credit_moves, find_patterns, follow_objections
from agent_sidecar.domain.log import CallLog
from agent_sidecar.domain.outcome import conclude
from agent_sidecar.domain.playbook import Playbook
from agent_sidecar.domain.record import (
    CallRecord,
    Configuration,
    Credit,
    GivenHint,
    KeyPhrase,
    Learnt,
    ObjectionMet,
    PhaseVisit,
    TranscriptSegment,
    Voice,
)
from agent_sidecar.domain.traits import level, read_traits
from agent_sidecar.domain.words import key_phrases

# a rise of the call's score within a phase that makes it a positive one
POSITIVE_RISE = 10.0


def make_record(log: CallLog, playbook: Playbook, configuration: Configuration) -> CallRecord:
    """Return the record of a closed call."""
    segments = tuple(log.segments)
    objections = tuple(follow_objections(segments))
    moves = tuple(credit_moves(segments))
    flow = tuple(_flow(segments, objections, playbook))
    prospect = [s for s in segments if s.speaker == "prospect"]
    ended_at = log.closed_at or log.last_at or log.opened.at
    local = _local(log.opened.at, log.lead.timezone)
    decided = log.closer_at_decision
    return CallRecord(
        call_id=log.opened.call_id,
        source=log.opened.source,
        external_id=log.opened.external_id,
        lead=log.lead,
        lead_kind=lead_kind_of(log, playbook),
        traits=read_traits(segments),
        agent=log.opened.agent,
        legs=tuple(log.legs.values()),
        started_at=log.opened.at,
        answered_at=log.answered_at,
        ended_at=max(ended_at, log.opened.at),
        interrupted=log.interrupted,
        hangup_cause=log.hangup_cause,
        segments=segments,
        engagement=log.progression[-1] if log.progression else None,
        progression=tuple(log.progression),
        phase_reached=max((s.phase for s in segments), default=1),
        flow=flow,
        key_phrases=tuple(_key_phrases(segments)),
        key_moments=tuple(sorted(log.moments, key=lambda moment: moment.at)),
        objections=objections,
        hints=tuple(
            GivenHint(hint=h.hint, status=h.status, latency_ms=h.latency_ms)
            for h in log.hints.values()
        ),
        transfers=tuple(log.transfers.values()),
        credits=moves,
        patterns=tuple(find_patterns(segments, objections)),
        learnt=_learnt(log, moves, objections, flow),
        voice=_voice(prospect),
        question_count=sum(s.questions for s in prospect),
        interruptions=log.interruptions,
        keyword_triggers=tuple(dict.fromkeys(k for s in prospect for k in s.keywords)),
        outcome=conclude(log, playbook),
        closer_available=log.closer_now if decided is None else decided,
        closer=log.closer or playbook.closers[0].name,
        time_of_day=_time_of_day(local) if log.lead.timezone else "unknown",
        day_of_week=(local.weekday() + 1) % 7,
        configuration=configuration,
        recording=log.recording,
        frames_lost=log.frames_lost,
    )


def lead_kind_of(log: CallLog, playbook: Playbook) -> tuple[tuple[str, str], ...]:
    """Return the known fields that make this lead's kind, in the playbook's order."""
    traits = read_traits(log.segments)
    heard = {"motivation": level(traits.motivation), "scepticism": level(traits.scepticism)}
    kind = []
    for name in playbook.lead_kind:
        value = heard.get(name) or getattr(log.lead, name, None) or log.lead.extra.get(name)
        if value is not None:
            kind.append((name, str(value)))
    return tuple(kind)


def _flow(
    segments: Sequence[TranscriptSegment], objections: Sequence[ObjectionMet], playbook: Playbook
) -> Iterator[PhaseVisit]:
    stretches: list[list[TranscriptSegment]] = []
    for segment in segments:
        if stretches and stretches[-1][-1].phase == segment.phase:
            stretches[-1].append(segment)
        else:
            stretches.append([segment])
    score = 50.0
    for index, stretch in enumerate(stretches):
        scores = [s.call_engagement for s in stretch if s.call_engagement is not None]
        before, score = score, scores[-1] if scores else score
        start, end, phase = stretch[0].at, stretch[-1].at, stretch[0].phase
        left = [o.type for o in objections if start <= o.at <= end and not o.resolved]
        name = playbook.phase(phase).name
        later = any(s[0].phase > phase for s in stretches[index + 1 :])
        if left:
            outcome, why = "objection", f"“{left[0]}” was left open"
        elif score - before >= POSITIVE_RISE:
            outcome, why = "positive", f"engagement rose from {before:.0f} to {score:.0f}"
        elif later:
            outcome, why = "advanced", "a later phase followed"
        else:
            outcome, why = "stalled", "no later phase followed"
        yield PhaseVisit(
            phase=phase,
            start_at=start,
            end_at=end,
            outcome=outcome,  # type: ignore[arg-type]  # one of the four literals above
            notes=f"{name.capitalize()}: {why}.",
        )


def _key_phrases(segments: Sequence[TranscriptSegment]) -> Iterator[KeyPhrase]:
    lines = [s for s in segments if s.text]
    for phrase, places in key_phrases([s.text for s in lines]):
        moods = [lines[place].sentiment for place in places]
        yield KeyPhrase(
            phrase=phrase,
            frequency=len(places),
            sentiment=round(sum(moods) / len(moods), 4),
            context=lines[places[0]].text,
        )


def _learnt(
    log: CallLog,
    moves: Sequence[Credit],
    objections: Sequence[ObjectionMet],
    flow: Sequence[PhaseVisit],
) -> Learnt:
    rises = [moment for moment in log.moments if moment.kind == "rise"]
    areas = [f"phase {visit.phase}: {visit.notes}" for visit in flow if visit.outcome == "stalled"]
    areas += [f"objection left open: {o.type}" for o in objections if not o.resolved]
    areas += [
        f"dismissed although it worked {shown.hint.lifted} of {shown.hint.tried} times:"
        f" {shown.hint.strategy}"
        for shown in log.hints.values()
        if shown.status == "dismissed" and 2 * shown.hint.lifted > shown.hint.tried
    ]
    return Learnt(
        effective_strategies=tuple(dict.fromkeys(m.strategy for m in moves if m.lifted)),
        objection_handling=tuple(
            f"{o.type} -> {o.strategy}" for o in objections if o.resolved and o.strategy
        ),
        engagement_triggers=tuple(_said_before(log.segments, m.at) for m in rises),
        improvement_areas=tuple(dict.fromkeys(areas)),
    )


def _said_before(segments: Sequence[TranscriptSegment], at: datetime) -> str:
    """Return the agent's last words before a moment; his own words when the agent said none."""
    said = [s.text for s in segments if s.at <= at and s.text]
    agent = [s.text for s in segments if s.at <= at and s.text and s.speaker == "agent"]
    return agent[-1] if agent else said[-1]


def _voice(prospect: Sequence[TranscriptSegment]) -> Voice:
    sounds = [s.acoustics for s in prospect if s.acoustics is not None]

    def mean(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return round(sum(known) / len(known), 3) if known else None

    return Voice(
        tonal_shift_st=mean([s.tonal_shift_st for s in sounds]),
        pace_wpm=mean([s.pace_wpm for s in sounds]),
        pause_s=mean([s.pause_s for s in sounds]),
        volume_dbfs=mean([s.volume_dbfs for s in sounds]),
    )


def _local(at: datetime, timezone: str | None) -> datetime:
    """Return a time as the lead's clock shows it; an unknown zone counts as none."""
    if not timezone:
        return at
    try:
        return at.astimezone(ZoneInfo(timezone))
    except (KeyError, ValueError):
        return at


def _time_of_day(local: datetime) -> str:
    starts = ((5, "night"), (12, "morning"), (17, "afternoon"), (22, "evening"), (24, "night"))
    return next(name for before, name in starts if local.hour < before)
