"""Finished calls from elsewhere, one or many a request; `agent-sidecar import` sends them here."""

from aiohttp import web
from msgspec import Struct

from agent_sidecar.domain.recorded import RecordedCall
from agent_sidecar.errors import RequestInvalid
from agent_sidecar.web.answers import answer
from agent_sidecar.web.json_body import read_body
from agent_sidecar.web.parts import TakeIn

# calls come many at once, and may bring their vectors: 2 KB a line
MOST_BYTES = 64 * 1024 * 1024


class _Import(Struct, forbid_unknown_fields=True, kw_only=True):
    call: RecordedCall | None = None
    calls: list[RecordedCall] | None = None
    # labels that are strategies
    strategies: frozenset[str] = frozenset()


def import_routes(take_in: TakeIn) -> list[web.RouteDef]:
    """Return the route of `POST /v1/import`."""

    async def take(request: web.Request) -> web.StreamResponse:
        body = await read_body(request.clone(client_max_size=MOST_BYTES), _Import)
        if (body.call is None) == (body.calls is None):
            raise RequestInvalid(
                "a body has either `call` or `calls`", field="call", what_to_do="give one of them"
            )
        if body.call is not None:
            new = await take_in([body.call], body.strategies)
            return answer({"call_id": body.call.call_id, "imported": new > 0})
        calls = body.calls or []
        new = await take_in(calls, body.strategies)
        return answer({"calls": len(calls), "imported": new})

    return [web.post("/v1/import", take)]
