import asyncio

import pytest
from structlog.testing import capture_logs

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.types import CommandId, Lead, LegId
from agent_sidecar.errors import CommandRefused, CommandUncertain, JournalFailed, Overloaded
from agent_sidecar.live.requests import Attached, AttachRequest
from tests.fakes import FakeCallControl
from tests.flow.shell import PROSPECT, Shell, running


class OnceControl(FakeCallControl):
    """Fails the first try of every command."""

    async def _send(self, name: str, leg_id: LegId, command_id: CommandId, **said: object) -> None:
        first = not self.sent(name)
        await super()._send(name, leg_id, command_id, **said)
        if first:
            raise CommandUncertain("no answer")


async def attach(shell: Shell, *, passive: bool = False) -> Attached:
    request = AttachRequest(lead=Lead(), agent=None, passive=passive)
    return await shell.registry.attach(PROSPECT, request)


def control_of(shell: Shell) -> FakeCallControl:
    assert shell.control is not None
    return shell.control


async def test_stream_and_transcription_start_at_once():
    async with running() as shell:
        control_of(shell).answers_after_s = 0.3
        attached = await attach(shell)
        assert (attached.streaming, attached.transcribing, attached.problems) == (True, True, ())
        assert asyncio.get_running_loop().time() == pytest.approx(0.3)
        (command,) = control_of(shell).sent("start_stream")
        assert command.said == {"url": attached.stream_url, "token": attached.token}
        assert attached.stream_url == f"ws://us/telnyx/media?token={attached.token}"


async def test_what_fails_is_tried_once_more_as_the_same_command():
    async with running(Shell(control=OnceControl())) as shell:
        with capture_logs() as logs:
            attached = await attach(shell)
        assert (attached.streaming, attached.transcribing, attached.problems) == (True, True, ())
        assert asyncio.get_running_loop().time() == pytest.approx(0.5)
        for name in ("start_stream", "start_transcription"):
            one, two = control_of(shell).sent(name)
            assert one.command_id == two.command_id
        assert {entry["command"] for entry in logs} == {"streaming_start", "transcription_start"}


async def test_what_does_not_work_is_named_with_its_reason_and_the_rest_works():
    async with running() as shell:
        control_of(shell).refuses["start_stream"] = CommandRefused("fork is used", code="90045")
        attached = await attach(shell)
        assert (attached.streaming, attached.transcribing) == (False, True)
        assert attached.problems == ("streaming_start was refused: fork is used",)
        assert len(control_of(shell).sent("start_stream")) == 2
        assert len(control_of(shell).sent("start_transcription")) == 1


async def test_what_nobody_knows_is_not_called_refused():
    async with running() as shell:
        control_of(shell).refuses["start_transcription"] = CommandUncertain("timed out")
        attached = await attach(shell)
        (problem,) = attached.problems
        assert problem.startswith("transcription_start may not have worked")


async def test_without_an_account_the_call_is_known_but_nothing_starts():
    async with running(Shell(control=None)) as shell:
        attached = await attach(shell)
        assert shell.call().call_id == attached.call_id
        assert not attached.streaming
        assert "SIDECAR_TELNYX_API_KEY" in attached.problems[0]
        await shell.registry.detach(PROSPECT)


async def test_to_detach_stops_both_and_keeps_the_record():
    async with running() as shell:
        await attach(shell)
        call = shell.call()
        control_of(shell).refuses["stop_stream"] = CommandRefused("not used", code="90048")
        await shell.registry.detach(PROSPECT)
        assert len(control_of(shell).sent("stop_stream")) == 1
        assert len(control_of(shell).sent("stop_transcription")) == 1
        await call.recorded.wait()
        assert not (await shell.record(call.call_id)).interrupted


async def test_a_passive_call_sends_no_command_ever():
    async with running() as shell:
        attached = await attach(shell, passive=True)
        assert (attached.streaming, attached.problems) == (False, ())
        call = shell.call()
        await call.feed(ev.TransferWanted(at=call.now(), by="Ann"))
        await shell.registry.detach(call.call_id)
        await call.recorded.wait()
        assert control_of(shell).commands == []


async def test_a_late_loop_takes_a_new_call_by_its_text_only():
    async with running() as shell:
        shell.lag_ms = 150.0
        attached = await attach(shell)
        assert (attached.streaming, attached.transcribing) == (False, True)
        assert attached.problems == (
            "the event loop is 150 ms late: this call is heard by its text only",
        )
        assert not control_of(shell).sent("start_stream")


async def test_a_very_late_loop_refuses_new_calls_and_keeps_the_known_ones():
    async with running() as shell:
        known = await attach(shell)
        shell.lag_ms = 500.0
        again = await attach(shell)
        assert again.call_id == known.call_id
        assert again.streaming
        with pytest.raises(Overloaded, match="no new call until it is below 400 ms"):
            await shell.registry.attach(
                LegId("another"), AttachRequest(lead=Lead(), agent=None, passive=True)
            )


async def test_a_call_that_is_not_on_disk_is_not_acknowledged():
    async with running() as shell:
        shell.journal.fails_with = JournalFailed("disk full")
        with pytest.raises(JournalFailed):
            await attach(shell)
        assert shell.registry.live_calls() == []
        await asyncio.sleep(5)
        shell.journal.fails_with = None
        # asked again it is: what is acknowledged now must survive a crash
        again = await attach(shell)
        opened, *_ = shell.journal.events(again.call_id)
        assert isinstance(opened, ev.CallOpened)


async def test_a_call_that_was_half_on_disk_and_refused_is_no_call_after_a_restart(monkeypatch):
    async with running() as shell:
        append = shell.journal.append
        failure = JournalFailed("disk full")

        async def half(call_id, event):
            if isinstance(event, ev.LegJoined):
                raise failure
            await append(call_id, event)

        async def fails(call_id):
            raise failure

        with monkeypatch.context() as full:
            full.setattr(shell.journal, "append", half)
            full.setattr(shell.journal, "discard", fails)
            with pytest.raises(JournalFailed):
                await attach(shell)
            await asyncio.sleep(1)
            assert len(await shell.journal.open_calls()) == 1
        await asyncio.sleep(2)
        assert await shell.journal.open_calls() == []


async def test_what_is_known_of_the_lead_later_completes_the_call():
    async with running() as shell:
        await attach(shell)
        lead = Lead(phone="+13125550123", first_name="Ann")
        again = await shell.registry.attach(PROSPECT, AttachRequest(lead=lead, agent=None))
        await asyncio.sleep(1)
        assert shell.call().call_id == again.call_id
        assert shell.call().call.log.lead.first_name == "Ann"
