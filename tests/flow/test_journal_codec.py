"""Events on disk: what is new can be read again, what is old can be read still."""

import pytest

from agent_sidecar.adapters.sqlite_codec import decode_event, encode_event
from agent_sidecar.domain import events as ev
from agent_sidecar.domain.types import CommandId, LegId
from tests.domain.playbooks import at

LINE = ev.LineHeard(line_id="l1", at=at(1), party="agent", text="well", is_final=True)


@pytest.mark.parametrize(
    "event",
    [
        ev.LegsBridged(at=at(1), leg_id=LegId("v3:a"), peer_leg_id=LegId("v3:b")),
        ev.LegsBridged(at=at(1), leg_id=LegId("v3:a")),
        ev.CommandDecided(
            at=at(2),
            leg_id=LegId("v3:a"),
            command="transcription_stop",
            command_id=CommandId("c1"),
            reason="silent",
        ),
        LINE,
        ev.LineHeard(
            line_id="l2", at=at(1), party="agent", text="well", is_final=True, source="told"
        ),
    ],
)
def test_an_event_is_read_as_it_was_written(event: ev.CallEvent):
    assert decode_event(encode_event(event)) == event


def test_a_line_of_a_journal_that_did_not_know_its_source_is_read_still():
    raw = encode_event(LINE)
    old = raw.replace(b',"source":"own_leg"', b"")
    assert old != raw
    assert decode_event(old) == LINE
