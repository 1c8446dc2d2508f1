"""Plays a conversation to a `Call`, line by line, and keeps what it asked for."""

from dataclasses import replace
from typing import Any, TypeVar

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.call import Call
from agent_sidecar.domain.engagement import STARTING_WEIGHTS, Weights
from agent_sidecar.domain.hints import Candidate, Retrieved
from agent_sidecar.domain.playbook import Playbook
from agent_sidecar.domain.record import Acoustics, CallRecord, Configuration, TransferOutcome
from agent_sidecar.domain.types import CallId, Leg, LegId, Party, StrategyName, TransferId, Vector
from tests.domain.playbooks import NOTHING, PLAYBOOK, STARTED_AT, at, reader

E = TypeVar("E")
CONFIGURATION = Configuration(system_version="1", playbook="small", weights="w", model="m")
OPENED = ev.CallOpened(call_id=CallId("c1"), at=STARTED_AT, source="live", agent="assistant")
PROSPECT, CLOSER = LegId("leg:prospect"), LegId("leg:closer")
# moves a call's score by more than any other words of a small lexicon
WARM, COLD = "how do i start, sounds great, I love it", "terrible awful scam, I hate it"


class Talk:
    """One call under test."""

    def __init__(
        self, playbook: Playbook = PLAYBOOK, weights: Weights = STARTING_WEIGHTS, **opened: object
    ) -> None:
        self.call = Call(replace(OPENED, **opened), reader(playbook), weights)  # type: ignore[arg-type]
        self.effects: list[ev.Effect] = []
        self._lines = 0

    def feed(self, event: ev.CallEvent) -> list[ev.Effect]:
        effects = list(self.call.receive(event))
        self.effects += effects
        return effects

    def of(self, kind: type[E]) -> list[E]:
        """Return what was asked for so far, of one kind."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def hear(self, party: Party, text: str, at_s: float) -> str:
        """Say a line without its vector; return its id."""
        self._lines += 1
        line_id = f"l{self._lines}"
        self.feed(ev.LineHeard(line_id=line_id, at=at(at_s), party=party, text=text, is_final=True))
        return line_id

    def embed(self, line_id: str, vector: Vector | None = NOTHING) -> list[ev.Effect]:
        raw = None if vector is None else vector.astype("<f4").tobytes()
        return self.feed(ev.LineEmbedded(line_id=line_id, vector=raw))

    def say(
        self, party: Party, text: str, at_s: float, vector: Vector | None = NOTHING
    ) -> list[ev.Effect]:
        return self.embed(self.hear(party, text, at_s), vector)

    def speech(self, party: Party, start_s: float, end_s: float, **sound: Any) -> None:
        acoustics = replace(Acoustics(talk_s=end_s - start_s), **sound)
        self.feed(ev.SpeechHeard(party=party, start_s=start_s, end_s=end_s, acoustics=acoustics))

    def join(self, leg_id: LegId = PROSPECT, party: Party = "prospect", at_s: float = 0.0) -> None:
        leg = Leg(leg_id=leg_id, party=party)
        self.feed(ev.LegJoined(at=at(at_s), leg=leg, answered=True))

    def leave(
        self, at_s: float, leg_id: LegId = PROSPECT, source: str | None = None
    ) -> list[ev.Effect]:
        return self.feed(ev.LegLeft(at=at(at_s), leg_id=leg_id, cause="normal", source=source))

    def answer(self, at_s: float, *strategies: StrategyName) -> list[ev.Effect]:
        """Answer the newest question with these candidates."""
        found = [Candidate(strategy=s, closeness=0.9, origin="playbook") for s in strategies]
        return self.feed(
            ev.HintsRetrieved(
                question_id=self.of(ev.AskForHints)[-1].question.question_id,
                at=at(at_s),
                retrieved=Retrieved(candidates=tuple(found)),
                latency_ms=12.0,
            )
        )

    def want(self, at_s: float, *, veto: bool = False) -> list[ev.Effect]:
        return self.feed(ev.TransferWanted(at=at(at_s), by="Ann", veto=veto))

    def step(
        self,
        step: ev.TransferStep,
        at_s: float,
        outcome: TransferOutcome | None = None,
        *,
        number: int = 1,
        reason: str = "",
    ) -> list[ev.Effect]:
        return self.feed(
            ev.TransferProgressed(
                transfer_id=TransferId(f"c1:t{number}"),
                at=at(at_s),
                step=step,
                closer="Kevin",
                leg_id=CLOSER,
                outcome=outcome,
                reason=reason,
            )
        )

    def bridge(self, at_s: float) -> None:
        """Ask for a transfer and bring it to its bridge."""
        self.want(at_s)
        self.step("leased", at_s)
        self.step("bridged", at_s)

    def close(self, at_s: float, *, interrupted: bool = False) -> CallRecord:
        self.feed(ev.CallClosed(at=at(at_s), interrupted=interrupted))
        return self.call.record(CONFIGURATION)
