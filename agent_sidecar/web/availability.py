"""When the closers work, what they do now, and how people change it."""

from datetime import datetime

from aiohttp import web

from agent_sidecar.domain.availability import Override, Standing, is_within_hours
from agent_sidecar.domain.playbook import Closer
from agent_sidecar.domain.zones import zone_named
from agent_sidecar.errors import RequestInvalid, StoreUnavailable
from agent_sidecar.web.answers import answer
from agent_sidecar.web.json_body import read_body
from agent_sidecar.web.parts import FrontDoorParts, Message
from agent_sidecar.web.schedule_body import (
    AwayBody,
    OverrideBody,
    ScheduleBody,
    absence_of,
    override_of,
    schedule_of,
)


def availability_routes(parts: FrontDoorParts) -> list[web.RouteDef]:
    """Return the routes under `/v1/availability`."""
    desk = _AvailabilityDesk(parts)
    return [
        web.get("/v1/availability", desk.show),
        web.put("/v1/availability/{closer}", desk.change),
        web.post("/v1/availability/{closer}/overrides", desk.override),
        web.delete("/v1/availability/{closer}/overrides/{override}", desk.take_back),
        web.post("/v1/availability/{closer}/away", desk.away),
        web.post("/v1/availability/{closer}/back", desk.back),
    ]


class _AvailabilityDesk:
    def __init__(self, parts: FrontDoorParts) -> None:
        self._closers = parts.closers
        self._names = parts.closer_names
        self._clock = parts.clock

    async def show(self, request: web.Request) -> web.StreamResponse:
        now = self._clock.now()
        shown = [await self._closers.standing(name, now) for name in self._names]
        return answer({"closers": [_view(standing) for standing in shown if standing is not None]})

    async def change(self, request: web.Request) -> web.StreamResponse:
        name = self._name(request)
        body = await read_body(request, ScheduleBody)
        standing = await self._closers.standing(name, self._clock.now())
        stored = None if standing is None else standing.schedule.closer
        await self._closers.set_schedule(schedule_of(name, body, stored))
        return await self._answer(name)

    async def override(self, request: web.Request) -> web.StreamResponse:
        name = self._name(request)
        body = await read_body(request, OverrideBody)
        override = override_of(body, await self._closer(name), self._clock.now())
        await self._closers.add_override(name, override)
        return await self._answer(name, override_id=override.override_id)

    async def take_back(self, request: web.Request) -> web.StreamResponse:
        name, override_id = self._name(request), request.match_info["override"]
        if not await self._closers.remove_override(name, override_id):
            raise RequestInvalid(
                f"{name} has no override {override_id}",
                field="override",
                what_to_do="take one from GET /v1/availability",
            )
        return await self._answer(name)

    async def away(self, request: web.Request) -> web.StreamResponse:
        name = self._name(request)
        body = await read_body(request, AwayBody, may_be_empty=True)
        absence = absence_of(body, await self._closer(name), self._clock.now())
        await self._closers.add_override(name, absence)
        return await self._answer(name, override_id=absence.override_id)

    async def back(self, request: web.Request) -> web.StreamResponse:
        name = self._name(request)
        await self._closers.end_absence(name, self._clock.now())
        return await self._answer(name)

    def _name(self, request: web.Request) -> str:
        name = request.match_info["closer"]
        if name not in self._names:
            raise RequestInvalid(
                f"there is no closer {name}",
                field="closer",
                what_to_do=f"name one of the playbook's: {', '.join(self._names)}",
            )
        return name

    async def _closer(self, name: str) -> Closer:
        standing = await self._closers.standing(name, self._clock.now())
        if standing is None:
            raise StoreUnavailable(
                f"no hours of {name} are stored: try again in a moment,"
                f" or store some with PUT /v1/availability/{name}"
            )
        return standing.schedule.closer

    async def _answer(self, name: str, **said: object) -> web.StreamResponse:
        standing = await self._closers.standing(name, self._clock.now())
        return answer(None if standing is None else {**_view(standing), **said})


def _view(standing: Standing) -> Message:
    closer, hold = standing.schedule.closer, standing.hold
    try:
        within_hours = is_within_hours(closer, standing.at)
        available_from = standing.available_from
    except ValueError as exc:
        raise StoreUnavailable(f"the stored hours of {closer.name} are wrong: {exc}") from exc
    return {
        "name": closer.name,
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
        "overrides": [
            _override(override, closer)
            for override in standing.schedule.overrides
            if override.end_at is None or override.end_at > standing.at
        ],
        "within_hours": within_hours,
        "working": standing.is_working,
        "leased": hold is not None,
        "state": standing.state,
        "available": standing.is_available,
        # as his own clock shows it; null: not in sight, or as soon as a call ends
        "available_from": _his_time(available_from, closer),
    }


def _override(override: Override, closer: Closer) -> Message:
    return {
        "override_id": override.override_id,
        "start": _his_time(override.start_at, closer),
        "end": _his_time(override.end_at, closer),
        "is_available": override.is_available,
        "reason": override.reason,
    }


def _his_time(at: datetime | None, closer: Closer) -> datetime | None:
    return None if at is None else at.astimezone(zone_named(closer.timezone))
