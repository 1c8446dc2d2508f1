"""A campaign with known truth: what is recommended, and how good that is, call by call.

Eight strategies and four kinds of lead; each has its true chance of success, between 0.10 and 0.30,
and half way through the campaign every chance is drawn anew. A call asks for one recommendation
through the ranking of live calls, follows it, and counts what came of it as the graph would.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agent_sidecar.domain.hints import Evidence, Question, Retrieved
from agent_sidecar.domain.playbook import Closer, Playbook, Strategy
from agent_sidecar.domain.ranking import rank
from agent_sidecar.domain.tally import Answers, days, kinds, scope
from agent_sidecar.domain.types import CallId, ObjectionType, StrategyName

# `alike`: a strategy that is good for one kind of lead is rather good for the others
Truth = Literal["alike", "unrelated"]
LEAST, MOST, SPREAD = 0.10, 0.30, 0.03
# the story's pace: so many calls a day, within eight hours
CALLS_A_DAY, DAY_S = 850, 8 * 3600.0
BEGAN_AT = datetime(2026, 1, 5, 14, 0, tzinfo=UTC)
OBJECTION = ObjectionType("money")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long a campaign is, and what there is to choose."""

    calls: int = 5000
    strategies: int = 8
    contexts: int = 4


def play(plan: Plan, truth: Truth, seed: int) -> NDArray[np.float64]:
    """Return (calls, 2): the true chance of what was recommended, and of the best there was."""
    random = np.random.default_rng(seed)
    names = [StrategyName(f"s{number}") for number in range(plan.strategies)]
    playbook = _playbook(names)
    chances = _draw(plan, truth, random)
    kept: dict[str, dict[StrategyName, Answers]] = {}
    told = np.zeros((plan.calls, 2))
    for call in range(plan.calls):
        if call == plan.calls // 2:
            chances = _draw(plan, truth, random)
        context = int(random.integers(plan.contexts))
        at = _at(call)
        question = Question(
            question_id=f"{seed}:{call}",
            call_id=CallId(f"{seed}:{call}"),
            text="",
            vector=None,
            phase=9,
            objection=OBJECTION,
            lead_kind=(("experience_level", str(context)),),
            at=at,
        )
        scopes = [scope(f"objection:{OBJECTION}", kind) for kind in kinds(question.lead_kind)]
        found = Retrieved(evidence=tuple(_evidence(kept, scopes, names, at)))
        best = rank(playbook, question, found, explore=True)[0].strategy.name
        chance = chances[context, names.index(best)]
        told[call] = chance, chances[context].max()
        won = int(random.random() < chance)
        for place in scopes:
            answers = kept.setdefault(place, {}).get(best, Answers())
            kept[place][best] = answers.plus((1, won, 1 - won, won, 1), days(at))
    return told


def share_of_best(told: NDArray[np.float64], before: int, last: int = 100) -> float:
    """Return how much of the best expected success the last recommendations reached."""
    reached, best = told[before - last : before].sum(axis=0)
    return float(reached / best)


def _evidence(
    kept: dict[str, dict[StrategyName, Answers]],
    scopes: list[str],
    names: list[StrategyName],
    at: datetime,
) -> Iterator[Evidence]:
    for number, place in enumerate(scopes):
        for name in names:
            answers = kept.get(place, {}).get(name)
            if answers is None and number:
                continue
            answers = answers or Answers()
            yield Evidence(
                strategy=name,
                scope=place,
                tried=answers.tried,
                lifted=answers.lifted,
                won=answers.won,
                sunk=answers.sunk,
                recent=answers.recent(days(at)),
            )


def _draw(plan: Plan, truth: Truth, random: np.random.Generator) -> NDArray[np.float64]:
    """Return (contexts, strategies) of true chances."""
    if truth == "unrelated":
        return random.uniform(LEAST, MOST, (plan.contexts, plan.strategies))
    each = random.permutation(np.linspace(LEAST, MOST, plan.strategies))
    apart = random.normal(0.0, SPREAD, (plan.contexts, plan.strategies))
    return np.clip(each + apart, LEAST, MOST)


def _at(call: int) -> datetime:
    day, within = divmod(call, CALLS_A_DAY)
    return BEGAN_AT + timedelta(days=day, seconds=within * DAY_S / CALLS_A_DAY)


def _playbook(names: list[StrategyName]) -> Playbook:
    return Playbook(
        name="campaign",
        phases=(),
        strategies=tuple(Strategy(name=name, when="", say=("",)) for name in names),
        objections=(),
        closers=(Closer(name="Kevin"),),
    )
