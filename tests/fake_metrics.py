"""A store of daily metrics in memory, over the calls that a fake projection holds."""

from collections.abc import Callable, Collection, Sequence
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from agent_sidecar.domain.credits import judge_hints
from agent_sidecar.domain.metrics import DayFacts, LearningDay
from agent_sidecar.domain.record import CallRecord
from tests.fakes import Adversity, FakeProjection


class FakeDailyMetrics(Adversity):
    """Counts the calls that a store holds, one by one; `closed` names days whose row stands."""

    def __init__(self, calls: FakeProjection, **adversity: object) -> None:
        super().__init__(**adversity)  # type: ignore[arg-type]  # Adversity checks the names
        self._calls = calls
        self._rows: dict[date, LearningDay] = {}
        self.closed: set[date] = set()
        # how often rows were made
        self.made = 0

    async def rewrite(
        self,
        make: Callable[[Sequence[DayFacts], Sequence[LearningDay]], Sequence[LearningDay]],
        *,
        zone: str,
        unknown_until: datetime,
    ) -> int:
        await self.strike()
        self.made += 1
        by_date: dict[date, list[CallRecord]] = {}
        for record in self._calls.held.values():
            if record.is_evidence:
                on = record.started_at.astimezone(ZoneInfo(zone)).date()
                by_date.setdefault(on, []).append(record)
        facts = [_day_facts(on, calls, unknown_until) for on, calls in by_date.items()]
        closed = [row for on, row in self._rows.items() if on in self.closed]
        before, rows = self._rows, make(facts, closed)
        self._rows = {row.metric_date: row for row in rows}
        both = before.keys() | self._rows.keys()
        return sum(before.get(on) != self._rows.get(on) for on in both)

    async def close(self, days: Collection[date]) -> None:
        await self.strike()
        self.closed |= set(days)

    async def days(self) -> Sequence[LearningDay]:
        await self.strike()
        return [self._rows[on] for on in sorted(self._rows)]


def _day_facts(on: date, calls: Sequence[CallRecord], unknown_until: datetime) -> DayFacts:
    answered = [c for c in calls if c.outcome.final_status != "no_answer"]
    scores = [c.engagement for c in answered if c.engagement is not None]
    tries = [attempt for c in calls for attempt in c.transfers]
    judged = [true for c in calls for true in judge_hints(c.segments, c.hints)]
    return DayFacts(
        metric_date=on,
        answered=len(answered),
        counted=sum(
            c.outcome.qualified is not None or c.ended_at <= unknown_until for c in answered
        ),
        qualified=sum(c.outcome.qualified is True for c in answered),
        scored=len(scores),
        engagement_sum=sum((Decimal(f"{score:.2f}") for score in scores), Decimal(0)),
        transfers=len(tries),
        bridged=sum(attempt.bridged_at is not None for attempt in tries),
        hints_judged=len(judged),
        hints_came_true=sum(judged),
    )
