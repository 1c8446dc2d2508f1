"""The story of a closed call: everything its record says, from what its log has kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from agent_sidecar.domain.credits import credit_moves, find_patterns, follow_objections
from agent_sidecar.domain.engagement import NEUTRAL
from agent_sidecar.domain.key_phrases import key_phrases
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
    PhaseOutcome,
    PhaseVisit,
    TranscriptSegment,
    Voice,
)
from agent_sidecar.domain.traits import level
from agent_sidecar.domain.zones import zone_named

# a rise of the call's score within a phase that makes it a positive one
POSITIVE_RISE = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stretch:
    """A stretch of the call in one phase; the call's score before it and at its end."""

    phase: int
    start_at: datetime
    end_at: datetime
    before: float
    after: float

    def holds(self, objection: ObjectionMet) -> bool:
        return self.phase == objection.phase and self.start_at <= objection.at <= self.end_at


def make_record(log: CallLog, playbook: Playbook, configuration: Configuration) -> CallRecord:
    """Return the record of a closed call."""
    segments = tuple(log.segments)
    objections = tuple(follow_objections(segments))
    moves = tuple(credit_moves(segments))
    stretches = _stretches(segments)
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
        traits=log.traits.read(),
        agent=log.opened.agent,
        legs=tuple(log.legs.values()),
        started_at=log.opened.at,
        answered_at=log.taken_at,
        ended_at=max(ended_at, log.opened.at),
        interrupted=log.interrupted,
        hangup_cause=log.hangup_cause,
        segments=segments,
        engagement=log.progression[-1] if log.progression else None,
        progression=tuple(log.progression),
        phase_reached=max((s.phase for s in segments), default=1),
        flow=tuple(_flow(stretches, objections, playbook)),
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
        learnt=_learnt(log, moves, objections, stretches),
        voice=_voice(prospect),
        question_count=sum(s.questions for s in prospect),
        interruptions=log.interruptions,
        keyword_triggers=tuple(dict.fromkeys(k for s in prospect for k in s.keywords)),
        outcome=conclude(log, playbook),
        closer_available=log.closer_now if decided is None else decided,
        closer=log.closer or playbook.closers[0].name,
        time_of_day=_time_of_day(local) if local else "unknown",
        day_of_week=(local or log.opened.at).isoweekday() % 7,
        configuration=configuration,
        recording=log.recording,
        frames_lost=log.frames_lost,
        masked_s=round(log.masked_s, 3),
        echo_s=round(log.echo_s, 3),
    )


def lead_kind_of(log: CallLog, playbook: Playbook) -> tuple[tuple[str, str], ...]:
    """Return the known fields that make this lead's kind, in the playbook's order."""
    traits = log.traits.read()
    heard = {"motivation": level(traits.motivation), "scepticism": level(traits.scepticism)}
    kind = []
    for name in playbook.lead_kind:
        value = heard.get(name) or getattr(log.lead, name, None) or log.lead.extra.get(name)
        if value is not None:
            kind.append((name, str(value)))
    return tuple(kind)


def _stretches(segments: Sequence[TranscriptSegment]) -> list[_Stretch]:
    after = NEUTRAL
    out: list[_Stretch] = []
    for phase, group in groupby(segments, key=lambda segment: segment.phase):
        said = list(group)
        scores = [s.call_engagement for s in said if s.call_engagement is not None]
        before, after = after, scores[-1] if scores else after
        times = [s.at for s in said]
        out.append(
            _Stretch(
                phase=phase, start_at=min(times), end_at=max(times), before=before, after=after
            )
        )
    return out


def _flow(
    stretches: Sequence[_Stretch], objections: Sequence[ObjectionMet], playbook: Playbook
) -> Iterator[PhaseVisit]:
    last = {stretch.phase: index for index, stretch in enumerate(stretches)}
    for index, stretch in enumerate(stretches):
        left = next((o.type for o in objections if stretch.holds(o) and not o.resolved), None)
        is_followed = any(at > index for phase, at in last.items() if phase > stretch.phase)
        outcome, why = _judge(stretch, left_open=left, is_followed=is_followed)
        yield PhaseVisit(
            phase=stretch.phase,
            start_at=stretch.start_at,
            end_at=stretch.end_at,
            outcome=outcome,
            notes=f"{playbook.phase(stretch.phase).name.capitalize()}: {why}.",
        )


def _judge(
    stretch: _Stretch, *, left_open: str | None, is_followed: bool
) -> tuple[PhaseOutcome, str]:
    if left_open is not None:
        return "objection", f"“{left_open}” was left open"
    if stretch.after - stretch.before >= POSITIVE_RISE:
        return "positive", f"engagement rose from {stretch.before:.0f} to {stretch.after:.0f}"
    if is_followed:
        return "advanced", "a later phase followed"
    return "stalled", "no later phase followed"


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
    stretches: Sequence[_Stretch],
) -> Learnt:
    rises = [moment for moment in log.moments if moment.kind == "rise"]
    said = (_said_before(log.segments, moment.at) for moment in rises)
    areas = [f"phase {phase}: engagement fell by {fall:.0f}" for phase, fall in _falls(stretches)]
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
        engagement_triggers=tuple(words for words in said if words is not None),
        improvement_areas=tuple(dict.fromkeys(areas)),
    )


def _falls(stretches: Sequence[_Stretch]) -> Iterator[tuple[int, float]]:
    """Yield the phases in which the call's score fell, all visits taken together."""
    changes: dict[int, float] = {}
    for stretch in stretches:
        change = stretch.after - stretch.before
        changes[stretch.phase] = changes.get(stretch.phase, 0.0) + change
    yield from ((phase, -change) for phase, change in sorted(changes.items()) if change <= -1.0)


def _said_before(segments: Sequence[TranscriptSegment], at: datetime) -> str | None:
    """Return the agent's last words before a moment; without any, whoever spoke last."""
    before = [s for s in segments if s.at <= at and s.text]
    agent = next((s.text for s in reversed(before) if s.speaker == "agent"), None)
    return agent or (before[-1].text if before else None)


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


def _local(at: datetime, timezone: str | None) -> datetime | None:
    """Return a time as the lead's clock shows it; None without a zone, or with one unknown."""
    zone = zone_named(timezone or "")
    return at.astimezone(zone) if zone else None


def _time_of_day(local: datetime) -> str:
    starts = ((5, "night"), (12, "morning"), (17, "afternoon"), (22, "evening"), (24, "night"))
    return next(name for before, name in starts if local.hour < before)
