"""Deliveries to the stores: see what waits, try it again, or give it up with a name."""

import asyncio
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Annotated, Final, cast

import structlog
from aiohttp import web
from msgspec import Meta, Struct

from agent_sidecar.domain.types import (
    DELIVERY_STATES,
    STORES,
    CallId,
    DeliveryState,
    StoreName,
)
from agent_sidecar.errors import RequestInvalid
from agent_sidecar.ports import ListedDelivery
from agent_sidecar.web.answers import answer
from agent_sidecar.web.json_body import Name, Words, read_body, read_count
from agent_sidecar.web.parts import FrontDoorParts, Message

log = structlog.get_logger()

# what is of interest unless something else is asked for
UNDELIVERED: Final[tuple[DeliveryState, ...]] = ("pending", "parked", "dropped")


class _Retry(Struct, forbid_unknown_fields=True, kw_only=True):
    call_id: Name | None = None
    store: StoreName | None = None
    # every pending and parked one, of the store if one is named
    all: bool = False


class _Drop(Struct, forbid_unknown_fields=True, kw_only=True):
    call_id: Name
    store: StoreName
    by: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\S")]
    reason: Words | None = None


def delivery_routes(parts: FrontDoorParts) -> list[web.RouteDef]:
    """Return the routes under `/v1/deliveries`."""
    desk = _DeliveryDesk(parts)
    return [
        web.get("/v1/deliveries", desk.show),
        web.post("/v1/deliveries/retry", desk.retry),
        web.post("/v1/deliveries/drop", desk.drop),
    ]


def delivery_view(listed: ListedDelivery, now: datetime) -> Message:
    """Show a delivery; `age_s` counts from the commit of its record."""
    status = listed.status
    return {
        "call_id": listed.call_id,
        "store": listed.store,
        "state": status.state,
        "version": listed.version,
        "committed_at": listed.committed_at,
        "age_s": max(0.0, round((now - listed.committed_at).total_seconds(), 1)),
        "attempts": status.attempts,
        "next_try_at": status.next_try_at,
        "delivered_at": status.delivered_at,
        "last_error": status.last_error,
        "dropped": status.dropped,
    }


def check_retry(call_id: str | None, *, all_of_them: bool) -> None:
    """Raise `RequestInvalid` unless either one call or all are named."""
    if (call_id is None) != all_of_them:
        raise RequestInvalid(
            "a retry names either one call or all",
            field="call_id",
            what_to_do="give the call's id, or `all`",
        )


def nothing_to_retry(call_id: str) -> RequestInvalid:
    return RequestInvalid(
        f"call {call_id} has no delivery that waits, is parked or was dropped",
        field="call_id",
        what_to_do="take one from `agent-sidecar deliveries` or GET /v1/deliveries",
    )


def nothing_to_drop(call_id: str, store: StoreName) -> RequestInvalid:
    return RequestInvalid(
        f"call {call_id} has no delivery to {store} that waits or is parked",
        field="call_id",
        what_to_do="take one from `agent-sidecar deliveries` or GET /v1/deliveries",
    )


class _DeliveryDesk:
    def __init__(self, parts: FrontDoorParts) -> None:
        self._book = parts.deliveries
        self._hurry: Callable[[], None] = parts.hurry
        self._clock = parts.clock

    async def show(self, request: web.Request) -> web.StreamResponse:
        limit = read_count(request, "limit", default=50, most=10_000)
        states = request.query.getall("state", list(UNDELIVERED))
        found = await self._book.deliveries(
            store=_store(request), states=_states(states), limit=limit
        )
        now = self._clock.now()
        return answer({"deliveries": [delivery_view(listed, now) for listed in found]})

    async def retry(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(request, _Retry)
        check_retry(body.call_id, all_of_them=body.all)
        call_id = None if body.call_id is None else CallId(body.call_id)
        # whoever hangs up on us must not cancel the journal's write
        retried = await asyncio.shield(self._book.retry(call_id=call_id, store=body.store))
        if call_id is not None and not retried:
            raise nothing_to_retry(call_id)
        self._hurry()
        return answer({"retried": retried})

    async def drop(self, request: web.Request) -> web.StreamResponse:
        body = await read_body(request, _Drop)
        call_id = CallId(body.call_id)
        dropped = self._book.drop(call_id, body.store, by=body.by, reason=body.reason)
        if not await asyncio.shield(dropped):
            raise nothing_to_drop(call_id, body.store)
        log.warning("delivery_dropped", call_id=call_id, store=body.store, by=body.by)
        return answer({"call_id": call_id, "store": body.store, "state": "dropped", "by": body.by})


def _store(request: web.Request) -> StoreName | None:
    name = request.query.get("store")
    if name is None or name in STORES:
        return name
    raise RequestInvalid(
        f"there is no store {name}", field="store", what_to_do=f"name one of {', '.join(STORES)}"
    )


def _states(names: Collection[str]) -> Collection[DeliveryState]:
    if wrong := set(names) - set(DELIVERY_STATES):
        raise RequestInvalid(
            f"there is no state {min(wrong)}",
            field="state",
            what_to_do=f"name one of {', '.join(DELIVERY_STATES)}; it may be repeated",
        )
    return cast(Collection[DeliveryState], names)
