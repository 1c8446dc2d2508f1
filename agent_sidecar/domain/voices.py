"""Whose voice is on a leg's track at a time of the conversation: known or nobody's, never guessed.

    leg of       inbound       outbound
    prospect     prospect      who talks with him: the agent, from the bridge on the closer
    agent        agent         the prospect, unless a closer has him
    closer       closer        the prospect; outside of his bridge both are nobody's

Telnyx's `inbound` is what it receives from who is on the leg, `outbound` what it sends him; neither
has to do with who called whom. Webhooks, words and audio come late and in any order, so a voice
belongs to whom it belonged when it spoke, not when we heard of it.
"""

from collections.abc import MutableMapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from agent_sidecar.domain.types import AgentKind, Leg, LegId, Party, Track

# a usual pace: what the words of a line are assumed to have taken
WORDS_PER_S = 2.7
# what both legs tell of one bridge lies no further apart
TOGETHER = timedelta(seconds=2)


@dataclass(slots=True)
class _Turn:
    """A closer talks with the prospect."""

    leg_id: LegId | None
    from_at: datetime
    to_at: datetime | None = None


class Voices:
    """Who is on the legs of one call, and when a closer had the prospect."""

    def __init__(self, legs: MutableMapping[LegId, Leg], agent: AgentKind) -> None:
        """`legs` is the call's own mapping: it is written here only."""
        self._legs = legs
        # a human may talk with the closer himself, before the prospect does
        self._may_consult = agent == "human"
        # when legs were joined with one that nobody named
        self._joined_at: dict[LegId, datetime] = {}
        self._ringing: set[LegId] = set()
        self._turns: list[_Turn] = []

    @property
    def other(self) -> Party:
        """Who talks with the prospect now."""
        return "closer" if any(turn.to_at is None for turn in self._turns) else "agent"

    def other_at(self, at: datetime) -> Party:
        """Return who talked with the prospect then."""
        with_closer = any(
            turn.from_at <= at and (turn.to_at is None or at < turn.to_at) for turn in self._turns
        )
        return "closer" if with_closer else "agent"

    def speaker(self, leg_id: LegId, track: Track, at: datetime) -> Party | None:
        """Return who spoke then; None: nobody who talks with the prospect, or nobody knows."""
        leg = self._legs.get(leg_id)
        if leg is None:
            return None
        other = self.other_at(at)
        if leg.party == "prospect":
            return "prospect" if track == "inbound" else other
        if track == "inbound":
            return leg.party if leg.party in ("agent", other) else None
        return "prospect" if leg.party == other else None

    def is_ringing(self, leg_id: LegId) -> bool:
        """Say whether nobody has taken this leg yet: what sounds there is no conversation."""
        return leg_id in self._ringing

    def join(self, leg: Leg, at: datetime, *, answered: bool) -> None:
        """Note that a leg is known, or was answered; events may come late, again, or know less."""
        known = self._legs.get(leg.leg_id)
        if answered:
            self._ringing.discard(leg.leg_id)
        elif known is None:
            self._ringing.add(leg.leg_id)
        self._legs[leg.leg_id] = replace(
            leg,
            call_leg_id=leg.call_leg_id or (known.call_leg_id if known else None),
            call_session_id=leg.call_session_id or (known.call_session_id if known else None),
            from_at=known.from_at if known else leg.from_at or at,
            to_at=leg.to_at or (known.to_at if known else None),
        )

    def bridge(self, at: datetime, leg_id: LegId, peer_leg_id: LegId | None) -> None:
        """Note that a leg was joined with another; a closer's with the prospect's, or back."""
        self._ringing.discard(leg_id)
        if peer_leg_id is not None:
            self._ringing.discard(peer_leg_id)
        ends = {leg.party for leg in self._legs.values() if leg.leg_id in (leg_id, peer_leg_id)}
        if ends == {"closer", "agent"}:
            return  # they talk about the prospect, not with him
        if "agent" in ends:
            self._end_turns(at, None)
        elif self._may_consult and len(ends) == 1:
            self._begin_once_both_told(at, leg_id)
        elif "closer" in ends:
            closers = [x.leg_id for x in self._legs.values() if x.party == "closer"]
            self.begin_turn(at, leg_id if leg_id in closers else peer_leg_id)

    def _begin_once_both_told(self, at: datetime, leg_id: LegId) -> None:
        """Begin a turn where the prospect's leg and a closer's were joined at the same time."""
        self._joined_at[leg_id] = at
        near = [x for x, then in self._joined_at.items() if abs(at - then) <= TOGETHER]
        by_party = {leg.party: leg.leg_id for leg in self._legs.values() if leg.leg_id in near}
        if "prospect" in by_party and "closer" in by_party:
            self.begin_turn(min(self._joined_at[x] for x in near), by_party["closer"])

    def begin_turn(self, at: datetime, closer_leg: LegId | None) -> None:
        """Note that a closer has the prospect from then on; told twice, or late, it is one turn."""
        for turn in self._turns:
            if turn.leg_id == closer_leg and (turn.to_at is None or at <= turn.to_at):
                turn.from_at = min(turn.from_at, at)
                return
        leg = self._legs.get(closer_leg) if closer_leg else None
        self._turns.append(_Turn(closer_leg, at, leg.to_at if leg else None))

    def leave(self, at: datetime, leg_id: LegId) -> Leg | None:
        """Note that a leg hung up, and return it; a closer's gives the prospect back."""
        leg = self._legs.get(leg_id)
        if leg is None:
            return None
        left = self._legs[leg_id] = replace(leg, to_at=at)
        self._ringing.discard(leg_id)
        if leg.party == "closer":
            self._end_turns(at, leg_id)
        return left

    def _end_turns(self, at: datetime, leg_id: LegId | None) -> None:
        for turn in self._turns:
            is_his = leg_id is None or turn.leg_id in (None, leg_id)
            if turn.to_at is None and is_his and turn.from_at <= at:
                turn.to_at = at
