"""For machines: is it up, is it ready, what does it count, do the stores answer."""

from aiohttp import web

from agent_sidecar.web.answers import answer
from agent_sidecar.web.parts import FrontDoorParts


def machine_routes(parts: FrontDoorParts) -> list[web.RouteDef]:
    """Return the routes that need no person."""

    async def healthz(request: web.Request) -> web.StreamResponse:
        return answer({"ok": True})

    async def readyz(request: web.Request) -> web.StreamResponse:
        is_ready, details = parts.ready()
        return answer({"ready": is_ready, **details}, status=200 if is_ready else 503)

    async def metrics(request: web.Request) -> web.StreamResponse:
        return web.Response(
            body=parts.metrics.render(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    async def stores(request: web.Request) -> web.StreamResponse:
        return answer(await parts.stores())

    return [
        web.get("/healthz", healthz),
        web.get("/readyz", readyz),
        web.get("/metrics", metrics),
        web.get("/v1/stores", stores),
    ]
