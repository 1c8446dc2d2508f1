"""The warm copy: what we knew last, in memory, for the moments in which a store is late."""

from collections.abc import Iterable, Sequence

import numpy as np

from agent_sidecar.domain.hints import Candidate, Evidence, ProvenLine, Question
from agent_sidecar.domain.language import Reader
from agent_sidecar.domain.tally import contexts, kinds, scope
from agent_sidecar.domain.types import StrategyName

# strategies worth proposing from memory
CANDIDATES = 8
# answers that worked are kept so many, the newest: 5 MB, compared in less than a millisecond
PROVEN = 3000
# rows that are looked at, as many as a store is asked for
CLOSEST = 20


class WarmCopy:
    """The playbook's vectors, the last known evidence, and the newest answers that worked."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._evidence: dict[str, dict[StrategyName, Evidence]] = {}
        self._proven: Sequence[ProvenLine] = ()
        self._moments = np.zeros((0, 0), np.float32)

    def remember(self, evidence: Iterable[Evidence]) -> None:
        """Keep what was just read; newer counts replace older ones."""
        for row in evidence:
            self._evidence.setdefault(row.scope, {})[row.strategy] = row

    def remember_proven(self, lines: Sequence[ProvenLine]) -> None:
        """Keep these answers in the place of all that were known."""
        self._proven = lines
        self._moments = (
            np.stack([line.vector for line in lines]) if lines else np.zeros((0, 0), np.float32)
        )

    def proven(self, question: Question) -> tuple[Candidate, ...]:
        """Return of each strategy the answer that worked in the moment most like this one."""
        vector = question.vector
        if vector is None or vector.size != self._moments.shape[1]:
            return ()
        best: dict[StrategyName, Candidate] = {}
        closeness = self._moments @ vector
        for place in np.argsort(-closeness)[:CLOSEST].tolist():
            line = self._proven[place]
            if line.strategy not in best:
                best[line.strategy] = Candidate(
                    strategy=line.strategy,
                    closeness=float(closeness[place]),
                    origin="proven",
                    say=line.say,
                )
        return tuple(best.values())

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
