"""Hints for agents that pull."""

from typing import Annotated

from aiohttp import web
from msgspec import Meta, Struct, field

from agent_sidecar.domain.types import ObjectionType
from agent_sidecar.live.requests import SuggestRequest
from agent_sidecar.web.answers import answer
from agent_sidecar.web.json_body import Name, Words, lead_of, read_body
from agent_sidecar.web.parts import Desk


class _Moment(Struct, forbid_unknown_fields=True, kw_only=True):
    text: Words
    phase: Annotated[int, Meta(ge=1, le=12)] | None = None
    objection: Name | None = None
    lead: dict[str, object] = field(default_factory=dict)
    top_k: Annotated[int, Meta(ge=1, le=20)] = 3


def suggest_routes(desk: Desk) -> list[web.RouteDef]:
    """Return the route of `POST /v1/suggest`."""

    async def suggest(request: web.Request) -> web.StreamResponse:
        body = await read_body(request, _Moment)
        lead_of(body.lead, field="lead")
        return answer(
            await desk.suggest(
                SuggestRequest(
                    text=body.text,
                    phase=body.phase,
                    objection=None if body.objection is None else ObjectionType(body.objection),
                    lead=body.lead,
                    top_k=body.top_k,
                )
            )
        )

    return [web.post("/v1/suggest", suggest)]
