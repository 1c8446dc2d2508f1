"""What transfers of calls that are over left behind, and who takes care of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import cast

import pytest

from agent_sidecar.domain.record import TransferOutcome
from agent_sidecar.domain.types import CallId, LegId, TransferId
from agent_sidecar.errors import CommandUncertain, StoreUnavailable
from agent_sidecar.live.guard import GuardParts, TransferGuard
from tests.builders import rich_record
from tests.fakes import FakeCallControl
from tests.flow.shell import KEVIN, PROSPECT, Shell, client_state, running

CLOSER = LegId("v3:closer-9")
OURS, OTHER_S = TransferId("ours:t1"), TransferId("another-process-s:t1")


@asynccontextmanager
async def a_guard(*, bridged: bool = False) -> AsyncIterator[tuple[Shell, TransferGuard]]:
    """Give a guard of a process whose one call is over."""
    async with running() as shell:
        over = rich_record("ours")
        [attempt] = over.transfers[:1]
        outcome: TransferOutcome = "bridged" if bridged else "declined"
        attempt = replace(
            attempt,
            transfer_id=OURS,
            outcome=outcome,
            bridged_at=attempt.initiated_at if bridged else None,
        )
        [leg] = [leg for leg in over.legs if leg.party == "prospect"]
        over = replace(over, transfers=(attempt,), legs=(replace(leg, leg_id=PROSPECT),))
        await shell.journal.commit(over)
        assert shell.control is not None
        yield (
            shell,
            TransferGuard(
                GuardParts(
                    control=shell.control,
                    closers=shell.closers,
                    roster=(KEVIN.name,),
                    journal=shell.journal,
                    is_known=lambda call_id: call_id == CallId("live"),
                )
            ),
        )


def up(shell: Shell, transfer_id: TransferId) -> FakeCallControl:
    """Let a closer's leg of that transfer live."""
    control = cast("FakeCallControl", shell.control)
    control.alive.add(CLOSER)
    control.states[client_state(transfer_id)] = CLOSER
    return control


async def test_a_leg_of_a_call_that_is_over_is_ended_and_he_is_free_when_it_is_gone():
    async with a_guard() as (shell, guard):
        shell.closers.leases["Kevin"] = OURS
        control = up(shell, OURS)
        await guard.look()
        assert [command.leg_id for command in control.sent("hang_up")] == [CLOSER]
        # accepted is not done
        assert shell.closers.leases == {"Kevin": OURS}
        await guard.look()
        assert shell.closers.leases == {}


async def test_who_may_still_talk_is_left_alone():
    async with a_guard(bridged=True) as (shell, guard):
        shell.closers.leases["Kevin"] = OURS
        control = up(shell, OURS)
        control.alive.add(PROSPECT)
        await guard.look()
        assert control.sent("hang_up") == []
        assert shell.closers.leases == {"Kevin": OURS}
        # then the prospect leaves, and nobody here is told
        control.alive.discard(PROSPECT)
        await guard.look()
        assert [command.leg_id for command in control.sent("hang_up")] == [CLOSER]


async def test_another_process_s_transfer_is_its_own_until_nobody_looks_after_it():
    async with a_guard() as (shell, guard):
        shell.closers.leases["Kevin"] = OTHER_S
        control = up(shell, OTHER_S)
        shell.closers.is_untended = True
        await guard.look()
        # his phone may ring for it
        assert control.sent("hang_up") == []
        assert shell.closers.leases == {"Kevin": OTHER_S}
        control.alive.clear()
        shell.closers.is_untended = False
        await guard.look()
        assert shell.closers.leases == {"Kevin": OTHER_S}
        shell.closers.is_untended = True
        await guard.look()
        assert shell.closers.leases == {}


async def test_a_transfer_of_a_call_that_lives_here_is_not_the_guard_s():
    async with a_guard() as (shell, guard):
        shell.closers.leases["Kevin"] = TransferId("live:t1")
        shell.closers.is_untended = True
        await guard.look()
        assert shell.closers.leases == {"Kevin": "live:t1"}


async def test_who_cannot_be_asked_is_asked_again():
    async with a_guard() as (shell, guard):
        control = up(shell, OURS)
        shell.closers.leases["Kevin"] = OURS
        control.refuses["live_legs"] = CommandUncertain("timed out")
        looking = asyncio.create_task(guard.run())
        await asyncio.sleep(100)
        assert control.sent("hang_up") == []
        del control.refuses["live_legs"]
        shell.closers.fails_with = StoreUnavailable("down")
        await asyncio.sleep(100)
        shell.closers.fails_with = None
        await asyncio.sleep(100)
        looking.cancel()
        assert shell.closers.leases == {}


async def test_telnyx_is_asked_for_nothing_while_nobody_is_left_behind():
    async with a_guard() as (shell, guard):
        await guard.look()
        control = cast("FakeCallControl", shell.control)
        # whoever asks now is told of it
        control.refuses["live_legs"] = RuntimeError("asked for nothing")
        shell.closers.leases["Kevin"] = TransferId("live:t1")
        await guard.look()
        shell.closers.leases["Kevin"] = OURS
        with pytest.raises(RuntimeError, match="asked for nothing"):
            await guard.look()
