"""Fitting the recognition of strategies on small calls, with the fake embedder."""

from collections.abc import Sequence
from dataclasses import replace
from string import ascii_lowercase
from typing import Any

import numpy as np
import pytest

from agent_sidecar.domain.strategies import StrategyModel, StrategyRecogniser
from agent_sidecar.domain.types import Party
from agent_sidecar.errors import FitImpossible
from agent_sidecar.learning.fit_strategies import check_strategies, cross_validate, fit_strategies
from agent_sidecar.learning.labelled import LabelledCall, LabelledLine
from tests.fakes import FakeEmbedder

EMBEDDER = FakeEmbedder(dimension=24)
NAMES = ("own-story", "small-step")
SAYS = {
    "small-step": ("would one hour be fine to begin", "even one small hour would be a start"),
    "own-story": ("my own garden was empty last year", "my own brother did that last year"),
    "greeting": ("hello there how are you", "good morning how are you"),
    "thanks": ("thank you very much for that", "thank you so much"),
    None: ("I have no idea what this was", "somebody forgot to label this"),
}


def line(speaker: Party, text: str, label: str | None) -> LabelledLine:
    vector = EMBEDDER.vector(text)
    return LabelledLine(
        speaker=speaker, text=text, vector=vector, label=label, start_s=0.0, end_s=1.0
    )


def a_call(number: int, labels: Sequence[str | None] = tuple(SAYS), source: str = "a") -> Any:
    lines = []
    for turn, label in enumerate(labels):
        said = SAYS[label][(turn + number) % 2]
        lines += [line("agent", f"{said} number {number}", label), line("prospect", "okay", "hm")]
    return LabelledCall(call_id=f"c{number}", lines=tuple(lines), source=source)


CALLS = [a_call(number) for number in range(12)]


def told(model: StrategyModel, call: LabelledCall) -> list[str | None]:
    recogniser = StrategyRecogniser(model)
    heard = [recogniser.hear(ln.speaker, ln.text, ln.vector) for ln in call.lines]
    return [one.strategy for one in heard if one is not None]


def test_strategies_are_recognised_in_a_call_that_was_not_seen():
    model = fit_strategies(CALLS, NAMES)
    assert model.names == NAMES
    assert told(model, a_call(99))[:4] == ["small-step", "own-story", None, None]


def test_the_same_calls_always_make_the_same_weights():
    first, again = (fit_strategies(CALLS, NAMES).arrays() for _ in range(2))
    assert all((first[name] == again[name]).all() for name in first)


def test_a_file_labelled_for_something_else_does_not_say_what_is_no_strategy():
    others = [a_call(number, ("greeting", "thanks"), source="b") for number in range(8)]
    alone, beside = (fit_strategies(calls, NAMES).arrays() for calls in (CALLS, CALLS + others))
    assert all((alone[name] == beside[name]).all() for name in alone)


def test_a_call_without_lines_and_lines_without_labels_are_no_obstacle():
    silent = LabelledCall(call_id="silent", lines=(), source="a")
    assert fit_strategies([*CALLS, silent], NAMES).names == NAMES


def test_where_no_word_is_said_twice_the_vectors_tell():
    def different(call: LabelledCall) -> LabelledCall:
        lines = tuple(
            replace(ln, text=ascii_lowercase[int(call.call_id[1:])] + ascii_lowercase[at])
            for at, ln in enumerate(call.lines)
        )
        return replace(call, lines=lines)

    model = fit_strategies([different(call) for call in CALLS], NAMES)
    assert model.topics.shape == (0, 0)
    assert told(model, CALLS[3])[:2] == ["small-step", "own-story"]


def test_unseen_calls_say_how_well_it_works():
    folds: list[int] = []
    seen = cross_validate(CALLS, NAMES, folds=3, tell=folds.append)
    assert folds == [0, 1, 2]
    assert seen.names == NAMES
    # what nobody labelled is not counted
    assert seen.confusion.sum(axis=1).tolist() == [12, 12, 24]
    assert seen.accuracy == pytest.approx(np.trace(seen.confusion) / 48)
    assert 0.9 <= seen.macro_f1 <= 1.0


@pytest.mark.parametrize(
    ("strategies", "calls", "said"),
    [
        ((), CALLS, "no strategy is named"),
        (("story",), CALLS, r"labelled story; labels that are there: greeting \(12\), own-story"),
        (("hm",), CALLS, "no line of an agent is labelled hm"),
        (NAMES, [], "labels that are there: none"),
        (NAMES, CALLS[:3], r"own-story \(3\), small-step \(3\): at least 5"),
        (NAMES, [a_call(1, NAMES * 5)], "1 calls with strategies are too few"),
    ],
)
def test_what_cannot_be_fitted_is_said_before_anything_is_done(strategies, calls, said):
    with pytest.raises(FitImpossible, match=said):
        check_strategies(calls, strategies)
