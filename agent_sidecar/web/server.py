"""The front door itself: all routes on one port, opened and closed as one thing."""

import errno

import structlog
from aiohttp import web

from agent_sidecar.errors import PortInUse, SettingsInvalid
from agent_sidecar.web.answers import answer_errors
from agent_sidecar.web.auth import check_token
from agent_sidecar.web.availability import availability_routes
from agent_sidecar.web.calls import call_routes
from agent_sidecar.web.care import care_routes
from agent_sidecar.web.deliveries import delivery_routes
from agent_sidecar.web.forgetting import forgetting_routes
from agent_sidecar.web.forward import Forwarder
from agent_sidecar.web.hints import hint_routes
from agent_sidecar.web.imports import import_routes
from agent_sidecar.web.insights import insight_routes
from agent_sidecar.web.leads import lead_routes
from agent_sidecar.web.learning import learning_routes
from agent_sidecar.web.machine import machine_routes
from agent_sidecar.web.media import media_routes
from agent_sidecar.web.parts import FrontDoorParts, Limits
from agent_sidecar.web.sockets import OpenSockets
from agent_sidecar.web.suggest import suggest_routes
from agent_sidecar.web.transfers import transfer_routes
from agent_sidecar.web.webhooks import webhook_routes

__all__ = ["FrontDoor", "FrontDoorParts", "Limits"]

log = structlog.get_logger()


class FrontDoor:
    """Serves the parts on one port from `start` to `aclose`."""

    def __init__(self, parts: FrontDoorParts) -> None:
        self._limits = parts.limits
        self._sockets = OpenSockets()
        self._forwarder = (
            Forwarder(parts.forward_url, parts.limits, parts.metrics) if parts.forward_url else None
        )
        self._runner = web.AppRunner(
            self._build(parts),
            access_log=None,
            handle_signals=False,
            shutdown_timeout=parts.limits.stop_s,
        )

    def _build(self, parts: FrontDoorParts) -> web.Application:
        app = web.Application(
            client_max_size=parts.limits.body_bytes,
            middlewares=[
                answer_errors(parts.metrics),
                check_token(parts.api_token, parts.public_url, parts.metrics),
            ],
        )
        app.add_routes(
            [
                *media_routes(parts, self._sockets),
                *webhook_routes(parts, self._forwarder),
                *hint_routes(parts, self._sockets),
                *call_routes(parts),
                *transfer_routes(parts),
                *lead_routes(parts.leads),
                *forgetting_routes(parts.forgetting),
                *availability_routes(parts),
                *suggest_routes(parts.desk),
                *insight_routes(parts),
                *import_routes(parts.take_in),
                *learning_routes(parts.learning),
                *delivery_routes(parts),
                *machine_routes(parts),
                *care_routes(parts.care),
            ]
        )
        return app

    async def start(self, host: str, port: int) -> int:
        """Listen; 0 takes a free port. Returns the port.

        Raises `PortInUse`, or `SettingsInvalid` for a host that is not ours.
        """
        if self._forwarder is not None:
            await self._forwarder.start()
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as exc:
            await self.aclose()
            if exc.errno == errno.EADDRINUSE:
                raise PortInUse(
                    f"port {port} of {host} is in use: stop what listens there, or set"
                    " SIDECAR_PORT to another (0 takes a free one)"
                ) from exc
            raise SettingsInvalid(
                f"SIDECAR_HOST {host}, SIDECAR_PORT {port}: cannot listen there ({exc.strerror})"
            ) from exc
        bound: int = self._runner.addresses[0][1]
        log.info("front_door_opened", host=host, port=bound)
        return bound

    async def aclose(self) -> None:
        """Take nothing new, close the sockets, finish open requests, pass on what still waits."""
        for site in tuple(self._runner.sites):
            await site.stop()
        await self._sockets.aclose()
        await self._runner.cleanup()
        if self._forwarder is not None:
            await self._forwarder.aclose()
