"""Ends what transfers of calls that are over left behind: a closer's leg, or his lease.

A call is recorded and forgotten while the end of its closer's leg may not be proven yet, and a
process may die in between. Telnyx says which legs live, the journal whose they were: one that no
prospect is on any more is ended, and who is reserved without a leg is given free. What another
process left that never came back is found by its lease, which nobody looks after any more.
"""

import asyncio
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.types import CallId, CommandId, LegId, TransferId
from agent_sidecar.errors import CommandRefused, CommandUncertain, StoreUnavailable
from agent_sidecar.live.telling import alone
from agent_sidecar.live.transfer import CLIENT_STATE
from agent_sidecar.ports import CallControl, Closers, Journal

log = structlog.get_logger()

LOOK_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardParts:
    """What the guard looks at."""

    control: CallControl
    closers: Closers
    roster: tuple[str, ...]
    journal: Journal
    # a call of this process that takes care of its transfers itself
    is_known: Callable[[CallId], bool]


class TransferGuard:
    """Looks after the closers of calls that are over; `run` it."""

    def __init__(self, parts: GuardParts) -> None:
        self._parts = parts
        self._is_first = True

    async def run(self) -> None:
        """Look at once, then now and then."""
        while True:
            await alone(self.look())
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Look once; who cannot be asked is asked the next time.

        The first time all legs are looked at, later only while somebody is reserved for a call that
        nobody here takes care of: Telnyx is asked for nothing in between.
        """
        try:
            left = await self._leases_left()
            if not (left or self._is_first):
                return
            legs = await self._parts.control.live_legs()
            for state, leg_id in legs.items():
                if state.startswith(CLIENT_STATE):
                    await self._look_at(TransferId(state.removeprefix(CLIENT_STATE)), leg_id)
            for closer, holder in left.items():
                if f"{CLIENT_STATE}{holder}" not in legs:
                    await self._look_at_lease(closer, holder)
            self._is_first = False
        except (CommandRefused, CommandUncertain, StoreUnavailable) as exc:
            log.info("transfers_not_looked_after", error=str(exc), again_in_s=LOOK_S)

    async def _leases_left(self) -> Mapping[str, TransferId]:
        """Return who is reserved for a transfer that no call of this process takes care of."""
        found = {closer: await self._parts.closers.holder(closer) for closer in self._parts.roster}
        return {
            closer: holder
            for closer, holder in found.items()
            if holder is not None and not self._is_known(holder)
        }

    async def _look_at(self, transfer_id: TransferId, leg_id: LegId) -> None:
        record = await self._record(transfer_id)
        if record is None or await self._may_talk(transfer_id, record):
            return
        log.warning(
            "closer_leg_left_up", transfer_id=transfer_id, what_to_do="nothing: it is ended"
        )
        # decided by the transfer alone: the same in every process and after every crash
        command_id = CommandId(str(uuid.uuid5(uuid.NAMESPACE_OID, f"{transfer_id}:left")))
        await self._parts.control.hang_up(leg_id, command_id=command_id)

    async def _look_at_lease(self, closer: str, holder: TransferId) -> None:
        closers = self._parts.closers
        if await self._record(holder) is not None or await closers.untended(closer) == holder:
            log.warning("lease_left", transfer_id=holder, what_to_do="nothing: it is given back")
            await closers.release(closer, holder)

    async def _record(self, transfer_id: TransferId) -> CallRecord | None:
        """Return the record of a call that is over; another process's are not ours to judge."""
        if self._is_known(transfer_id):
            return None
        committed = await self._parts.journal.record(_call_of(transfer_id))
        return committed.record if committed else None

    def _is_known(self, transfer_id: TransferId) -> bool:
        return self._parts.is_known(_call_of(transfer_id))

    async def _may_talk(self, transfer_id: TransferId, record: CallRecord) -> bool:
        """Say whether the prospect is still there: a call that was detached may go on."""
        bridged = any(t.transfer_id == transfer_id and t.bridged_at for t in record.transfers)
        prospects = [leg.leg_id for leg in record.legs if leg.party == "prospect"]
        return bridged and any([await self._parts.control.is_alive(leg) for leg in prospects])


def _call_of(transfer_id: TransferId) -> CallId:
    return CallId(transfer_id.rpartition(":")[0])
