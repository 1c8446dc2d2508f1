"""Listens to the messages of all calls on the hints socket, and comes back when it is cut."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus, WebSocketException

from agent_sidecar.errors import ServiceRefused
from agent_sidecar.simulator.front_door import FrontDoor

_RECONNECT_S = 0.3
_OPEN_S = 5.0


class HintSubscriber:
    """Hands on each message as it comes; what was said while it was cut off is not repeated."""

    def __init__(
        self, front_door: FrontDoor, on_message: Callable[[Mapping[str, Any]], None]
    ) -> None:
        self._front_door = front_door
        self._on_message = on_message
        # set as soon as the socket has been open once
        self.open = asyncio.Event()

    async def run(self) -> None:
        """Listen until cancelled. Raises `ServiceRefused` when the service lets nobody in."""
        while True:
            try:
                await self._listen()
            except InvalidStatus as exc:
                status = exc.response.status_code
                if status < 500 and status not in (408, 429):
                    raise ServiceRefused(
                        f"{self._front_door.hints_url} answered HTTP {status}; is the API token"
                        " the one that the service was started with?"
                    ) from exc
            except (OSError, WebSocketException, EOFError):
                pass  # cut or not there yet: whoever needs it waits for `open`
            await asyncio.sleep(_RECONNECT_S)

    async def _listen(self) -> None:
        async with connect(
            self._front_door.hints_url,
            additional_headers=self._front_door.authorization,
            proxy=None,
            open_timeout=_OPEN_S,
            max_size=None,
        ) as socket:
            self.open.set()
            async for message in socket:
                with suppress(msgspec.DecodeError):
                    self._on_message(msgspec.json.decode(message, type=dict[str, Any]))
