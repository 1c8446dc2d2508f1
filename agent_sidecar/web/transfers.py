"""What came of a transfer, as the closer says afterwards."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Final

from aiohttp import web
from msgspec import Meta, Struct

from agent_sidecar.domain.transfer_result import Conversion, TransferResult
from agent_sidecar.domain.types import TransferId
from agent_sidecar.errors import RequestInvalid
from agent_sidecar.web.answers import answer
from agent_sidecar.web.json_body import Words, read_body
from agent_sidecar.web.parts import FrontDoorParts

# the table's words, and what the same is called elsewhere in this interface and among closers
_CONVERSIONS: Final[Mapping[str, Conversion]] = {
    "scheduled": "scheduled",
    "closed": "closed",
    "followup": "followup",
    "follow_up": "followup",
    "declined": "declined",
    "not_interested": "declined",
    "no_show": "no_show",
}


class _Said(Struct, forbid_unknown_fields=True, kw_only=True):
    """What is left out stays as it was said before."""

    rating: Annotated[int, Meta(ge=1, le=10)] | None = None
    result: str | None = None
    notes: Words | None = None


def transfer_routes(parts: FrontDoorParts) -> list[web.RouteDef]:
    """Return the routes under `/v1/transfers`."""

    async def post_result(request: web.Request) -> web.StreamResponse:
        said = await read_body(request, _Said)
        if (said.rating, said.result, said.notes) == (None, None, None):
            raise RequestInvalid(
                "nothing is said of the transfer",
                field="(body)",
                what_to_do="give at least one of rating, result, notes",
            )
        result = TransferResult(
            posted_at=parts.clock.now(),
            rating=said.rating,
            conversion=None if said.result is None else _conversion(said.result),
            notes=said.notes and parts.discretion.read(said.notes),
        )
        transfer_id = TransferId(request.match_info["id"])
        # whoever hangs up on us must not cancel the journal's write
        return answer(await asyncio.shield(parts.registry.post_result(transfer_id, result)))

    return [web.post("/v1/transfers/{id}/result", post_result)]


def _conversion(text: str) -> Conversion:
    if text not in _CONVERSIONS:
        raise RequestInvalid(
            f"result: {text!r} is not known",
            field="result",
            what_to_do=f"give one of {', '.join(dict.fromkeys(_CONVERSIONS.values()))}",
        )
    return _CONVERSIONS[text]
