"""Fitting what to expect of strategies, and suggesting by it, on small calls with known truth."""

import json
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from agent_sidecar.adapters import weights_file as files
from agent_sidecar.domain.engagement import STARTING_WEIGHTS, Weights
from agent_sidecar.domain.hints import Evidence
from agent_sidecar.domain.language import texts_to_embed
from agent_sidecar.domain.outlook import MomentTalk, OutlookModel
from agent_sidecar.domain.recall import Recall
from agent_sidecar.domain.types import StrategyName
from agent_sidecar.errors import WeightsInvalid
from agent_sidecar.learning.anchors import anchor_texts
from agent_sidecar.learning.fit_outlook import find_trials, fit_outlook
from agent_sidecar.learning.fit_score import fit_score
from agent_sidecar.learning.fit_strategies import fit_strategies
from agent_sidecar.learning.labelled import LabelledCall, LabelledLine
from agent_sidecar.learning.scored_lines import Sides
from agent_sidecar.learning.suggest import Suggestion, suggest_call, with_strategies
from tests.domain.playbooks import PLAYBOOK, reader
from tests.fakes import FakeEmbedder
from tests.flow.test_learn import a_card, recorded

EMBEDDER = FakeEmbedder(dimension=24)
SIDES = Sides(positive=frozenset({"yes"}), negative=frozenset({"no"}))
NAMES = ("ask", "tell")
# who doubts wants to be asked, who is curious wants to be told
WANTS = {"I doubt it very much": "ask", "what is that about": "tell"}
SAYS = {"ask": "what makes you say so", "tell": "my own brother did this last spring"}


def line(speaker: str, text: str, label: str | None = None) -> LabelledLine:
    return LabelledLine(
        speaker=speaker,  # type: ignore[arg-type]
        text=text,
        vector=EMBEDDER.vector(text),
        label=label,
        start_s=0.0,
        end_s=1.0,
    )


def a_call(number: int, turns: int = 6) -> LabelledCall:
    random = np.random.default_rng(number)
    lines = [line("agent", "hello there", "greeting")]
    for _ in range(turns):
        mood = list(WANTS)[random.integers(2)]
        does = NAMES[random.integers(2)]
        goes_along = (WANTS[mood] == does) == (random.random() < 0.9)
        lines.append(line("prospect", mood, "so-so"))
        lines.append(line("agent", SAYS[does], does))
        answer = "sure, fine" if goes_along else "no, never"
        lines.append(line("prospect", answer, "yes" if goes_along else "no"))
        lines.append(line("agent", "I see", "other"))
    return LabelledCall(call_id=f"c{number}", lines=tuple(lines), source="a")


CALLS = [a_call(number) for number in range(40)]


def even(calls: list[LabelledCall]) -> list[list[float]]:
    """Return a score for every line of a prospect: nobody knows."""
    return [[50.0] * sum(ln.speaker == "prospect" for ln in call.lines) for call in calls]


@pytest.fixture(scope="module")
def model() -> OutlookModel:
    fitted = fit_outlook(CALLS, SIDES, NAMES, even(CALLS))
    assert fitted is not None
    return fitted


class TestFit:
    @pytest.mark.parametrize(("mood", "best"), WANTS.items())
    def test_what_is_best_depends_on_the_moment(self, model, mood, best):
        talk = MomentTalk(24)
        talk.hear_prospect(mood, EMBEDDER.vector(mood), 50.0)
        outlooks = model.outlook(talk)
        other = next(name for name in NAMES if name != best)
        assert outlooks[best].chance > 0.7 > 0.3 > outlooks[other].chance
        assert all(0.3 < outlook.usual < 0.7 for outlook in outlooks.values())

    def test_chances_are_right_on_calls_that_were_not_seen(self, model):
        unseen = [a_call(number) for number in range(100, 140)]
        trials = [t for t in find_trials(unseen, SIDES, NAMES, even(unseen)) if t is not None]
        own = [trial for trial in trials if trial.strategy < 2]
        logits = [
            float(t.moment @ model.by_number[:, t.strategy] + model.starts[t.strategy]) for t in own
        ]
        chances = 1 / (1 + np.exp(-np.array(logits)))
        lifted = np.array([t.lifted for t in own])
        high = chances > 0.5
        assert lifted[high].mean() == pytest.approx(chances[high].mean(), abs=0.12)
        assert lifted[~high].mean() == pytest.approx(chances[~high].mean(), abs=0.12)

    def test_the_same_calls_give_the_same_weights(self, model):
        again = fit_outlook(CALLS, SIDES, NAMES, even(CALLS))
        assert again is not None
        assert all(np.array_equal(a, again.arrays()[n]) for n, a in model.arrays().items())

    def test_few_trials_or_reactions_of_one_side_say_nothing(self):
        few = CALLS[:5]
        assert fit_outlook(few, SIDES, NAMES, even(few)) is None
        never = replace(SIDES, negative=frozenset({"never"}))
        assert fit_outlook(CALLS, never, NAMES, even(CALLS)) is None

    def test_the_reaction_is_the_next_turn_s_and_no_later_one(self):
        call = LabelledCall(
            call_id="c",
            lines=(
                line("agent", "one", "ask"),
                line("agent", "two", "tell"),
                line("prospect", "hm", "so-so"),
                line("prospect", "sure", "yes"),
                line("prospect", "or not", "no"),
                line("agent", "three", "ask"),
                line("prospect", "hm", "so-so"),
                line("agent", "four", "other"),
                line("prospect", "no", "no"),
                line("agent", "five", None),
                line("prospect", "no", "no"),
                line("agent", "six", "ask"),
            ),
        )
        trials = list(find_trials([call], SIDES, NAMES, even([call])))
        told = [None if t is None else (t.strategy, t.lifted) for t in trials]
        assert told == [(0, True), (1, True), None, (2, False), None, None]


class TestFile:
    def test_what_to_expect_comes_back_with_the_weights(self, model, tmp_path):
        anchors = {text: EMBEDDER.vector(text) for text in anchor_texts()}
        score = fit_score(CALLS, SIDES, anchors, folds=2).model
        weights = Weights(score=score, strategies=fit_strategies(CALLS, NAMES), outlook=model)
        card = a_card(anchor_groups=score.group_names, strategies=NAMES, has_outlook=True)
        file = tmp_path / "v1.safetensors"
        files.write_weights(file, card, weights)
        again = files.read_weights(file, model="fake", dimension=24)[1].outlook
        assert again is not None
        talk = MomentTalk(24)
        talk.hear_prospect("what is that about", EMBEDDER.vector("what is that about"), 50.0)
        for name, outlook in model.outlook(talk).items():
            assert again.outlook(talk)[name].chance == pytest.approx(outlook.chance, abs=0.01)
        files.write_weights(file, card, replace(weights, outlook=None))
        with pytest.raises(WeightsInvalid, match="'by_number' is missing"):
            files.read_weights(file, model="fake", dimension=24)
        short = replace(model, usual=model.usual[:1])
        files.write_weights(file, card, replace(weights, outlook=short))
        with pytest.raises(WeightsInvalid, match=r"outlook\.usual has the shape"):
            files.read_weights(file, model="fake", dimension=24)


def suggested(
    model: OutlookModel | None, evidence: tuple[Evidence, ...] = (), top_k: int = 2
) -> list[Suggestion]:
    call = recorded(CALLS[0])
    texts = [*(s.text for s in call.segments), *texts_to_embed(PLAYBOOK)]
    recall = Recall(reader(PLAYBOOK), evidence)
    known = recall.strategies() | {StrategyName(name) for name in (model.names if model else ())}
    return list(
        suggest_call(
            call,
            {text: EMBEDDER.vector(text) for text in texts},
            reader(PLAYBOOK),
            replace(STARTING_WEIGHTS, outlook=model) if model else Weights(),
            recall=recall.answer,
            playbook=with_strategies(PLAYBOOK, known),
            top_k=top_k,
        )
    )


class TestSuggest:
    def test_every_line_of_the_agent_gets_k_strategies_best_first(self, model):
        call = recorded(CALLS[0])
        told = suggested(model, top_k=4)
        agent = [n for n, s in enumerate(call.segments) if s.speaker == "agent"]
        assert [one.segment for one in told] == agent
        assert {len(one.suggested) for one in told} == {4}
        for one in told:
            chances = [s.confidence for s in one.suggested if s.strategy in NAMES]
            assert chances == sorted(chances, reverse=True)
            assert len({s.strategy for s in one.suggested}) == 4

    def test_the_moment_decides_and_nothing_that_is_said_later(self, model):
        call = CALLS[0]
        for one in suggested(model, top_k=1):
            before = call.lines[one.segment - 1].text if one.segment else ""
            if before in WANTS:
                assert one.suggested[0].strategy == WANTS[before]
        assert suggested(model)[:3] == suggested(model)[:3]

    def test_without_weights_evidence_decides_also_for_strategies_the_playbook_lacks(self):
        rows = tuple(
            Evidence(strategy=StrategyName(name), scope=f"phase:{n}", tried=90, lifted=k, won=0)
            for n in range(1, 13)
            for name, k in (("own-way", 80), ("bad-way", 2))
        )
        told = suggested(None, rows, top_k=6)
        assert {one.suggested[0].strategy for one in told} == {"own-way"}
        assert {one.suggested[-1].strategy for one in told} == {"bad-way"}

    def test_a_suggestion_is_one_json_object(self, model):
        first = json.loads(msgspec.json.encode(suggested(model)[0]))
        assert set(first) == {"call_id", "segment", "suggested"}
        assert set(first["suggested"][0]) == {"strategy", "confidence"}
