"""How the calls went, day by day."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from agent_sidecar.web.answers import answer
from agent_sidecar.web.json_body import read_count
from agent_sidecar.web.parts import Message

DAYS, MOST_DAYS = 30, 3650


def learning_routes(report: Callable[[int], Awaitable[Message]]) -> list[web.RouteDef]:
    """Return the route of the daily learning metrics."""

    async def show(request: web.Request) -> web.StreamResponse:
        days = read_count(request, "days", default=DAYS, most=MOST_DAYS)
        return answer(await report(days))

    return [web.get("/v1/learning", show)]
