from dataclasses import replace
from datetime import UTC, datetime

import pytest

from agent_sidecar.domain.events import CallClosed, CallEvent, CallOpened, LegJoined, LegLeft
from agent_sidecar.domain.types import CallId, Leg, LegId, Party
from agent_sidecar.errors import CommandRefused, CommandUncertain
from agent_sidecar.ports import OpenCall
from agent_sidecar.wrapup.recovery import judge
from tests.fakes import FakeCallControl

AT = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
OPENED = CallOpened(call_id=CallId("call-1"), at=AT, source="live", agent="assistant")
PROSPECT, CLOSER = LegId("v3:prospect"), LegId("v3:closer")


def joined(leg_id: LegId, party: Party) -> LegJoined:
    return LegJoined(at=AT, leg=Leg(leg_id=leg_id, party=party), answered=True)


def left(leg_id: LegId) -> LegLeft:
    return LegLeft(at=AT, leg_id=leg_id, cause="normal_clearing")


def a_call(*events: CallEvent) -> OpenCall:
    return OpenCall(call_id=CallId("call-1"), events=events)


ANSWERED = (OPENED, joined(PROSPECT, "prospect"))


async def test_a_call_whose_prospect_is_still_there_is_resumed():
    assert await judge(a_call(*ANSWERED), FakeCallControl(alive=[PROSPECT])) == "resume"


async def test_a_call_whose_prospect_is_gone_is_closed():
    assert await judge(a_call(*ANSWERED), FakeCallControl()) == "close"


async def test_the_closer_s_hangup_is_not_the_prospect_s():
    events = (*ANSWERED, joined(CLOSER, "closer"), left(CLOSER))
    assert await judge(a_call(*events), FakeCallControl(alive=[PROSPECT])) == "resume"


@pytest.mark.parametrize("end", [left(PROSPECT), CallClosed(at=AT)])
async def test_a_call_whose_end_was_seen_is_finished_without_asking(end):
    control = FakeCallControl(fails_with=AssertionError("nobody should ask"))
    assert await judge(a_call(*ANSWERED, end), control) == "finish"


@pytest.mark.parametrize("error", [CommandUncertain("no answer"), CommandRefused("401")])
async def test_an_answer_that_does_not_come_means_to_wait(error):
    control = FakeCallControl(fails_with=error)
    assert await judge(a_call(*ANSWERED), control) == "wait"


async def test_what_nobody_can_be_asked_about_waits():
    assert await judge(a_call(*ANSWERED), None) == "wait"
    passive = (replace(OPENED, passive=True), *ANSWERED[1:])
    assert await judge(a_call(*passive), FakeCallControl()) == "wait"
    assert await judge(a_call(OPENED), FakeCallControl()) == "wait"


async def test_events_of_what_never_was_a_call_are_discarded():
    assert await judge(a_call(left(PROSPECT)), FakeCallControl()) == "discard"
