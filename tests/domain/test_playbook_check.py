from dataclasses import replace
from datetime import time

import pytest

from agent_sidecar.domain.playbook import (
    Closer,
    Objection,
    Playbook,
    Strategy,
    Thresholds,
    Window,
)
from agent_sidecar.domain.playbook_check import mistakes
from agent_sidecar.domain.types import ObjectionType, StrategyName
from tests.domain.playbooks import PLAYBOOK, REFRAME, a_playbook

STRATEGY, OBJECTION = PLAYBOOK.strategies[0], PLAYBOOK.objections[0]


def found(playbook: Playbook) -> list[tuple[tuple[str | int, ...], str]]:
    return [(mistake.path, mistake.text) for mistake in mistakes(playbook)]


def hours(day: int) -> tuple[Window, ...]:
    return (Window(day_of_week=day, start=time(9), end=time(17)),)


def with_strategy(**changes: object) -> Playbook:
    changed: Strategy = replace(STRATEGY, **changes)  # type: ignore[arg-type]
    return a_playbook(strategies=(changed, *PLAYBOOK.strategies[1:]))


def with_phase(index: int, **changes: object) -> Playbook:
    phases = list(PLAYBOOK.phases)
    phases[index] = replace(phases[index], **changes)  # type: ignore[arg-type]
    return a_playbook(phases=tuple(phases))


def test_a_good_playbook_has_no_mistakes():
    assert found(PLAYBOOK) == []


@pytest.mark.parametrize(
    ("playbook", "path", "says"),
    [
        (a_playbook(phases=PLAYBOOK.phases[1:]), ("phases",), "numbered 1 to 12"),
        (a_playbook(name=" "), ("name",), "the playbook has no name"),
        (with_phase(3, name=" "), ("phases", 3, "name"), "phase 4 has no name"),
        (with_phase(3, cues=("a cue", "")), ("phases", 3, "cues", 1), "a cue of phase 4 is empty"),
        (with_phase(3, phrases=("…",)), ("phases", 3, "phrases", 0), "no word that could be heard"),
        (with_strategy(when=" "), ("strategies", 0, "when"), "an empty `when`"),
        (
            a_playbook(strategies=(*PLAYBOOK.strategies, replace(STRATEGY, name=StrategyName("")))),
            ("strategies", 4, "name"),
            "a strategy has no name",
        ),
        (
            a_playbook(
                objections=(
                    *PLAYBOOK.objections,
                    Objection(type=ObjectionType(""), wordings=("hm",)),
                )
            ),
            ("objections", 3, "type"),
            "an objection has no type",
        ),
        (a_playbook(closers=(Closer(name=""),)), ("closers", 0, "name"), "a closer has no name"),
        (
            a_playbook(closers=(Closer(name="Kevin", number="0212 555"),)),
            ("closers", 0, "number"),
            "'0212 555' of Kevin cannot be dialled",
        ),
        (with_phase(3, cues=()), ("phases", 3, "cues"), "phase 4 has no cues"),
        (
            a_playbook(phases=tuple(replace(p, allows_transfer=False) for p in PLAYBOOK.phases)),
            ("phases",),
            "allows_transfer",
        ),
        (a_playbook(strategies=(), second_best=()), ("strategies",), "at least one strategy"),
        (
            a_playbook(strategies=(*PLAYBOOK.strategies, STRATEGY)),
            ("strategies", 4, "name"),
            "'reframe' is there twice",
        ),
        (with_strategy(say=()), ("strategies", 0, "say"), "add a sentence"),
        (with_strategy(say=("fine", " ")), ("strategies", 0, "say"), "add a sentence"),
        (
            with_strategy(objections=(ObjectionType("gone"),)),
            ("strategies", 0, "objections", 0),
            "names the objection 'gone'",
        ),
        (with_strategy(phases=(1, 13)), ("strategies", 0, "phases", 1), "names phase 13"),
        (
            a_playbook(objections=(*PLAYBOOK.objections, OBJECTION)),
            ("objections", 3, "type"),
            "'money' is there twice",
        ),
        (
            a_playbook(
                objections=(*PLAYBOOK.objections, Objection(type=ObjectionType("new"), wordings=()))
            ),
            ("objections", 3, "wordings"),
            "'new' has no wordings",
        ),
        (
            a_playbook(
                objections=(
                    replace(OBJECTION, wordings=("a", "b"), unlike=("b", "c")),
                    *PLAYBOOK.objections[1:],
                )
            ),
            ("objections", 0, "unlike", 0),
            "'b' both as a wording and as a line that is no objection",
        ),
        (a_playbook(closers=()), ("closers",), "at least one closer"),
        (
            a_playbook(closers=(Closer(name="Kevin"), Closer(name="Kevin"))),
            ("closers", 1, "name"),
            "'Kevin' is there twice",
        ),
        (
            a_playbook(closers=(Closer(name="Kevin", timezone="Mars/Base"),)),
            ("closers", 0, "timezone"),
            "'Mars/Base' of Kevin does not exist",
        ),
        (
            a_playbook(closers=(Closer(name="Kevin", hours=hours(7)),)),
            ("closers", 0, "hours", 0, "day_of_week"),
            "day_of_week 7",
        ),
        (
            a_playbook(second_best=(REFRAME, StrategyName("gone"))),
            ("second_best", 1),
            "no strategy 'gone'; name one of: book, reframe, story, video",
        ),
        (
            a_playbook(thresholds=Thresholds(transfer_engagement=60, transfer_release=70)),
            ("thresholds", "transfer_release"),
            "must not be above transfer_engagement",
        ),
    ],
)
def test_each_mistake_is_found_with_its_place_and_what_to_do(playbook, path, says):
    ((where, text),) = found(playbook)
    assert where == path
    assert says in text


def test_each_phase_is_there_once_and_no_other():
    said = found(with_phase(3, number=5))
    assert said == [
        (("phases",), "phases must be numbered 1 to 12, each once; there is no 4"),
        (("phases", 4, "number"), "phase 5 is there twice"),
    ]
    assert (("phases", 3, "number"), "13 is no phase; 1 to 12 are") in found(
        with_phase(3, number=13)
    )


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("hint_confidence", -0.1, 1.1),
        ("hint_cool_down_s", -1, 3601),
        ("hints_per_minute", -1, 61),
        ("hint_expiry_s", 0.5, 3601),
        ("transfer_engagement", -1, 101),
        ("transfer_segments", 0, 101),
        ("transfer_release", -1, 101),
        ("transfer_cool_down_s", -1, 86401),
        ("sentiment", -0.1, 1.1),
        ("follow_up_engagement", -1, float("nan")),
    ],
)
def test_each_threshold_has_its_limits(name, low, high):
    for value in (low, high):
        thresholds = replace(Thresholds(), **{name: value})
        wrong = [path for path, _ in found(a_playbook(thresholds=thresholds))]
        assert ("thresholds", name) in wrong


def test_a_good_day_of_the_week_is_no_mistake():
    assert found(a_playbook(closers=(Closer(name="Kevin", hours=hours(0) + hours(6)),))) == []


def test_parts_are_found_by_their_name_or_number():
    assert PLAYBOOK.strategy("reframe") == STRATEGY
    assert PLAYBOOK.strategy("gone") is None
    assert PLAYBOOK.phase(12).name == "phase-12"
