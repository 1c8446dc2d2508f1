"""Tells everybody who listens to this process: each listener has a bounded queue of its own.

A slow listener loses its oldest messages and is told how many; the call never waits for him.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from agent_sidecar.domain.types import CallId

Message = Mapping[str, object]
QUEUE = 1000


class Subscription:
    """One listener: an async iterator over messages, of one call or of all."""

    def __init__(self, hub: "Hub", call: str | None) -> None:
        self._hub = hub
        self._call = call
        self._queue: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._dropped = 0

    def wants(self, message: Message) -> bool:
        """Say whether this listener asked for the message's call."""
        return self._call is None or self._call in (
            message.get("call_id"),
            message.get("call_control_id"),
        )

    def put(self, message: Message) -> None:
        """Queue a message; the oldest gives way when the queue is full."""
        if len(self._queue) >= QUEUE:
            self._queue.popleft()
            self._dropped += 1
        self._queue.append(message)
        self._arrived.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        while not self._queue:
            self._arrived.clear()
            await self._arrived.wait()
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            return {"type": "dropped", "count": dropped}
        return self._queue.popleft()

    async def __aenter__(self) -> Self:
        self._hub.join(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hub.leave(self)


class Hub:
    """Passes messages on; `onward` takes them out of this process (the channel in Redis)."""

    def __init__(self, onward: Callable[[CallId, Message], None] | None = None) -> None:
        self._subscriptions: set[Subscription] = set()
        self._onward = onward

    def subscribe(self, call: str | None = None) -> Subscription:
        """Return a listener; it hears from the moment it is entered (`async with`)."""
        return Subscription(self, call)

    def join(self, subscription: Subscription) -> None:
        self._subscriptions.add(subscription)

    def leave(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)

    def publish(self, call_id: CallId, message: Message) -> None:
        """Tell everybody; never blocks."""
        for subscription in self._subscriptions:
            if subscription.wants(message):
                subscription.put(message)
        if self._onward is not None:
            self._onward(call_id, message)
