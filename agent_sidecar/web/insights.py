"""What the stores know together of a kind of lead."""

from collections.abc import Mapping

from aiohttp import web

from agent_sidecar.domain.insights import InsightRequest, Insights
from agent_sidecar.domain.playbook import PHASES
from agent_sidecar.domain.tally import KIND_VALUE_CHARACTERS
from agent_sidecar.domain.types import ObjectionType
from agent_sidecar.errors import RequestInvalid
from agent_sidecar.web.answers import answer
from agent_sidecar.web.json_body import read_count
from agent_sidecar.web.parts import FrontDoorParts

# what is not a field of the lead; no longer than a phone's screen of words
_ASKED = {"lead_id": 200, "phone": 200, "text": 2000, "objection": 200, "phase": 2}


def insight_routes(parts: FrontDoorParts) -> list[web.RouteDef]:
    """Return the route of `GET /v1/insights`."""

    async def insights(request: web.Request) -> web.StreamResponse:
        return answer(_shown(await parts.insights.ask(_request(request, parts.lead_fields))))

    return [web.get("/v1/insights", insights)]


def _request(request: web.Request, lead_fields: tuple[str, ...]) -> InsightRequest:
    """Read the query. Raises `RequestInvalid`."""
    limits = dict.fromkeys(lead_fields, KIND_VALUE_CHARACTERS) | _ASKED
    for name, value in request.query.items():
        if name not in limits:
            raise RequestInvalid(
                f"there is no field {name}",
                field=name,
                what_to_do=f"use some of: {', '.join(sorted(limits))}",
            )
        if len(value) > limits[name]:
            raise RequestInvalid(
                f"{name} is longer than {limits[name]} characters",
                field=name,
                what_to_do=f"shorten {name}",
            )
    asked = {name: value for name, value in request.query.items() if value.strip()}
    phase = None
    if "phase" in asked:
        phase = read_count(request, "phase", default=1, most=PHASES)
    return InsightRequest(
        lead_id=asked.get("lead_id"),
        phone=asked.get("phone"),
        fields={name: asked[name] for name in lead_fields if name in asked},
        text=asked.get("text"),
        objection=ObjectionType(asked["objection"]) if "objection" in asked else None,
        phase=phase,
    )


def _shown(insights: Insights) -> Mapping[str, object]:
    """Return it with the kind as what it is made of: names and values."""
    profile = insights.profile
    return {
        "profile": {
            "lead_id": profile.lead_id,
            "fields": dict(profile.kind),
            "text": profile.text,
            "objection": profile.objection,
            "phase": profile.phase,
        },
        "synthesis": insights.synthesis,
        "success": insights.success,
        "availability": insights.availability,
        "relationships": insights.relationships,
        "moments": insights.moments,
        "examples": insights.examples,
        "degraded": insights.degraded,
        "latency_ms": insights.latency_ms,
    }
