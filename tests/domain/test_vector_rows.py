from dataclasses import replace

import numpy as np
import pytest

from agent_sidecar.domain.playbook import Objection, Playbook, Strategy
from agent_sidecar.domain.record import CallRecord, Configuration
from agent_sidecar.domain.types import ObjectionType, StrategyName
from agent_sidecar.domain.vector_rows import VectorRow, call_rows, collection, playbook_texts
from tests.builders import PRICE, REFRAME, rich_record, stranger_record, unit_vector


def lines(record: CallRecord) -> tuple[VectorRow, ...]:
    return call_rows(record)["conversation_embeddings"]


def patterns(record: CallRecord) -> tuple[VectorRow, ...]:
    return call_rows(record)["conversation_patterns"]


def answers(record: CallRecord) -> tuple[VectorRow, ...]:
    return call_rows(record)["objection_responses"]


def a_playbook(*, wordings: tuple[str, ...] = ("too expensive",)) -> Playbook:
    strategy = Strategy(name=REFRAME, when="the price is too high", say=("What would it change?",))
    return Playbook(
        name="test",
        phases=(),
        strategies=(strategy,),
        objections=(Objection(type=PRICE, wordings=wordings),),
        closers=(),
    )


def test_a_collection_is_named_by_family_and_outcome():
    assert collection("conversation_embeddings", "hot_transfer") == (
        "conversation_embeddings.hot_transfer"
    )


def test_the_agents_lines_and_nobody_elses():
    (row,) = lines(rich_record())
    assert row.id == "call-rich_segment_1"
    assert row.document == "What would a hundred a day change for you?"
    assert row.vector.dtype == np.float32
    assert row.vector.tobytes() == unit_vector(1)
    assert row.metadata["phase"] == 5
    assert row.metadata["engagement_score"] == 55.0
    assert row.metadata["source"] == "live"


def test_what_is_not_known_is_left_out():
    (row,) = lines(
        rich_record(
            segments=(replace(rich_record().segments[1], call_engagement=None, strategy=None),),
        )
    )
    assert "engagement_score" not in row.metadata
    assert "strategy" not in row.metadata
    assert None not in row.metadata.values()


@pytest.mark.parametrize(
    ("sentiment", "word"), [(0.3, "positive"), (-0.3, "negative"), (0.29, "neutral")]
)
def test_sentiment_becomes_a_word_at_the_records_own_limit(sentiment: float, word: str):
    configuration = Configuration(
        system_version="1", playbook="p", weights="w", model="m", sentiment_limit=0.3
    )
    said = replace(rich_record().segments[1], sentiment=sentiment)
    (row,) = lines(rich_record(segments=(said,), configuration=configuration))
    assert row.metadata["sentiment"] == word


def test_a_whole_call_is_the_mean_of_what_the_prospect_said():
    (row,) = patterns(rich_record())
    said = [np.frombuffer(unit_vector(n), dtype="<f4").astype(np.float64) for n in (0, 2)]
    mean = np.mean(said, axis=0)
    assert row.id == "pattern_call-rich"
    assert np.linalg.norm(row.vector) == pytest.approx(1.0)
    assert np.allclose(row.vector, mean / np.linalg.norm(mean), atol=1e-6)
    assert row.metadata["outcome"] == "transferred"
    assert row.metadata["engagement_score"] == 82.25
    assert row.metadata["kevin_available"] is True
    assert row.document == rich_record().full_text


def test_a_call_without_vectors_has_no_rows():
    unembedded = tuple(replace(s, vector=None) for s in rich_record().segments)
    for record in (stranger_record(), rich_record(segments=unembedded)):
        assert all(rows == () for rows in call_rows(record).values())


def test_lines_that_cancel_out_point_nowhere():
    prospect = rich_record().segments[0]
    opposite = (-np.frombuffer(unit_vector(0), dtype="<f4")).tobytes()
    pair = (prospect, replace(prospect, index=1, vector=opposite))
    assert patterns(rich_record(segments=pair)) == ()


def test_an_answer_is_found_by_the_objection_that_it_answered():
    (row,) = answers(rich_record())
    assert row.id == "call-rich_response_1"
    assert row.document == "What would a hundred a day change for you?"
    assert row.vector.tobytes() == unit_vector(0)
    assert row.metadata["strategy"] == REFRAME
    assert row.metadata["objection"] == PRICE
    assert row.metadata["qualified"] is True


def test_only_answers_that_helped_in_calls_that_count_are_kept():
    credit = rich_record().credits[0]
    first, second, *_ = rich_record().segments
    of_another = replace(first, objection=ObjectionType("time"))
    for record in (
        rich_record(source="replay"),
        rich_record(credits=(replace(credit, lifted=False),)),
        rich_record(credits=(replace(credit, lifted=None),)),
        rich_record(credits=(replace(credit, objection=None),)),
        rich_record(credits=(replace(credit, segment=77),)),
        rich_record(segments=(of_another, second)),
        rich_record(segments=(replace(first, vector=None), second)),
        rich_record(segments=(first, replace(second, text=""))),
    ):
        assert answers(record) == ()


def test_the_playbook_is_found_by_moments_words_and_wordings():
    texts = playbook_texts(a_playbook())
    strategies, objections = texts["strategy_embeddings"], texts["objection_embeddings"]
    assert [(t.text, t.metadata["kind"]) for t in strategies] == [
        ("the price is too high", "when"),
        ("What would it change?", "say"),
    ]
    assert objections[0].metadata == {"objection": PRICE, "is_refusal": False}


def test_the_id_of_a_text_changes_with_anything_about_it():
    playbook = a_playbook()
    renamed = replace(playbook.strategies[0], name=StrategyName("other"))
    before = playbook_texts(playbook)["strategy_embeddings"]
    after = playbook_texts(replace(playbook, strategies=(renamed,)))["strategy_embeddings"]
    assert {t.id for t in before}.isdisjoint(t.id for t in after)
    assert before == playbook_texts(a_playbook())["strategy_embeddings"]


def test_a_text_given_twice_is_one():
    texts = playbook_texts(a_playbook(wordings=("too much", "too much")))
    assert len(texts["objection_embeddings"]) == 1
