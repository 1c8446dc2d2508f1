"""Passes webhooks on to the user's own application, raw, after they were answered.

Best effort: what waits is kept in memory, in lanes so that one leg's webhooks keep their order and
one slow answer holds up few others. What his application does not take in time is dropped and
counted; the journal has it.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp
import structlog

from agent_sidecar.web.parts import Limits, Metrics

log = structlog.get_logger()

_LANES: Final = 8
# repeated later they may be taken; every other 4xx stays one
_PASSING: Final = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarded:
    raw: bytes
    headers: Mapping[str, str]
    # webhooks of the same leg stay in order
    leg: str


def passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """Choose the headers his application needs to check the webhook as if it came directly."""
    lower = {name.lower(): value for name, value in headers.items()}
    return {
        name: value
        for name, value in lower.items()
        if name.startswith("telnyx-") or name in {"content-type", "user-agent"}
    }


class Forwarder:
    """Owns its lanes; `start` in a running loop, `aclose` at the end."""

    def __init__(self, url: str, limits: Limits, metrics: Metrics) -> None:
        self._url = url
        self._limits = limits
        self._metrics = metrics
        self._lanes: list[asyncio.Queue[Forwarded]] = []
        self._workers: list[asyncio.Task[None]] = []
        self._session: aiohttp.ClientSession | None = None
        self._said_full = False

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._limits.forward_s)
        )
        self._lanes = [asyncio.Queue(self._limits.forward_queue) for _ in range(_LANES)]
        self._workers = [
            asyncio.create_task(self._run(self._session, lane), name=f"forward:{number}")
            for number, lane in enumerate(self._lanes)
        ]

    def put(self, webhook: Forwarded) -> None:
        """Queue it; never blocks. With a full lane the webhook is dropped."""
        lane = self._lanes[hash(webhook.leg) % _LANES]
        if lane.full():
            self._metrics.count("webhooks_forwarded", "dropped")
            if not self._said_full:
                self._said_full = True
                log.error(
                    "forward_queue_full",
                    what_to_do="webhooks are lost for the application at SIDECAR_FORWARD_URL:"
                    " see whether it answers",
                )
            return
        self._said_full = False
        lane.put_nowait(webhook)

    async def aclose(self) -> None:
        """Give what waits a last chance, then stop."""
        waiting = [asyncio.create_task(lane.join()) for lane in self._lanes]
        if waiting:
            await asyncio.wait(waiting, timeout=self._limits.forward_drain_s)
        left = sum(lane.qsize() for lane in self._lanes)
        if left:
            log.warning("forwards_dropped", count=left)
        for task in (*waiting, *self._workers):
            task.cancel()
        await asyncio.gather(*waiting, *self._workers, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _run(self, session: aiohttp.ClientSession, lane: asyncio.Queue[Forwarded]) -> None:
        while True:
            webhook = await lane.get()
            try:
                self._metrics.count("webhooks_forwarded", await self._forward(session, webhook))
            except Exception:  # the lane must outlive one webhook
                log.exception("forward_failed")
                self._metrics.count("webhooks_forwarded", "failed")
            finally:
                lane.task_done()

    async def _forward(self, session: aiohttp.ClientSession, webhook: Forwarded) -> str:
        """Try until it is taken or refused for good; return what came of it."""
        pauses = iter(self._limits.forward_again_s)
        while True:
            why = await self._post(session, webhook)
            if why in {"taken", "refused"}:
                return why
            pause_s = next(pauses, None)
            if pause_s is None:
                log.warning("forward_given_up", reason=why)
                return "failed"
            await asyncio.sleep(pause_s)

    async def _post(self, session: aiohttp.ClientSession, webhook: Forwarded) -> str:
        try:
            async with session.post(
                self._url, data=webhook.raw, headers=webhook.headers, allow_redirects=False
            ) as answer:
                status = answer.status
        except TimeoutError:
            return "no answer"
        except aiohttp.ClientError as exc:
            return type(exc).__name__
        if status < 300:
            return "taken"
        if status < 500 and status not in _PASSING:
            log.warning("forward_refused", status=status)
            return "refused"
        return f"HTTP {status}"
