"""What is known in memory about a moment: the playbook's own strategies, and evidence once read."""

from collections.abc import Iterable

from agent_sidecar.domain.hints import Candidate, Evidence, Question, Retrieved
from agent_sidecar.domain.language import Reader
from agent_sidecar.domain.tally import contexts, kinds, scope
from agent_sidecar.domain.types import StrategyName


class Recall:
    """Answers questions about the moment from memory; every strategy of the playbook is close."""

    def __init__(self, reader: Reader, evidence: Iterable[Evidence]) -> None:
        self._reader = reader
        self._by_scope: dict[str, list[Evidence]] = {}
        for row in evidence:
            self._by_scope.setdefault(row.scope, []).append(row)

    def strategies(self) -> set[StrategyName]:
        """Return every strategy that anything is known of."""
        tried = {row.strategy for rows in self._by_scope.values() for row in rows}
        return tried | {strategy.name for strategy in self._reader.playbook.strategies}

    def answer(self, question: Question) -> Retrieved:
        """Return what is known about the moment."""
        close = self._reader.closeness_of_strategies(question.vector)
        candidates = tuple(
            Candidate(
                strategy=strategy.name, closeness=close.get(strategy.name, 0.0), origin="playbook"
            )
            for strategy in self._reader.playbook.strategies
        )
        evidence = tuple(
            row
            for context in contexts(question.phase, question.objection)
            for kind in kinds(question.lead_kind)
            for row in self._by_scope.get(scope(context, kind), ())
        )
        return Retrieved(candidates=candidates, evidence=evidence)
