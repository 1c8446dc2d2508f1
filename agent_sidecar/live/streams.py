"""The media streams of one call: the newest of each leg."""

from collections import defaultdict

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.dialogue import Dialogue
from agent_sidecar.domain.types import LegId, Party
from agent_sidecar.live.call_parts import HeardStream

# what may change who talks with the prospect
_SWITCHES = (ev.TransferProgressed, ev.LegLeft, ev.LegsBridged)


class Streams:
    """What one call is heard by."""

    def __init__(self) -> None:
        self._newest: dict[LegId, HeardStream] = {}
        # of each leg: both voices are heard on every one, and would count twice in one for all
        self._dialogues: defaultdict[LegId, Dialogue] = defaultdict(Dialogue)

    @property
    def any_open(self) -> bool:
        """Something can still be heard."""
        return any(stream.is_open for stream in self._newest.values())

    def take(self, leg_id: LegId, stream: HeardStream) -> None:
        """Hear a leg by another stream from now on."""
        self._newest[leg_id] = stream

    def of(self, leg_id: LegId) -> HeardStream | None:
        """Return the newest stream of a leg."""
        return self._newest.get(leg_id)

    def dialogue(self, leg_id: LegId) -> Dialogue:
        """Return what is known of the voices on a leg; it outlives the leg's streams."""
        return self._dialogues[leg_id]

    def hears(self, party: Party) -> bool:
        """Say whether a party is heard on his own leg, and need not be through another."""
        return any(s.is_open and s.own_party == party for s in self._newest.values())

    def before(self, event: ev.CallEvent) -> None:
        """Let a final line find the sound of its words."""
        if isinstance(event, ev.LineHeard) and event.is_final:
            for stream in self._newest.values():
                stream.end_speech(event.party)

    def after(self, event: ev.CallEvent, other: Party) -> None:
        """Let the streams know who talks with the prospect now."""
        if isinstance(event, _SWITCHES):
            for stream in self._newest.values():
                stream.set_other(other)

    def end(self, reason: str) -> None:
        """Hear no more; what was heard and lost belongs to the record."""
        for stream in self._newest.values():
            stream.end(reason)
