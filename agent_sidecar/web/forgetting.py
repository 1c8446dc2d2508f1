"""Keeping and forgetting: the rules applied now, and a lead erased everywhere."""

from aiohttp import web
from msgspec import Struct

from agent_sidecar.domain.erasure import Person, person
from agent_sidecar.errors import RequestInvalid
from agent_sidecar.web.answers import answer
from agent_sidecar.web.json_body import read_body
from agent_sidecar.web.parts import ForgettingDoor


class _Retention(Struct, forbid_unknown_fields=True, kw_only=True):
    # only count
    dry_run: bool = False


def forgetting_routes(door: ForgettingDoor | None) -> list[web.RouteDef]:
    """Return `POST /v1/retention` and `POST /v1/leads/{id}/erase`."""
    if door is None:
        return []

    async def retain(request: web.Request) -> web.StreamResponse:
        body = await read_body(request, _Retention, may_be_empty=True)
        return answer(await door.retain(dry_run=body.dry_run))

    async def erase(request: web.Request) -> web.StreamResponse:
        report = await door.erase(_asked_for(request.match_info["id"]))
        # 202: what waits goes on by itself
        return answer(report, status=202 if report.done_at is None else 200)

    return [web.post("/v1/retention", retain), web.post("/v1/leads/{id}/erase", erase)]


def _asked_for(name: str) -> Person:
    """Return whom a path names: by his id, ours or the user's own, or by his number."""
    if not name.startswith("+"):
        return person(lead_id=name)
    asked = person(phone=name)
    if not any(len(digits) >= 7 for digits in asked.phones):
        raise RequestInvalid(
            f"{name} is no telephone number",
            field="id",
            what_to_do="give it in E.164, such as +12025550123",
        )
    return asked
