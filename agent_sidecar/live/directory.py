"""Which calls there are, and which leg belongs to which of them.

A call is live until its record is kept; then it is only known, for what comes late, and forgotten.
"""

from collections.abc import Sequence

from agent_sidecar.domain.types import CallId, LegId, Party
from agent_sidecar.live.live_call import LiveCall


class Directory:
    """The calls of this process and their legs."""

    def __init__(self) -> None:
        self._live: dict[CallId, LiveCall] = {}
        self._recorded: dict[CallId, LiveCall] = {}
        self._owners: dict[LegId, tuple[LiveCall, Party]] = {}
        self._legs: dict[CallId, list[LegId]] = {}

    @property
    def live(self) -> Sequence[LiveCall]:
        """Every call that is up."""
        return list(self._live.values())

    def find(self, name: str) -> LiveCall | None:
        """Return the live call with that call_id, or with a leg of that call_control_id."""
        call = self.known(name)
        return None if call is None or call.recorded.is_set() else call

    def known(self, name: str) -> LiveCall | None:
        """Return the call, be it live or recorded a moment ago."""
        call_id = CallId(name)
        if (call := self._live.get(call_id) or self._recorded.get(call_id)) is not None:
            return call
        owner = self._owners.get(LegId(name))
        return owner[0] if owner else None

    def owner(self, leg_id: LegId) -> tuple[LiveCall, Party] | None:
        """Return the call of a leg, and who is on it."""
        return self._owners.get(leg_id)

    def in_session(self, session: str | None) -> LiveCall | None:
        """Return the live call that has a leg of this session."""
        if session is None:
            return None
        legs = ((call, call.call.log.legs.values()) for call in self._live.values())
        return next((c for c, of in legs if any(x.call_session_id == session for x in of)), None)

    def recorded_leg(self, call_leg_id: str | None, session: str | None) -> LegId | None:
        """Return the leg that a recording is of: by its own id, else a prospect's by its session.

        A call that is over is found too, as long as it is known.
        """
        calls = [*self._live.values(), *self._recorded.values()]
        legs = [leg for call in calls for leg in call.call.log.legs.values()]
        own = (leg for leg in legs if call_leg_id and leg.call_leg_id == call_leg_id)
        in_session = (x for x in legs if session and x.call_session_id == session)
        found = next(own, None) or next((x for x in in_session if x.party == "prospect"), None)
        return found.leg_id if found else None

    def add(self, call: LiveCall) -> None:
        """Begin with a call."""
        self._live[call.call_id] = call

    def bind(self, leg_id: LegId, call: LiveCall, party: Party) -> None:
        """Say whose leg it is; the newest word stands."""
        self._owners[leg_id] = (call, party)
        self._legs.setdefault(call.call_id, []).append(leg_id)

    def note_recorded(self, call: LiveCall) -> None:
        """Let the call be live no more."""
        self._live.pop(call.call_id, None)
        self._recorded[call.call_id] = call

    def forget(self, call: LiveCall) -> None:
        """Forget the call and its legs, but not those that a newer call has by now."""
        self._live.pop(call.call_id, None)
        self._recorded.pop(call.call_id, None)
        for leg_id in self._legs.pop(call.call_id, ()):
            if self._owners.get(leg_id, (None,))[0] is call:
                del self._owners[leg_id]
