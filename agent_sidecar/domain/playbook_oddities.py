"""What works in a playbook and is odd all the same: most of it is something forgotten."""

from collections.abc import Iterator, Sequence

from agent_sidecar.domain.playbook import Objection, Playbook, Thresholds
from agent_sidecar.domain.playbook_check import Mistake
from agent_sidecar.domain.words import plain_words

# the score is a mean of what was heard: calls get no further but for moments
HIGHEST_USUAL_SCORE = 95.0
# a chance is pulled towards what is usual, and so is hardly ever above
HIGHEST_USUAL_CHANCE = 0.9

_Path = tuple[str | int, ...]


def oddities(playbook: Playbook) -> Iterator[Mistake]:
    """Yield what is odd in a playbook without mistakes, in the order of the file."""
    yield from _phase_oddities(playbook)
    yield from _strategy_oddities(playbook)
    yield from _objection_oddities(playbook)
    yield from _second_best_oddities(playbook)
    yield from _repeated(("lead_kind",), "lead_kind", playbook.lead_kind)
    yield from _threshold_oddities(playbook.thresholds)


def _phase_oddities(playbook: Playbook) -> Iterator[Mistake]:
    meant = {number for strategy in playbook.strategies for number in strategy.phases}
    cues = _Places("cue")
    for index, phase in enumerate(playbook.phases):
        if phase.number not in meant:
            yield Mistake(
                path=("phases", index),
                text=f"no strategy is for phase {phase.number} ({phase.name}): add {phase.number}"
                " to the `phases` of one that fits",
            )
        for place, text in enumerate(phase.cues):
            yield from cues.note(text, f"phase {phase.number}", ("phases", index, "cues", place))


def _strategy_oddities(playbook: Playbook) -> Iterator[Mistake]:
    said = _Places("sentence")
    for index, strategy in enumerate(playbook.strategies):
        path = ("strategies", index)
        name = strategy.name
        if not (strategy.objections or strategy.phases or name in playbook.second_best):
            yield Mistake(
                path=path,
                text=f"nothing leads to the strategy {name!r} but words that happen to be close:"
                " name the objections it answers or the phases it is for",
            )
        if len(strategy.say) == 1:
            yield Mistake(
                path=(*path, "say"),
                text=f"the strategy {name!r} has one way to say it: a second variant makes it"
                " easier to recognise",
            )
        for place, text in enumerate(strategy.say):
            where = f"the strategy {name!r}"
            yield from said.note(text, where, (*path, "say", place))
        yield from _repeated((*path, "phases"), "phases", [str(n) for n in strategy.phases])
        yield from _repeated((*path, "objections"), "objections", strategy.objections)


def _objection_oddities(playbook: Playbook) -> Iterator[Mistake]:
    answered = {name for strategy in playbook.strategies for name in strategy.objections}
    wordings = _Places("wording")
    for index, objection in enumerate(playbook.objections):
        path = ("objections", index)
        # who wants no further call is not talked into one
        if objection.type not in answered and not objection.is_refusal:
            yield Mistake(
                path=path,
                text=f"no strategy answers the objection {objection.type!r}: add it to the"
                " `objections` of one that does",
            )
        for place, text in enumerate(objection.wordings):
            where = f"the objection {objection.type!r}"
            yield from wordings.note(text, where, (*path, "wordings", place))
    yield from _covered_triggers(playbook.objections)


def _covered_triggers(objections: Sequence[Objection]) -> Iterator[Mistake]:
    """Find triggers that never decide: a trigger inside them is of an objection that comes first.

    The longer one of an objection that comes first is no matter: it is the more exact one.
    """
    first = sorted(objections, key=lambda objection: not objection.is_refusal)
    for index, objection in enumerate(objections):
        before = first[: first.index(objection)]
        others = [(o.type, text, plain_words(text)) for o in before for text in o.triggers]
        for place, trigger in enumerate(objection.triggers):
            words = plain_words(trigger)
            inside = ((kind, text) for kind, text, part in others if _holds(words, part))
            for kind, text in inside:
                yield Mistake(
                    path=("objections", index, "triggers", place),
                    text=f"the trigger {trigger!r} of {objection.type!r} never decides:"
                    f" {text!r} of {kind!r}, which comes first, is in it",
                )


def _holds(words: Sequence[str], part: Sequence[str]) -> bool:
    starts = range(len(words) - len(part) + 1)
    return any(tuple(words[start : start + len(part)]) == tuple(part) for start in starts)


def _second_best_oddities(playbook: Playbook) -> Iterator[Mistake]:
    yield from _repeated(("second_best",), "second_best", playbook.second_best)
    for index, name in enumerate(playbook.second_best):
        strategy = playbook.strategy(name)
        if strategy is not None and strategy.ends_with is None:
            yield Mistake(
                path=("second_best", index),
                text=f"{name!r} is second best and has no ends_with: using it decides no outcome;"
                " add ends_with: video or booking",
            )
    if not playbook.second_best:
        yield Mistake(
            path=("second_best",),
            text="second_best is empty: when no closer is free, nothing is offered instead",
        )


def _threshold_oddities(thresholds: Thresholds) -> Iterator[Mistake]:
    engagement, chance = thresholds.transfer_engagement, thresholds.hint_confidence
    per_minute, cool_down_s = thresholds.hints_per_minute, thresholds.hint_cool_down_s
    if engagement >= HIGHEST_USUAL_SCORE:
        yield _threshold(
            "transfer_engagement",
            f"{engagement:g} is hardly ever reached: only who asks for the next step would be"
            " handed over",
        )
    if chance > HIGHEST_USUAL_CHANCE:
        yield _threshold("hint_confidence", f"{chance:g} is hardly ever reached: no hints")
    if per_minute == 0:
        yield _threshold("hints_per_minute", "0 means that no hint is ever shown")
    elif cool_down_s * per_minute > 60.0 + cool_down_s:
        yield _threshold(
            "hint_cool_down_s",
            f"{cool_down_s:g} s between hints allow fewer a minute than the {per_minute} of"
            " hints_per_minute",
        )
    if thresholds.follow_up_engagement > engagement:
        yield _threshold(
            "follow_up_engagement",
            f"{thresholds.follow_up_engagement:g} is above transfer_engagement ({engagement:g}):"
            " who is keen enough to be handed over would not count as qualified by a follow-up",
        )


def _threshold(name: str, text: str) -> Mistake:
    return Mistake(path=("thresholds", name), text=f"{name}: {text}")


def _repeated(path: _Path, what: str, names: Sequence[str]) -> Iterator[Mistake]:
    for index, name in enumerate(names):
        if name in names[:index]:
            yield Mistake(path=(*path, index), text=f"{name} is in {what} twice; remove one")


class _Places:
    """Where each text was met first, whatever its spelling: two of them cannot be told apart."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._first: dict[object, str] = {}

    def note(self, text: str, where: str, path: _Path) -> Iterator[Mistake]:
        """Take one text; yield what is odd if it was met before."""
        # of a script without words as we compare them, the text itself
        spelling = plain_words(text) or text.strip()
        first = self._first.get(spelling)
        if first is None:
            self._first[spelling] = where
        else:
            twice = "twice" if first == where else f"in {first} as well"
            yield Mistake(
                path=path, text=f"{where} has the {self._what} {text!r} {twice}; change one"
            )
