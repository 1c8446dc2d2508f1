"""A call that is heard by half: words lost, streams that fail, calls that are no calls."""

import asyncio

import pytest
from structlog.testing import capture_logs

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.record import Acoustics
from agent_sidecar.domain.types import Lead
from agent_sidecar.errors import (
    CallEnded,
    CallUnknown,
    CommandRefused,
    CommandUncertain,
    JournalFailed,
    LegGone,
)
from agent_sidecar.live.live_call import LATE_S, LiveCall
from agent_sidecar.live.requests import AttachRequest
from tests.fakes import FakeCallControl
from tests.flow.shell import PRICE, PROSPECT, Shell, running, start


def commands(shell: Shell) -> list[str]:
    assert shell.control is not None
    return [command.name for command in shell.control.commands]


def lost_words(call: LiveCall, from_s: float = 0.0) -> None:
    """Let the prospect speak for longer than words may be missing."""
    for begin_s, talk_s in ((from_s, 21.0), (from_s + 22, 0.5)):
        sound, end_s = Acoustics(talk_s=talk_s), begin_s + talk_s
        call.feed(ev.SpeechHeard(party="prospect", start_s=begin_s, end_s=end_s, acoustics=sound))


def told(shell: Shell) -> list[tuple[object, object]]:
    return [(m["state"], m["degraded"]) for m in shell.publisher.of_type("call") if "degraded" in m]


# --- words ----------------------------------------------------------------------------------------


async def test_a_silent_transcription_is_stopped_and_started_by_commands_that_are_kept_first():
    async with running() as shell:
        call = await shell.attach()
        lost_words(call)
        await asyncio.sleep(2)
        assert commands(shell)[2:] == ["stop_transcription", "start_transcription"]
        assert shell.control is not None
        kept = [e for e in shell.journal.events(call.call_id) if isinstance(e, ev.CommandDecided)]
        assert [e.command for e in kept] == ["transcription_stop", "transcription_start"]
        sent = [command.command_id for command in shell.control.commands[2:]]
        assert [e.command_id for e in kept] == sent
        assert len(set(sent)) == 2
        assert told(shell) == []


async def test_words_that_stay_away_are_told_of_and_the_call_is_scored_by_its_sound():
    async with running() as shell:
        call = await shell.attach()
        with capture_logs() as logs:
            lost_words(call)
            await asyncio.sleep(30)
            lost_words(call, 30)
            await asyncio.sleep(2)
        assert commands(shell)[2:] == ["stop_transcription", "start_transcription"]
        assert told(shell) == [("degraded", ("transcript",))]
        assert call.view()["degraded"] == ["transcript"]
        assert shell.counted("calls_degraded", "transcript") == 1
        assert [e["event"] for e in logs if e["event"] == "call_degraded"] == ["call_degraded"]
        lost_words(call, 60)
        assert call.call.engagement is not None
        await call.feed(shell.line(PRICE))
        await asyncio.sleep(1)
        assert told(shell)[-1] == ("recovered", ())


async def test_what_a_call_lacks_is_counted_once_whatever_else_it_lacks():
    async with running() as shell:
        call = await shell.attach(passive=True)
        with capture_logs() as logs:
            lost_words(call)
            await shell.tell("stream_failed", cause="connection_refused")
            await call.feed(shell.line(PRICE))
            await asyncio.sleep(1)
        assert [lacks for _, lacks in told(shell)] == [
            ("transcript",),
            ("audio", "transcript"),
            ("audio",),
        ]
        for lack in ("audio", "transcript"):
            assert shell.counted("calls_degraded", lack) == 1
        assert len([e for e in logs if e["event"] == "call_degraded"]) == 2


async def test_a_transcription_of_somebody_else_s_is_left_alone():
    async with running() as shell:
        call = await shell.attach(passive=True)
        lost_words(call)
        await asyncio.sleep(2)
        assert commands(shell) == []
        assert told(shell) == [("degraded", ("transcript",))]


async def test_without_an_account_nothing_is_commanded():
    async with running(Shell(control=None)) as shell:
        call = await shell.attach()
        lost_words(call)
        await shell.tell("stream_failed", cause="connection_refused")
        await asyncio.sleep(2)
        assert told(shell) == [("degraded", ("audio",))]


@pytest.mark.parametrize(
    "stop", [CommandRefused("none to stop"), CommandUncertain("no answer"), None]
)
async def test_a_transcription_that_could_not_be_stopped_is_started(stop: Exception | None):
    async with running() as shell:
        call = await shell.attach()
        assert shell.control is not None
        if stop is not None:
            shell.control.refuses["stop_transcription"] = stop
        lost_words(call)
        await asyncio.sleep(2)
        assert commands(shell)[-1] == "start_transcription"


async def test_what_cannot_be_mended_harms_nothing():
    for refusal in (CommandRefused("no"), LegGone("gone", has_ended=True)):
        async with running() as shell:
            call = await shell.attach()
            assert shell.control is not None
            shell.control.refuses["stop_transcription"] = LegGone("gone", has_ended=True)
            shell.control.refuses["start_stream"] = refusal
            lost_words(call)
            await shell.tell("stream_failed", cause="x")
            await asyncio.sleep(2)
            assert commands(shell)[2:] == ["stop_transcription", "start_stream"]
            await call.feed(shell.line(PRICE))
            await asyncio.sleep(1)


async def test_a_command_that_could_not_be_kept_is_not_sent():
    async with running() as shell:
        call = await shell.attach()
        shell.journal.fails_with = JournalFailed("disk full")
        lost_words(call)
        await asyncio.sleep(2)
        shell.journal.fails_with = None
        assert len(commands(shell)) == 2


async def test_a_call_that_hangs_up_meanwhile_gets_no_command():
    async with running() as shell:
        call = await shell.attach()
        shell.journal.commits_after_s = 0.2
        lost_words(call)
        await shell.tell("hangup")
        await call.recorded.wait()
        assert len(commands(shell)) == 2


# --- audio ----------------------------------------------------------------------------------------


async def test_a_stream_that_failed_is_started_once_more_with_a_token_of_its_own():
    async with running() as shell:
        call = await shell.attach()
        await shell.tell("stream_failed", cause="connection_refused")
        await asyncio.sleep(1)
        assert shell.control is not None
        first, second = shell.control.sent("start_stream")
        assert first.command_id != second.command_id
        assert told(shell) == [("degraded", ("audio",))]
        assert shell.publisher.of_type("call")[-1]["reason"] == (
            "the media stream failed: connection_refused"
        )
        token = str(second.said["token"])
        assert token != first.said["token"]
        shell.registry.admit(token, start())
        assert told(shell)[-1] == ("recovered", ())
        assert call.streams.any_open


async def test_a_passive_stream_that_failed_goes_on_with_text():
    async with running() as shell:
        call = await shell.attach(passive=True)
        await shell.tell("stream_failed", cause="dns_failure")
        await call.feed(shell.line(PRICE))
        await asyncio.sleep(1)
        assert commands(shell) == []
        assert len(call.call.log.segments) == 1


# --- calls that are none --------------------------------------------------------------------------


def gone(has_ended: bool) -> FakeCallControl:
    control = FakeCallControl()
    for name in ("start_stream", "start_transcription"):
        control.refuses[name] = LegGone("no such call", code="90015", has_ended=has_ended)
    return control


@pytest.mark.parametrize(("has_ended", "error"), [(True, CallEnded), (False, CallUnknown)])
async def test_a_leg_that_is_none_makes_no_call(has_ended: bool, error: type[Exception]):
    async with running(Shell(control=gone(has_ended))) as shell:
        with pytest.raises(error, match="no such call"):
            await shell.registry.attach(PROSPECT, AttachRequest(lead=Lead(), agent=None))
        # one try each: it will not come to be
        assert sorted(commands(shell)) == ["start_stream", "start_transcription"]
        assert shell.registry.live_calls() == []
        assert shell.registry.find(PROSPECT) is None
        assert "sidecar_open_calls 0.0" in shell.metrics.render().decode()
        assert shell.states() == ["open", "ended"]
        await shell.tell("line", text="hello")
        await asyncio.sleep(LATE_S + 5)
        assert await shell.journal.open_calls() == []
        assert await shell.registry.finished_calls(9) == []
        assert not [t for t in asyncio.all_tasks() if t.get_name().startswith("call:")]


async def test_what_is_fed_to_a_call_that_was_none_goes_nowhere():
    shell = Shell(control=gone(True))
    async with running(shell):
        assert shell.control is not None
        shell.control.answers_after_s = 0.5
        attaching = asyncio.create_task(
            shell.registry.attach(PROSPECT, AttachRequest(lead=Lead(), agent=None))
        )
        await asyncio.sleep(0.1)
        call = shell.call()
        with pytest.raises(CallEnded):
            await attaching
        await call.feed(shell.line("hello"))
        # it is forgotten beside whoever asked
        await asyncio.sleep(0.1)
        assert await shell.journal.open_calls() == []


async def test_a_call_in_which_somebody_was_heard_is_recorded_though_it_is_gone():
    async with running() as shell:
        call = await shell.attach()
        await call.feed(shell.line("hello"))
        assert shell.control is not None
        shell.control.refuses["start_stream"] = LegGone("over", has_ended=True)
        with pytest.raises(CallEnded):
            await shell.registry.attach(PROSPECT, AttachRequest(lead=Lead(), agent=None))
        await call.recorded.wait()
        record = await shell.record(call.call_id)
        assert record.interrupted
        assert [s.text for s in record.segments] == ["hello"]


async def test_a_leg_that_hung_up_before_it_was_attached_by_itself_is_no_error():
    async with running(Shell(control=gone(True), auto_attach=True)) as shell:
        with capture_logs() as logs:
            await shell.tell("answered")
            await asyncio.sleep(1)
        assert "call_gone_before_attach" in [entry["event"] for entry in logs]
        assert not [entry for entry in logs if entry["log_level"] == "error"]
        assert shell.registry.live_calls() == []


# --- lines as webhooks tell them ------------------------------------------------------------------


async def test_lines_grow_repeat_and_overtake_each_other_and_each_is_there_once():
    async with running() as shell:
        call = await shell.attach()
        began_at = shell.clock.now()
        for text, is_final, confidence in (
            ("that is", False, 0.5),
            ("that is too", False, None),
            ("that is too expensive for me", True, None),
            ("that is too expensive for me", True, 0.9),
            ("yes", True, None),
        ):
            await shell.tell("line", text=text, is_final=is_final, confidence=confidence)
            await asyncio.sleep(0.5)
        # short words at once are a repetition, later they are not
        await shell.tell("line", text="yes")
        await asyncio.sleep(3)
        await shell.tell("line", text="yes")
        await shell.tell("line", text="well how", at=began_at)
        await asyncio.sleep(1)
        lines = [s.text for s in call.call.log.segments]
        assert lines == ["that is too expensive for me", "yes", "yes", "well how"]
        assert [s.confidence for s in call.call.log.segments] == [None] * 4
