"""Which leg belongs to which call, and who is on it."""

from agent_sidecar.domain.types import CallId, LegId, Party
from agent_sidecar.live.live_call import LiveCall


class Legs:
    """The legs of the calls of this process."""

    def __init__(self) -> None:
        self._owners: dict[LegId, tuple[LiveCall, Party]] = {}
        self._of_call: dict[CallId, list[LegId]] = {}

    def bind(self, leg_id: LegId, call: LiveCall, party: Party) -> None:
        """Say whose leg it is; the newest word stands."""
        self._owners[leg_id] = (call, party)
        self._of_call.setdefault(call.call_id, []).append(leg_id)

    def owner(self, leg_id: LegId) -> tuple[LiveCall, Party] | None:
        """Return the call and who is on this leg of it."""
        return self._owners.get(leg_id)

    def forget(self, call: LiveCall) -> None:
        """Forget the call's legs, but not those that a newer call has by now."""
        for leg_id in self._of_call.pop(call.call_id, ()):
            owner = self._owners.get(leg_id)
            if owner is not None and owner[0] is call:
                del self._owners[leg_id]
