"""The hints socket: out go hints, scores, transfers and calls; in come feedback, lines, wishes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from typing import Literal

import structlog
from aiohttp import WSCloseCode, WSMessage, WSMsgType, hdrs, web
from msgspec import Struct

from agent_sidecar.domain.events import HintJudged, TransferWanted
from agent_sidecar.domain.types import HintId
from agent_sidecar.errors import CallUnknown, RequestInvalid, SidecarError
from agent_sidecar.web.answers import encode
from agent_sidecar.web.json_body import Name, Transcript, decode
from agent_sidecar.web.lines import line_heard
from agent_sidecar.web.parts import FrontDoorParts, LiveCall, Message
from agent_sidecar.web.sockets import OpenSockets, close

log = structlog.get_logger()


class _Feedback(Struct, tag="feedback", tag_field="type", forbid_unknown_fields=True, kw_only=True):
    hint_id: Name
    action: Literal["used", "dismissed"]


class _Transfer(Struct, tag="transfer", tag_field="type", forbid_unknown_fields=True, kw_only=True):
    call_id: Name | None = None
    call_control_id: Name | None = None
    # forbids the transfer, or stops one that is under way
    veto: bool = False
    by: Name = "agent"


class _Line(
    Transcript, tag="transcript", tag_field="type", forbid_unknown_fields=True, kw_only=True
):
    call_id: Name | None = None
    call_control_id: Name | None = None


def hint_routes(parts: FrontDoorParts, sockets: OpenSockets) -> list[web.RouteDef]:
    """Return the hints socket's route."""
    door = _HintsDoor(parts, sockets)
    return [web.get("/v1/hints", door.serve)]


class _HintsDoor:
    def __init__(self, parts: FrontDoorParts, sockets: OpenSockets) -> None:
        self._parts = parts
        self._sockets = sockets

    async def serve(self, request: web.Request) -> web.StreamResponse:
        limits = self._parts.limits
        socket = web.WebSocketResponse(
            decode_text=False,
            heartbeat=limits.heartbeat_s,
            max_msg_size=limits.message_bytes,
            # small messages, and each counts its milliseconds
            compress=False,
        )
        if not socket.can_prepare(request).ok:
            raise web.HTTPUpgradeRequired(
                text="this is a WebSocket: connect with ws:// or wss://",
                headers={hdrs.UPGRADE: "websocket"},
            )
        call = request.query.get("call")
        async with self._parts.hub.subscribe(call) as messages:
            # only now: whoever is connected misses nothing
            await socket.prepare(request)
            with self._sockets.track(socket):
                await self._serve(socket, messages)
        return socket

    async def _serve(self, socket: web.WebSocketResponse, messages: AsyncIterator[Message]) -> None:
        telling = asyncio.create_task(_tell(socket, messages), name="hints:tell")
        try:
            await _Listener(self._parts, socket).run()
        except Exception:  # one listener's trouble is his own
            log.exception("hints_failed")
            await close(socket, WSCloseCode.INTERNAL_ERROR, "internal error")
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)


async def _tell(socket: web.WebSocketResponse, messages: AsyncIterator[Message]) -> None:
    try:
        async for message in messages:
            # waits when the client does not read; its queue drops the oldest meanwhile
            await socket.send_frame(encode(message), WSMsgType.TEXT)
    except ConnectionError:
        return
    except Exception:  # a message that has no JSON must not end in silence
        log.exception("hints_failed")
        await close(socket, WSCloseCode.INTERNAL_ERROR, "internal error")


class _Listener:
    """Takes what a client of the hints socket says; a bad message is answered, never fatal."""

    def __init__(self, parts: FrontDoorParts, socket: web.WebSocketResponse) -> None:
        self._parts = parts
        self._socket = socket
        self._keeping: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        try:
            async for message in self._socket:
                await self._hear(message)
        finally:
            # their writes go on; only a complaint has nobody left to hear it
            for task in self._keeping:
                task.cancel()

    async def _hear(self, message: WSMessage) -> None:
        try:
            if message.type is not WSMsgType.TEXT:
                raise RequestInvalid(
                    "messages are JSON text", field="(message)", what_to_do="send text frames"
                )
            kept = self._take(message.data, arrived_s=asyncio.get_running_loop().time())
        except SidecarError as exc:
            await self._complain(exc)
        else:
            # not awaited here: the next line must not wait for this one's disk
            task = asyncio.create_task(self._keep(kept), name="hints:keep")
            self._keeping.add(task)
            task.add_done_callback(self._keeping.discard)

    def _take(self, raw: bytes, *, arrived_s: float) -> Awaitable[None]:
        # a union is a shape too
        said = decode(raw, _Feedback | _Line | _Transfer)  # type: ignore[arg-type]
        match said:
            case _Feedback():
                call = self._parts.registry.call_of_hint(said.hint_id)
                if call is None:
                    raise CallUnknown(f"no live call was given the hint {said.hint_id}")
                judged = HintJudged(hint_id=HintId(said.hint_id), at=call.now(), action=said.action)
                return call.feed(judged)
            case _Transfer():
                call = self._named(said, "a transfer")
                return call.feed(TransferWanted(at=call.now(), by=said.by, veto=said.veto))
            case line:
                call = self._named(line, "a transcript")
                heard = line_heard(line, call, self._parts.discretion)
                return call.feed(heard, arrived_s=arrived_s)

    def _named(self, said: _Line | _Transfer, what: str) -> LiveCall:
        """Return the live call that a message names."""
        name = said.call_id or said.call_control_id
        if name is None:
            raise RequestInvalid(
                f"{what} needs its call",
                field="call_id",
                what_to_do="add call_id or call_control_id",
            )
        call = self._parts.registry.find(name)
        if call is None:
            raise CallUnknown(f"there is no live call {name}")
        return call

    async def _keep(self, kept: Awaitable[None]) -> None:
        try:
            await asyncio.shield(kept)
        except SidecarError as exc:
            await self._complain(exc)
        except Exception:  # one message's trouble must not end the socket
            log.exception("hints_message_failed")

    async def _complain(self, exc: SidecarError) -> None:
        self._parts.metrics.count("requests_refused", type(exc).__name__)
        body = {"type": "error", "error": type(exc).__name__, "message": str(exc)}
        if isinstance(exc, RequestInvalid):
            body |= {"field": exc.field, "what_to_do": exc.what_to_do}
        with suppress(ConnectionError):
            await self._socket.send_frame(encode(body), WSMsgType.TEXT)
