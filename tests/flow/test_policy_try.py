"""Finished calls under another policy: as live under the same one, and what would differ."""

from dataclasses import replace

import pytest

from agent_sidecar.commands.drawing import check_plot_file
from agent_sidecar.commands.policy import with_thresholds
from agent_sidecar.commands.policy_plot import draw
from agent_sidecar.domain import events as ev
from agent_sidecar.domain.engagement import STARTING_WEIGHTS
from agent_sidecar.domain.hints import Retrieved
from agent_sidecar.domain.playbook import Playbook, Thresholds
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.errors import SettingsInvalid
from agent_sidecar.learning.policy_replay import Played, Policy, play, without_vectors
from agent_sidecar.learning.policy_try import Both, Comparison, compare, ended
from agent_sidecar.live.warm import WarmCopy
from tests.domain.playbooks import PLAYBOOK, REFRAME, a_playbook, at, like, reader
from tests.domain.talk import COLD, WARM, Talk

EAGER = a_playbook(
    thresholds=Thresholds(
        hint_confidence=0.0, hint_cool_down_s=0, transfer_engagement=60, transfer_release=50
    )
)


def with_engagement(least: float) -> Playbook:
    thresholds = replace(EAGER.thresholds, transfer_engagement=least, transfer_release=least - 10)
    return replace(EAGER, thresholds=thresholds)


def policy(playbook: Playbook) -> Policy:
    known = reader(playbook)
    return Policy(reader=known, weights=STARTING_WEIGHTS, memory=WarmCopy(known))


def had(playbook: Playbook, *words: str, succeeded: bool | None = None) -> tuple[CallRecord, Talk]:
    """Have a live call under this playbook, its questions answered from the same memory."""
    talk, memory = Talk(playbook), policy(playbook).memory
    talk.join()
    for _ in range(2):
        talk.say("agent", "cue 10", 0.5, like("cue 10"))
    asked = 0
    for number, text in enumerate(words):
        at_s = 5.0 + 6.0 * number
        vector = like("costs much") if "expensive" in text else like(PLAYBOOK.phases[9].cues[0])
        talk.say("prospect", text, at_s, vector)
        for effect in talk.of(ev.AskForHints)[asked:]:
            asked += 1
            retrieved = Retrieved(
                candidates=memory.candidates(effect.question),
                evidence=memory.evidence(effect.question),
            )
            talk.feed(
                ev.HintsRetrieved(
                    question_id=effect.question.question_id,
                    at=at(at_s),
                    retrieved=retrieved,
                    latency_ms=0.0,
                )
            )
    if succeeded is not None:
        talk.feed(
            ev.OutcomePosted(at=at(6.0 * len(words)), final_status="follow_up", qualified=succeeded)
        )
    return talk.close(5.0 + 6.0 * len(words)), talk


SAID = (WARM, "that is too expensive for me", WARM, WARM)


def test_under_the_same_policy_a_call_is_played_as_it_was():
    record, talk = had(EAGER, *SAID)
    played = play(record, policy(EAGER))
    assert [strategy for _, strategy in played.given] == [
        told.hint.strategy for told in talk.of(ev.PublishHint)
    ]
    assert played.given
    assert bool(played.proposed_at_s) == bool(talk.of(ev.StartTransfer))
    assert played.proposed_at_s
    assert play(record, policy(EAGER)) == played


def test_a_higher_threshold_proposes_less_and_surer_hints_are_fewer():
    # no buying signal, which is worth a closer whatever the score
    record, talk = had(EAGER, *["sounds great, I love it, yes, perfect"] * 5, SAID[1])
    assert talk.of(ev.StartTransfer)
    strict = replace(
        with_engagement(100), thresholds=replace(with_engagement(100).thresholds, hint_confidence=1)
    )
    played = play(record, policy(strict))
    assert (played.given, played.proposed_at_s) == ((), ())
    assert [strategy for _, strategy in played.withheld]


def test_without_vectors_a_call_is_read_by_its_words_alone():
    record, _ = had(EAGER, *SAID)
    assert all(s.vector is None for s in without_vectors(record).segments)
    # “too expensive” is heard in the words, the phase was in the vectors
    played = play(without_vectors(record), policy(EAGER))
    assert [strategy for _, strategy in played.given] == [REFRAME]
    assert not played.proposed_at_s


def test_after_a_real_handover_nothing_is_proposed():
    talk = Talk(EAGER)
    talk.join()
    talk.say("agent", "cue 10", 0.5, like("cue 10"))
    talk.bridge(1.0)
    for number in range(4):
        talk.say("prospect", WARM, 10.0 + 6.0 * number, like("cue 10"))
    played = play(talk.close(60.0), policy(EAGER))
    assert played == Played(given=(), withheld=(), proposed_at_s=())


@pytest.mark.parametrize(
    ("succeeded", "told"), [(True, "well"), (False, "badly"), (None, "unknown")]
)
def test_how_a_call_ended(succeeded, told):
    record, _ = had(EAGER, COLD, succeeded=succeeded)
    known = replace(record, outcome=replace(record.outcome, qualified=succeeded))
    assert ended(known) == told


def nothing(*at_s: float) -> Played:
    return Played(given=(), withheld=(), proposed_at_s=at_s)


def compared(*calls: tuple[str, Played, Played]) -> Comparison:
    both = [Both(ended=end, in_use=a, tried=b) for end, a, b in calls]  # type: ignore[arg-type]
    return compare(both, with_engagement(85), with_engagement(80))


def test_more_transfers_are_told_with_how_their_calls_ended():
    said = compared(
        ("well", nothing(), nothing(20.0)),
        ("well", nothing(), nothing(30.0)),
        ("badly", nothing(), nothing(30.0)),
        ("badly", nothing(50.0), nothing(40.0, 70.0)),
        ("unknown", nothing(), nothing()),
    )
    first, *rest = said.in_words()
    assert first.startswith("transfer_engagement 80 instead of 85")
    assert rest == [
        "3 more transfers proposed, 2 of them on calls that ended well",
        "where both propose one, 10 s earlier (median)",
        "the same hints given",
    ]
    assert said.in_use.total().transfers_proposed == 1
    assert said.tried.ends["badly"].transfers_proposed == 2
    assert said.tried.total().further_transfers == 1
    assert said.to_json()["calls"] == {"well": 2, "badly": 2, "unknown": 1}


def test_one_is_told_as_one_and_fewer_as_fewer():
    said = compared(
        ("badly", nothing(), nothing(9.0)),
        ("well", nothing(9.0), nothing()),
        ("well", nothing(), nothing()),
    )
    assert said.transfers.in_words("transfer", "proposed").split("; ") == [
        "1 more transfer proposed, on a call that ended badly",
        "1 fewer, on a call that ended well",
    ]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("transfer_engagment=80", "did you mean transfer_engagement?"),
        ("transfer_engagement=high", "must be a number"),
        ("transfer_segments=2.5", "must be a whole number"),
        ("transfer_engagement=101", "it must be 0 to 100"),
        ("transfer_release=99", "must not be above transfer_engagement"),
    ],
)
def test_a_threshold_that_cannot_be_is_told(given, says):
    with pytest.raises(SettingsInvalid, match=says.replace("?", r"\?")):
        with_thresholds(PLAYBOOK, [given])


def test_thresholds_are_set_and_the_rest_is_kept():
    changed = with_thresholds(PLAYBOOK, ["transfer_engagement=80", "transfer_segments=3"])
    assert changed.thresholds.transfer_engagement == 80
    assert changed.thresholds.transfer_segments == 3
    assert replace(changed, thresholds=PLAYBOOK.thresholds) == PLAYBOOK


@pytest.mark.parametrize(("name", "begins"), [("a.svg", b"<svg"), ("a.png", b"\x89PNG")])
def test_a_picture_is_drawn(tmp_path, name, begins):
    file = tmp_path / name
    check_plot_file(file)
    draw(compared(("well", nothing(), nothing(20.0)), ("badly", nothing(1.0), nothing())), file)
    assert file.read_bytes().lstrip().startswith(begins)


@pytest.mark.parametrize("name", ["a.jpg", "none/a.svg"])
def test_a_picture_that_could_not_be_written_is_told_before_the_work(tmp_path, name):
    with pytest.raises(SettingsInvalid):
        check_plot_file(tmp_path / name)
