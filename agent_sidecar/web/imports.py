"""Finished calls from elsewhere, one a request; `agent-sidecar import` reads files into this."""

from aiohttp import web
from msgspec import Struct

from agent_sidecar.domain.recorded import RecordedCall
from agent_sidecar.web.answers import answer
from agent_sidecar.web.json_body import read_body
from agent_sidecar.web.parts import TakeIn


class _Import(Struct, forbid_unknown_fields=True, kw_only=True):
    call: RecordedCall
    # labels that are strategies
    strategies: frozenset[str] = frozenset()


def import_routes(take_in: TakeIn) -> list[web.RouteDef]:
    """Return the route of `POST /v1/import`."""

    async def take(request: web.Request) -> web.StreamResponse:
        body = await read_body(request, _Import)
        is_new = await take_in(body.call, body.strategies)
        return answer({"call_id": body.call.call_id, "imported": is_new})

    return [web.post("/v1/import", take)]
