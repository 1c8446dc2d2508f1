"""The warm copy: what we knew last, in memory, for the moments in which a store is late."""

from collections.abc import Iterable

from agent_sidecar.domain.hints import Candidate, Evidence, Question
from agent_sidecar.domain.language import Reader
from agent_sidecar.domain.tally import contexts, kinds, scope
from agent_sidecar.domain.types import StrategyName

# strategies worth proposing from memory
CANDIDATES = 5


class WarmCopy:
    """The playbook's vectors and the last known evidence."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._evidence: dict[str, dict[StrategyName, Evidence]] = {}

    def remember(self, evidence: Iterable[Evidence]) -> None:
        """Keep what was just read; newer counts replace older ones."""
        for row in evidence:
            self._evidence.setdefault(row.scope, {})[row.strategy] = row

    def candidates(self, question: Question) -> tuple[Candidate, ...]:
        """Return the playbook's strategies closest to the moment."""
        close = self._reader.closeness_of_strategies(question.vector)
        best = sorted(close.items(), key=lambda item: -item[1])[:CANDIDATES]
        if not best:
            # no vector: what the playbook names for this objection or phase
            return tuple(
                Candidate(strategy=s.name, closeness=0.25, origin="playbook")
                for s in self._reader.playbook.strategies
                if question.objection in s.objections
            )
        return tuple(
            Candidate(strategy=StrategyName(name), closeness=closeness, origin="playbook")
            for name, closeness in best
        )

    def evidence(self, question: Question) -> tuple[Evidence, ...]:
        """Return the last known counts about the moment."""
        return tuple(
            row
            for context in contexts(question.phase, question.objection)
            for kind in kinds(question.lead_kind)
            for row in self._evidence.get(scope(context, kind), {}).values()
        )
