"""One row a day of how well the calls went, to the digit, and what the rows say together.

A call belongs to the day on which it began. It counts when it was live or imported and answered
(by the prospect: a machine is no answer). Whether it qualified counts once it is known; after
`UNKNOWN_FOR` nobody will say it any more, and it did not. A transfer succeeded when its bridge was
proven. A hint that was used came true when the prospect's next reaction was of the predicted side.

Percentages, means and scores have two digits, halves rounded up, as PostgreSQL rounds to
`numeric(5, 2)`; each is one exact division, so that whoever computes it anew gets the same digits.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal

# the baseline is the mean rate of the first days that have one
BASELINE_DAYS = 30
# the score of a day as good as the baseline; one twice as good has the most there is
AS_EVER, MOST = 5, 10
# how long whether a call qualified may be unknown before it did not
UNKNOWN_FOR = timedelta(hours=24)
# calls that nobody answered, or a machine did
UNANSWERED = "no_answer"
# days whose means a trend compares
TREND_DAYS = 7
# figures that have a trend
TRENDS = (
    "qualified_rate",
    "avg_engagement_score",
    "transfer_success_rate",
    "pattern_recognition_accuracy",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayFacts:
    """Counts of one day's live and imported calls; but for transfers and hints of answered ones."""

    metric_date: date
    answered: int
    # whether they qualified is known, or will not be known any more
    counted: int
    qualified: int
    # of calls whose prospect spoke: how many, and the sum of their scores, each with two digits
    scored: int
    engagement_sum: Decimal
    transfers: int
    bridged: int
    hints_judged: int
    hints_came_true: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningDay:
    """One row of `learning_metrics`; None: nothing to tell."""

    metric_date: date
    total_calls: int = 0
    # percent
    qualified_rate: Decimal | None = None
    # 0 to 100
    avg_engagement_score: Decimal | None = None
    # percent
    transfer_success_rate: Decimal | None = None
    pattern_recognition_accuracy: Decimal | None = None
    # 0 to 10
    beast_mode_score: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What days are compared with."""

    first: date
    last: date
    days: int
    # sum of their rates; a mean of them would have to be rounded
    rates: Decimal

    @property
    def qualified_rate(self) -> Decimal:
        """The mean of their rates, percent."""
        return _rounded(_hundredths(self.rates), self.days)

    def score(self, rate: Decimal | None) -> Decimal | None:
        """Return 5 for a rate as good as the mean, 10 for twice as good; None: not comparable."""
        if rate is None or not self.rates:
            return None
        scaled = AS_EVER * 100 * _hundredths(rate) * self.days
        return min(_rounded(scaled, _hundredths(self.rates)), Decimal(f"{MOST}.00"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """A figure's mean over the newest days that have one, and over as many before them."""

    recent: Decimal
    # None: there are no days before
    before: Decimal | None

    @property
    def change(self) -> Decimal | None:
        return None if self.before is None else self.recent - self.before


def learning_days(
    facts: Iterable[DayFacts], closed: Iterable[LearningDay] = ()
) -> Sequence[LearningDay]:
    """Return the rows of all days, oldest first.

    `closed`: rows that stand whatever their facts say now; only their score is computed anew.
    """
    rows = {one.metric_date: _row(one) for one in facts}
    rows |= {row.metric_date: row for row in closed}
    days = [rows[on] for on in sorted(rows)]
    ground = baseline(days)
    if ground is None:
        return [replace(day, beast_mode_score=None) for day in days]
    return [replace(day, beast_mode_score=ground.score(day.qualified_rate)) for day in days]


def baseline(days: Sequence[LearningDay]) -> Baseline | None:
    """Return what the days, oldest first, are compared with; None: no day has a rate."""
    known = [d for d in days if d.total_calls and d.qualified_rate is not None][:BASELINE_DAYS]
    if not known:
        return None
    return Baseline(
        first=known[0].metric_date,
        last=known[-1].metric_date,
        days=len(known),
        rates=sum((d.qualified_rate for d in known if d.qualified_rate is not None), Decimal(0)),
    )


def score_day(days: Sequence[LearningDay], today: date) -> LearningDay | None:
    """Return the day whose score stands for now: the newest that is over, else today."""
    scored = [d for d in days if d.metric_date <= today and d.beast_mode_score is not None]
    over = [d for d in scored if d.metric_date < today] or scored
    return over[-1] if over else None


def trends(days: Sequence[LearningDay], today: date) -> Mapping[str, Trend | None]:
    """Return each figure's trend over days that are over; None: no such day has the figure."""
    return {name: _trend(days, today, name) for name in TRENDS}


def _trend(days: Sequence[LearningDay], today: date, name: str) -> Trend | None:
    over = [getattr(day, name) for day in days if day.metric_date < today]
    known = [figure for figure in over if figure is not None]
    recent, before = known[-TREND_DAYS:], known[-2 * TREND_DAYS : -TREND_DAYS]
    if not recent:
        return None
    return Trend(recent=_mean(recent), before=_mean(before) if before else None)


def _row(facts: DayFacts) -> LearningDay:
    return LearningDay(
        metric_date=facts.metric_date,
        total_calls=facts.answered,
        qualified_rate=_percent(facts.qualified, facts.counted),
        avg_engagement_score=_rounded(_hundredths(facts.engagement_sum), facts.scored)
        if facts.scored
        else None,
        transfer_success_rate=_percent(facts.bridged, facts.transfers),
        pattern_recognition_accuracy=_percent(facts.hints_came_true, facts.hints_judged),
    )


def _percent(part: int, whole: int) -> Decimal | None:
    return _rounded(10_000 * part, whole) if whole else None


def _mean(figures: Sequence[Decimal]) -> Decimal:
    return _rounded(sum(map(_hundredths, figures)), len(figures))


def _hundredths(figure: Decimal) -> int:
    return int(figure.scaleb(2))


def _rounded(hundredths: int, parts: int) -> Decimal:
    """Divide so many hundredths, none below 0, into parts; halves of a hundredth are rounded up."""
    return Decimal((2 * hundredths + parts) // (2 * parts)).scaleb(-2)
