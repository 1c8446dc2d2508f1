from dataclasses import replace

from agent_sidecar.domain.document import conversation_document
from agent_sidecar.domain.examples import example_call, example_kinds
from agent_sidecar.domain.record import KeyMoment
from tests.builders import at, rich_record, stranger_record


def test_a_call_is_an_example_for_its_kinds_from_everybody_on():
    assert example_kinds(rich_record()) == [
        "",
        "experience_level=beginner",
        "experience_level=beginner|motivation=high",
    ]
    assert example_kinds(stranger_record()) == [""]


def test_a_replay_is_no_example():
    assert example_kinds(rich_record(source="replay")) == []


def test_the_rise_is_shown_with_the_lines_up_to_it():
    record = rich_record()
    found = example_call(conversation_document(record), "experience_level=beginner")
    assert (found.call_id, found.outcome, found.score) == ("call-rich", "hot_transfer", 82.25)
    assert found.kind == "experience_level=beginner"
    assert found.turned == "when could I start"
    before = [s for s in record.segments if s.text and s.at <= at(40)][-3:]
    assert found.lines == tuple(f"{s.speaker}: {s.text}" for s in before)
    assert found.lines


def test_without_a_rise_whatever_was_remarkable_is_shown():
    moments = (
        KeyMoment(at=at(10), kind="drop", text="no"),
        KeyMoment(at=at(20), kind="objection", text="too expensive"),
    )
    found = example_call(conversation_document(rich_record(key_moments=moments)), "")
    assert found.turned == "too expensive"


def test_a_call_in_which_nothing_happened_shows_nothing():
    record = replace(stranger_record(), call_id=rich_record().call_id)
    found = example_call(conversation_document(record), "")
    assert (found.turned, found.lines, found.score) == (None, (), None)
