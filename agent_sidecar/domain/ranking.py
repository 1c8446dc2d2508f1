"""Candidates and evidence to ranked hints with reasons, or to silence.

A strategy's chance of a positive next reaction is a shrunk rate. It begins at the rate of all
strategies in such a moment, moved by how well this one fits. Counts of the widest scope pull it
towards what they say, each narrower scope goes on from there (a hierarchy of beta-binomials), and
within a scope newer tries go on from older ones, so that what has changed is noticed. Three lucky
calls so do not beat three hundred good ones. Where fitted weights know what to expect of the
strategy in this very moment, that is the chance, moved by how far counts put it before or behind
the other strategies where the weights do not.

How little is known is part of the order: looking back, the less sure of two equals stands behind;
in a live call the order is drawn from what is possible (Thompson, Biometrika 1933), so that a new
strategy gets its tries, and more of them the better they go.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import zip_longest

import numpy as np

from agent_sidecar.domain.hints import Candidate, Evidence, Outlook, Question, Retrieved
from agent_sidecar.domain.playbook import Playbook, Strategy
from agent_sidecar.domain.types import StrategyName

# what strategies achieve when nothing is known of any, and how many tries that is worth
BASE_RATE, BASE_TRIES = 0.35, 10.0
# tries that weigh as much as what they pull on: of everybody, and of a kind of lead
EVERYBODY_TRIES, KIND_TRIES = 60.0, 30.0
# how many times as many they must be where fitted weights know the strategy in this moment: most
# counts are of calls that the weights were fitted on, and know less of the moment
FITTED = 4.0
# what fitting the moment adds to the start
FITS_OBJECTION, FITS_PHASE = 0.15, 0.05
# the start moves by this over the usual range of closeness
CLOSENESS_WEIGHT, CLOSENESS_USUAL = 0.5, 0.25
LEAST, MOST = 0.02, 0.98
# standard deviations by which the less sure stands behind, looking back
CAUTION = 0.5
# live, tries count so many times what they are: calls are for selling more than for learning
LIVE_TRIES = 12.0
# what an agent reads in two seconds
REASONS = 2
# a departure from what is usual that is worth a reason
WORTH_SAYING = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A strategy for the moment, best first in a sequence of them."""

    strategy: Strategy
    say: str
    # 0..1: chance of a positive rather than a negative next reaction
    confidence: float
    # the same of all strategies together, by the same measure: better than usual, or worse?
    base_rate: float
    tried: int
    lifted: int
    won: int
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chance:
    """A chance, and how many tries it stands on: newest ones, and what they were pulled by."""

    mean: float
    tries: float
    pull: float
    # what all strategies together lead to in the moment
    base: float
    # logits that the moment adds to it by fitted weights; None: they do not know the strategy
    moved: float | None = None

    @property
    def expected(self) -> float:
        return _moved(self.mean, self.moved)

    @property
    def cautious(self) -> float:
        """What it is at least likely to be; of what was fitted, the spread is not known."""
        if self.moved is not None:
            return self.expected
        spread = math.sqrt(self.mean * (1.0 - self.mean) / (self.tries + self.pull))
        return self.mean - CAUTION * spread

    def drawn(self, random: np.random.Generator) -> float:
        tries = LIVE_TRIES * self.tries + self.pull
        draw = random.beta(self.mean * tries, (1.0 - self.mean) * tries)
        return _moved(min(max(draw, LEAST / 2), 1.0 - LEAST / 2), self.moved)


def rank(
    playbook: Playbook,
    question: Question,
    retrieved: Retrieved,
    *,
    heard: Collection[StrategyName] = (),
    explore: bool = False,
) -> tuple[Ranked, ...]:
    """Rank what was retrieved, best first; what this call has already heard is left out.

    `explore`: in the order of a draw. The same question always draws the same.
    """
    best = _closest(retrieved.candidates)
    counts = _by_strategy(retrieved.evidence)
    base = _base_rate(counts.values())
    random = _random(question) if explore else None
    order: list[tuple[float, str, Ranked]] = []
    for strategy in playbook.strategies:
        name = strategy.name
        outlook = question.outlooks.get(name)
        known = name in best or name in counts or outlook is not None
        if name in heard or not known:
            continue
        moment = _Moment(
            question=question,
            candidate=best.get(name),
            rows=counts.get(name, ()),
            outlook=outlook,
        )
        chance = _chance(strategy, moment, base)
        place = chance.cautious if random is None else chance.drawn(random)
        order.append((-place, name, _judged(strategy, moment, chance)))
    return tuple(ranked for *_, ranked in sorted(order, key=lambda item: item[:2]))


def from_memory(strategy: Strategy, question: Question, why: tuple[str, ...]) -> Ranked:
    """Judge one strategy without asking anybody: for moments that cannot wait."""
    moment = _Moment(question=question, candidate=None, rows=(), outlook=None)
    chance = _chance(strategy, moment, BASE_RATE)
    return replace(_judged(strategy, moment, chance), why=why)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """What is known of one strategy in the moment."""

    question: Question
    candidate: Candidate | None
    # counts in one context, from the widest scope to the narrowest
    rows: Sequence[Evidence]
    outlook: Outlook | None

    @property
    def usual_logit(self) -> float:
        """What the fitted strategies usually lead to, all together."""
        usual = [_logit(_within(o.usual)) for o in self.question.outlooks.values()]
        return sum(usual) / len(usual)

    @property
    def usual_here(self) -> float:
        """What they lead to in this moment, all together."""
        here = [_logit(_within(o.chance)) for o in self.question.outlooks.values()]
        return 1.0 / (1.0 + math.exp(-sum(here) / len(here)))

    def fits_objection(self, strategy: Strategy) -> bool:
        return (
            self.question.objection is not None and self.question.objection in strategy.objections
        )

    @property
    def telling(self) -> Evidence | None:
        """The narrowest scope in which it has been tried."""
        return next((row for row in reversed(self.rows) if row.tried), None)


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


def _base_rate(counts: Iterable[Sequence[Evidence]]) -> float:
    """Return how often any strategy lifted in such a moment: where each of them begins."""
    widest = [rows[0] for rows in counts]
    lifted = sum(min(row.lifted, row.tried) for row in widest) + BASE_TRIES * BASE_RATE
    return lifted / (sum(row.reacted for row in widest) + BASE_TRIES)


def _chance(strategy: Strategy, moment: _Moment, base: float) -> _Chance:
    if moment.outlook is not None:
        here = _logit(_within(moment.outlook.chance))
        # counts see reactions by the score and weights by labels: only by how far a strategy is
        # from the others do both speak of the same
        apart = _logit(_within(moment.outlook.usual)) - moment.usual_logit
        start = _within(_moved(_within(base), apart))
        counted = _counted(start, moment.rows, base=moment.usual_here, times=FITTED)
        return replace(counted, moved=here - _logit(start))
    start = base + (FITS_OBJECTION if moment.fits_objection(strategy) else 0.0)
    start += FITS_PHASE if moment.question.phase in strategy.phases else 0.0
    if moment.candidate is not None:
        start += CLOSENESS_WEIGHT * (moment.candidate.closeness - CLOSENESS_USUAL)
    return _counted(_within(start), moment.rows, base=base)


def _counted(start: float, rows: Sequence[Evidence], *, base: float, times: float = 1.0) -> _Chance:
    """Return what counts make of a chance: older before newer, wide before narrow."""
    mean, tries, pull = start, 0.0, times * EVERYBODY_TRIES
    for row, narrower in zip_longest(rows, rows[1:]):
        pull = times * (KIND_TRIES if "|" in row.scope else EVERYBODY_TRIES)
        for tried, lifted in _own_tries(row, narrower):
            mean = (lifted + pull * mean) / (tried + pull)
            tries = tried
    return _Chance(mean=mean, tries=tries, pull=pull, base=base)


def _own_tries(row: Evidence, narrower: Evidence | None) -> Iterator[tuple[float, float]]:
    """Yield (tried, lifted) of a scope over ever newer times.

    What the narrower scope counts as well is left to it: one lucky try is one try.
    """
    inner = _tries(narrower) if narrower else ()
    for (tried, lifted), (less_tried, less_lifted) in zip_longest(
        _tries(row), inner, fillvalue=(0.0, 0.0)
    ):
        own = max(0.0, tried - less_tried)
        yield own, min(own, max(0.0, lifted - less_lifted))


def _tries(row: Evidence) -> tuple[tuple[float, float], ...]:
    """Return (reacted, lifted), of all time and by half-life; a try without reaction tells nothing.

    How many of the newer tries had one is taken to be as ever.
    """
    share = row.reacted / row.tried if row.tried else 1.0
    newer = ((share * tried, min(share * tried, lifted)) for tried, lifted in row.recent)
    return (float(row.reacted), float(row.lifted)), *newer


def _judged(strategy: Strategy, moment: _Moment, chance: _Chance) -> Ranked:
    candidate, telling = moment.candidate, moment.telling
    proven = candidate is not None and candidate.origin == "proven"
    return Ranked(
        strategy=strategy,
        say=candidate.say if candidate and proven and candidate.say else strategy.say[0],
        confidence=round(chance.expected, 4),
        base_rate=round(chance.base, 4),
        tried=telling.tried if telling else 0,
        lifted=telling.lifted if telling else 0,
        won=telling.won if telling else 0,
        why=tuple(_reasons(strategy, moment))[:REASONS],
    )


def _reasons(strategy: Strategy, moment: _Moment) -> Iterator[str]:
    candidate, telling, outlook = moment.candidate, moment.telling, moment.outlook
    if telling is not None:
        about = scope_in_words(telling.scope)
        yield f"lifted {telling.lifted} of {telling.tried} {about}, {telling.won} qualified"
    if outlook is not None and outlook.chance >= outlook.usual + WORTH_SAYING:
        yield f"better here than usual: {outlook.chance:.0%}, not {outlook.usual:.0%}"
    if moment.fits_objection(strategy):
        yield f"answers “{moment.question.objection}”"
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


def _random(question: Question) -> np.random.Generator:
    seed = blake2b(question.question_id.encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(seed, "little"))


def _within(chance: float) -> float:
    return min(MOST, max(LEAST, chance))


def _logit(chance: float) -> float:
    return math.log(chance / (1.0 - chance))


def _moved(chance: float, by: float | None) -> float:
    return chance if by is None else 1.0 / (1.0 + math.exp(-(_logit(chance) + by)))
