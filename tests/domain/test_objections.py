import numpy as np
import pytest

from agent_sidecar.domain.objections import (
    ALIKE,
    CLOSE,
    DENIAL,
    MARGIN,
    Objected,
    ObjectionReader,
    texts_of,
)
from agent_sidecar.domain.ordinary import ORDINARY_LINES
from agent_sidecar.domain.playbook import Objection
from agent_sidecar.domain.types import ObjectionType
from tests.domain.playbooks import MONEY, NEVER, TRUST

OBJECTIONS = (
    Objection(
        type=MONEY, wordings=("costs much", "dear"), unlike=("cheap",), triggers=("too expensive",)
    ),
    Objection(type=TRUST, wordings=("is it real",)),
    Objection(type=NEVER, wordings=("leave me",), triggers=("do not call",), is_refusal=True),
)
TEXTS = list(dict.fromkeys(texts_of(OBJECTIONS)))
AXES = dict(zip(TEXTS, np.eye(len(TEXTS), dtype=np.float32), strict=True))
READER = ObjectionReader(OBJECTIONS, AXES)


def mixed(**closeness: float):
    """Return a vector with these cosines to texts; `_` stands for a blank."""
    return sum(AXES[text.replace("_", " ")] * share for text, share in closeness.items())


def assert_told(told: Objected | None, kind: ObjectionType, closeness: float) -> None:
    assert told is not None
    assert told.type == kind
    assert told.closeness == pytest.approx(closeness)


def test_every_text_and_the_ordinary_lines_need_vectors():
    assert {"costs much", "dear", "cheap", "is it real", *ORDINARY_LINES} <= set(TEXTS)


def test_certain_phrases_are_told_with_their_places_a_refusal_first():
    said = READER.said("too expensive, do not call, too expensive")
    assert list(said) == [NEVER, MONEY]
    assert said[MONEY] == [(range(2), "too expensive"), (range(5, 7), "too expensive")]
    assert READER.said("it is not too expensive") == {}


@pytest.mark.parametrize(("closeness", "is_one"), [(CLOSE + 0.01, True), (CLOSE - 0.01, False)])
def test_a_line_must_be_close_to_a_wording(closeness, is_one):
    told = READER.closest("hm", mixed(dear=closeness))
    assert (told is not None) is is_one


@pytest.mark.parametrize("other", [ORDINARY_LINES[7], "cheap"])
@pytest.mark.parametrize(("nearer", "is_one"), [(MARGIN + 0.01, True), (MARGIN - 0.01, False)])
def test_and_clearly_closer_than_to_what_is_no_objection(other, nearer, is_one):
    vector = AXES["dear"] * 0.6 + AXES[other] * (0.6 - nearer)
    assert (READER.closest("hm", vector) is not None) is is_one


def test_what_sounds_like_one_objection_may_still_be_another():
    assert READER.closest("hm", mixed(cheap=0.6, dear=0.6)) is None
    told = READER.closest("hm", mixed(cheap=0.6, dear=0.6, is_it_real=0.5))
    assert_told(told, TRUST, 0.5)


def test_the_closest_counts_but_not_what_the_words_deny():
    vector = mixed(dear=0.7, is_it_real=0.6)
    assert_told(READER.closest("hm", vector), MONEY, 0.7)
    told = READER.closest("I'm not saying it's too expensive", vector)
    assert_told(told, TRUST, 0.6 - DENIAL)


def test_a_line_that_denies_is_further_from_one_that_does_not():
    for text, closeness in (("hm", 0.5), ("not so", 0.5 - DENIAL)):
        told = READER.closest(text, mixed(dear=CLOSE + 0.06))
        assert (told is None) is (text == "not so")
        sure = READER.closest(text, mixed(dear=0.5 + DENIAL))
        assert sure is not None
        assert sure.closeness == pytest.approx(closeness + DENIAL)


def test_an_ordinary_line_that_a_playbook_calls_an_objection_is_one_there():
    ordinary = ORDINARY_LINES[0]
    vectors = AXES | {"dear": mixed(dear=ALIKE - 0.1) + AXES[ordinary] * (ALIKE + 0.05)}
    line = AXES[ordinary]
    assert READER.closest("hm", line) is None
    told = ObjectionReader(OBJECTIONS, vectors).closest("hm", line)
    assert told is not None
    assert told.type == MONEY


@pytest.mark.parametrize(
    "vector", [None, np.zeros(0, np.float32), np.ones(3, np.float32), np.full(len(TEXTS), np.nan)]
)
def test_no_vector_one_of_another_model_or_none_at_all_tells_nothing(vector):
    assert READER.closest("hm", vector) is None


def test_without_vectors_the_phrases_still_count():
    blind = ObjectionReader(OBJECTIONS, {})
    assert blind.closest("hm", AXES["dear"]) is None
    assert list(blind.said("too expensive")) == [MONEY]
    only_ordinary = {line: AXES[line] for line in ORDINARY_LINES}
    assert ObjectionReader(OBJECTIONS, only_ordinary).closest("hm", AXES["dear"]) is None
    only_wordings = {"dear": AXES["dear"]}
    assert ObjectionReader(OBJECTIONS, only_wordings).closest("hm", AXES["dear"]) is not None
