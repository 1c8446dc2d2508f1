from agent_sidecar.domain.recorded import RecordedCall, SpokenSegment


def test_a_recorded_call_is_as_long_as_its_last_word():
    one = SpokenSegment(speaker="agent", text="hello", start_s=0.0, end_s=4.0)
    other = SpokenSegment(speaker="prospect", text="yes", start_s=1.0, end_s=2.0)
    assert RecordedCall(call_id="c1", segments=(one, other)).duration_s == 4.0
    assert RecordedCall(call_id="c1", segments=()).duration_s == 0.0
