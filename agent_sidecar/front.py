"""Opens the front door on what the service is made of."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

from agent_sidecar.adapters.telnyx_redaction import redacted_webhook
from agent_sidecar.adapters.telnyx_signature import SignatureCheck
from agent_sidecar.adapters.telnyx_wire import decode_frame, decode_webhook
from agent_sidecar.care import Care
from agent_sidecar.domain.discretion import Discretion
from agent_sidecar.domain.record import Configuration
from agent_sidecar.domain.recorded import RecordedCall
from agent_sidecar.domain.redaction import Redaction
from agent_sidecar.errors import PortInUse
from agent_sidecar.forgetting import Forgetting
from agent_sidecar.learning.import_worker import ImportWorker
from agent_sidecar.learning.imported import Ears
from agent_sidecar.learning.ingest import IngestParts, ingest_all
from agent_sidecar.learning.insights import InsightDesk, InsightParts
from agent_sidecar.live.hints import HintDesk
from agent_sidecar.live.registry import Registry
from agent_sidecar.parts import Parts
from agent_sidecar.settings import Settings
from agent_sidecar.store_status import StoreStatus
from agent_sidecar.web.parts import ForgettingDoor
from agent_sidecar.web.server import FrontDoor, FrontDoorParts
from agent_sidecar.wrapup.relay import Relay


def check_port(settings: Settings) -> None:
    """Raise `PortInUse` before anything is started for a service that could not listen."""
    if settings.port == 0:
        return
    try:
        with socket.create_connection((settings.host, settings.port), timeout=0.5):
            pass
    except OSError:
        return  # nobody listens; whether we may, the front door finds out
    raise PortInUse(
        f"port {settings.port} of {settings.host} is in use: stop what listens there, or set"
        " SIDECAR_PORT to another (0 takes a free one)"
    )


@asynccontextmanager
async def open_front_door(
    parts: Parts,
    registry: Registry,
    desk: HintDesk,
    relay: Relay,
    care: Care,
    forgetting: Forgetting,
    configuration: Configuration,
    orphans: asyncio.TaskGroup,
) -> AsyncIterator[int]:
    """Listen on the settings' host and port; yields the port.

    `orphans` is the process's group: what a store was asked and nobody waits for dies there.
    """
    settings = parts.settings
    status = StoreStatus(parts, orphans)
    ears = Ears(reader=parts.reader, weights=parts.weights, configuration=configuration)
    worker = ImportWorker(ears)
    door = FrontDoor(
        FrontDoorParts(
            registry=registry,
            hub=parts.hub,
            desk=desk,
            leads=parts.stores.leads,
            closers=parts.closers,
            closer_names=tuple(c.name for c in parts.playbook.closers),
            insights=_insight_desk(parts, orphans),
            lead_fields=parts.playbook.lead_kind,
            stores=status.stores,
            care=care,
            learning=partial(_learning, parts),
            take_in=partial(_take_in, parts, worker, relay),
            deliveries=parts.journal,
            hurry=relay.hurry,
            metrics=parts.metrics,
            ready=status.ready,
            decode_frame=decode_frame,
            decode_webhook=decode_webhook,
            signature=SignatureCheck(
                settings.telnyx_public_key, tolerance_s=settings.webhook_tolerance_s
            )
            if settings.telnyx_public_key
            else None,
            api_token=settings.api_token.get_secret_value() if settings.api_token else None,
            forward_url=settings.forward_url,
            public_url=settings.public_url,
            clock=parts.clock,
            discretion=Discretion(Redaction(settings.redact or frozenset())),
            redact_webhook=redacted_webhook,
            forgetting=ForgettingDoor(
                retain=forgetting.retention.apply, erase=forgetting.eraser.erase
            ),
        )
    )
    with worker:
        port = await door.start(settings.host, settings.port)
        try:
            yield port
        finally:
            await door.aclose()


def _insight_desk(parts: Parts, orphans: asyncio.TaskGroup) -> InsightDesk:
    reads = parts.stores.insights
    return InsightDesk(
        InsightParts(
            leads=parts.stores.leads,
            embedder=parts.embedder,
            success=reads.success,
            graph=reads.graph,
            moments=reads.moments,
            examples=reads.examples,
            playbook=parts.playbook,
            vectors=parts.vectors,
            orphans=orphans,
        )
    )


async def _take_in(
    parts: Parts,
    worker: ImportWorker,
    relay: Relay,
    calls: Sequence[RecordedCall],
    strategies: frozenset[str],
) -> int:
    """Take in finished calls of somebody else's; return how many were not known already."""
    new = await ingest_all(
        calls,
        IngestParts(
            journal=parts.journal,
            embedder=parts.embedder,
            leads=parts.stores.leads,
            clock=parts.clock,
            records=worker.records,
            strategies=strategies,
            redaction=Redaction(parts.settings.redact or frozenset()),
        ),
    )
    relay.wake()
    return new


async def _learning(parts: Parts, days: int) -> Mapping[str, object]:
    return (await parts.learning.report(days)).to_json()
