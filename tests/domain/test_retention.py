from datetime import timedelta

import pytest

from agent_sidecar.domain.record import Outcome
from agent_sidecar.domain.retention import read_rules
from tests.builders import at, rich_record

LOST = rich_record(
    outcome=Outcome(final_status="disqualified", result="not_qualified", qualified=False)
)
WON = rich_record(
    outcome=Outcome(final_status="hot_transfer", result="transferred", qualified=True)
)


def test_a_call_is_over_after_the_days_of_its_outcome_counted_from_its_end():
    rules = read_rules("disqualified=30, *=365")
    assert not rules.is_over(LOST, LOST.ended_at + timedelta(days=29))
    assert rules.is_over(LOST, LOST.ended_at + timedelta(days=30))
    assert not rules.is_over(WON, WON.ended_at + timedelta(days=30))
    assert rules.is_over(WON, WON.ended_at + timedelta(days=365))


def test_an_outcome_without_a_rule_is_kept_for_ever():
    assert not read_rules("disqualified=30").is_over(WON, at(0) + timedelta(days=9999))


def test_rules_are_said_as_they_are_read():
    assert str(read_rules("no_answer=7, *=365")) == "no_answer=7,*=365"


def test_no_rule_looks_at_calls_younger_than_the_shortest():
    assert read_rules("no_answer=7,*=365").newest(at(0)) == at(0) - timedelta(days=7)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("lost=30", "'lost=30': write OUTCOME=DAYS"),
        ("disqualified", "'disqualified': write OUTCOME=DAYS"),
        ("", "'': write OUTCOME=DAYS"),
        ("*=3,*=4", "[*] is there twice"),
        ("*=0", "from 1 to 36500"),
        ("*=1.5", "whole number"),
        ("*=\u0663", "whole number"),
        ("*=99999", "from 1 to 36500"),
    ],
)
def test_what_is_wrong_is_said(text, why):
    with pytest.raises(ValueError, match=why):
        read_rules(text)
