"""Webhooks: checked on the raw bytes, deduplicated, fed at once, answered once they are on disk.

Telnyx repeats what was not answered with 200 within two seconds, and never repeats what was
answered with 4xx: so 4xx is for what would be wrong the next time as well, 503 for our own trouble.
"""

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import Final

import structlog
from aiohttp import hdrs, web

from agent_sidecar.errors import JournalFailed, SignatureInvalid, WebhookMalformed
from agent_sidecar.ports import ReceivedWebhook, TelephonyEvent
from agent_sidecar.web.answers import answer
from agent_sidecar.web.forward import Forwarded, Forwarder, passed_on
from agent_sidecar.web.parts import FrontDoorParts

log = structlog.get_logger()

_SLOW: Final = "the journal is slow: send the webhook again"


def webhook_routes(parts: FrontDoorParts, forwarder: Forwarder | None) -> list[web.RouteDef]:
    """Return the webhook route."""
    desk = _WebhookDesk(parts, forwarder)
    return [
        web.post("/telnyx/webhooks", desk.receive),
        web.get("/telnyx/webhooks", desk.refuse_get),
    ]


class _WebhookDesk:
    def __init__(self, parts: FrontDoorParts, forwarder: Forwarder | None) -> None:
        self._parts = parts
        self._forwarder = forwarder

    async def refuse_get(self, request: web.Request) -> web.StreamResponse:
        response = answer(
            {
                "error": "MethodNotAllowed",
                "message": "webhooks come by POST: set webhook_url_method to POST in the Telnyx"
                " application",
            },
            status=405,
        )
        response.headers[hdrs.ALLOW] = hdrs.METH_POST
        return response

    async def receive(self, request: web.Request) -> web.StreamResponse:
        arrived_s = asyncio.get_running_loop().time()
        raw = await request.read()
        self._check_signature(raw, request)
        event = self._decode(raw, request)
        body = self._redacted(raw, event)
        if body is not raw:
            event = self._parts.decode_webhook(body)
        registry, metrics = self._parts.registry, self._parts.metrics
        repeated = registry.already(event.event_id)
        if repeated is not None:
            metrics.count("webhooks", "repeated")
            if not await self._be_kept(repeated):
                raise JournalFailed(_SLOW)
            return answer({"ok": True})
        kept = registry.receive(
            event,
            ReceivedWebhook(
                event_id=event.event_id,
                event_type=event.event_type,
                leg_id=event.leg_id,
                received_at=self._parts.clock.now(),
                body=body,
            ),
            arrived_s=arrived_s,
        )
        is_kept = await self._be_kept(kept)
        # when a slow one comes again it will be one that we know: passed on now or never
        self._forward(raw, request, event)
        if not is_kept:
            raise JournalFailed(_SLOW)
        metrics.count("webhooks", event.kind)
        return answer({"ok": True})

    def _check_signature(self, raw: bytes, request: web.Request) -> None:
        if self._parts.signature is None:
            return
        try:
            self._parts.signature.verify(raw, request.headers, self._parts.clock.now())
        except SignatureInvalid as exc:
            self._parts.metrics.count("webhooks", "unsigned")
            log.warning("webhook_refused", reason=str(exc))
            raise

    def _decode(self, raw: bytes, request: web.Request) -> TelephonyEvent:
        try:
            return self._parts.decode_webhook(raw)
        except WebhookMalformed as exc:
            self._parts.metrics.count("webhooks", "malformed")
            log.warning("webhook_malformed", reason=str(exc))
            if self._parts.signature is not None:
                # signed by Telnyx: his application may understand what we do not
                self._forward(raw, request, None)
            raise

    def _redacted(self, raw: bytes, event: TelephonyEvent) -> bytes:
        """Return what may be kept of a webhook; only its sender's signature needs the rest."""
        discretion = self._parts.discretion
        if not discretion:
            return raw
        leg = event.leg_id or ""
        # who asks for a card's number is often on another leg than who says it
        call = self._parts.registry.find(leg) if leg else None
        hear = partial(discretion.hear, call.call_id if call else leg, event.at.timestamp())
        return self._parts.redact_webhook(raw, hear, keys=discretion.keys)

    async def _be_kept(self, kept: Awaitable[None]) -> bool:
        """Wait for the journal; False: longer than Telnyx waits for us. Raises `JournalFailed`."""
        # not wait_for: a repeated webhook shares the first one's write, nobody may cancel it
        writing = asyncio.ensure_future(kept)
        done, _ = await asyncio.wait({writing}, timeout=self._parts.limits.journal_s)
        if not done:
            writing.add_done_callback(_hear_late)
            self._parts.metrics.count("webhooks", "slow")
            return False
        try:
            await writing
        except JournalFailed:
            self._parts.metrics.count("webhooks", "not_kept")
            raise
        return True

    def _forward(self, raw: bytes, request: web.Request, event: TelephonyEvent | None) -> None:
        if self._forwarder is not None:
            leg = event.leg_id if event else None
            self._forwarder.put(
                Forwarded(raw=raw, headers=passed_on(request.headers), leg=leg or "")
            )


def _hear_late(writing: asyncio.Future[None]) -> None:
    if not writing.cancelled() and (error := writing.exception()) is not None:
        log.error("webhook_not_kept", reason=str(error))
