"""The daily metrics once more, from the raw calls, by other code than the product's.

Nothing of `agent_sidecar` is imported here: rules are written down again as the README says them,
numbers are fractions, and the rounding is that of the `decimal` module.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from zoneinfo import ZoneInfo

from bench._diary import RawCall

Row = tuple[int, Decimal | None, Decimal | None, Decimal | None, Decimal | None, Decimal | None]
_DAY = timedelta(hours=24)


def recount(calls: Iterable[RawCall], zone: ZoneInfo, now: datetime) -> Mapping[date, Row]:
    """Return for each day its calls, qualified rate, engagement, transfers, accuracy and score."""
    by_day: dict[date, list[RawCall]] = {}
    for call in calls:
        if call.source == "live" or call.source == "import":
            by_day.setdefault(call.started_at.astimezone(zone).date(), []).append(call)
    days = {day: _figures(by_day[day], now) for day in sorted(by_day)}
    first = [rate for total, rate, *_ in days.values() if total and rate is not None][:30]
    mean = Fraction(sum(map(Fraction, first)), len(first)) if first else Fraction(0)
    return {day: (*row, _score(row[1], mean)) for day, row in days.items()}


def _figures(
    calls: list[RawCall], now: datetime
) -> tuple[int, Decimal | None, Decimal | None, Decimal | None, Decimal | None]:
    answered = [call for call in calls if call.status != "no_answer"]
    ends = [
        bool(call.qualified)
        for call in answered
        if call.qualified is not None or now - call.ended_at >= _DAY
    ]
    scores = [Fraction(str(call.engagement)) for call in answered if call.engagement is not None]
    bridges = [bridged for call in calls for bridged in call.transfers]
    return (
        len(answered),
        _share(ends),
        _rounded(sum(scores, Fraction(0)) / len(scores)) if scores else None,
        _share(bridges),
        _share(_came_true(calls)),
    )


def _came_true(calls: list[RawCall]) -> list[bool]:
    found = []
    for hint in (hint for call in calls for hint in call.hints):
        if hint.status != "used" or hint.base_rate is None or hint.reaction is None:
            continue
        if hint.chance == hint.base_rate or 45 < hint.reaction < 55:
            continue
        found.append((hint.chance > hint.base_rate) == (hint.reaction >= 55))
    return found


def _share(truths: list[bool]) -> Decimal | None:
    return _rounded(Fraction(100 * truths.count(True), len(truths))) if truths else None


def _score(rate: Decimal | None, mean: Fraction) -> Decimal | None:
    if rate is None or mean == 0:
        return None
    return _rounded(min(5 * Fraction(rate) / mean, Fraction(10)))


def _rounded(value: Fraction) -> Decimal:
    with localcontext(prec=50):
        exact = Decimal(value.numerator) / Decimal(value.denominator)
        return exact.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)
