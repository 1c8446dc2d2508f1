from dataclasses import replace

from agent_sidecar.domain.archived import recorded_of
from tests.builders import rich_record


def test_a_call_becomes_what_an_import_learns_the_same_from():
    record = rich_record()
    recorded = recorded_of(record)
    said = [s for s in record.segments if s.speaker != "closer" and s.text]
    assert [s.text for s in recorded.segments] == [s.text for s in said]
    assert [s.strategy for s in recorded.segments] == [s.strategy for s in said]
    assert [s.vector for s in recorded.segments] == [s.vector for s in said]
    assert [(s.start_s, s.end_s) for s in recorded.segments] == [(s.start_s, s.end_s) for s in said]
    assert recorded.model == record.configuration.model
    assert recorded.started_at == record.started_at
    assert recorded.lead == record.lead
    assert recorded.outcome.final_status == record.outcome.final_status
    assert recorded.outcome.success == record.outcome.qualified


def test_closers_and_speech_without_words_are_left_out():
    first, *others = rich_record().segments
    record = rich_record(segments=(replace(first, speaker="closer"), replace(first, text=" ")))
    assert others
    assert recorded_of(record).segments == ()


def test_times_that_would_be_refused_are_mended():
    first = rich_record().segments[0]
    odd = replace(first, speaker="agent", text="Hi", start_s=-1.0, end_s=-2.0)
    [segment] = recorded_of(rich_record(segments=(odd,))).segments
    assert (segment.start_s, segment.end_s) == (0.0, 0.0)
