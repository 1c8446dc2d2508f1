"""When a closer works and what he does now: weekly hours, dated overrides, and who has him.

Hours are read off the clock on his wall: an hour that the change to summer time skips is never
inside, one that the change back repeats is inside twice. An override is a stretch of absolute time
in which he is on or off, whatever his hours say. Of those that hold at once the one made last wins:
it is the last word that a person said, and "away from now on" must beat an older "on today".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from agent_sidecar.domain.playbook import Closer, Window
from agent_sidecar.domain.types import TransferId
from agent_sidecar.domain.zones import zone_named

# how far a transfer with him has come; `wrapping_up`: his leg has ended a moment ago
Step = Literal["leased", "ringing", "on_call", "wrapping_up"]
State = Literal["free", "leased", "ringing", "on_call", "wrapping_up", "away"]

# weekly hours change at least that often: a change of the clock may skip a window, for a week
_CYCLE = timedelta(days=15)
# what begins later is not in sight, and its sums might leave the calendar
_IN_SIGHT = timedelta(days=5 * 366)
_A_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """From `start_at` until before `end_at` he is on, or off; None: until it is taken back."""

    # a UUID
    override_id: str
    start_at: datetime
    end_at: datetime | None
    is_available: bool
    reason: str = ""

    def holds(self, at: datetime) -> bool:
        """Say whether a moment is inside."""
        return self.start_at <= at and (self.end_at is None or at < self.end_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A closer's hours with what overrides them."""

    closer: Closer
    # the newest made first; long past ones may be left out
    overrides: tuple[Override, ...] = ()
    # grows with each change
    revision: int = 0

    def deciding(self, at: datetime) -> Override | None:
        """Return the override that decides at this moment; None: the hours do."""
        return next((override for override in self.overrides if override.holds(at)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Who has a closer, and for how much longer at least if nobody says anything."""

    transfer_id: TransferId
    step: Step
    left_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What all processes know of a closer; None: nobody has him, nobody has read his schedule."""

    hold: Hold | None
    schedule: Schedule | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Everything about a closer at one moment. Raises ValueError for a zone that does not exist."""

    schedule: Schedule
    hold: Hold | None
    at: datetime

    @property
    def state(self) -> State:
        """What he does; `free` says that nobody has him, not that it is his hour."""
        if self.hold is not None:
            return self.hold.step
        override = self.schedule.deciding(self.at)
        return "away" if override is not None and not override.is_available else "free"

    @property
    def is_working(self) -> bool:
        """It is his hour, overrides minded."""
        return is_working(self.schedule, self.at)

    @property
    def is_available(self) -> bool:
        """He could take a call now."""
        return self.hold is None and self.is_working

    @property
    def available_from(self) -> datetime | None:
        """From when on he can take a call; None: not in sight, or as soon as a call ends."""
        if self.hold is None:
            return works_from(self.schedule, self.at)
        if self.hold.step == "wrapping_up":
            return works_from(self.schedule, self.at + timedelta(seconds=self.hold.left_s))
        return None


def is_working(schedule: Schedule, at: datetime) -> bool:
    """Say whether he is on: by the newest override that holds, else by his hours.

    Raises ValueError for a timezone that does not exist.
    """
    override = schedule.deciding(at)
    return is_within_hours(schedule.closer, at) if override is None else override.is_available


def works_from(schedule: Schedule, at: datetime) -> datetime | None:
    """Return the first moment from `at` on at which he is on; None: there is none in sight."""
    return at if is_working(schedule, at) else next_change(schedule, at)


def next_change(schedule: Schedule, at: datetime) -> datetime | None:
    """Return the first moment after `at` at which he comes or goes; None: none in sight."""
    before = is_working(schedule, at)
    return next(
        (edge for edge in _edges(schedule, at) if is_working(schedule, edge) != before), None
    )


def is_within_hours(closer: Closer, at: datetime) -> bool:
    """Is this moment inside one of his weekly windows? Without windows every moment is.

    Raises ValueError for a timezone that does not exist.
    """
    if not closer.hours:
        return True
    local = at.astimezone(_zone(closer))
    return any(_covers(window, local) for window in closer.hours)


def _covers(window: Window, local: datetime) -> bool:
    today = local.isoweekday() % 7
    now = local.time()
    if window.start < window.end:
        return window.day_of_week == today and window.start <= now < window.end
    begins_today = window.day_of_week == today and now >= window.start
    began_yesterday = (window.day_of_week + 1) % 7 == today and now < window.end
    return begins_today or began_yesterday


def _edges(schedule: Schedule, at: datetime) -> Iterator[datetime]:
    """Yield, in order, every moment in sight at which the answer may change."""
    of_overrides = {
        edge
        for override in schedule.overrides
        for edge in (override.start_at, override.end_at)
        if edge is not None and at < edge <= at + _IN_SIGHT
    }
    begin = at
    for bound in (*sorted(of_overrides), None):
        # from one edge of an override to the next the same override decides, or the hours do
        if schedule.deciding(begin) is None:
            end = begin + _CYCLE if bound is None else min(bound, begin + _CYCLE)
            yield from _edges_of_hours(schedule.closer, begin, end)
        if bound is not None:
            yield bound
            begin = bound


def _edges_of_hours(closer: Closer, begin: datetime, end: datetime) -> Iterator[datetime]:
    """Yield, in order, when windows may begin or end strictly between the two."""
    zone = _zone(closer)
    # the clock itself may jump into a window, or out of one
    edges = set(_clock_changes(zone, begin, end))
    day = begin.astimezone(zone).date() - _A_DAY
    last_day = end.astimezone(zone).date()
    while day <= last_day:
        for window in closer.hours:
            if window.day_of_week == day.isoweekday() % 7:
                end_day = day if window.start < window.end else day + _A_DAY
                edges.update(_moments(day, window.start, zone))
                edges.update(_moments(end_day, window.end, zone))
        day += _A_DAY
    yield from sorted(edge for edge in edges if begin < edge < end)


def _moments(day: date, clock: time, zone: ZoneInfo) -> Iterator[datetime]:
    """Yield when his clock shows this: twice, where an hour is repeated."""
    for fold in (0, 1):
        yield datetime.combine(day, clock, tzinfo=zone).replace(fold=fold).astimezone(UTC)


def _clock_changes(zone: ZoneInfo, begin: datetime, end: datetime) -> Iterator[datetime]:
    before = begin.astimezone(UTC)
    while before < end:
        after = before + _A_DAY
        if _offset(zone, before) != _offset(zone, after):
            yield _clock_change(zone, before, after)
        before = after


def _clock_change(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """Return the second at which the clock was changed between the two."""
    # on a whole second, as all changes are
    low, high = int(before.timestamp()), int(after.timestamp()) + 1
    former = _offset(zone, before)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, datetime.fromtimestamp(middle, UTC)) == former:
            low = middle
        else:
            high = middle
    return datetime.fromtimestamp(high, UTC)


def _offset(zone: ZoneInfo, at: datetime) -> timedelta | None:
    return at.astimezone(zone).utcoffset()


def _zone(closer: Closer) -> ZoneInfo:
    zone = zone_named(closer.timezone)
    if zone is None:
        raise ValueError(
            f"the timezone {closer.timezone!r} of {closer.name} does not exist;"
            " give an IANA name such as America/New_York"
        )
    return zone
