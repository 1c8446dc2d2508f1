"""The daily learning metrics: every day's row brought to what its calls say now, and told.

A refresh may run twice, late, after days of being down, and beside another process: it looks at all
calls and writes what differs. So a corrected outcome, a late record, an unknown one that has become
a day old, or an erased call changes the rows of its day, and the scores of all days where their
baseline has moved.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Protocol
from zoneinfo import ZoneInfo

from agent_sidecar.domain.metrics import (
    BASELINE_DAYS,
    UNKNOWN_FOR,
    Baseline,
    DayFacts,
    LearningDay,
    Trend,
    baseline,
    learning_days,
    score_day,
    trends,
)
from agent_sidecar.ports import Clock


class DailyMetrics(Protocol):
    """Where calls are counted and the rows are kept."""

    async def rewrite(
        self,
        make: Callable[[Sequence[DayFacts], Sequence[LearningDay]], Sequence[LearningDay]],
        *,
        zone: str,
        unknown_until: datetime,
    ) -> int:
        """Replace the rows by those made of each day's facts and of the closed rows, in one step.

        `zone` is where a day begins and ends; a call that ended by `unknown_until` counts whatever
        is known of it. Returns how many rows were not as they are now. Raises `StoreUnavailable`.
        """
        ...

    async def close(self, days: Collection[date]) -> None:
        """Let these rows stand from now on, whatever calls there are. Raises `StoreUnavailable`."""
        ...

    async def days(self) -> Sequence[LearningDay]:
        """Return the rows, oldest first. Raises `StoreUnavailable`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningReport:
    """How the calls went lately, and whether it gets better."""

    timezone: str
    # the day that runs
    today: LearningDay
    # the rows of the days asked for, oldest first, today's last; days without calls have none
    days: tuple[LearningDay, ...]
    # the day whose score stands for now
    scored: LearningDay | None
    baseline: Baseline | None
    trends: Mapping[str, Trend | None]

    def to_json(self) -> dict[str, object]:
        """Return it for programs."""
        ground, scored = self.baseline, self.scored
        return {
            "timezone": self.timezone,
            "beast_mode_score": _number(scored.beast_mode_score if scored else None),
            "score_date": scored and scored.metric_date.isoformat(),
            "baseline": ground
            and {
                "qualified_rate": _number(ground.qualified_rate),
                "days": ground.days,
                "complete": ground.days == BASELINE_DAYS,
                "first": ground.first.isoformat(),
                "last": ground.last.isoformat(),
            },
            "trend": {name: trend and _trend_json(trend) for name, trend in self.trends.items()},
            "today": _day_json(self.today),
            "days": [_day_json(day) for day in self.days],
        }


class LearningMetrics:
    """Keeps and tells the metrics; `zone` is the business's."""

    def __init__(self, table: DailyMetrics, clock: Clock, zone: ZoneInfo) -> None:
        self._table = table
        self._clock = clock
        self._zone = zone

    async def refresh(self) -> int:
        """Bring every row to what the calls say now; return how many changed."""
        return await self._table.rewrite(
            learning_days,
            zone=self._zone.key,
            unknown_until=self._clock.now() - UNKNOWN_FOR,
        )

    async def close(self, times: Collection[datetime]) -> None:
        """Let the days of these times stand as they are: their calls are about to be removed."""
        await self.refresh()
        await self._table.close({at.astimezone(self._zone).date() for at in times})

    async def report(self, days: int) -> LearningReport:
        """Tell of the last so many days, today included."""
        rows = await self._table.days()
        today = self._clock.now().astimezone(self._zone).date()
        since = today - timedelta(days=days - 1)
        running = LearningDay(metric_date=today)
        return LearningReport(
            timezone=self._zone.key,
            today=next((row for row in rows if row.metric_date == today), running),
            days=tuple(row for row in rows if since <= row.metric_date <= today),
            scored=score_day(rows, today),
            baseline=baseline(rows),
            trends=trends(rows, today),
        )


def _day_json(day: LearningDay) -> dict[str, object]:
    return {
        "metric_date": day.metric_date.isoformat(),
        "total_calls": day.total_calls,
        "qualified_rate": _number(day.qualified_rate),
        "avg_engagement_score": _number(day.avg_engagement_score),
        "transfer_success_rate": _number(day.transfer_success_rate),
        "pattern_recognition_accuracy": _number(day.pattern_recognition_accuracy),
        "beast_mode_score": _number(day.beast_mode_score),
    }


def _trend_json(trend: Trend) -> dict[str, object]:
    return {
        "recent": _number(trend.recent),
        "before": _number(trend.before),
        "change": _number(trend.change),
    }


def _number(figure: Decimal | None) -> float | None:
    """Return the number whose two digits are the figure's."""
    return None if figure is None else float(figure)
