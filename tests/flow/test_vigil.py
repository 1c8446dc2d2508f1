import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.types import LegId
from agent_sidecar.errors import CommandUncertain
from agent_sidecar.live.vigil import LONGEST_CALL, LONGEST_PAUSE, Vigil
from tests.fakes import FakeCallControl
from tests.flow.shell import PROSPECT, Shell, running

QUIET_S = 120.0


class AskedControl(FakeCallControl):
    """Remembers when it was asked after a call."""

    def __init__(self) -> None:
        super().__init__([PROSPECT])
        self.asked_s: list[float] = []

    async def is_alive(self, leg_id: object) -> bool:
        self.asked_s.append(asyncio.get_running_loop().time())
        return await super().is_alive(leg_id)  # type: ignore[arg-type]


@asynccontextmanager
async def watched(control: FakeCallControl | None) -> AsyncIterator[Shell]:
    async with running(Shell(control=control)) as shell:
        vigil = Vigil(shell.registry.live_calls, control, shell.clock, QUIET_S)
        task = asyncio.create_task(vigil.run())
        yield shell
        task.cancel()


async def test_a_call_whose_hangup_was_lost_is_closed_and_recorded():
    control = AskedControl()
    async with watched(control) as shell:
        call = await shell.attach()
        await asyncio.sleep(60)
        await call.feed(shell.line("hello"))
        await asyncio.sleep(QUIET_S - 20)
        assert control.asked_s == []
        control.alive.clear()
        await asyncio.sleep(60)
        await call.recorded.wait()
        record = await shell.record(call.call_id)
        assert record.interrupted
        assert [s.text for s in record.segments] == ["hello"]
        closed = [e for e in shell.journal.events(call.call_id) if isinstance(e, ev.CallClosed)]
        assert [e.reason for e in closed] in ([], ["its hangup was never told"])
        assert len(control.asked_s) == 1


async def test_a_call_that_lives_is_asked_after_less_and_less_often():
    control = AskedControl()
    async with watched(control) as shell:
        call = await shell.attach()
        await asyncio.sleep(3600)
        assert not call.is_ending
        pauses = [b - a for a, b in zip(control.asked_s, control.asked_s[1:], strict=False)]
        assert pauses == sorted(pauses)
        assert pauses[0] == pytest.approx(QUIET_S, abs=20)
        assert pauses[-1] == pytest.approx(LONGEST_PAUSE.total_seconds(), abs=20)
        # whoever speaks again starts anew
        count = len(control.asked_s)
        await call.feed(shell.line("hello"))
        await asyncio.sleep(QUIET_S + 20)
        assert len(control.asked_s) == count + 1


async def test_who_cannot_be_asked_after_is_given_up_when_no_call_can_be_so_long():
    control = AskedControl()
    control.refuses["is_alive"] = CommandUncertain("no answer")
    async with watched(control) as shell:
        active = await shell.attach()
        await asyncio.sleep(LONGEST_CALL.total_seconds() - 60)
        assert not active.is_ending
        await asyncio.sleep(LONGEST_PAUSE.total_seconds() + 120)
        assert active.recorded.is_set()


async def test_passive_calls_and_calls_without_an_account_are_never_asked_after():
    for control in (AskedControl(), None):
        async with watched(control) as shell:
            call = await shell.attach(passive=control is not None)
            await asyncio.sleep(3600)
            assert not call.is_ending
            if control is not None:
                assert control.asked_s == []


async def test_a_call_that_is_played_waits_for_its_player():
    async with watched(AskedControl()) as shell:
        call = await shell.attach(source="replay")
        await asyncio.sleep(12 * 3600)
        assert not call.is_ending


async def test_a_sign_of_life_during_the_question_counts():
    control = AskedControl()
    control.alive.clear()
    control.answers_after_s = 5.0
    async with watched(control) as shell:
        call = await shell.attach()
        # to attach took 5 s; the question is asked at 120 s
        await asyncio.sleep(QUIET_S - 3)
        await call.feed(shell.line("I am still here"))
        await asyncio.sleep(20)
        assert not call.is_ending


async def test_one_call_that_cannot_be_looked_after_leaves_the_others_looked_after():
    control = AskedControl()
    control.refuses["is_alive"] = ZeroDivisionError("a bug")
    async with watched(control) as shell:
        calls = [await shell.attach(), await shell.attach(LegId("v3:second"))]
        await asyncio.sleep(QUIET_S + 20)
        assert len(control.asked_s) == 2
        del control.refuses["is_alive"]
        control.alive.clear()
        await asyncio.sleep(LONGEST_PAUSE.total_seconds())
        assert all(call.recorded.is_set() for call in calls)
