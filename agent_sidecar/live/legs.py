"""Takes other legs into the call that they belong to, where it is beyond doubt who is on them.

A human agent and a closer have legs of their own. Whose leg one is tells, in this order: whoever
attaches it with a role, the client state of whoever dialled it, the closer's number, and for a call
with a human agent the session that the legs of one call share, or the leg it was joined with.
Nothing else: a leg of which none of this is known stays a stranger's.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import structlog

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.media import StreamStart
from agent_sidecar.domain.types import Leg, LegId, Party
from agent_sidecar.errors import CallUnknown, RequestInvalid
from agent_sidecar.live.directory import Directory
from agent_sidecar.live.live_call import LiveCall
from agent_sidecar.live.requests import AttachRequest
from agent_sidecar.live.routing import role_of
from agent_sidecar.live.strangers import Strangers
from agent_sidecar.live.tokens import Tokens
from agent_sidecar.ports import TelephonyEvent

log = structlog.get_logger()


class Legs:
    """The way of another leg into its call."""

    def __init__(
        self,
        directory: Directory,
        strangers: Strangers,
        tokens: Tokens,
        closer_numbers: frozenset[str],
        on_agent: Callable[[LegId], None],
    ) -> None:
        """`on_agent` is told of each answered leg of an agent's that joins."""
        self._directory = directory
        self._strangers = strangers
        self._tokens = tokens
        self._closer_numbers = closer_numbers
        self._on_agent = on_agent

    def join(self, leg: Leg, call: LiveCall, *, answered: bool) -> Awaitable[None]:
        """Say whose leg it is, and that it belongs to this call."""
        seen = self._strangers.take(leg.leg_id)
        if seen is not None:
            leg = replace(
                leg,
                call_leg_id=leg.call_leg_id or seen.call_leg_id,
                call_session_id=leg.call_session_id or seen.call_session_id,
            )
        self._directory.bind(leg.leg_id, call, leg.party)
        log.info("leg_joined", call_id=call.call_id, role=leg.party)
        kept = call.feed(ev.LegJoined(at=call.now(), leg=leg, answered=answered))
        if answered and leg.party == "agent":
            self._on_agent(leg.leg_id)
        return kept

    def check(self, legs: Mapping[Party, LegId], prospect: LegId, call: LiveCall | None) -> None:
        """Raise `RequestInvalid` where a call (None: a new one) cannot have one of these legs."""
        for role, leg_id in legs.items():
            owner = self._directory.owner(leg_id)
            is_other_s = owner is not None and (owner[0] is not call or owner[1] == "prospect")
            if leg_id == prospect or is_other_s:
                raise RequestInvalid(
                    f"the {role}'s leg is this prospect's own, or of another call",
                    field=f"legs.{role}",
                    what_to_do="name another leg, or leave it out",
                )

    def attach(
        self, leg_id: LegId, role: Party, call: LiveCall | None, name: str | None
    ) -> tuple[LiveCall, Awaitable[None]]:
        """Take in a leg that somebody attaches with a role, into the call that he names.

        Raises `CallUnknown`, and `RequestInvalid` for a leg that is somebody else's already.
        """
        owner = self._directory.owner(leg_id)
        call = call or (self._directory.find(name) if name else None)
        if call is None and name is None:
            own = owner[0] if owner and not owner[0].recorded.is_set() else None
            call = own or self._directory.in_session(self._strangers.session_of(leg_id))
        if call is None:
            raise CallUnknown(
                f"the {role}'s leg belongs to no live call here: attach the prospect's leg first,"
                " and name that call in the field `call`"
            )
        is_other_s = owner is not None and (owner[0] is not call or owner[1] == "prospect")
        if owner is not None and (is_other_s or role == "prospect"):
            raise RequestInvalid(
                f"this leg is the {owner[1]}'s of call {owner[0].call_id} already",
                field="role",
                what_to_do="detach that call first, or name another leg",
            )
        # a call that is attached midway counts as answered
        return call, self.join(Leg(leg_id=leg_id, party=role), call, answered=True)

    def adopt(self, event: TelephonyEvent, leg_id: LegId) -> tuple[LiveCall, Party] | None:
        """Take in the leg of an event if it is clear whose it is; None: it stays a stranger's."""
        peer = event.peer_leg_id and self._directory.owner(event.peer_leg_id)
        call = peer[0] if peer else self._directory.in_session(event.call_session_id)
        if call is None or call.is_ending or event.kind == "hangup":
            return None
        party = role_of(event, call, self._closer_numbers)
        if party is None:
            return None
        leg = Leg(
            leg_id=leg_id,
            party=party,
            call_leg_id=event.call_leg_id,
            call_session_id=event.call_session_id,
        )
        self.join(leg, call, answered=event.kind != "initiated")
        return call, party

    def adopt_peer(self, event: TelephonyEvent) -> None:
        """Take in the leg that one of ours was joined with."""
        peer = event.peer_leg_id
        if peer is None or self._directory.owner(peer) is not None:
            return
        seen = self._strangers.seen(peer)
        if seen is None:
            seen = TelephonyEvent(
                event_id=event.event_id, event_type=event.event_type, kind="bridged", at=event.at
            )
        self.adopt(replace(seen, peer_leg_id=event.leg_id), peer)

    def adopt_session(self, session: str | None) -> None:
        """Take in the legs that were met before it was known which call has their session."""
        for event in self._strangers.in_session(session) if session else ():
            if event.leg_id is not None:
                self.adopt(event, event.leg_id)

    def learn_session(self, call: LiveCall, start: StreamStart) -> None:
        """Complete a leg with the session that its stream names."""
        leg, session = call.call.log.legs.get(start.leg_id), start.call_session_id
        if leg is None or session is None or leg.call_session_id is not None:
            return
        leg = replace(leg, call_session_id=session)
        call.feed(ev.LegJoined(at=call.now(), leg=leg, answered=False))
        self.adopt_session(session)

    def of_stream(self, token: str, start: StreamStart) -> tuple[LiveCall, Leg] | None:
        """Return the call that an unknown leg may join by its media stream, and as whose.

        None: a call of its own. Whether the token opens that call is still to be asked.
        """
        request, bound = self._tokens.request_of(token), self._tokens.call_of(token)
        call = self._directory.in_session(start.call_session_id)
        if request is not None and request.call is not None:
            call = self._directory.find(request.call)
        if call is None or bound not in (None, call.call_id):
            return None
        role = request.role if request is not None else None
        if role is None and call.call.log.opened.agent == "human":
            role = "agent" if call.call.log.leg_of("agent") is None else None
        if role in (None, "prospect"):
            return None
        leg = Leg(leg_id=start.leg_id, party=role, call_session_id=start.call_session_id)
        return call, leg


def names_another(request: AttachRequest | None) -> bool:
    """Say whether somebody announced a leg that is not its call's prospect's."""
    return request is not None and request.role not in (None, "prospect")
