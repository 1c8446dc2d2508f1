"""Keeps the versions of a call in order at a store, also where nobody knows how a try ended.

A try that was given up, or whose answer was lost, may still be carried out by the server: at once,
or when a server that hung goes on. If the next version came before that, the older one would be
written over it. So a newer version waits until the store has answered something again, and a
little longer: by then what was left behind is done, or was lost with its connection. What a former
process of ours left behind counts the same. Other calls never wait.

    try of version n ends uncertain ──▶ open ──the store answers──▶ until then + settle_s ──▶ sure
"""

from collections.abc import Sequence
from datetime import datetime

from agent_sidecar.domain.types import CallId
from agent_sidecar.ports import Delivery


class VersionOrder:
    """Which newer versions must wait, for one store; times are the loop's."""

    def __init__(self, settle_s: float, began_at: datetime) -> None:
        """`began_at`: what was committed before, a former process may have tried."""
        self._settle_s = settle_s
        self._began_at = began_at
        # call -> newest version whose end is unknown, and until when that matters (None: open)
        self._unsure: dict[CallId, tuple[int, float | None]] = {}
        # until when a former process's tries matter
        self._former_until: float | None = None

    def note_uncertain(self, deliveries: Sequence[Delivery]) -> None:
        """Nobody knows whether the store takes these, or when."""
        for delivery in deliveries:
            call_id = delivery.record.call_id
            version, _ = self._unsure.get(call_id, (0, None))
            self._unsure[call_id] = (max(version, delivery.version), None)

    def note_answered(self, deliveries: Sequence[Delivery], now: float) -> None:
        """Note that the store has answered, for these or in general."""
        until = now + self._settle_s
        if self._former_until is None:
            self._former_until = until
        for call_id, (version, ends) in list(self._unsure.items()):
            if ends is None:
                self._unsure[call_id] = (version, until)
            elif ends <= now:
                del self._unsure[call_id]
        if now < self._former_until:
            for delivery in deliveries:
                if delivery.committed_at < self._began_at:
                    known, _ = self._unsure.get(delivery.record.call_id, (0, None))
                    version = max(known, delivery.version)
                    self._unsure[delivery.record.call_id] = (version, until)

    def waits_until(self, delivery: Delivery, now: float) -> float | None:
        """Return until when it must wait; None: it may go. Infinite: until the store answers."""
        version, ends = self._unsure.get(delivery.record.call_id, (delivery.version, 0.0))
        until = now
        if version < delivery.version:
            until = float("inf") if ends is None else ends
        if delivery.version > 1 and delivery.committed_at < self._began_at:
            # its former version may be on its way since before the start
            former = self._former_until
            until = max(until, float("inf") if former is None else former)
        return until if until > now else None
