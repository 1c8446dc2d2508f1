import asyncio
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.types import CallId, Lead
from agent_sidecar.errors import CommandRefused, CommandUncertain
from agent_sidecar.live.requests import AttachRequest
from agent_sidecar.ports import OpenCall
from agent_sidecar.resume import resume_calls
from tests.domain.playbooks import like
from tests.fakes import FakeCallControl
from tests.flow.shell import CLOSER, PRICE, PROSPECT, Shell, client_state, running, start

RESUME_S = 60.0


def after_a_crash(before: Shell, *, alive: Sequence[str] | None = ()) -> Shell:
    """Return the next process; `alive` are the legs that Telnyx knows, None: no account."""
    after = Shell(clock=before.clock)
    after.control = None if alive is None else FakeCallControl(alive=alive)
    after.journal = before.journal.crash()
    after.closers = before.closers
    return after


async def resume(shell: Shell) -> None:
    await resume_calls(shell.journal, shell.registry, shell.attacher, RESUME_S, shell.tasks)
    await asyncio.sleep(1)


async def a_crash(*, passive: bool = False, ends: bool = False) -> tuple[Shell, CallId]:
    """Let a process die in the middle of a call that has heard a line."""
    async with running() as shell:
        call = await shell.attach(passive=passive)
        await call.feed(shell.line("hello"))
        await asyncio.sleep(1)
        if ends:
            await shell.tell("hangup", cause="normal_clearing")
            await asyncio.sleep(0.5)
        return shell, call.call_id


async def test_a_call_that_still_lives_is_attached_again_and_goes_on():
    before, call_id = await a_crash()
    async with running(after_a_crash(before, alive=[PROSPECT])) as shell:
        await resume(shell)
        assert shell.control is not None
        assert [c.name for c in shell.control.commands] == ["start_stream", "start_transcription"]
        (command,) = shell.control.sent("start_stream")
        shell.registry.admit(str(command.said["token"]), start())
        await shell.tell("line", text=PRICE)
        await asyncio.sleep(1)
        assert shell.publisher.of_type("hint")
        call = shell.call()
        await shell.tell("hangup")
        await call.recorded.wait()
        record = await shell.record(call_id)
        assert record.full_text == f"prospect: hello\nprospect: {PRICE}"
        assert not record.interrupted


async def test_a_call_that_ended_meanwhile_is_recorded_as_interrupted():
    before, call_id = await a_crash()
    async with running(after_a_crash(before)) as shell:
        await resume(shell)
        record = await shell.record(call_id)
        assert (record.interrupted, record.full_text) == (True, "prospect: hello")
        assert shell.registry.live_calls() == []


async def test_a_call_whose_hangup_was_seen_is_recorded_as_it_ended():
    before, call_id = await a_crash(ends=True)
    async with running(after_a_crash(before, alive=[PROSPECT])) as shell:
        await resume(shell)
        await asyncio.sleep(2)
        record = await shell.record(call_id)
        assert (record.interrupted, record.hangup_cause) == (False, "normal_clearing")
        assert shell.control is not None
        assert shell.control.commands == []


async def test_a_call_that_was_closed_but_not_committed_is_committed_and_not_attached():
    async with running() as before:
        call = await before.attach()
        await before.registry.detach(PROSPECT)
        before.journal.commits_after_s = 0.0
        await asyncio.sleep(1.9)
        call.feed(ev.CallClosed(at=call.now(), reason="detached"))
        await asyncio.sleep(0.05)
        after = after_a_crash(before, alive=[PROSPECT])
    async with running(after) as shell:
        await resume(shell)
        assert not (await shell.record(call.call_id)).interrupted
        assert shell.control is not None
        assert shell.control.commands == []


@pytest.mark.parametrize("error", [CommandUncertain("?"), CommandRefused("401"), None])
@pytest.mark.parametrize("lives", [True, False])
async def test_a_call_that_nobody_knows_of_waits_for_a_sign_of_life(
    error: Exception | None, lives: bool
):
    before, call_id = await a_crash(passive=error is None)
    after = after_a_crash(before)
    assert after.control is not None
    if error is not None:
        after.control.refuses["is_alive"] = error
    async with running(after) as shell:
        await resume(shell)
        await asyncio.sleep(RESUME_S - 5)
        if lives:
            await shell.tell("line", text="still here")
        await asyncio.sleep(10)
        assert (shell.registry.find(call_id) is not None) == lives
        if not lives:
            assert (await shell.record(call_id)).interrupted


async def test_our_own_answers_are_no_sign_of_life():
    async with running() as before:
        call = await before.attach()
        before.embedder.answers_after_s = 3600.0
        await call.feed(before.line(PRICE))
        after = after_a_crash(before, alive=None)
    async with running(after) as shell:
        shell.embedder.knows[PRICE] = like("costs much")
        await resume(shell)
        assert [s.text for s in shell.call().call.log.segments] == [PRICE]
        await asyncio.sleep(RESUME_S)
        record = await shell.record(call.call_id)
        assert record.interrupted
        assert record.segments[0].vector is not None


async def test_events_without_a_beginning_stay_in_the_journal_and_stop_nothing():
    async with running() as shell:
        call_id = CallId("no-call")
        await shell.journal.append(call_id, ev.MachineAnswered(at=shell.clock.now()))
        await resume(shell)
        assert [call.call_id for call in await shell.journal.open_calls()] == [call_id]
        assert shell.registry.restore(OpenCall(call_id=call_id, events=())) is None


async def test_a_call_that_cannot_be_rebuilt_keeps_nobody_from_starting():
    before, call_id = await a_crash()
    odd = ev.CallOpened(
        call_id=CallId("odd"), at=before.clock.now(), source="live", agent="assistant"
    )
    after = after_a_crash(before, alive=[PROSPECT])
    await after.journal.append(odd.call_id, odd)
    async with running(after) as shell:
        restore = shell.registry.restore

        def fail(open_call: OpenCall):
            if open_call.call_id == "odd":
                raise ZeroDivisionError
            return restore(open_call)

        shell.registry.restore = fail  # type: ignore[method-assign]
        with capture_logs() as logs:
            await resume(shell)
        assert [e["call_id"] for e in logs if e["event"] == "call_not_taken_up"] == ["odd"]
        assert shell.registry.find(call_id) is not None
        assert [left.call_id for left in await shell.journal.open_calls()] == [call_id, "odd"]


async def test_webhooks_find_the_legs_of_a_call_after_a_restart():
    async with running() as before:
        call = await before.attach()
        transfer_id = await before.want_transfer(call)
        await asyncio.sleep(1)
        await before.tell("answered", CLOSER, client_state=client_state(transfer_id))
        await asyncio.sleep(1)
        after = after_a_crash(before, alive=[PROSPECT, CLOSER])
    async with running(after) as shell:
        await resume(shell)
        assert shell.registry.find(CLOSER) is shell.registry.find(PROSPECT)
        assert shell.closers.leases == {"Kevin": transfer_id}
        await shell.tell("hangup", CLOSER, client_state=client_state(transfer_id))
        await asyncio.sleep(1)
        assert shell.closers.leases == {}


async def test_without_an_account_a_transfer_is_not_taken_up_and_breaks_nothing():
    async with running() as before:
        call = await before.attach()
        await before.want_transfer(call)
        await asyncio.sleep(1)
        after = after_a_crash(before, alive=None)
    async with running(after) as shell:
        with capture_logs() as logs:
            await resume(shell)
            await asyncio.sleep(2 * RESUME_S)
        record = await shell.record(call.call_id)
        assert [t.outcome for t in record.transfers] == ["unknown"]
        assert not [entry for entry in logs if entry["event"] == "effect_failed"]


async def test_our_own_number_is_known_after_a_restart():
    async with running() as before:
        await before.tell("answered", direction="outgoing", from_="+12125550199", to="+12125550142")
        await before.registry.attach(PROSPECT, AttachRequest(lead=Lead(), agent=None))
        await asyncio.sleep(1)
        after = after_a_crash(before, alive=[PROSPECT])
    async with running(after) as shell:
        await resume(shell)
        assert shell.call().our_number == "+12125550199"


async def test_a_webhook_that_is_repeated_after_the_crash_is_heard_once():
    async with running() as before:
        call = await before.attach()
        await asyncio.sleep(1)
        said = before.event("line", text="hello")
        await before.pass_on(said)
        lost = before.event("line", text="goodbye")
        before.journal.commits_after_s = 1.0
        before.pass_on(lost)
        await asyncio.sleep(0.5)
        after = after_a_crash(before, alive=[PROSPECT])
        before.journal._queue.clear()
        await asyncio.sleep(0)
    async with running(after) as shell:
        await resume(shell)
        assert shell.registry.already(said.event_id) is not None
        # it was never acknowledged, so it comes again
        assert shell.registry.already(lost.event_id) is None
        await shell.pass_on(lost)
        await shell.tell("hangup")
        await asyncio.sleep(4)
        text = (await shell.record(call.call_id)).full_text
        assert text == "prospect: hello\nprospect: goodbye"
