"""What people say of a closer's hours, read from the bodies of requests."""

from datetime import datetime, time
from typing import Annotated, Final
from uuid import uuid4

from msgspec import Meta, Struct

from agent_sidecar.domain.availability import Override
from agent_sidecar.domain.playbook import Closer, Window
from agent_sidecar.domain.playbook_check import schedule_mistakes
from agent_sidecar.domain.zones import zone_named
from agent_sidecar.errors import RequestInvalid
from agent_sidecar.web.json_body import Name, moment

_Reason = Annotated[str, Meta(max_length=500)]
_ZONE: Final = "America/New_York"


class WindowBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """A weekly window."""

    # 0 = Sunday
    day_of_week: Annotated[int, Meta(ge=0, le=6)]
    start: str
    # not after `start`: it ends the next day
    end: str


class ScheduleBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """What `PUT /v1/availability/{closer}` takes."""

    timezone: Name | None = None
    number: Name | None = None
    # none: any time
    hours: list[WindowBody]


class OverrideBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """From when until when he is on, or off; times without an offset are of his own zone."""

    is_available: bool
    # none: from now on
    start: Name | None = None
    # none: until it is taken back
    end: Name | None = None
    reason: _Reason = ""


class AwayBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """From now on he is away."""

    # none: until he is back
    until: Name | None = None
    reason: _Reason = ""


def schedule_of(name: str, body: ScheduleBody, stored: Closer | None) -> Closer:
    """Return what is to be stored; what the body leaves out stays. Raises `RequestInvalid`."""
    kept = stored or Closer(name=name)
    closer = Closer(
        name=name,
        number=body.number or kept.number,
        timezone=body.timezone or kept.timezone,
        hours=tuple(
            Window(
                day_of_week=window.day_of_week,
                start=_clock_time(window.start, f"hours[{place}].start"),
                end=_clock_time(window.end, f"hours[{place}].end"),
            )
            for place, window in enumerate(body.hours)
        ),
    )
    for mistake in schedule_mistakes(closer):
        field = ".".join(str(part) for part in mistake.path)
        raise RequestInvalid(mistake.text, field=field, what_to_do=f"correct {field}")
    return closer


def override_of(body: OverrideBody, closer: Closer, now: datetime) -> Override:
    """Return what is to be stored, with an id of its own. Raises `RequestInvalid`."""
    start_at = now if body.start is None else _time_of(body.start, "start", closer)
    end_at = None if body.end is None else _time_of(body.end, "end", closer)
    if end_at is not None and end_at <= start_at:
        raise RequestInvalid(
            f"end {body.end} is not after {body.start or 'now'}",
            field="end",
            what_to_do="give a later end, or leave it out: until it is taken back",
        )
    if end_at is not None and end_at <= now:
        raise RequestInvalid(
            f"end {body.end} is in the past", field="end", what_to_do="give an end that is to come"
        )
    return Override(
        override_id=str(uuid4()),
        start_at=start_at,
        end_at=end_at,
        is_available=body.is_available,
        reason=body.reason.strip(),
    )


def absence_of(body: AwayBody, closer: Closer, now: datetime) -> Override:
    """Return the absence from now on, as an override. Raises `RequestInvalid`."""
    end_at = None if body.until is None else _time_of(body.until, "until", closer)
    if end_at is not None and end_at <= now:
        raise RequestInvalid(
            f"until {body.until} is in the past",
            field="until",
            what_to_do="give a time that is to come, or leave it out: until he is back",
        )
    return Override(
        override_id=str(uuid4()),
        start_at=now,
        end_at=end_at,
        is_available=False,
        reason=body.reason.strip(),
    )


def _time_of(text: str, field: str, closer: Closer) -> datetime:
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise RequestInvalid(
            f"{field} is {text!r}, not a time",
            field=field,
            what_to_do=f"give date and time, in {closer.timezone}: 2026-12-24T12:00,"
            " or with an offset: 2026-12-24T12:00-05:00",
        ) from None
    if read.tzinfo is None:
        # hours that are wrong are mended by PUT; until then the default has to do
        read = read.replace(tzinfo=zone_named(closer.timezone) or zone_named(_ZONE))
    return moment(read, field=field)


def _clock_time(text: str, field: str) -> time:
    try:
        read = time.fromisoformat(text)
    except ValueError:
        read = None
    if read is None or read.tzinfo is not None:
        raise RequestInvalid(
            f"{field} is {text!r}, not a time of day",
            field=field,
            what_to_do="give hours and minutes of the closer's own zone, for example 09:30",
        )
    return read
