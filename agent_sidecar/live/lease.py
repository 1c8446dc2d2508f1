"""The closer's lease of one transfer: taken before his phone rings, given back on evidence."""

import asyncio

import structlog

from agent_sidecar.domain.availability import Step
from agent_sidecar.domain.types import TransferId
from agent_sidecar.errors import StoreUnavailable
from agent_sidecar.live.closer_leg import AttemptOver
from agent_sidecar.ports import Clock, Closers

log = structlog.get_logger()

RETRY_S = 5.0


class Lease:
    """One closer, reserved for one transfer."""

    def __init__(self, closers: Closers, closer: str, transfer_id: TransferId) -> None:
        self._closers = closers
        self._closer = closer
        self._transfer_id = transfer_id
        self._is_taken = False

    async def take(self, clock: Clock) -> str:
        """Reserve him; return why he is not to be had, empty: he is reserved.

        Raises `AttemptOver` when nobody knows: then nobody else is to be asked either.
        """
        try:
            if not await self._closers.is_available(self._closer, clock.now()):
                return f"{self._closer} is off or with another prospect"
            await self._ask()
        except StoreUnavailable as exc:
            raise AttemptOver(
                "unavailable", f"nobody knows whether {self._closer} is free: {exc}"
            ) from exc
        return "" if self._is_taken else f"{self._closer} was taken by another call a moment ago"

    async def hold(self) -> None:
        """Keep him after a restart: his phone may be ringing for this transfer.

        Raises `AttemptOver` when another one has him, or nobody knows.
        """
        try:
            await self._ask()
        except StoreUnavailable as exc:
            raise AttemptOver(
                "failed", f"nobody knows whether {self._closer} is still reserved: {exc}"
            ) from exc
        if not self._is_taken:
            raise AttemptOver(
                "failed", f"{self._closer} was given to another call while the sidecar was away"
            )

    def note(self, step: Step) -> None:
        """Say what he does now; nobody waits until it is known."""
        self._closers.note(self._closer, self._transfer_id, step)

    async def release(self) -> None:
        """Give him free; tried until the store answers."""
        while self._is_taken:
            try:
                await self._closers.release(self._closer, self._transfer_id)
            except StoreUnavailable as exc:
                log.warning("lease_not_released", error=str(exc), again_in_s=RETRY_S)
                await asyncio.sleep(RETRY_S)
            else:
                self._is_taken = False

    async def _ask(self) -> None:
        # before it is asked for: when the answer is lost, he may be reserved all the same
        self._is_taken = True
        self._is_taken = await self._closers.lease(self._closer, self._transfer_id)
