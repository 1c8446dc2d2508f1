"""Who is called."""

from dataclasses import replace

from aiohttp import web

from agent_sidecar.errors import RequestInvalid
from agent_sidecar.ports import Leads
from agent_sidecar.web.answers import answer
from agent_sidecar.web.json_body import lead_of, read_body, read_count


def lead_routes(leads: Leads) -> list[web.RouteDef]:
    """Return the routes under `/v1/leads`."""
    desk = _LeadDesk(leads)
    return [
        web.get("/v1/leads", desk.find),
        web.post("/v1/leads", desk.find_or_create),
        web.get("/v1/leads/{id}", desk.show),
        web.put("/v1/leads/{id}", desk.change),
    ]


class _LeadDesk:
    def __init__(self, leads: Leads) -> None:
        self._leads = leads

    async def find(self, request: web.Request) -> web.StreamResponse:
        limit = read_count(request, "limit", default=50, most=1000)
        phone = request.query.get("phone") or None
        return answer({"leads": await self._leads.find(phone=phone, limit=limit)})

    async def find_or_create(self, request: web.Request) -> web.StreamResponse:
        lead = lead_of(await read_body(request, dict[str, object]), field="")
        return answer(await self._leads.find_or_create(lead))

    async def show(self, request: web.Request) -> web.StreamResponse:
        lead = await self._leads.get(request.match_info["id"])
        if lead is None:
            raise web.HTTPNotFound(text=f"there is no lead {request.match_info['id']}")
        return answer(lead)

    async def change(self, request: web.Request) -> web.StreamResponse:
        lead_id = request.match_info["id"]
        lead = lead_of(await read_body(request, dict[str, object]), field="")
        if lead.lead_id not in {"", lead_id}:
            raise RequestInvalid(
                "lead_id in the body is not the one in the path",
                field="lead_id",
                what_to_do="leave lead_id out of the body",
            )
        return answer(await self._leads.put(replace(lead, lead_id=lead_id)))
