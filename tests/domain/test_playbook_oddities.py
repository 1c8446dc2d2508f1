from dataclasses import replace

import pytest

from agent_sidecar.domain.playbook import Playbook, Strategy, Thresholds
from agent_sidecar.domain.playbook_oddities import oddities
from agent_sidecar.domain.types import StrategyName
from tests.domain.playbooks import BOOK, PLAYBOOK, REFRAME, VIDEO, a_playbook

ALL_PHASES = tuple(range(1, 13))
MONEY_OBJECTION, TRUST_OBJECTION, NEVER_OBJECTION = PLAYBOOK.objections


def with_strategy(index: int, **changes: object) -> Playbook:
    strategies = list(SOUND.strategies)
    changed: Strategy = replace(strategies[index], **changes)  # type: ignore[arg-type]
    strategies[index] = changed
    return replace(SOUND, strategies=tuple(strategies))


def with_thresholds(**changes: float) -> Playbook:
    return replace(SOUND, thresholds=Thresholds(**changes))  # type: ignore[arg-type]


# the small playbook, with all that a careful author would add
SOUND = a_playbook(
    strategies=tuple(
        replace(s, say=(s.say[0], f"{s.name} in other words"), phases=ALL_PHASES)
        for s in PLAYBOOK.strategies
    )
)


def found(playbook: Playbook) -> list[tuple[tuple[str | int, ...], str]]:
    return [(one.path, one.text) for one in oddities(playbook)]


def test_a_sound_playbook_has_nothing_odd():
    assert found(SOUND) == []


@pytest.mark.parametrize(
    ("playbook", "path", "says"),
    [
        (
            replace(
                SOUND,
                strategies=tuple(
                    replace(s, phases=tuple(n for n in ALL_PHASES if n != 7))
                    for s in SOUND.strategies
                ),
            ),
            ("phases", 6),
            "no strategy is for phase 7",
        ),
        (
            replace(
                SOUND,
                phases=tuple(
                    replace(p, cues=("Cue 1!",)) if p.number == 2 else p for p in SOUND.phases
                ),
            ),
            ("phases", 1, "cues", 0),
            "'Cue 1!' in phase 1 as well",
        ),
        (
            replace(
                SOUND,
                strategies=(
                    *SOUND.strategies,
                    Strategy(
                        name=StrategyName("lost"), when="never", say=("one thing", "another thing")
                    ),
                ),
            ),
            ("strategies", 4),
            "nothing leads to the strategy 'lost'",
        ),
        (with_strategy(0, say=("say reframe",)), ("strategies", 0, "say"), "one way to say it"),
        (
            with_strategy(0, say=("say reframe", "Say, reframe!")),
            ("strategies", 0, "say", 1),
            "'Say, reframe!' twice",
        ),
        (
            with_strategy(0, say=("…", " … ")),
            ("strategies", 0, "say", 1),
            "twice",
        ),
        (with_strategy(0, phases=(1, *ALL_PHASES)), ("strategies", 0, "phases", 1), "1 is in"),
        (
            with_strategy(0, objections=()),
            ("objections", 0),
            "no strategy answers the objection 'money'",
        ),
        (
            replace(
                SOUND,
                objections=(
                    replace(MONEY_OBJECTION, triggers=("please do not call me",)),
                    TRUST_OBJECTION,
                    NEVER_OBJECTION,
                ),
            ),
            ("objections", 0, "triggers", 0),
            "'do not call' of 'do-not-call', which comes first, is in it",
        ),
        (replace(SOUND, second_best=(VIDEO, BOOK, VIDEO)), ("second_best", 2), "twice; remove one"),
        (replace(SOUND, second_best=(VIDEO, REFRAME)), ("second_best", 1), "has no ends_with"),
        (replace(SOUND, second_best=()), ("second_best",), "nothing is offered instead"),
        (
            with_thresholds(transfer_engagement=97),
            ("thresholds", "transfer_engagement"),
            "97 is hardly ever reached",
        ),
        (with_thresholds(hint_confidence=0.95), ("thresholds", "hint_confidence"), "no hints"),
        (
            with_thresholds(hints_per_minute=0),
            ("thresholds", "hints_per_minute"),
            "no hint is ever",
        ),
        (
            with_thresholds(hints_per_minute=6, hint_cool_down_s=30),
            ("thresholds", "hint_cool_down_s"),
            "30 s between hints allow fewer a minute than the 6",
        ),
        (
            with_thresholds(follow_up_engagement=90, transfer_engagement=80, transfer_release=70),
            ("thresholds", "follow_up_engagement"),
            "above transfer_engagement (80)",
        ),
    ],
)
def test_what_was_probably_forgotten_is_told_with_its_place(playbook, path, says):
    ((where, text),) = found(playbook)
    assert where == path
    assert says in text
