"""Telnyx for many prospects and one closer who takes every call at once, and what it saw.

Every command is checked against the SDK's own types, as the simulator's are. The closer answers
without ringing, presses the digit without thinking and hangs up when he is told to, so that a round
is over when the service is.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Self

import msgspec
from aiohttp import web

from agent_sidecar.domain.types import LegId
from agent_sidecar.simulator import webhooks
from agent_sidecar.simulator.commands import DIAL, PARAMS, check_command
from agent_sidecar.simulator.front_door import FrontDoor
from agent_sidecar.simulator.legs import SimulatedLeg, new_leg_id
from agent_sidecar.simulator.signing import WebhookSigner
from bench._streams import new_leg

_ANSWER_S = 5.0


class Switchboard:
    """The legs of a bench, and their Call Control while it is open."""

    def __init__(self, signer: WebhookSigner) -> None:
        self.door: FrontDoor | None = None
        # prospect's leg -> when a closer was dialled for it, monotonic
        self.dialed_at: dict[LegId, float] = {}
        self.bridged: set[LegId] = set()
        # bridges while the closer talked to somebody else
        self.double_bridged = 0
        self.port = 0
        self._signer = signer
        self._legs: dict[LegId, SimulatedLeg] = {}
        # closer's leg -> the prospect's that it was dialled for
        self._linked: dict[LegId, LegId] = {}
        self._talking: set[LegId] = set()
        self._answers: dict[tuple[str, str], object] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Self]:
        """Take commands on a port of its own."""
        app = web.Application()
        app.add_routes(
            [
                web.post("/v2/calls", self._dial),
                web.get("/v2/calls/{leg}", self._show),
                web.get("/v2/connections/{connection}/active_calls", self._list),
                web.post("/v2/calls/{leg}/actions/{action}", self._act),
            ]
        )
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()

    def prospect(self) -> SimulatedLeg:
        """Return a prospect who has answered."""
        leg = new_leg()
        self._legs[leg.leg_id] = leg
        return leg

    def leg(self, leg_id: LegId) -> SimulatedLeg:
        """Return a leg as it is now."""
        return self._legs[leg_id]

    async def hang_up_closers(self) -> None:
        """Let whoever talks hang up."""
        await asyncio.gather(*(self._end(leg) for leg in list(self._talking)))

    async def tell(self, *events: webhooks.Webhook) -> None:
        """Post webhooks, one after the other."""
        assert self.door is not None, "say whom to tell first"
        for event in events:
            body = event.body(attempt=1, delivered_to=self.door.webhook_url)
            headers = self._signer.headers(body, timestamp=int(time.time()))
            await self.door.post_webhook(body, headers, answer_s=_ANSWER_S)

    # --- commands -------------------------------------------------------------------------------

    async def _dial(self, request: web.Request) -> web.Response:
        arrived = time.monotonic()
        body = await _body(request)
        check_command(DIAL, body)
        key = (DIAL, str(body["command_id"]))
        if key not in self._answers:
            prospect = self._legs[LegId(body["link_to"])]
            leg = replace(
                prospect,
                leg_id=new_leg_id(),
                to=body["to"],
                client_state=body["client_state"],
                direction="outgoing",
            )
            self._legs[leg.leg_id] = leg
            self._linked[leg.leg_id] = prospect.leg_id
            self.dialed_at[prospect.leg_id] = arrived
            self._answers[key] = {"data": {"call_control_id": leg.leg_id, "is_alive": False}}
            self._start(self._answer(leg))
        return web.json_response(self._answers[key])

    async def _act(self, request: web.Request) -> web.Response:
        action, leg_id = request.match_info["action"], LegId(request.match_info["leg"])
        body = await _body(request)
        if action in PARAMS:
            check_command(action, body)
        key = (leg_id, str(body.get("command_id")))
        if key not in self._answers:
            self._answers[key] = True
            self._carry_out(action, leg_id, body)
        return web.json_response({"data": {"result": "ok"}})

    def _carry_out(self, action: str, leg_id: LegId, body: Mapping[str, Any]) -> None:
        leg = self._legs[leg_id]
        match action:
            case "gather_using_speak":
                pressed = webhooks.call_gather_ended(leg, _now(), status="valid", digits="1")
                self._start(self.tell(pressed))
            case "bridge":
                closer = LegId(body["call_control_id"])
                self.double_bridged += bool(self._talking)
                self._talking.add(closer)
                self.bridged.add(leg_id)
                both = (leg, self._legs[closer])
                self._start(self.tell(*(webhooks.call_bridged(x, _now()) for x in both)))
            case "hangup":
                self._start(self._end(leg_id))

    async def _show(self, request: web.Request) -> web.Response:
        leg = self._legs.get(LegId(request.match_info["leg"]))
        alive = leg is not None and leg.alive
        return web.json_response({"data": {"call_control_id": "", "is_alive": alive}})

    async def _list(self, request: web.Request) -> web.Response:
        legs = [
            {"call_control_id": leg.leg_id, "client_state": leg.client_state or ""}
            for leg in self._legs.values()
            if leg.alive
        ]
        return web.json_response({"data": legs, "meta": {"page_number": 1, "total_pages": 1}})

    # --- what follows ---------------------------------------------------------------------------

    async def _answer(self, leg: SimulatedLeg) -> None:
        await self.tell(
            webhooks.call_initiated(leg, _now()),
            webhooks.call_answered(leg, _now()),
            webhooks.call_machine_detected(leg, _now(), is_machine=False, premium=True),
        )

    async def _end(self, leg_id: LegId) -> None:
        leg = self._legs[leg_id]
        self._talking.discard(leg_id)
        if leg.alive:
            leg.state = "ended"
            await self.tell(
                webhooks.call_hangup(leg, _now(), cause="normal_clearing", source="callee")
            )

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _now() -> datetime:
    return datetime.now(UTC)


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        raw = await request.read()
    except ConnectionError:
        # a second try that was not needed any more
        raise web.HTTPRequestTimeout from None
    return msgspec.json.decode(raw, type=dict[str, Any])
