"""Delivers one call's webhooks as Telnyx does: signed per attempt, repeated until acknowledged.

In order by default, each waiting for the one before, so that a played call reads like the recorded
one. With an `Adversity` they come late, overtake each other and come twice, the same for a seed.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from agent_sidecar.errors import ServiceUnreachable
from agent_sidecar.simulator.front_door import FrontDoor
from agent_sidecar.simulator.signing import WebhookSigner
from agent_sidecar.simulator.webhooks import Webhook

# `lost`: given up after the window; Telnyx forgets such an event for good
Fate = Literal["acknowledged", "refused", "lost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adversity:
    """What a network may do to webhooks; all of it allowed by Telnyx's documents."""

    seed: int
    # chance that a webhook is posted again although it was acknowledged
    repeat: float = 0.0
    # each webhook waits a random time up to this, wall seconds, so they overtake each other
    late_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRules:
    """Wall seconds all."""

    # how long an event is tried from the moment it occurred
    window_s: float = 60.0
    # an answer later than this is none
    answer_s: float = 2.0
    first_back_off_s: float = 0.2
    longest_back_off_s: float = 5.0
    adversity: Adversity | None = None


@dataclass(slots=True, kw_only=True)
class DeliveryCounts:
    acknowledged: int = 0
    refused: int = 0
    lost: int = 0
    # attempts after the first
    retries: int = 0
    # of what Telnyx would send twice on purpose
    repeats: int = 0


class WebhookLane:
    """The webhooks of one call on their way; `run` must run for anything to leave."""

    def __init__(
        self,
        front_door: FrontDoor,
        signer: WebhookSigner,
        rules: DeliveryRules,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._front_door = front_door
        self._signer = signer
        self._rules = rules
        self._now = now
        self._queue: asyncio.Queue[_Parcel | None] = asyncio.Queue()
        self._random = np.random.default_rng(rules.adversity.seed if rules.adversity else 0)
        self.counts = DeliveryCounts()
        # what the service said to the newest webhook that it refused, and why one was lost
        self.last_refusal: str | None = None
        self.last_loss: str | None = None

    def send(self, webhook: Webhook) -> "asyncio.Future[Fate]":
        """Put it on its way; the result may be ignored."""
        loop = asyncio.get_running_loop()
        parcel = _Parcel(webhook=webhook, sent_at=loop.time(), fate=loop.create_future())
        self._queue.put_nowait(parcel)
        return parcel.fate

    def close(self) -> None:
        """Let `run` end as soon as everything sent so far has met its fate."""
        self._queue.put_nowait(None)

    async def run(self) -> None:
        """Deliver until `close`."""
        async with asyncio.TaskGroup() as tasks:
            while (parcel := await self._queue.get()) is not None:
                if self._rules.adversity is None:
                    await self._deliver(parcel)
                else:
                    tasks.create_task(
                        self._deliver_late(parcel, self._rules.adversity),
                        name=f"webhook:{parcel.webhook.event_type}",
                    )

    async def _deliver_late(self, parcel: "_Parcel", adversity: Adversity) -> None:
        wait_s, again, again_s = self._random.random(3)
        await asyncio.sleep(float(wait_s) * adversity.late_s)
        await self._deliver(parcel)
        if again < adversity.repeat:
            await asyncio.sleep(float(again_s) * adversity.late_s)
            self.counts.repeats += 1
            await self._try(parcel.webhook, attempt=2)

    async def _deliver(self, parcel: "_Parcel") -> None:
        fate = await self._until_answered(parcel)
        match fate:
            case "acknowledged":
                self.counts.acknowledged += 1
            case "refused":
                self.counts.refused += 1
            case "lost":
                self.counts.lost += 1
        if not parcel.fate.done():
            parcel.fate.set_result(fate)

    async def _until_answered(self, parcel: "_Parcel") -> Fate:
        loop = asyncio.get_running_loop()
        back_off_s = self._rules.first_back_off_s
        attempt = 1
        while (fate := await self._try(parcel.webhook, attempt=attempt)) is None:
            if loop.time() + back_off_s > parcel.sent_at + self._rules.window_s:
                return "lost"
            await asyncio.sleep(back_off_s)
            back_off_s = min(2 * back_off_s, self._rules.longest_back_off_s)
            attempt += 1
            self.counts.retries += 1
        return fate

    async def _try(self, webhook: Webhook, *, attempt: int) -> Fate | None:
        """Post once; None means that another attempt may help."""
        body = webhook.body(attempt=attempt, delivered_to=self._front_door.webhook_url)
        headers = self._signer.headers(body, timestamp=int(self._now()))
        try:
            status = await self._front_door.post_webhook(
                body, headers, answer_s=self._rules.answer_s
            )
        except ServiceUnreachable as exc:
            self.last_loss = str(exc)
            return None
        if 200 <= status < 300:
            return "acknowledged"
        if status in (408, 429) or status >= 500:
            self.last_loss = f"{webhook.event_type} was answered {status}"
            return None
        self.last_refusal = f"{webhook.event_type} was answered {status}"
        return "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parcel:
    webhook: Webhook
    # loop time
    sent_at: float
    fate: "asyncio.Future[Fate]"
