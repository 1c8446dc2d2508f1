"""Candidates and evidence to ranked hints with reasons, or to silence.

A strategy's chance of a positive next reaction is a shrunk rate: counts of the widest scope are
pulled towards a prior from closeness, each narrower scope towards the one before it (a hierarchy of
beta-binomials), so that three lucky calls do not beat three hundred good ones.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from agent_sidecar.domain.hints import Candidate, Evidence, Question, Retrieved
from agent_sidecar.domain.playbook import Playbook, Strategy
from agent_sidecar.domain.types import StrategyName

# what a strategy achieves when nothing is known of it
BASE_RATE = 0.35
# how many tries a scope needs to weigh as much as the one it is pulled towards
PRIOR_TRIES = 8.0
# what fitting the moment adds to the prior
FITS_OBJECTION, FITS_PHASE = 0.15, 0.05
# the prior moves by this over the usual range of closeness
CLOSENESS_WEIGHT, CLOSENESS_USUAL = 0.5, 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A strategy for the moment, best first in a sequence of them."""

    strategy: Strategy
    say: str
    confidence: float
    tried: int
    lifted: int
    won: int
    why: tuple[str, ...]


def rank(
    playbook: Playbook,
    question: Question,
    retrieved: Retrieved,
    *,
    heard: Collection[StrategyName] = (),
) -> tuple[Ranked, ...]:
    """Rank what was retrieved, best first; what this call has already heard is left out."""
    best = _closest(retrieved.candidates)
    counts = _by_strategy(retrieved.evidence)
    ranked = [
        _judge(strategy, question, best.get(strategy.name), counts.get(strategy.name, ()))
        for strategy in playbook.strategies
        if strategy.name not in heard and (strategy.name in best or strategy.name in counts)
    ]
    return tuple(sorted(ranked, key=lambda r: (-r.confidence, r.strategy.name)))


def from_memory(strategy: Strategy, question: Question, why: tuple[str, ...]) -> Ranked:
    """Judge one strategy without asking anybody: for moments that cannot wait."""
    return replace(_judge(strategy, question, None, ()), why=why)


def _closest(candidates: Iterable[Candidate]) -> Mapping[StrategyName, Candidate]:
    best: dict[StrategyName, Candidate] = {}
    for candidate in candidates:
        known = best.get(candidate.strategy)
        if known is None or candidate.closeness > known.closeness:
            best[candidate.strategy] = candidate
    return best


def _by_strategy(evidence: Iterable[Evidence]) -> Mapping[StrategyName, Sequence[Evidence]]:
    """Return each strategy's counts in one context, from the widest scope to the narrowest.

    Every move is counted once for its phase and once for the objection it answered: the objection
    tells more, so that the phase speaks only where nothing was tried on it.
    """
    contexts: dict[tuple[StrategyName, str], list[Evidence]] = {}
    for row in evidence:
        contexts.setdefault((row.strategy, row.scope.partition(":")[0]), []).append(row)
    counts: dict[StrategyName, Sequence[Evidence]] = {}
    # the phases first, so that an objection's counts take their place
    for (strategy, _), rows in sorted(contexts.items(), key=lambda item: item[0][1] == "objection"):
        if strategy not in counts or any(row.tried for row in rows):
            counts[strategy] = sorted(rows, key=lambda row: row.scope.count("|"))
    return counts


def _judge(
    strategy: Strategy, question: Question, candidate: Candidate | None, rows: Sequence[Evidence]
) -> Ranked:
    fits_objection = question.objection is not None and question.objection in strategy.objections
    prior = BASE_RATE + (FITS_OBJECTION if fits_objection else 0.0)
    prior += FITS_PHASE if question.phase in strategy.phases else 0.0
    if candidate is not None:
        prior += CLOSENESS_WEIGHT * (candidate.closeness - CLOSENESS_USUAL)
    chance = min(0.95, max(0.02, prior))
    for row, narrower in zip_longest(rows, rows[1:]):
        # what the narrower scope counts as well is left to it: one lucky try is one try
        tried = row.tried - (min(row.tried, narrower.tried) if narrower else 0)
        lifted = row.lifted - (min(row.lifted, narrower.lifted) if narrower else 0)
        chance = (min(lifted, tried) + PRIOR_TRIES * chance) / (tried + PRIOR_TRIES)
    # the narrowest scope in which it has been tried
    telling = next((row for row in reversed(rows) if row.tried), None)
    proven = candidate is not None and candidate.origin == "proven"
    return Ranked(
        strategy=strategy,
        say=candidate.say if candidate and proven and candidate.say else strategy.say[0],
        confidence=round(chance, 4),
        tried=telling.tried if telling else 0,
        lifted=telling.lifted if telling else 0,
        won=telling.won if telling else 0,
        why=tuple(_reasons(question, candidate, telling, fits_objection=fits_objection)),
    )


def _reasons(
    question: Question,
    candidate: Candidate | None,
    telling: Evidence | None,
    *,
    fits_objection: bool,
) -> Iterable[str]:
    if telling is not None:
        about = scope_in_words(telling.scope)
        yield f"lifted {telling.lifted} of {telling.tried} {about}, {telling.won} qualified"
    if fits_objection:
        yield f"answers “{question.objection}”"
    if candidate is not None and candidate.origin == "proven":
        yield f"worked in a call like this ({candidate.closeness:.2f})"
    elif candidate is not None:
        yield f"close to the moment ({candidate.closeness:.2f})"


def scope_in_words(scope: str) -> str:
    """Say what counts are about: `objection:price|experience_level=none` and the like."""
    place, _, kind = scope.partition("|")
    what, _, name = place.partition(":")
    about = f"on “{name}”" if what == "objection" else f"in phase {name}"
    return f"{about} with {kind.replace('=', ' ').replace('|', ', ')}" if kind else about
