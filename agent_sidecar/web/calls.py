"""Calls: see them, announce them, and tell them what the telephone does not."""

import asyncio
from collections.abc import Sequence

from aiohttp import web
from msgspec import Struct, field

from agent_sidecar.domain.events import TransferWanted
from agent_sidecar.domain.record import FinalStatus
from agent_sidecar.domain.types import AgentKind, LegId, Party, Source
from agent_sidecar.errors import CallUnknown
from agent_sidecar.live.requests import AttachRequest
from agent_sidecar.web.answers import answer
from agent_sidecar.web.json_body import (
    Name,
    Transcript,
    Zoned,
    lead_of,
    moment,
    read_body,
    read_count,
)
from agent_sidecar.web.lines import line_heard
from agent_sidecar.web.parts import FrontDoorParts, LiveCall


class _OtherLegs(Struct, forbid_unknown_fields=True, kw_only=True):
    agent: Name | None = None
    closer: Name | None = None

    def by_role(self) -> dict[Party, LegId]:
        named: dict[Party, str | None] = {"agent": self.agent, "closer": self.closer}
        return {role: LegId(leg_id) for role, leg_id in named.items() if leg_id is not None}


class _Announcement(Struct, forbid_unknown_fields=True, kw_only=True):
    lead: dict[str, object] = field(default_factory=dict)
    agent: AgentKind | None = None
    source: Source = "live"
    external_id: Name | None = None
    passive: bool = False
    started_at: Zoned | None = None
    role: Party | None = None
    call: Name | None = None
    # where they are known already
    legs: _OtherLegs = field(default_factory=_OtherLegs)

    def request(self) -> AttachRequest:
        return AttachRequest(
            lead=lead_of(self.lead, field="lead"),
            agent=self.agent,
            source=self.source,
            external_id=self.external_id,
            passive=self.passive,
            started_at=None
            if self.started_at is None
            else moment(self.started_at, field="started_at"),
            role=self.role,
            call=self.call,
            legs=self.legs.by_role(),
        )


class _Transfer(Struct, forbid_unknown_fields=True, kw_only=True):
    # forbids the transfer, or stops one that is under way
    veto: bool = False
    by: Name = "api"


class _Outcome(Struct, forbid_unknown_fields=True, kw_only=True):
    final_status: FinalStatus
    qualified: bool | None = None


def call_routes(parts: FrontDoorParts) -> list[web.RouteDef]:
    """Return the routes under `/v1/calls`, and `/v1/streams`."""
    calls = _Calls(parts)
    return [
        web.get("/v1/calls", calls.show_all),
        web.get("/v1/calls/{id}", calls.show),
        web.post("/v1/calls/{id}/attach", calls.attach),
        web.post("/v1/calls/{id}/detach", calls.detach),
        web.post("/v1/calls/{id}/transfer", calls.transfer),
        web.post("/v1/calls/{id}/transcript", calls.hear),
        web.post("/v1/calls/{id}/outcome", calls.post_outcome),
        web.post("/v1/streams", calls.grant_stream),
    ]


class _Calls:
    def __init__(self, parts: FrontDoorParts) -> None:
        self._registry = parts.registry
        self._discretion = parts.discretion

    async def show_all(self, request: web.Request) -> web.StreamResponse:
        limit = read_count(request, "limit", default=50, most=1000)
        live: Sequence[object] = [call.view() for call in self._registry.live_calls()]
        return answer({"live": live, "finished": await self._registry.finished_calls(limit)})

    async def show(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["id"]
        call = self._registry.find(name)
        if call is not None:
            return answer(call.view())
        finished = await self._registry.finished(name)
        if finished is None:
            raise CallUnknown(f"there is no call {name}, live or finished")
        return answer(finished)

    async def attach(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(request, _Announcement, may_be_empty=True)
        attached = await self._registry.attach(LegId(request.match_info["id"]), body.request())
        # one word for a leg's id on every wire
        return answer(
            {
                "call_id": attached.call_id,
                "call_control_id": attached.leg_id,
                "token": attached.token,
                "stream_url": attached.stream_url,
                "streaming": attached.streaming,
                "transcribing": attached.transcribing,
                "recording": attached.recording,
                "problems": attached.problems,
            }
        )

    async def detach(self, request: web.Request) -> web.StreamResponse:
        await self._registry.detach(request.match_info["id"])
        return answer({"ok": True})

    async def transfer(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(request, _Transfer, may_be_empty=True)
        call = self._live(request)
        wanted = TransferWanted(at=call.now(), by=body.by, veto=body.veto)
        # whoever hangs up on us must not cancel the journal's write
        await asyncio.shield(call.feed(wanted))
        # wanted, not done: the hints socket tells how it goes
        return answer({"ok": True, "call_id": call.call_id}, status=202)

    async def hear(self, request: web.Request) -> web.StreamResponse:
        arrived_s = asyncio.get_running_loop().time()
        body = await read_body(request, Transcript)
        call = self._live(request)
        line = line_heard(body, call, self._discretion)
        await asyncio.shield(call.feed(line, arrived_s=arrived_s))
        return answer({"ok": True, "call_id": call.call_id, "line_id": line.line_id})

    async def post_outcome(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(request, _Outcome)
        return answer(
            await self._registry.post_outcome(
                request.match_info["id"], body.final_status, body.qualified
            )
        )

    async def grant_stream(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(request, _Announcement, may_be_empty=True)
        return answer(self._registry.new_stream(body.request()), status=201)

    def _live(self, request: web.Request) -> LiveCall:
        name = request.match_info["id"]
        call = self._registry.find(name)
        if call is None:
            raise CallUnknown(f"there is no live call {name}")
        return call
