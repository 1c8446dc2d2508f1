"""Do the stores agree, and what to do if not: compare, mend, make one anew."""

from typing import Annotated

from aiohttp import web
from msgspec import Meta, Struct

from agent_sidecar.domain.types import STORES, StoreName
from agent_sidecar.errors import RequestInvalid
from agent_sidecar.web.answers import answer
from agent_sidecar.web.json_body import read_body
from agent_sidecar.web.parts import Care, Finding

# the store that the others are made of
_SOURCE: StoreName = "conversations"


class _Found(Struct, kw_only=True):
    """What `GET /v1/verify` has answered, or a part of it."""

    differences: Annotated[list[Finding], Meta(max_length=5000)]


def care_routes(care: Care) -> list[web.RouteDef]:
    """Return the routes for the stores' sake."""

    async def verify(request: web.Request) -> web.StreamResponse:
        return answer(await care.verify())

    async def mend(request: web.Request) -> web.StreamResponse:
        body = await read_body(request, _Found)
        return answer(await care.mend(body.differences))

    async def rebuild(request: web.Request) -> web.StreamResponse:
        return answer(await care.rebuild(_store(request)), status=202)

    async def progress(request: web.Request) -> web.StreamResponse:
        return answer(care.rebuild_progress(_store(request)))

    return [
        web.get("/v1/verify", verify),
        web.post("/v1/verify/repair", mend),
        web.post("/v1/stores/{store}/rebuild", rebuild),
        web.get("/v1/stores/{store}/rebuild", progress),
    ]


def _store(request: web.Request) -> StoreName:
    named = request.match_info["store"]
    for store in STORES:
        if store == named and store != _SOURCE:
            return store
    why = "the others are made of it" if named == _SOURCE else "there is no such store"
    raise RequestInvalid(
        f"{named!r} cannot be made anew: {why}",
        field="store",
        what_to_do=f"name one of {', '.join(store for store in STORES if store != _SOURCE)}",
    )
