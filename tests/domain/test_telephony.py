"""What a telephony event does not say is nobody's guess."""

from agent_sidecar.domain.telephony import TelephonyEvent
from tests.domain.playbooks import at


def test_what_an_event_does_not_say_is_unknown_and_a_line_is_final_unless_it_says_otherwise():
    event = TelephonyEvent(event_id="1", event_type="call.transcription", kind="line", at=at(1))
    unknown = (event.leg_id, event.track, event.peer_leg_id, event.status, event.recording_url)
    assert unknown == (None,) * 5
    assert event.is_final
    assert (event.text, event.digits, event.client_state) == ("", "", "")
