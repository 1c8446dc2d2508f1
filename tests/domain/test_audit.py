from collections.abc import Mapping
from datetime import UTC, datetime

from agent_sidecar.domain.audit import property_differences


def differences(expected: Mapping[str, object], found: Mapping[str, object]) -> list[str]:
    return list(property_differences(expected, found))


def test_the_same_is_the_same_in_another_spelling():
    now = datetime(2026, 1, 2, tzinfo=UTC)
    expected = {"a": 85.0, "b": None, "c": [1.0, 2.0], "d": now, "e": True, "f": "x"}
    assert differences(expected, {"a": 85, "c": [1, 2], "d": now, "e": True, "f": "x"}) == []


def test_what_differs_is_named_with_both_values():
    assert differences({"a": 1}, {"a": 2}) == ["a is 2 instead of 1"]
    assert differences({"a": 1}, {}) == ["a is nothing instead of 1"]
    assert differences({}, {"a": 1}) == ["a is 1 instead of nothing"]
    assert differences({"a": [1.0]}, {"a": [1.0, 2.0]}) == ["a is [1.0, 2.0] instead of [1.0]"]
    assert differences({"a": ["x"]}, {"a": ["y"]}) == ["a is ['y'] instead of ['x']"]


def test_true_is_not_one():
    assert differences({"a": True}, {"a": 1}) == ["a is 1 instead of True"]


def test_long_values_are_cut_and_times_are_readable():
    (sentence,) = differences({"a": "x" * 500}, {"a": datetime(2026, 1, 2, tzinfo=UTC)})
    assert len(sentence) < 200
    assert "2026-01-02T00:00:00+00:00" in sentence
