"""What a playbook must be to make sense: every contradiction, with its place and what to do."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from agent_sidecar.domain.playbook import PHASES, Closer, Playbook, Thresholds
from agent_sidecar.domain.words import plain_words
from agent_sidecar.domain.zones import zone_named

# a telephone number with its country, or an address of internet telephony
_NUMBER = re.compile(r"\+[1-9]\d{6,14}|sips?:\S+@\S+")
LIMITS: Mapping[str, tuple[float, float]] = {
    "hint_confidence": (0.0, 1.0),
    "transfer_engagement": (0.0, 100.0),
    "transfer_release": (0.0, 100.0),
    "sentiment": (0.0, 1.0),
    "follow_up_engagement": (0.0, 100.0),
    "hint_cool_down_s": (0.0, 3600.0),
    "hint_expiry_s": (1.0, 3600.0),
    "transfer_cool_down_s": (0.0, 86400.0),
    "hints_per_minute": (0, 60),
    "transfer_segments": (1, 100),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """What is wrong in a playbook; `path` leads to the place, for example ("strategies", 3)."""

    path: tuple[str | int, ...]
    text: str


def mistakes(playbook: Playbook) -> Iterator[Mistake]:
    """Yield every contradiction in the playbook, in the order of the file."""
    if not playbook.name.strip():
        yield Mistake(path=("name",), text="the playbook has no name; give it one")
    yield from _phase_mistakes(playbook)
    yield from _strategy_mistakes(playbook)
    yield from _objection_mistakes(playbook)
    yield from _silent(("buying_signals",), "a buying signal", playbook.buying_signals)
    yield from _closer_mistakes(playbook.closers)
    yield from _threshold_mistakes(playbook.thresholds)
    known = {s.name for s in playbook.strategies}
    for index, name in enumerate(playbook.second_best):
        if name not in known:
            yield Mistake(
                path=("second_best", index),
                text=f"there is no strategy {name!r}; name one of: {', '.join(sorted(known))}",
            )


def schedule_mistakes(closer: Closer) -> Iterator[Mistake]:
    """Yield what is wrong with a closer's zone and hours; paths begin at the closer."""
    if zone_named(closer.timezone) is None:
        yield Mistake(
            path=("timezone",),
            text=f"the timezone {closer.timezone!r} of {closer.name} does not exist;"
            " give an IANA name such as America/New_York",
        )
    for place, window in enumerate(closer.hours):
        if not 0 <= window.day_of_week <= 6:
            yield Mistake(
                path=("hours", place, "day_of_week"),
                text=f"day_of_week {window.day_of_week} of {closer.name} must be 0 (Sunday)"
                " to 6 (Saturday)",
            )


def _phase_mistakes(playbook: Playbook) -> Iterator[Mistake]:
    numbers = [phase.number for phase in playbook.phases]
    yield from _number_mistakes(numbers)
    names = [phase.name for phase in playbook.phases]
    yield from _twice(("phases",), "name", "phase", names)
    for index, phase in enumerate(playbook.phases):
        path = ("phases", index)
        if not phase.name.strip():
            yield Mistake(path=(*path, "name"), text=f"phase {phase.number} has no name")
        if not phase.cues:
            yield Mistake(
                path=(*path, "cues"),
                text=f"phase {phase.number} has no cues: it could never be recognised; add some",
            )
        about = f"of phase {phase.number}"
        yield from _blank((*path, "cues"), f"a cue {about}", phase.cues)
        yield from _blank((*path, "answers"), f"an answer {about}", phase.answers)
        yield from _silent((*path, "phrases"), f"a phrase {about}", phase.phrases)
    if not any(phase.allows_transfer for phase in playbook.phases):
        yield Mistake(
            path=("phases",),
            text="no phase has allows_transfer: true, so no prospect could ever be handed over",
        )


def _number_mistakes(numbers: Sequence[int]) -> Iterator[Mistake]:
    wanted = range(1, PHASES + 1)
    if missing := [str(number) for number in wanted if number not in numbers]:
        yield Mistake(
            path=("phases",),
            text=f"phases must be numbered 1 to {PHASES}, each once; there is no"
            f" {', '.join(missing)}",
        )
    seen: set[int] = set()
    for index, number in enumerate(numbers):
        if number not in wanted:
            yield Mistake(
                path=("phases", index, "number"), text=f"{number} is no phase; 1 to {PHASES} are"
            )
        elif number in seen:
            yield Mistake(path=("phases", index, "number"), text=f"phase {number} is there twice")
        seen.add(number)


def _strategy_mistakes(playbook: Playbook) -> Iterator[Mistake]:
    objections = {o.type for o in playbook.objections}
    if not playbook.strategies:
        yield Mistake(path=("strategies",), text="there must be at least one strategy")
    names = [strategy.name for strategy in playbook.strategies]
    yield from _twice(("strategies",), "name", "strategy", names)
    for index, strategy in enumerate(playbook.strategies):
        path = ("strategies", index)
        if not strategy.name.strip():
            yield Mistake(path=(*path, "name"), text="a strategy has no name; give it one")
        if not strategy.when.strip():
            yield Mistake(
                path=(*path, "when"),
                text=f"the strategy {strategy.name!r} has an empty `when`; say in one sentence what"
                " moment it is for",
            )
        if not strategy.say or not all(text.strip() for text in strategy.say):
            yield Mistake(
                path=(*path, "say"),
                text=f"the strategy {strategy.name!r} has an empty `say`; add a sentence",
            )
        for unknown in sorted(set(strategy.objections) - objections):
            yield Mistake(
                path=(*path, "objections", strategy.objections.index(unknown)),
                text=f"the strategy {strategy.name!r} names the objection {unknown!r},"
                f" which is not defined under objections; defined are:"
                f" {', '.join(sorted(objections)) or 'none'}",
            )
        for place, number in enumerate(strategy.phases):
            if not 1 <= number <= PHASES:
                yield Mistake(
                    path=(*path, "phases", place),
                    text=f"the strategy {strategy.name!r} names phase {number};"
                    f" phases go from 1 to {PHASES}",
                )


def _objection_mistakes(playbook: Playbook) -> Iterator[Mistake]:
    types = [objection.type for objection in playbook.objections]
    yield from _twice(("objections",), "type", "objection", types)
    for index, objection in enumerate(playbook.objections):
        path = ("objections", index)
        if not objection.type.strip():
            yield Mistake(path=(*path, "type"), text="an objection has no type; give it one")
        if not objection.wordings:
            yield Mistake(
                path=(*path, "wordings"),
                text=f"the objection {objection.type!r} has no wordings: it could never be"
                " recognised; add some",
            )
        about = f"of the objection {objection.type!r}"
        yield from _blank((*path, "wordings"), f"a wording {about}", objection.wordings)
        yield from _blank((*path, "unlike"), f"an `unlike` {about}", objection.unlike)
        yield from _silent((*path, "triggers"), f"a trigger {about}", objection.triggers)
        for text in sorted(set(objection.wordings) & set(objection.unlike)):
            yield Mistake(
                path=(*path, "unlike", objection.unlike.index(text)),
                text=f"the objection {objection.type!r} has {text!r} both as a wording and as a"
                " line that is no objection; remove one",
            )


def _closer_mistakes(closers: Sequence[Closer]) -> Iterator[Mistake]:
    if not closers:
        yield Mistake(path=("closers",), text="there must be at least one closer")
    yield from _twice(("closers",), "name", "closer", [closer.name for closer in closers])
    for index, closer in enumerate(closers):
        path = ("closers", index)
        if not closer.name.strip():
            yield Mistake(path=(*path, "name"), text="a closer has no name; give him one")
        if closer.number is not None and not _NUMBER.fullmatch(closer.number):
            yield Mistake(
                path=(*path, "number"),
                text=f"the number {closer.number!r} of {closer.name} cannot be dialled; write it"
                ' with + and the country: "+12125550142"',
            )
        for mistake in schedule_mistakes(closer):
            yield replace(mistake, path=(*path, *mistake.path))


def _threshold_mistakes(thresholds: Thresholds) -> Iterator[Mistake]:
    for name, (low, high) in LIMITS.items():
        value = getattr(thresholds, name)
        if not low <= value <= high:
            yield Mistake(
                path=("thresholds", name),
                text=f"{name} is {value:g}; it must be {low:g} to {high:g}",
            )
    if thresholds.transfer_release > thresholds.transfer_engagement:
        yield Mistake(
            path=("thresholds", "transfer_release"),
            text=f"transfer_release ({thresholds.transfer_release:g}) must not be above"
            f" transfer_engagement ({thresholds.transfer_engagement:g})",
        )


def _twice(
    path: tuple[str | int, ...], key: str, what: str, names: Sequence[str]
) -> Iterator[Mistake]:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            yield Mistake(
                path=(*path, index, key), text=f"the {what} {name!r} is there twice; rename one"
            )
        seen.add(name)


def _blank(path: tuple[str | int, ...], what: str, texts: Sequence[str]) -> Iterator[Mistake]:
    for index, text in enumerate(texts):
        if not text.strip():
            yield Mistake(path=(*path, index), text=f"{what} is empty; write it or remove it")


def _silent(path: tuple[str | int, ...], what: str, texts: Sequence[str]) -> Iterator[Mistake]:
    """Find phrases that could never be heard: they are compared word by word."""
    for index, text in enumerate(texts):
        if not plain_words(text):
            yield Mistake(
                path=(*path, index),
                text=f"{what} has no word that could be heard (letters a to z, digits): {text!r}",
            )
