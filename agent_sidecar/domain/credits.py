"""What followed what: credit for each agent move, what became of objections, known patterns."""

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise

from agent_sidecar.domain.hints import Hint
from agent_sidecar.domain.record import (
    Credit,
    GivenHint,
    ObjectionMet,
    Pattern,
    TranscriptSegment,
)

# a prospect segment's own score from which it was a positive, or a negative, reaction
POSITIVE, NEGATIVE = 55.0, 45.0
# prospect segments within which an objection must be resolved
RESOLVED_WITHIN = 2
# answers after so many seconds of silence, with so many words, open up
LONG_SILENCE_S, LONG_ANSWER_WORDS = 2.5, 15
# the offer is explained from this phase on: a price before it comes too early
OFFER_PHASE = 7
# objections that are about the price, as playbooks call them
PRICES = frozenset({"money", "price", "cost"})
SKIPPED_PHASES = 3
QUESTIONS_IN_A_ROW = 2


def credit_moves(segments: Sequence[TranscriptSegment]) -> Iterator[Credit]:
    """Yield one credit per agent line in which a strategy was recognised."""
    open_objection = None
    for segment in segments:
        if segment.speaker == "prospect":
            open_objection = segment.objection or open_objection
        if segment.speaker != "agent" or segment.strategy is None:
            continue
        reaction = _next(segments, segment.index, "prospect")
        change = None
        if reaction is not None and reaction.call_engagement is not None:
            before = segment.call_engagement
            change = round(reaction.call_engagement - (50.0 if before is None else before), 2)
        yield Credit(
            segment=segment.index,
            strategy=segment.strategy,
            phase=segment.phase,
            objection=open_objection,
            hinted=segment.hint_id is not None,
            lifted=_was_positive(reaction),
            score_change=change,
        )
        open_objection = None


def judge_hints(
    segments: Sequence[TranscriptSegment], hints: Sequence[GivenHint]
) -> Iterator[bool]:
    """Yield for each hint that can be judged whether what it predicted came true.

    It predicts the side of the prospect's next reaction: positive where its chance is above the
    moment's base rate, negative where it is below. One that was not used, predicted no side, or
    after which there was no reaction of either side cannot be judged.
    """
    for given in hints:
        hint = given.hint
        if given.status != "used" or hint.base_rate in {None, hint.confidence}:
            continue
        line = _line_that_used(hint, segments)
        reaction = None if line is None else _next(segments, line.index, "prospect")
        was_positive = _was_positive(reaction)
        if was_positive is not None:
            yield was_positive is (hint.confidence > (hint.base_rate or 0.0))


def follow_objections(segments: Sequence[TranscriptSegment]) -> Iterator[ObjectionMet]:
    """Yield every objection with the answer it got and whether the score or the phase recovered."""
    before = 50.0
    for segment in segments:
        if segment.speaker != "prospect":
            continue
        if segment.objection is not None:
            answer = _next(segments, segment.index, "agent")
            yield ObjectionMet(
                type=segment.objection,
                phase=segment.phase,
                at=segment.at,
                resolved=_is_resolved(segments, segment, before),
                strategy=answer.strategy if answer else None,
                trigger=segment.keywords[0] if segment.keywords else segment.text,
            )
        before = before if segment.call_engagement is None else segment.call_engagement


def find_patterns(
    segments: Sequence[TranscriptSegment], objections: Sequence[ObjectionMet]
) -> Iterator[Pattern]:
    """Yield each short sequence that is worth comparing over calls, once per call."""
    found: dict[str, Pattern] = {}
    for pattern in _all_patterns(segments, objections):
        found.setdefault(pattern.id, pattern)
    yield from found.values()


def _all_patterns(
    segments: Sequence[TranscriptSegment], objections: Sequence[ObjectionMet]
) -> Iterator[Pattern]:
    for met in objections:
        if met.strategy is not None:
            way = "rise" if met.resolved else "fall"
            yield _pattern(
                "objection_answered",
                met.type,
                met.strategy,
                way,
                change=20 if met.resolved else -20,
            )
        if met.type in PRICES and met.phase < OFFER_PHASE:
            yield _pattern("price_before_value", change=20 if met.resolved else -20)
    prospect = [s for s in segments if s.speaker == "prospect"]
    asked = 0
    for before, segment in zip([None, *prospect], prospect, strict=False):
        change = _change(before, segment)
        asked = asked + 1 if segment.questions else 0
        if asked == QUESTIONS_IN_A_ROW:
            yield _pattern("question_burst", change=change)
        latency = segment.acoustics.response_latency_s if segment.acoustics else None
        if (latency or 0.0) >= LONG_SILENCE_S and len(segment.text.split()) >= LONG_ANSWER_WORDS:
            yield _pattern("silence_then_long_answer", change=change)
    for before, segment in pairwise(segments):
        if segment.phase - before.phase >= SKIPPED_PHASES:
            yield _pattern(
                "phase_skipped", f"{before.phase}-{segment.phase}", change=_change(before, segment)
            )


def _pattern(kind: str, *parts: str, change: float) -> Pattern:
    effectiveness = round(min(10.0, max(0.0, 5.0 + change / 4.0)), 2)
    return Pattern(id=":".join((kind, *parts)), type=kind, effectiveness=effectiveness)


def _change(before: TranscriptSegment | None, after: TranscriptSegment) -> float:
    first = 50.0 if before is None or before.call_engagement is None else before.call_engagement
    return (50.0 if after.call_engagement is None else after.call_engagement) - first


def _line_that_used(hint: Hint, segments: Sequence[TranscriptSegment]) -> TranscriptSegment | None:
    """Return the first line that followed it; else, as the agent says so, his first since then."""
    lines = [s for s in segments if s.speaker == "agent"]
    followed = (s for s in lines if s.hint_id == hint.hint_id)
    since = (s for s in lines if hint.given_at <= s.at <= hint.expires_at)
    return next(followed, None) or next(since, None)


def _was_positive(reaction: TranscriptSegment | None) -> bool | None:
    if reaction is None or reaction.engagement is None:
        return None
    if reaction.engagement >= POSITIVE:
        return True
    return False if reaction.engagement <= NEGATIVE else None


def _is_resolved(
    segments: Sequence[TranscriptSegment], objection: TranscriptSegment, before: float
) -> bool:
    after = (s for s in _after(segments, objection.index) if s.speaker == "prospect")
    return any(
        (s.call_engagement or 0.0) >= before or s.phase > objection.phase
        for s in islice(after, RESOLVED_WITHIN)
    )


def _next(
    segments: Sequence[TranscriptSegment], index: int, speaker: str
) -> TranscriptSegment | None:
    """Return the next segment of a speaker; what follows the closer's words is the closer's."""
    heard = (s for s in _after(segments, index) if s.speaker in {speaker, "closer"})
    segment = next(heard, None)
    return segment if segment is not None and segment.speaker == speaker else None


def _after(segments: Sequence[TranscriptSegment], index: int) -> Iterator[TranscriptSegment]:
    return (segments[later] for later in range(index + 1, len(segments)))
