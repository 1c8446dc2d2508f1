"""What is answered as JSON, and what has no place there."""

import json
from types import MappingProxyType

import pytest

from agent_sidecar.web.answers import answer


def test_read_only_mappings_are_answered_as_objects():
    body = answer({"stores": MappingProxyType({"chroma": "pending"})}).body
    assert isinstance(body, bytes)
    assert json.loads(body) == {"stores": {"chroma": "pending"}}


def test_a_value_of_another_kind_is_named():
    with pytest.raises(TypeError, match="object has no place in JSON"):
        answer({"call": object()})
