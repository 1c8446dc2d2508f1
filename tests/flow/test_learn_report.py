"""`agent-sidecar learn report`: what people see of the metrics."""

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from agent_sidecar.cli import _parser
from agent_sidecar.commands.learn_report_view import draw, in_words, panels, show
from agent_sidecar.domain.metrics import LearningDay, baseline, learning_days, score_day, trends
from agent_sidecar.learning.metrics import LearningReport

TODAY = date(2026, 3, 20)


def report(*rates: str | None, **more: Decimal) -> LearningReport:
    """Return a report on days of these rates, the last of them today."""
    first = TODAY - timedelta(days=len(rates) - 1)
    rows = [
        LearningDay(
            metric_date=first + timedelta(days=number),
            total_calls=1200,
            qualified_rate=None if rate is None else Decimal(rate),
            **more,
        )
        for number, rate in enumerate(rates)
    ]
    days = learning_days((), rows)
    return LearningReport(
        timezone="America/New_York",
        today=days[-1] if days else LearningDay(metric_date=TODAY),
        days=tuple(days),
        scored=score_day(days, TODAY),
        baseline=baseline(days),
        trends=trends(days, TODAY),
    )


def test_it_is_said_in_words_how_good_it_is_and_which_way_it_goes():
    first, second = in_words(report(*["10.00"] * 30, *["15.00"] * 7, "99.00"))
    assert first.startswith(
        "beast mode 7.50 of 10 on 2026-03-19: 15.00 % qualified, against 10.00 % on the first 30"
        " days ("
    )
    assert second.strip().startswith("qualified: up, from 10.00 to 15.00 (means of the last 7 days")


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ((), "nothing to compare yet"),
        ((None, None), "nothing to compare yet"),
        (("0.00", "0.00"), "nobody qualified on the first 2 days, of 30 that make the baseline"),
        (("20.00",), "against 20.00 % on the first day, of 30"),
    ],
)
def test_what_is_missing_is_said(rates, said):
    (first,) = in_words(report(*rates))
    assert said in first


@pytest.mark.parametrize(("late", "way"), [("30.00", "down"), ("40.00", "unchanged")])
def test_worse_and_the_same_are_called_so(late, way):
    _, second = in_words(report(*["40.00"] * 7, *[late] * 7, "1.00"))
    assert f"qualified: {way}" in second


def test_the_table_has_a_row_a_day_and_marks_the_one_that_runs(capsys):
    show(report("25.00", None, "50.00", avg_engagement_score=Decimal("61.20")))
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines if line.startswith("2026-")]
    assert rows == [
        ["2026-03-18", "Wed", "1,200", "25.00", "61.20", "-", "-", "3.33", "███▍"],
        ["2026-03-19", "Thu", "1,200", "-", "61.20", "-", "-", "-"],
        ["2026-03-20", "today", "1,200", "50.00", "61.20", "-", "-", "6.67", "██████▋"],
    ]
    assert "America/New_York" in lines[-1]


def test_panels_show_only_figures_that_there_are():
    shown = panels(report("2.00", "3.00", transfer_success_rate=Decimal("66.67")))
    assert [panel.title.split(",")[0] for panel in shown] == [
        "qualified",
        "beast mode",
        "transfers that succeeded",
    ]
    assert [panel.most for panel in shown] == [10, 10, 70]
    assert shown[0].ground == Decimal("2.50")
    assert panels(report()) == []


@pytest.mark.parametrize(("name", "begins"), [("a.svg", b"<svg"), ("a.png", b"\x89PNG")])
@pytest.mark.parametrize("rates", [(), ("100.00",), ("10.00", None, "30.00")])
def test_a_picture_is_drawn(tmp_path: Path, name: str, begins: bytes, rates):
    draw(report(*rates), tmp_path / name)
    assert (tmp_path / name).read_bytes().lstrip().startswith(begins)


def test_a_curve_goes_through_its_days(tmp_path: Path):
    draw(report("10.00", "20.00"), tmp_path / "a.svg")
    # on a scale to thirty
    assert 'points="110.0,' in (drawn := (tmp_path / "a.svg").read_text())
    assert drawn.count("<polyline") == 2 * 4


@pytest.mark.parametrize("days", ["0", "-3", "many", "3651", "1.5"])
def test_a_number_of_days_that_cannot_be_is_told(days, capsys):
    with pytest.raises(SystemExit):
        _parser().parse_args(["learn", "report", "--days", days])
    assert "must be a whole number from 1 to 3650" in capsys.readouterr().err
