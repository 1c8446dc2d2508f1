import pytest

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.interrupted import Interrupted, interrupted
from agent_sidecar.domain.record import TransferOutcome
from agent_sidecar.domain.types import CommandId, LegId, TransferId
from tests.domain.playbooks import at
from tests.domain.talk import CLOSER, Talk


def progressed(
    step: ev.TransferStep,
    at_s: float,
    *,
    command: str | None = None,
    leg_id: LegId | None = None,
    outcome: TransferOutcome | None = None,
    reason: str = "",
) -> ev.TransferProgressed:
    return ev.TransferProgressed(
        transfer_id=TransferId("c1:t1"),
        at=at(at_s),
        step=step,
        closer="Kevin",
        leg_id=leg_id,
        command_id=None if command is None else CommandId(command),
        outcome=outcome,
        reason=reason,
    )


def after(*events: ev.CallEvent) -> Interrupted:
    """Return what is known of a transfer that was asked for when these events were kept."""
    talk = Talk()
    talk.want(1.0)
    for event in events:
        talk.feed(event)
    (found,) = interrupted(events, talk.call.log)
    return found


DIALING = progressed("dialing", 2.0, command="k1")
RINGING = progressed("ringing", 2.1, leg_id=CLOSER)
GONE = ev.LegLeft(at=at(9.0), leg_id=CLOSER, cause="normal_clearing", source="callee")


def test_a_transfer_that_was_only_wanted_has_come_nowhere():
    found = after()
    assert not found.steps
    assert not found.decided
    assert (found.leg_id, found.outcome) == (None, None)
    assert found.start.reasons == ("asked by Ann",)
    assert not found.may_have_leg


def test_what_was_decided_is_known_by_its_newest_command():
    found = after(
        progressed("leased", 1.5),
        DIALING,
        RINGING,
        progressed("bridging", 5.0, command="k2"),
        progressed("bridging", 6.0, command="k3"),
        progressed("detected", 4.0, reason="not_sure"),
    )
    assert found.decided["dialing"].command_id == "k1"
    assert (found.decided["bridging"].command_id, found.decided["bridging"].at) == ("k3", at(6.0))
    assert (found.leg_id, found.detected, found.closer) == (CLOSER, "not_sure", "Kevin")


@pytest.mark.parametrize(
    ("events", "may_have_leg"),
    [
        ([progressed("leased", 1.5)], False),
        # whether the dial was sent, nobody knows
        ([DIALING], True),
        ([DIALING, RINGING], True),
        ([DIALING, RINGING, GONE], False),
        # a dial that was refused leaves nothing to hang up
        ([DIALING, progressed("ended", 3.0, outcome="failed")], False),
        ([DIALING, progressed("ended", 3.0, outcome="failed", command="k9")], True),
        # they talk on
        ([DIALING, RINGING, progressed("ended", 3.0, outcome="bridged")], True),
        ([DIALING, RINGING, progressed("ended", 3.0, outcome="bridged"), GONE], False),
    ],
)
def test_his_phone_may_be_up_until_its_end_was_seen(events: list[ev.CallEvent], may_have_leg: bool):
    assert after(*events).may_have_leg is may_have_leg
