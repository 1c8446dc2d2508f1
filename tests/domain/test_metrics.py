from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.domain.metrics import (
    BASELINE_DAYS,
    DayFacts,
    LearningDay,
    Trend,
    baseline,
    learning_days,
    score_day,
    trends,
)

FIRST = date(2026, 1, 1)


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def facts(number: int = 0, **counts: object) -> DayFacts:
    """Return the facts of a day with ten answered calls of which two qualified."""
    known: dict[str, object] = {"answered": 10, "counted": 10, "qualified": 2}
    nothing = dict.fromkeys(("scored", "transfers", "bridged", "hints_judged"), 0)
    more = {"hints_came_true": 0, "engagement_sum": Decimal(0), "metric_date": day(number)}
    return DayFacts(**(known | nothing | more | counts))  # type: ignore[arg-type]


def row(number: int, rate: str | None, **more: object) -> LearningDay:
    """Return a day's row."""
    return LearningDay(
        metric_date=day(number),
        qualified_rate=None if rate is None else Decimal(rate),
        **({"total_calls": 10} | more),  # type: ignore[arg-type]
    )


def to_the_digit(value: Fraction) -> Decimal:
    """Round as PostgreSQL does, by another way than the code."""
    with localcontext(prec=60):
        return (Decimal(value.numerator) / Decimal(value.denominator)).quantize(
            Decimal("0.01"), ROUND_HALF_UP
        )


def test_a_day_says_how_many_calls_were_answered_and_how_they_went():
    (only,) = learning_days(
        [
            facts(
                answered=9,
                counted=7,
                qualified=2,
                scored=8,
                engagement_sum=Decimal("457.30"),
                transfers=3,
                bridged=2,
                hints_judged=16,
                hints_came_true=11,
            )
        ]
    )
    assert only == LearningDay(
        metric_date=FIRST,
        total_calls=9,
        qualified_rate=Decimal("28.57"),
        # 57.1625
        avg_engagement_score=Decimal("57.16"),
        transfer_success_rate=Decimal("66.67"),
        # 68.75
        pattern_recognition_accuracy=Decimal("68.75"),
        beast_mode_score=Decimal("5.00"),
    )


def test_what_nothing_is_known_of_is_null_and_not_zero():
    (only,) = learning_days([facts(answered=3, counted=0, qualified=0)])
    assert only == LearningDay(metric_date=FIRST, total_calls=3)
    (nobody,) = learning_days([facts(answered=0, counted=0, qualified=0)])
    assert nobody == LearningDay(metric_date=FIRST)
    assert learning_days([]) == []


@pytest.mark.parametrize(
    ("part", "whole", "percent"),
    # halves of a hundredth are rounded up: 0.625, 3.125, 9.375; and a third is not a half
    [(1, 160, "0.63"), (1, 32, "3.13"), (3, 32, "9.38"), (1, 3, "33.33"), (7, 7, "100.00")],
)
def test_halves_are_rounded_up(part, whole, percent):
    (only,) = learning_days([facts(counted=whole, qualified=part)])
    assert str(only.qualified_rate) == percent


def test_the_score_compares_with_the_mean_of_the_first_thirty_days_with_calls():
    days = [facts(n, counted=100, qualified=10 if n % 2 else 30) for n in range(BASELINE_DAYS)]
    # no call was answered, or of none it is known: such days are not of the thirty
    days.insert(3, facts(70, answered=0, counted=0, qualified=0))
    later = [facts(40 + n, counted=100, qualified=q) for n, q in enumerate((10, 20, 40, 90))]
    rows = learning_days([*later, *days])
    assert [row.metric_date for row in rows] == sorted(row.metric_date for row in rows)
    scores = [row.beast_mode_score for row in rows[BASELINE_DAYS:]]
    assert scores == [Decimal(s) for s in ("2.50", "5.00", "10.00", "10.00")] + [None]
    ground = baseline(rows)
    assert ground is not None
    assert (ground.days, ground.first, ground.last) == (30, day(0), day(29))
    assert ground.qualified_rate == Decimal("20.00")


def test_without_a_baseline_there_is_no_score():
    assert baseline([]) is None
    assert baseline([row(0, None), row(1, "50.00", total_calls=0)]) is None
    zeros = learning_days([facts(n, qualified=0) for n in range(3)])
    assert [one.beast_mode_score for one in zeros] == [None] * 3


def test_a_mean_that_cannot_be_written_down_turns_no_digit():
    # three rates whose mean is 40/3: a day of 13.40 has exactly 5.025
    rows = learning_days((), [row(0, "13.40"), row(1, "13.30"), row(2, "13.30")])
    assert rows[0].beast_mode_score == Decimal("5.03")


def test_a_closed_day_stands_and_only_its_score_is_computed_anew():
    closed = row(0, "40.00", total_calls=200)
    rows = learning_days([facts(0, counted=1, qualified=0), facts(1)], [closed])
    assert [(one.total_calls, str(one.qualified_rate)) for one in rows] == [
        (200, "40.00"),
        (10, "20.00"),
    ]
    assert [str(one.beast_mode_score) for one in rows] == ["6.67", "3.33"]


def test_the_score_of_now_is_that_of_the_newest_day_that_is_over():
    days = learning_days([facts(0), facts(1, qualified=4), facts(2, qualified=10)])
    assert score_day(days, day(2)) == days[1]
    assert score_day(days, day(0)) == days[0]  # it runs, and is all there is
    assert score_day(days[1:], day(0)) is None
    assert score_day([], day(0)) is None


def test_a_trend_compares_the_newest_seven_days_with_the_seven_before():
    days = [row(n, "10.00") for n in range(7)] + [row(n + 10, "20.01") for n in range(7)]
    found = trends([*days, row(30, "99.00")], today=day(30))
    assert found["qualified_rate"] == Trend(recent=Decimal("20.01"), before=Decimal("10.00"))
    assert found["qualified_rate"].change == Decimal("10.01")
    # no such day has the figure
    assert found["transfer_success_rate"] is None
    (young,) = (trends(days[:7], today=day(7))["qualified_rate"],)
    assert young is not None
    assert (young.recent, young.before, young.change) == (Decimal("10.00"), None, None)


COUNTS = st.integers(0, 2000)


@st.composite
def made_facts(draw: st.DrawFn, number: int) -> DayFacts:
    answered, transfers, judged = draw(COUNTS), draw(COUNTS), draw(COUNTS)
    counted = draw(st.integers(0, answered))
    scored = draw(st.integers(0, answered))
    hundredths = draw(st.integers(0, 10_000 * scored))
    return facts(
        number,
        answered=answered,
        counted=counted,
        qualified=draw(st.integers(0, counted)),
        scored=scored,
        engagement_sum=Decimal(hundredths).scaleb(-2),
        transfers=transfers,
        bridged=draw(st.integers(0, transfers)),
        hints_judged=judged,
        hints_came_true=draw(st.integers(0, judged)),
    )


CAMPAIGNS = st.lists(st.integers(0, 99), unique=True, max_size=45).flatmap(
    lambda numbers: st.tuples(*(made_facts(n) for n in numbers))
)


@given(CAMPAIGNS)
def test_every_figure_is_the_exact_one_rounded_once(campaign):
    rows = learning_days(campaign)
    assert [one.metric_date for one in rows] == sorted(f.metric_date for f in campaign)
    by_date = {f.metric_date: f for f in campaign}
    for one in rows:
        f = by_date[one.metric_date]
        assert one.total_calls == f.answered
        for figure, part, whole in (
            (one.qualified_rate, 100 * f.qualified, f.counted),
            (one.avg_engagement_score, Fraction(f.engagement_sum), f.scored),
            (one.transfer_success_rate, 100 * f.bridged, f.transfers),
            (one.pattern_recognition_accuracy, 100 * f.hints_came_true, f.hints_judged),
        ):
            assert figure == (to_the_digit(Fraction(part) / whole) if whole else None)


@given(CAMPAIGNS)
def test_every_score_is_the_rate_against_the_mean_of_the_first_rates(campaign):
    rows = learning_days(campaign)
    first = [
        one.qualified_rate for one in rows if one.total_calls and one.qualified_rate is not None
    ]
    rates = [Fraction(rate) for rate in first[:BASELINE_DAYS]]
    for one in rows:
        if one.qualified_rate is None or not sum(rates):
            assert one.beast_mode_score is None
            continue
        exact = 5 * Fraction(one.qualified_rate) * len(rates) / sum(rates)
        assert one.beast_mode_score == to_the_digit(min(exact, Fraction(10)))


@given(CAMPAIGNS, st.randoms())
def test_the_order_of_the_days_does_not_matter_and_rows_made_again_are_the_same(campaign, random):
    rows = learning_days(campaign)
    shuffled = list(campaign)
    random.shuffle(shuffled)
    assert learning_days(shuffled) == rows
    # closed as they are, they stay as they are
    assert learning_days((), rows) == rows
