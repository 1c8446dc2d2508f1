"""The transfers of one call, running or over: who is told what."""

from collections.abc import Sequence

from agent_sidecar.domain.types import TransferId
from agent_sidecar.live.call_parts import RunningTransfer
from agent_sidecar.ports import TelephonyEvent


class Attempts:
    """At most one of them has not ended; earlier ones may still wait for their closer's hangup."""

    def __init__(self) -> None:
        self._all: dict[TransferId, RunningTransfer] = {}

    @property
    def any_running(self) -> bool:
        """A closer may be on his way, on a leg that nobody knows yet."""
        return any(transfer.awaits_leg for transfer in self._all.values())

    def __contains__(self, transfer_id: TransferId) -> bool:
        return transfer_id in self._all

    def add(self, transfer: RunningTransfer) -> None:
        """Begin with another one."""
        self._all[transfer.transfer_id] = transfer

    def receive(self, event: TelephonyEvent) -> bool:
        """Pass on an event of a closer's leg or of a bridge; say whether it was expected."""
        expected = [transfer.receive(event) for transfer in self._all.values()]
        return any(expected)

    def cancel(self, transfer_id: TransferId, reason: str) -> None:
        """Stop one."""
        if (transfer := self._all.get(transfer_id)) is not None:
            transfer.cancel(reason)

    def cancel_all(self, reason: str) -> None:
        """Stop whatever runs: the call ends."""
        for transfer in self._all.values():
            transfer.cancel(reason)

    @property
    def all(self) -> Sequence[RunningTransfer]:
        """Every attempt, oldest first."""
        return list(self._all.values())
