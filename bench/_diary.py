"""A campaign of which everything is known: what each call was, and what became known of it when.

The share of calls that qualify grows from `WORST` to `BEST`. Some ends are known only later, some
are corrected, some records come days late or twice, some calls are erased, and some are replays and
demos that count for nothing.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal, cast

from agent_sidecar.domain.hints import Hint, HintStatus
from agent_sidecar.domain.record import (
    CallRecord,
    FinalStatus,
    GivenHint,
    Outcome,
    TranscriptSegment,
)
from agent_sidecar.domain.types import HintId, Lead, Source, StrategyName
from tests.builders import rich_transfer, stranger_record

# a time with a change of the clocks in it; calls go on beyond midnight, by UTC and by Eastern time
BEGAN_AT = datetime(2026, 2, 9, 14, 0, tzinfo=UTC)
WORST, BEST = 0.15, 0.35
SHIFT = timedelta(hours=15)
# of answered calls, whose end is unknown at first; and of these, of which it stays so
UNKNOWN, STAYS_UNKNOWN = 0.15, 0.5
# how often a hint's predicted side is the one that comes
FORESIGHT = 0.65


@dataclass(frozen=True, slots=True, kw_only=True)
class HintGiven:
    """A hint: what it predicted, whether it was used, and the score of the reaction to it."""

    chance: float
    base_rate: float | None
    status: HintStatus
    # None: the prospect said no more
    reaction: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RawCall:
    """What is true of a call."""

    call_id: str
    source: Source
    started_at: datetime
    ended_at: datetime
    status: FinalStatus
    qualified: bool | None
    engagement: float | None
    # of each try to hand over: did it come to a bridge
    transfers: tuple[bool, ...]
    hints: tuple[HintGiven, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """Something that becomes known: a call as it now is, or that it is erased."""

    at: datetime
    kind: Literal["new", "late", "again", "corrected", "erased"]
    call: RawCall


def campaign(days: int, calls: int, seed: int) -> list[News]:
    """Return the news of so many days with so many calls each, in their order."""
    luck = random.Random(seed)  # noqa: S311  # no secret
    news = [
        one
        for day in range(days)
        for number in range(calls)
        for one in _story(luck, day, number, chance_on(day, days))
    ]
    return sorted(news, key=lambda one: one.at)


def true_rate(day: int, days: int) -> float:
    """Return the share of that day's answered calls that are known to qualify in the end."""
    return chance_on(day, days) * (1.0 - UNKNOWN * STAYS_UNKNOWN)


def chance_on(day: int, days: int) -> float:
    """Return the chance that a call of that day qualifies, known or not."""
    return WORST + (BEST - WORST) * day / max(days - 1, 1)


def record_of(call: RawCall) -> CallRecord:
    """Return the call as a record keeps it."""
    said: list[TranscriptSegment] = []
    for number, hint in enumerate(call.hints):
        at = call.started_at + timedelta(seconds=20 * number + 5)
        hint_id = f"{call.call_id}:h{number + 1}" if hint.status == "used" else None
        said.append(_line(len(said), "agent", at, hint_id=hint_id))
        if hint.reaction is not None:
            later = at + timedelta(seconds=8)
            said.append(_line(len(said), "prospect", later, engagement=hint.reaction))
    transfers = tuple(
        rich_transfer(call.call_id, n + 1)
        if bridged
        else rich_transfer(call.call_id, n + 1, outcome="declined", bridged_at=None)
        for n, bridged in enumerate(call.transfers)
    )
    return stranger_record(
        call.call_id,
        source=call.source,
        lead=Lead(external_id=f"lead of {call.call_id}"),
        started_at=call.started_at,
        ended_at=call.ended_at,
        segments=tuple(said),
        hints=tuple(_hint(call, number, hint) for number, hint in enumerate(call.hints)),
        transfers=transfers,
        engagement=call.engagement,
        outcome=Outcome(final_status=call.status, result="callback", qualified=call.qualified),
    )


def _call(luck: random.Random, day: int, number: int, chance: float) -> RawCall:
    started_at = BEGAN_AT + timedelta(days=day) + SHIFT * luck.random()
    sources = ("live", "import", "replay", "demo")
    status, qualified = _end(luck, chance)
    spoke = status != "no_answer" and luck.random() < 0.95
    return RawCall(
        call_id=f"d{day}-{number}",
        source=cast("Source", luck.choices(sources, (80, 10, 6, 4))[0]),
        started_at=started_at,
        ended_at=started_at + timedelta(seconds=luck.randint(1, 900)),
        status=status,
        qualified=qualified,
        engagement=round(luck.uniform(0, 100), 2) if spoke else None,
        transfers=tuple(luck.random() < 0.6 for _ in range(luck.choice((0, 0, 1, 2)))),
        hints=_hints_given(luck) if spoke else (),
    )


def _end(luck: random.Random, chance: float) -> tuple[FinalStatus, bool | None]:
    if luck.random() < 0.1:
        return "no_answer", None
    if luck.random() < UNKNOWN:
        return "unknown", None
    if luck.random() < chance:
        return luck.choice(("hot_transfer", "video_sent")), True
    return luck.choice(("disqualified", "abandoned", "follow_up")), False


def _hints_given(luck: random.Random) -> tuple[HintGiven, ...]:
    given = [_given(luck) for _ in range(luck.choice((0, 1, 3)))]
    if given and luck.random() < 0.2:
        # he hung up on the last one
        given[-1] = replace(given[-1], reaction=None)
    return tuple(given)


def _given(luck: random.Random) -> HintGiven:
    # 0.5 predicts no side, and now and then a record is of a version that kept no base rate
    chance, base_rate = luck.choice((0.7, 0.6, 0.5, 0.4)), luck.choice((0.5, 0.5, 0.5, None))
    is_right = luck.random() < FORESIGHT
    goes_well = (chance > 0.5) is is_right
    reaction = luck.uniform(55, 100) if goes_well else luck.uniform(0, 45)
    # now and then neither side
    reaction = 50.0 if luck.random() < 0.2 else round(reaction, 2)
    status = luck.choice(("used", "used", "shown", "dismissed"))
    return HintGiven(
        chance=chance,
        base_rate=base_rate,
        status=cast("HintStatus", status),
        reaction=reaction,
    )


def _story(luck: random.Random, day: int, number: int, chance: float) -> Iterator[News]:
    """Yield what becomes known of a call, and when."""
    call = _call(luck, day, number, chance)
    known_at, kind = call.ended_at, "new"
    if luck.random() < 0.05:
        known_at, kind = known_at + timedelta(days=luck.uniform(1, 6)), "late"
    yield News(at=known_at, kind=cast("Literal['new', 'late']", kind), call=call)
    if luck.random() < 0.1:
        yield News(at=known_at + timedelta(hours=luck.uniform(0, 19)), kind="again", call=call)
    later = known_at + timedelta(days=luck.uniform(2.6, 12))
    if call.status == "unknown":
        # some hours after it, so before or after it has become a day old
        later = known_at + timedelta(hours=luck.choice((20, 20, 30, 90)))
    is_corrected = {"unknown": 1.0 - STAYS_UNKNOWN, "no_answer": 0.0}.get(call.status, 0.06)
    if luck.random() < is_corrected:
        qualified = luck.random() < chance
        status: FinalStatus = "video_sent" if qualified else "disqualified"
        call = replace(call, status=status, qualified=qualified)
        yield News(at=later, kind="corrected", call=call)
    if luck.random() < 0.02:
        erased_at = later + timedelta(days=luck.uniform(3, 9))
        yield News(at=erased_at, kind="erased", call=call)


def _line(
    index: int, speaker: Literal["agent", "prospect"], at: datetime, **more: object
) -> TranscriptSegment:
    plain = {"text": "well", "start_s": 0.0, "end_s": 1.0}
    return TranscriptSegment(index=index, speaker=speaker, at=at, **(plain | more))  # type: ignore[arg-type]


def _hint(call: RawCall, number: int, hint: HintGiven) -> GivenHint:
    given_at = call.started_at + timedelta(seconds=20 * number)
    made = Hint(
        hint_id=HintId(f"{call.call_id}:h{number + 1}"),
        question_id=f"{call.call_id}:q{number + 1}",
        strategy=StrategyName("story"),
        say="a friend of mine",
        why=(),
        confidence=hint.chance,
        tried=0,
        lifted=0,
        won=0,
        phase=5,
        objection=None,
        engagement=None,
        degraded=(),
        given_at=given_at,
        expires_at=given_at + timedelta(seconds=15),
        base_rate=hint.base_rate,
    )
    return GivenHint(hint=made, status=hint.status, latency_ms=20.0)
