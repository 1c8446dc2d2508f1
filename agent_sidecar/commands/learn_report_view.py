"""What `learn report` shows: sentences and a table at a terminal, a picture in a file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

from rich.table import Table

from agent_sidecar.commands.drawing import (
    MARGIN,
    PALE,
    WIDTH,
    Box,
    Curve,
    Shape,
    Words,
    write_picture,
)
from agent_sidecar.commands.policy_view import bar
from agent_sidecar.commands.terminal import paper
from agent_sidecar.domain.metrics import AS_EVER, BASELINE_DAYS, MOST, TREND_DAYS, LearningDay
from agent_sidecar.learning.metrics import LearningReport

# columns of the table, in two lines: with the bar it goes into 80 characters
HEADINGS = {
    "qualified_rate": "qualified\n%",
    "avg_engagement_score": "engagement\n",
    "transfer_success_rate": "transfers\n%",
    "pattern_recognition_accuracy": "foreseen\n%",
    "beast_mode_score": "beast\nmode",
}
NAMES = {
    "qualified_rate": "qualified",
    "avg_engagement_score": "average engagement",
    "transfer_success_rate": "transfers that succeeded",
    "pattern_recognition_accuracy": "predictions of hints that came true",
}
# columns of the longest bar
BAR = 10
# of the picture: where curves lie, how high each figure's panel is, and the space below
LEFT, RIGHT, HIGH, GAP = 110, WIDTH - MARGIN, 110, 56
CURVE, GROUND, RAIL = "#d9762b", "#9fb3c8", "#e4e8ec"


def show(report: LearningReport) -> None:
    """Print it for people."""
    for line in in_words(report):
        paper.print(line, soft_wrap=True)
    if report.days:
        paper.print()
        paper.print(_table(report))
    paper.print(
        f"\n[dim]days of {report.timezone}; live and imported calls that were answered. foreseen:"
        " of the hints used, those after which it went better or worse than usual as predicted[/]",
        soft_wrap=True,
    )


def in_words(report: LearningReport) -> Iterator[str]:
    """Yield what a person wants to know first."""
    scored, ground = report.scored, report.baseline
    if ground is None:
        yield "nothing to compare yet: no call has been answered whose end is known"
        return
    over = f"the first {ground.days} days" if ground.days > 1 else "the first day"
    so_far = "" if ground.days == BASELINE_DAYS else f", of {BASELINE_DAYS} that make the baseline"
    if scored is None:
        yield f"no beast-mode score: nobody qualified on {over}{so_far}"
    else:
        yield (
            f"beast mode {scored.beast_mode_score} of {MOST} on {scored.metric_date}:"
            f" {scored.qualified_rate} % qualified, against {ground.qualified_rate} % on"
            f" {over}{so_far} ({AS_EVER} is as good as then, {MOST} twice as good)"
        )
    for name, trend in report.trends.items():
        if trend is not None and trend.change is not None:
            way = {1: "up", 0: "unchanged", -1: "down"}[(trend.change > 0) - (trend.change < 0)]
            yield (
                f"  {NAMES[name]}: {way}, from {trend.before} to {trend.recent}"
                f" (means of the last {TREND_DAYS} days that have it, and of those before)"
            )


def _table(report: LearningReport) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("day", no_wrap=True)
    for heading in ("calls", *HEADINGS.values()):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for day in report.days:
        figures = [getattr(day, name) for name in HEADINGS]
        cells = ["-" if figure is None else str(figure) for figure in figures]
        is_today = day.metric_date == report.today.metric_date
        on = f"{day.metric_date} {'today' if is_today else f'{day.metric_date:%a}'}"
        table.add_row(
            on, f"{day.total_calls:,}", *cells, bar(float(day.beast_mode_score or 0) / MOST, BAR)
        )
    return table


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One figure over the days."""

    title: str
    points: tuple[tuple[date, Decimal], ...]
    # the upper end of its scale, and what it is compared with
    most: Decimal
    ground: Decimal | None = None


def draw(report: LearningReport, file: Path) -> None:
    """Write the picture, as SVG or PNG by the file's name."""
    write_picture(list(_layout(report)), file)


def panels(report: LearningReport) -> Sequence[Panel]:
    """Return what is drawn, one below the other; figures that no day has are left out."""
    ground = report.baseline.qualified_rate if report.baseline else None
    titles = {
        "qualified_rate": ("qualified, percent; the pale line is the baseline", ground),
        "beast_mode_score": (f"beast mode, 0 to {MOST}", Decimal(AS_EVER)),
        "avg_engagement_score": ("average engagement, 0 to 100", None),
        "transfer_success_rate": ("transfers that succeeded, percent", None),
        "pattern_recognition_accuracy": ("predictions of hints that came true, percent", None),
    }
    made = []
    for name, (title, level) in titles.items():
        points = _points(report.days, name)
        top = max((figure for _, figure in points), default=Decimal(0))
        if points:
            # percentages stand on a whole ten, or small ones would be a line on the floor
            tens = (max(top, level or top) // 10 + 1) * 10
            most = Decimal(MOST) if name == "beast_mode_score" else min(tens, Decimal(100))
            made.append(Panel(title=title, points=points, most=most, ground=level))
    return made


def _points(days: Sequence[LearningDay], name: str) -> tuple[tuple[date, Decimal], ...]:
    figures = ((day.metric_date, getattr(day, name)) for day in days)
    return tuple((on, figure) for on, figure in figures if figure is not None)


def _layout(report: LearningReport) -> Iterator[Shape]:
    y = 44.0
    yield Words(x=MARGIN, y=y, text="Is it getting better?", size=20)
    for sentence in in_words(report):
        y += 22
        # what stands in brackets explains to readers who have no picture
        said = sentence.partition(" (")[0].strip()
        yield Words(x=MARGIN, y=y, text=said, size=13, colour=PALE)
    y += 46
    shown = panels(report)
    if not shown:
        return
    since = min(panel.points[0][0] for panel in shown)
    until = max(panel.points[-1][0] for panel in shown)
    for panel in shown:
        yield from _panel(panel, y, since, until)
        y += HIGH + GAP
    yield Words(x=LEFT, y=y - GAP + 22, text=str(since), size=12, colour=PALE)
    yield Words(x=RIGHT, y=y - GAP + 22, text=str(until), size=12, colour=PALE, anchor="end")


def _panel(panel: Panel, top: float, since: date, until: date) -> Iterator[Shape]:
    floor = top + HIGH
    days = max((until - since).days, 1)

    def place(on: date, figure: Decimal) -> tuple[float, float]:
        x = LEFT + (RIGHT - LEFT) * (on - since).days / days
        return x, floor - HIGH * float(figure / panel.most)

    yield Words(x=LEFT, y=top - 10, text=panel.title)
    for level in (Decimal(0), panel.most):
        y = place(since, level)[1]
        yield Curve(points=((LEFT, y), (RIGHT, y)), colour=RAIL, width=1.0)
        yield Words(x=LEFT - 10, y=y + 4, text=f"{level:f}", size=12, colour=PALE, anchor="end")
    if panel.ground is not None:
        y = place(since, panel.ground)[1]
        yield Curve(points=((LEFT, y), (RIGHT, y)), colour=GROUND, width=1.5)
    if len(panel.points) > 1:
        yield Curve(points=tuple(place(on, f) for on, f in panel.points), colour=CURVE)
    # the newest one, and all there is where one day makes no line
    x, y = place(*panel.points[-1])
    yield Box(x=x - 3, y=y - 3, width=6, height=6, colour=CURVE)
