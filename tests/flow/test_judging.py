"""A closer's word on a transfer: heard while the call is up, just over, or long finished."""

import asyncio
from typing import Any

import pytest

from agent_sidecar.domain.transfer_result import TransferResult
from agent_sidecar.domain.types import TransferId
from agent_sidecar.errors import TransferUnknown
from agent_sidecar.live.live_call import LATE_S, LiveCall
from tests.flow.shell import PROSPECT, Shell, running


async def with_a_transfer(shell: Shell) -> tuple[LiveCall, TransferId]:
    """Return a call whose transfer was asked for, and given up by the closer's silence."""
    call = await shell.attach()
    return call, TransferId(await shell.want_transfer(call))


def said(shell: Shell, **words: object) -> TransferResult:
    return TransferResult(posted_at=shell.clock.now(), **words)  # type: ignore[arg-type]


async def end(shell: Shell, call: LiveCall, *, forgotten: bool = False) -> None:
    await shell.tell("hangup")
    await call.recorded.wait()
    if forgotten:
        await asyncio.sleep(LATE_S + 1)


async def test_it_may_be_said_while_the_call_is_up_and_survives_a_crash():
    async with running() as shell:
        call, transfer_id = await with_a_transfer(shell)
        shown = await shell.registry.post_result(
            transfer_id, said(shell, rating=7, conversion="scheduled", notes="at nine")
        )
        assert (shown["call_id"], shown["transfer_id"]) == (call.call_id, transfer_id)
        assert (shown["rating"], shown["result"], shown["notes"]) == (7, "scheduled", "at nine")
        (kept,) = [e for e in shell.journal.events(call.call_id) if "Judged" in type(e).__name__]
        assert kept in (await shell.journal.open_calls())[0].events
        await end(shell, call)
        result = (await shell.record(call.call_id)).transfers[0].result
        assert result is not None
        assert (result.rating, result.conversion) == (7, "scheduled")


@pytest.mark.parametrize("forgotten", [False, True])
async def test_it_makes_a_new_version_of_a_record_and_twice_is_as_once(forgotten: bool):
    async with running() as shell:
        call, transfer_id = await with_a_transfer(shell)
        await end(shell, call, forgotten=forgotten)
        versions, told = await shell.version(call.call_id), shell.recorded
        first = await shell.registry.post_result(transfer_id, said(shell, rating=4))
        await asyncio.sleep(5)
        assert await shell.registry.post_result(transfer_id, said(shell, rating=4)) == first
        assert await shell.version(call.call_id) == versions + 1
        assert shell.recorded == told + 1
        await shell.registry.post_result(transfer_id, said(shell, conversion="closed"))
        shown: Any = await shell.registry.finished(call.call_id)
        (transfer,) = shown["transfers"]
        assert (transfer["rating"], transfer["result"]) == (4, "closed")
        assert await shell.version(call.call_id) == versions + 2


async def test_two_words_at_once_are_both_kept():
    async with running() as shell:
        call, transfer_id = await with_a_transfer(shell)
        await end(shell, call, forgotten=True)
        shell.journal.commits_after_s = 0.1
        await asyncio.gather(
            shell.registry.post_result(transfer_id, said(shell, rating=4)),
            shell.registry.post_result(transfer_id, said(shell, notes="keen")),
            shell.registry.post_outcome(call.call_id, "video_sent", None),
        )
        record = await shell.record(call.call_id)
        result = record.transfers[0].result
        assert result is not None
        assert (result.rating, result.notes) == (4, "keen")
        assert record.outcome.final_status == "video_sent"


@pytest.mark.parametrize("name", ["nothing", "nobody:t1", f"{PROSPECT}:t1"])
async def test_a_transfer_that_never_was_is_unknown(name: str):
    async with running() as shell:
        call, _ = await with_a_transfer(shell)
        with pytest.raises(TransferUnknown):
            await shell.registry.post_result(TransferId(name), said(shell, rating=4))
        with pytest.raises(TransferUnknown):
            await shell.registry.post_result(TransferId(f"{call.call_id}:t2"), said(shell))
        await end(shell, call, forgotten=True)
        with pytest.raises(TransferUnknown):
            await shell.registry.post_result(TransferId(f"{call.call_id}:t2"), said(shell))
