"""Opens the front door on what the service is made of."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

from agent_sidecar.adapters.telnyx_signature import SignatureCheck
from agent_sidecar.adapters.telnyx_wire import decode_frame, decode_webhook
from agent_sidecar.domain.record import Configuration
from agent_sidecar.domain.recorded import RecordedCall
from agent_sidecar.errors import PortInUse, StoreUnavailable
from agent_sidecar.learning.import_worker import ImportWorker
from agent_sidecar.learning.imported import Ears
from agent_sidecar.learning.ingest import IngestParts, ingest_all
from agent_sidecar.live.admission import REFUSED_AT
from agent_sidecar.live.hints import HintDesk
from agent_sidecar.live.registry import Registry
from agent_sidecar.parts import Parts
from agent_sidecar.ports import Projection
from agent_sidecar.settings import Settings
from agent_sidecar.web.server import FrontDoor, FrontDoorParts
from agent_sidecar.wrapup.relay import Relay
from agent_sidecar.wrapup.verify import verify

PING_S = 2.0


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
    configuration: Configuration,
) -> AsyncIterator[int]:
    """Listen on the settings' host and port; yields the port."""
    settings = parts.settings
    status = StoreStatus(parts)
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
            stores=status.stores,
            verify=status.verify,
            take_in=partial(_take_in, parts, worker, relay),
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
        )
    )
    with worker:
        port = await door.start(settings.host, settings.port)
        try:
            yield port
        finally:
            await door.aclose()


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
        ),
    )
    relay.wake()
    return new


class StoreStatus:
    """Answers what the stores do now."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def ready(self) -> tuple[bool, Mapping[str, object]]:
        """Say whether new calls can be served: the journal decides, stores only degrade."""
        lag_ms = self._parts.lag.p99_ms
        limit_ms = REFUSED_AT * self._parts.settings.admission_lag_ms
        return lag_ms <= limit_ms, {"lag_p99_ms": round(lag_ms, 1), "lag_limit_ms": limit_ms}

    async def stores(self) -> Sequence[Mapping[str, object]]:
        """Ask every store now, all at once."""
        backlog = await self._parts.journal.backlog()
        rows = await asyncio.gather(*(_status(p) for p in self._parts.stores.projections))
        return [{**row, "deliveries": backlog[row["store"]]} for row in rows]  # type: ignore[index]

    async def verify(self) -> Mapping[str, object]:
        """Compare every record with every store."""
        report = await verify(self._parts.journal, self._parts.stores.projections)
        return {"clean": report.clean, "summary": report.summary(), **report.to_json()}


async def _status(projection: Projection) -> dict[str, object]:
    began = time.perf_counter()
    row: dict[str, object] = {"store": projection.store, "engine": projection.engine}
    try:
        async with asyncio.timeout(PING_S):
            await projection.ping()
            took_ms = (time.perf_counter() - began) * 1000
            counts = await projection.counts()
    except (StoreUnavailable, TimeoutError) as exc:
        return {**row, "answering": False, "error": str(exc) or "no answer in time"}
    return {**row, "answering": True, "response_ms": round(took_ms, 2), "counts": counts}
