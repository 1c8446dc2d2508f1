"""When the closers work, and whether they could take a call now."""

from datetime import time
from typing import Annotated

from aiohttp import web
from msgspec import Meta, Struct

from agent_sidecar.domain.availability import is_within_hours
from agent_sidecar.domain.playbook import Closer, Window
from agent_sidecar.domain.playbook_check import schedule_mistakes
from agent_sidecar.errors import RequestInvalid
from agent_sidecar.web.answers import answer
from agent_sidecar.web.json_body import Name, read_body
from agent_sidecar.web.parts import FrontDoorParts, Message


class _Window(Struct, forbid_unknown_fields=True, kw_only=True):
    # 0 = Sunday
    day_of_week: Annotated[int, Meta(ge=0, le=6)]
    start: str
    # not after `start`: it ends the next day
    end: str


class _Schedule(Struct, forbid_unknown_fields=True, kw_only=True):
    timezone: Name | None = None
    number: Name | None = None
    # none: any time
    hours: list[_Window]


def availability_routes(parts: FrontDoorParts) -> list[web.RouteDef]:
    """Return the routes under `/v1/availability`."""
    desk = _AvailabilityDesk(parts)
    return [
        web.get("/v1/availability", desk.show),
        web.put("/v1/availability/{closer}", desk.change),
    ]


class _AvailabilityDesk:
    def __init__(self, parts: FrontDoorParts) -> None:
        self._closers = parts.closers
        self._names = parts.closer_names
        self._clock = parts.clock

    async def show(self, request: web.Request) -> web.StreamResponse:
        shown = [await self._state(name) for name in self._names]
        return answer({"closers": [state for state in shown if state is not None]})

    async def change(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["closer"]
        body = await read_body(request, _Schedule)
        if name not in self._names:
            raise RequestInvalid(
                f"there is no closer {name}",
                field="closer",
                what_to_do=f"name one of the playbook's: {', '.join(self._names)}",
            )
        closer = _schedule(name, body, await self._closers.schedule(name))
        await self._closers.set_schedule(closer)
        return answer(await self._state(name))

    async def _state(self, name: str) -> Message | None:
        closer = await self._closers.schedule(name)
        if closer is None:
            return None
        now = self._clock.now()
        return {
            "name": name,
            "number": closer.number,
            "timezone": closer.timezone,
            "hours": [
                {
                    "day_of_week": window.day_of_week,
                    "start": window.start.isoformat("minutes"),
                    "end": window.end.isoformat("minutes"),
                }
                for window in closer.hours
            ],
            "within_hours": is_within_hours(closer, now),
            "leased": await self._closers.holder(name) is not None,
            "available": await self._closers.is_available(name, now),
        }


def _schedule(name: str, body: _Schedule, stored: Closer | None) -> Closer:
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
