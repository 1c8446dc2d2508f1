"""The hints of one call: what was asked, what was shown, what became of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent_sidecar.domain.events import AskForHints, Effect, HintJudged, HintsRetrieved, PublishHint
from agent_sidecar.domain.hints import Hint, Outlook, Question
from agent_sidecar.domain.log import CallLog, HintShown
from agent_sidecar.domain.playbook import Playbook
from agent_sidecar.domain.policy import HintPolicy, Moment
from agent_sidecar.domain.ranking import Ranked, from_memory, rank
from agent_sidecar.domain.types import HintId, ObjectionType, StrategyName, Vector


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """What a question is about, beside the moment: words, who says them, what is expected."""

    text: str = ""
    vector: Vector | None = None
    lead_kind: tuple[tuple[str, str], ...] = ()
    outlooks: Mapping[StrategyName, Outlook] = field(default_factory=dict)


NOTHING_SAID = Asked()


class Hinting:
    """Asks and shows for one call."""

    def __init__(self, log: CallLog, playbook: Playbook) -> None:
        self._log = log
        self._playbook = playbook
        self._policy = HintPolicy(playbook.thresholds)
        self._open: dict[str, Question] = {}
        self._count = 0

    def consider(self, moment: Moment, asked: Asked) -> Iterator[Effect]:
        """Ask what has worked, if the moment is worth it."""
        if not self._policy.wants_hints(moment):
            return
        question = self._question(
            asked,
            phase=moment.phase,
            objection=moment.meaning.objection if moment.meaning else None,
            engagement=moment.score.call,
        )
        self._open[question.question_id] = question
        yield AskForHints(question=question)

    def look(
        self,
        asked: Asked,
        *,
        phase: int,
        objection: ObjectionType | None,
        engagement: float | None,
    ) -> Question:
        """Return a question that nobody waits to have answered."""
        return self._question(asked, phase=phase, objection=objection, engagement=engagement)

    def answer(self, event: HintsRetrieved) -> Iterator[Effect]:
        """Show the best answer, or nothing."""
        question = self._open.pop(event.question_id, None)
        if question is None or not self._log.is_with_agent:
            return
        ranked = rank(self._playbook, question, event.retrieved, heard=self._heard(), explore=True)
        least = self._playbook.thresholds.hint_confidence
        best = next((one for one in ranked if one.confidence >= least), None)
        if best is None:
            return
        at = self._now(event.at)
        if self._policy.show(self._log.seconds(at)):
            yield self._show(best, question, at, event.retrieved.degraded, event.latency_ms)

    def second_best(
        self, at: datetime, *, phase: int, engagement: float | None, why: tuple[str, ...]
    ) -> Iterator[Effect]:
        """Show the next best thing at once, from memory: no closer is free."""
        at, heard = self._now(at), self._heard()
        left = (self._playbook.strategy(n) for n in self._playbook.second_best if n not in heard)
        strategy = next((s for s in left if s is not None), None)
        if strategy is None or not self._policy.show(self._log.seconds(at), urgent=True):
            return
        question = self._question(NOTHING_SAID, phase=phase, engagement=engagement)
        yield self._show(from_memory(strategy, question, why), question, at, (), 0.0)

    def judge(self, event: HintJudged) -> None:
        """Note what the agent made of a hint."""
        if event.hint_id in self._log.hints:
            self._log.hints[event.hint_id].status = event.action

    def follow(self, strategy: StrategyName, at: datetime) -> HintId | None:
        """Return the newest hint that an agent's line follows; it counts as used."""
        for shown in reversed(self._log.hints.values()):
            hint = shown.hint
            if hint.strategy == strategy and hint.given_at <= at <= hint.expires_at:
                shown.status = "used"
                return hint.hint_id
        return None

    def _now(self, otherwise: datetime) -> datetime:
        return self._log.last_at or otherwise

    def _heard(self) -> set[StrategyName]:
        used = {s.strategy for s in self._log.segments if s.strategy is not None}
        return used | {shown.hint.strategy for shown in self._log.hints.values()}

    def _question(
        self,
        asked: Asked,
        *,
        phase: int,
        objection: ObjectionType | None = None,
        engagement: float | None = None,
    ) -> Question:
        self._count += 1
        return Question(
            question_id=f"{self._log.opened.call_id}:q{self._count}",
            call_id=self._log.opened.call_id,
            text=asked.text,
            vector=asked.vector,
            phase=phase,
            objection=objection,
            lead_kind=asked.lead_kind,
            engagement=engagement,
            at=self._log.last_at,
            outlooks=asked.outlooks,
        )

    def _show(
        self,
        best: Ranked,
        question: Question,
        at: datetime,
        degraded: tuple[str, ...],
        latency_ms: float,
    ) -> PublishHint:
        hint = Hint(
            hint_id=HintId(f"{self._log.opened.call_id}:h{len(self._log.hints) + 1}"),
            question_id=question.question_id,
            strategy=best.strategy.name,
            say=best.say,
            why=best.why,
            confidence=best.confidence,
            base_rate=best.base_rate,
            tried=best.tried,
            lifted=best.lifted,
            won=best.won,
            phase=question.phase,
            objection=question.objection,
            engagement=question.engagement,
            degraded=degraded,
            given_at=at,
            expires_at=at + timedelta(seconds=self._playbook.thresholds.hint_expiry_s),
        )
        self._log.hints[hint.hint_id] = HintShown(hint, latency_ms)
        return PublishHint(hint=hint, latency_ms=latency_ms)
