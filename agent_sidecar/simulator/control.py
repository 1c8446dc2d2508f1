"""A stub of Telnyx's Call Control REST interface, on loopback, for as long as it is open.

It commands the calls that players announce to it: checks bodies against the SDK's types, keeps
`command_id` rules, answers errors in Telnyx's shape. 200 means accepted; what came of a command is
told by webhooks.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

import msgspec
from aiohttp import web

from agent_sidecar.domain.types import LegId, Track
from agent_sidecar.simulator.closer import CloserScript, play_closer
from agent_sidecar.simulator.commands import DIAL, PARAMS, CommandFault, check_command
from agent_sidecar.simulator.legs import SimulatedLeg
from agent_sidecar.simulator.media import StreamOrder
from agent_sidecar.simulator.telephone import SimulatedCall, unknown_leg
from agent_sidecar.simulator.webhooks import stamp

# the same command_id later than this is a new command
COMMAND_ID_S = 60.0

_TRACKS: Mapping[str, tuple[Track, ...]] = {
    "inbound_track": ("inbound",),
    "outbound_track": ("outbound",),
    "both_tracks": ("inbound", "outbound"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedCommand:
    """A command that was carried out, for those who check what the service did."""

    action: str
    # None for a dial
    leg_id: LegId | None
    body: dict[str, Any]


# how a command goes wrong: refused by a race, throttled, a server error before or after it was
# carried out, or carried out without an answer in time
Trouble = Literal["race", "throttled", "undone", "done", "silent"]
_TROUBLES: Mapping[Trouble, tuple[int, str, str]] = {
    "race": (422, "90034", "This call has not been answered yet"),
    "throttled": (429, "10011", "Too many requests"),
    "undone": (503, "10016", "Service unavailable"),
    "done": (503, "10016", "Service unavailable"),
}
# longer than anybody waits for an answer
_SILENT_S = 15.0


class ControlStub:
    """Open it with `async with`; the service's TELNYX_API_BASE is `url`.

    `trouble`: how commands go wrong, by action, one after the other; then they go well.
    """

    def __init__(
        self, *, port: int = 0, trouble: Mapping[str, Sequence[Trouble]] | None = None
    ) -> None:
        self._trouble = {action: list(troubles) for action, troubles in (trouble or {}).items()}
        self.commands: list[ReceivedCommand] = []
        # how the closers of a call behave; the call's player says so
        self._calls: dict[LegId, tuple[SimulatedCall, CloserScript]] = {}
        self._answers: dict[tuple[str, str], tuple[float, dict[str, object]]] = {}
        self._port = port
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """The REST base, version included."""
        return f"http://127.0.0.1:{self._port}/v2"

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[_answer_faults])
        app.add_routes(
            [
                web.post("/v2/calls", self._dial),
                web.get("/v2/calls/{leg}", self._show),
                web.get("/recordings/{leg}/{file}", self._give_recording),
                web.post("/v2/calls/{leg}/actions/{action}", self._act),
                web.get("/v2/connections/{connection}/active_calls", self._list),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def add(self, call: SimulatedCall, script: CloserScript) -> None:
        """Let this call be commanded; after its end it can still be asked about."""
        self._calls[call.prospect.leg_id] = (call, script)
        call.recordings_url = f"http://127.0.0.1:{self._port}/recordings"

    # --- routes ---------------------------------------------------------------------------------

    async def _act(self, request: web.Request) -> web.Response:
        action = request.match_info["action"]
        return await self._spoilt(action, lambda: self._do(request))

    async def _spoilt(self, action: str, do: Callable[[], Awaitable[web.Response]]) -> web.Response:
        """Carry out a command, unless it is to go wrong now."""
        waiting = self._trouble.get(action)
        trouble = waiting.pop(0) if waiting else None
        if trouble is None:
            return await do()
        if trouble in ("done", "silent"):
            await do()
        if trouble == "silent":
            await asyncio.sleep(_SILENT_S)
        status, code, title = _TROUBLES.get(trouble, (504, "10016", "Gateway timeout"))
        raise CommandFault(code, title, f"{action}: {title}", status=status)

    async def _do(self, request: web.Request) -> web.Response:
        leg_id, action = request.match_info["leg"], request.match_info["action"]
        if action not in PARAMS or action == DIAL:
            raise CommandFault("10005", "Resource not found", f"no action {action!r}", status=404)
        body = await _body(request)
        call, leg = self._find(leg_id)
        known = self._known(leg_id, body)
        if known is not None:
            return _json(known)
        check_command(action, body)
        await _carry_out(call, leg, action, body)
        if body.get("client_state") is not None:
            leg.client_state = body["client_state"]
        self.commands.append(ReceivedCommand(action=action, leg_id=leg.leg_id, body=body))
        return _json(self._remember(leg_id, body, {"data": {"result": "ok"}}))

    async def _dial(self, request: web.Request) -> web.Response:
        return await self._spoilt(DIAL, lambda: self._ring(request))

    async def _ring(self, request: web.Request) -> web.Response:
        body = await _body(request)
        known = self._known(DIAL, body)
        if known is not None:
            return _json(known)
        check_command(DIAL, body)
        if "link_to" not in body:
            raise CommandFault(
                "10015", "Invalid parameter", "link_to: name the call to talk about", key="link_to"
            )
        call, linked = self._find(body["link_to"])
        if not linked.alive:
            raise CommandFault("90018", "Call has already ended", "link_to: has ended")
        script = self._calls[call.prospect.leg_id][1]
        leg = call.dial(body)
        # known before it rings: the service may ask for it as soon as it has the answer
        call.legs[leg.leg_id] = leg
        call.tasks.create_task(play_closer(call, leg, body, script), name="closer")
        self.commands.append(ReceivedCommand(action=DIAL, leg_id=None, body=body))
        # Telnyx says so on every dial: dialling is asynchronous
        answer: dict[str, object] = {"data": {**_described(leg), "is_alive": False}}
        return _json(self._remember(DIAL, body, answer))

    async def _show(self, request: web.Request) -> web.Response:
        _authorize(request)
        try:
            _, leg = self._find(request.match_info["leg"])
        except CommandFault as fault:
            raise CommandFault("10005", "Resource not found", fault.detail, status=404) from fault
        return _json({"data": {**_described(leg), "is_alive": leg.alive}})

    async def _give_recording(self, request: web.Request) -> web.Response:
        """Give a recording to whoever has its link."""
        call, leg = self._find(request.match_info["leg"])
        return web.Response(body=call.recorded_sound(leg), content_type="audio/wav")

    async def _list(self, request: web.Request) -> web.Response:
        _authorize(request)
        connection_id = request.match_info["connection"]
        alive = [
            _described(leg)
            for call, _ in self._calls.values()
            for leg in call.legs.values()
            if leg.alive and leg.connection_id == connection_id
        ]
        meta = {
            "page_number": 1,
            "page_size": max(len(alive), 1),
            "total_pages": 1,
            "total_results": len(alive),
        }
        return _json({"data": alive, "meta": meta})

    # --- rules ----------------------------------------------------------------------------------

    def _find(self, leg_id: str) -> tuple[SimulatedCall, SimulatedLeg]:
        for call, _ in self._calls.values():
            leg = call.legs.get(LegId(leg_id))
            if leg is not None:
                return call, leg
        raise unknown_leg(leg_id)

    def _known(self, scope: str, body: Mapping[str, Any]) -> dict[str, object] | None:
        """Return the first answer to a repeated command: it is not carried out again."""
        now = time.monotonic()
        at, answer = self._answers.get((scope, str(body.get("command_id"))), (0.0, None))
        return answer if answer is not None and now - at <= COMMAND_ID_S else None

    def _remember(
        self, scope: str, body: Mapping[str, Any], answer: dict[str, object]
    ) -> dict[str, object]:
        if "command_id" in body:
            self._answers[scope, str(body["command_id"])] = (time.monotonic(), answer)
        return answer


# what is done with a leg as the body says
_WITH_BODY: Mapping[str, Callable[[SimulatedCall, SimulatedLeg, Mapping[str, Any]], None]] = {
    "transcription_start": SimulatedCall.start_transcription,
    "speak": SimulatedCall.speak,
    "gather_using_speak": SimulatedCall.gather,
    "ai_assistant_add_messages": SimulatedCall.tell_assistant,
    "record_start": SimulatedCall.start_recording,
    "bridge": SimulatedCall.bridge,
}


async def _carry_out(
    call: SimulatedCall, leg: SimulatedLeg, action: str, body: Mapping[str, Any]
) -> None:
    match action:
        case "streaming_start":
            call.start_stream(leg, _stream_order(body))
        case "streaming_stop":
            await call.stop_stream(leg)
        case "transcription_stop":
            call.stop_transcription(leg)
        case "record_stop":
            call.stop_recording(leg)
        case "hangup":
            cause = "normal_clearing" if leg.state == "answered" else "originator_cancel"
            call.hang_up(leg, cause=cause, source="caller")
        case _:
            _WITH_BODY[action](call, leg, body)


def _stream_order(body: Mapping[str, Any]) -> StreamOrder:
    pairs = body.get("custom_parameters", ())
    return StreamOrder(
        url=body["stream_url"],
        token=body.get("stream_auth_token"),
        tracks=_TRACKS[body.get("stream_track", "inbound_track")],
        custom_parameters={pair["name"]: pair["value"] for pair in pairs},
    )


def _described(leg: SimulatedLeg) -> dict[str, object]:
    described: dict[str, object] = {
        "record_type": "call",
        "call_control_id": leg.leg_id,
        "call_leg_id": leg.call_leg_id,
        "call_session_id": leg.call_session_id,
        "client_state": leg.client_state,
        "start_time": stamp(leg.started_at),
    }
    if leg.ended_at is not None:
        described["end_time"] = stamp(leg.ended_at)
        described["call_duration"] = int((leg.ended_at - leg.started_at).total_seconds())
    return described


# --- HTTP ---------------------------------------------------------------------------------------


@web.middleware
async def _answer_faults(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        answer: web.StreamResponse = await handler(request)
    except CommandFault as fault:
        return _json(fault.document(), status=fault.status)
    except web.HTTPNotFound:
        nothing = CommandFault("10005", "Resource not found", request.path)
        return _json(nothing.document(), status=404)
    return answer


def _authorize(request: web.Request) -> None:
    if not request.headers.get("Authorization", "").startswith("Bearer "):
        raise CommandFault("10009", "Authentication failed", "no API key was sent", status=401)


async def _body(request: web.Request) -> dict[str, Any]:
    _authorize(request)
    try:
        raw = await request.read()
    except ConnectionError:
        # whoever commands was killed in the middle of it
        raise web.HTTPRequestTimeout from None
    try:
        return msgspec.json.decode(raw or b"{}", type=dict[str, Any])
    except msgspec.DecodeError as exc:
        raise CommandFault("10015", "Bad Request", f"body: {exc}", status=400) from exc


def _json(document: Mapping[str, object], *, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(document), status=status, content_type="application/json"
    )
