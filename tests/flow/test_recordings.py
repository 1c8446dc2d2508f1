"""Recordings: commanded once, found by leg or session, copied while their links live."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.record import Recording
from agent_sidecar.domain.types import Lead, LegId
from agent_sidecar.errors import (
    CommandRefused,
    JournalFailed,
    RecordingRefused,
    RecordingUnavailable,
    SettingsInvalid,
)
from agent_sidecar.live.live_call import LATE_S, LiveCall
from agent_sidecar.live.requests import Attached, AttachRequest
from agent_sidecar.settings import read_settings
from tests.fakes import FakeCallControl, FakeRecordings
from tests.flow.shell import PROSPECT, Shell, running

LINK = "https://recordings.example.com/1.wav?signed=1"
KNOWN: dict[str, Any] = {"call_leg_id": "leg-1", "call_session_id": "session-1"}
AGENT = LegId("v3:agent")


def recording_shell(**adversity: object) -> Shell:
    return Shell(recordings=FakeRecordings(**adversity))


def copies(shell: Shell) -> FakeRecordings:
    assert shell.recordings is not None
    return shell.recordings


def control(shell: Shell) -> FakeCallControl:
    assert shell.control is not None
    return shell.control


async def attach(shell: Shell, **request: Any) -> Attached:
    return await shell.registry.attach(
        PROSPECT, AttachRequest(**{"lead": Lead(), "agent": None, **request})
    )


async def a_recorded_call(shell: Shell) -> LiveCall:
    """Return a call that has hung up, and whose record is there."""
    await shell.tell("answered", **KNOWN)
    await attach(shell)
    call = shell.call()
    await shell.tell("hangup")
    await call.recorded.wait()
    return call


def saved(shell: Shell, **said: Any) -> "asyncio.Future[None]":
    return shell.tell("recording_saved", None, **{"recording_url": LINK, **KNOWN, **said})


async def recording(shell: Shell, call: LiveCall) -> Recording:
    return (await shell.record(call.call_id)).recording


# --- starting -------------------------------------------------------------------------------------


async def test_a_call_is_recorded_once_from_its_attach_on_and_the_command_is_kept_first():
    async with running(recording_shell()) as shell:
        first, again = await attach(shell), await attach(shell)
        assert (first.recording, again.recording, first.problems) == (True, True, ())
        (command,) = control(shell).sent("start_recording")
        assert command.leg_id == PROSPECT
        kept = shell.journal.events(first.call_id)
        (decided,) = [e for e in kept if isinstance(e, ev.CommandDecided)]
        assert (decided.command, decided.command_id) == ("record_start", command.command_id)
        await shell.registry.detach(PROSPECT)
        assert len(control(shell).sent("stop_recording")) == 1


async def test_a_call_that_a_crash_left_open_is_not_recorded_twice():
    async with running(recording_shell()) as shell:
        call_id = (await attach(shell)).call_id
        (left,) = await shell.journal.open_calls()
    async with running(recording_shell()) as shell:
        assert shell.registry.restore(left) is not None
        again = await attach(shell)
        assert (again.call_id, again.recording) == (call_id, True)
        assert control(shell).sent("start_recording") == []


async def test_a_recording_that_is_refused_is_named_and_tried_at_the_next_attach():
    async with running(recording_shell()) as shell:
        control(shell).refuses["start_recording"] = CommandRefused("not today")
        attached = await attach(shell)
        assert (attached.streaming, attached.transcribing) == (True, True)
        assert (attached.recording, attached.problems) == (
            False,
            ("record_start was refused: not today",),
        )
        del control(shell).refuses["start_recording"]
        assert (await attach(shell)).recording


@pytest.mark.parametrize("passive", [False, True])
async def test_nothing_is_recorded_that_should_not_be(passive: bool):
    async with running(recording_shell() if passive else Shell()) as shell:
        assert not (await attach(shell, passive=passive)).recording
        await shell.registry.detach(PROSPECT)
        assert control(shell).sent("start_recording") == control(shell).sent("stop_recording") == []


# --- finding its call -----------------------------------------------------------------------------


@pytest.mark.parametrize("said", [{"call_session_id": None}, {"call_leg_id": "leg-unknown"}, {}])
async def test_a_recording_is_found_by_leg_or_session_and_copied(said: dict[str, Any]):
    async with running(recording_shell()) as shell:
        call = await a_recorded_call(shell)
        await asyncio.sleep(LATE_S / 2)
        await saved(shell, recording_id="r1", **said)
        await asyncio.sleep(1)
        ((name, link),) = copies(shell).kept.items()
        assert (name.startswith(f"{call.call_id}_"), link) == (True, LINK)
        found = await recording(shell, call)
        assert found == Recording(url=LINK, recording_id="r1", file=f"recordings/{name}.wav")
        assert found.place == f"recordings/{name}.wav"
        assert shell.counted("recordings", "kept") == 1


@pytest.mark.parametrize("said", [{"call_session_id": None}, {"call_leg_id": None}])
@pytest.mark.parametrize("restarted", [False, True])
async def test_a_recording_that_comes_long_after_its_call_is_found_all_the_same(
    said: dict[str, Any], restarted: bool
):
    shell = recording_shell()
    async with running(shell):
        call = await a_recorded_call(shell)
        if not restarted:
            await asyncio.sleep(10 * LATE_S)
            await saved(shell, **said)
            await asyncio.sleep(1)
    if restarted:
        async with running(shell):
            await saved(shell, **said)
            await asyncio.sleep(1)
    assert (await recording(shell, call)).file is not None
    assert shell.counted("recordings", "unmatched") == 0


async def test_of_a_session_the_prospect_s_call_is_meant():
    async with running(recording_shell()) as shell:
        await shell.tell("answered", **KNOWN)
        await attach(shell, agent="human", legs={"agent": AGENT})
        call = shell.call()
        await saved(shell, call_leg_id=None)
        await asyncio.sleep(1)
        assert call.call.log.recording.url == LINK


@pytest.mark.parametrize(
    "said", [{"call_leg_id": "x", "call_session_id": "y"}, dict.fromkeys(KNOWN)]
)
async def test_a_recording_of_nobody_s_call_is_counted(said: dict[str, Any]):
    async with running(recording_shell()) as shell:
        await a_recorded_call(shell)
        with capture_logs() as logs:
            await saved(shell, **said)
            await asyncio.sleep(1)
        assert copies(shell).tried_s == []
        assert shell.counted("recordings", "unmatched") == 1
        assert [entry["event"] for entry in logs] == ["recording_unmatched"]


async def test_without_the_setting_a_recording_of_others_is_known_but_not_copied():
    async with running() as shell:
        call = await a_recorded_call(shell)
        await saved(shell, recording_id="r1")
        await asyncio.sleep(1)
        assert await recording(shell, call) == Recording(url=LINK, recording_id="r1")
        assert (await recording(shell, call)).place == LINK


# --- copying --------------------------------------------------------------------------------------


async def test_a_copy_is_tried_until_the_link_expires_and_the_pauses_grow():
    error = RecordingUnavailable("broke off")
    async with running(recording_shell(fails_with=error)) as shell:
        await a_recorded_call(shell)
        began_s = asyncio.get_running_loop().time()
        with capture_logs() as logs:
            await saved(shell)
            await asyncio.sleep(3600)
        tries = copies(shell).tried_s
        pauses = [round(b - a) for a, b in pairwise(tries)]
        assert pauses[:7] == [1, 2, 4, 8, 16, 32, 60]
        assert tries[-1] - began_s < 600
        assert shell.counted("recordings", "lost") == 1
        (lost,) = [entry for entry in logs if entry["event"] == "recording_not_copied"]
        assert (lost["error"], LINK in str(logs)) == ("broke off", False)


async def test_a_copy_that_comes_late_completes_the_record_of_a_forgotten_call():
    error = RecordingUnavailable("broke off")
    async with running(recording_shell(fails_with=error)) as shell:
        call = await a_recorded_call(shell)
        await saved(shell)
        await asyncio.sleep(LATE_S + 60)
        assert shell.registry.find(call.call_id) is None
        told = shell.recorded
        copies(shell).fails_with = None
        await asyncio.sleep(61)
        assert (await recording(shell, call)).file is not None
        assert shell.recorded == told + 1


async def test_what_the_link_will_never_give_is_not_asked_for_again():
    async with running(recording_shell(fails_with=RecordingRefused("404"))) as shell:
        await a_recorded_call(shell)
        await saved(shell)
        await asyncio.sleep(600)
        assert len(copies(shell).tried_s) == 1
        assert shell.counted("recordings", "lost") == 1


async def test_a_copy_that_the_journal_cannot_name_yet_is_named_later():
    async with running(recording_shell(answers_after_s=1)) as shell:
        call = await a_recorded_call(shell)
        await saved(shell)
        shell.journal.fails_with = JournalFailed("disk full")
        await asyncio.sleep(5)
        shell.journal.fails_with = None
        await asyncio.sleep(60)
        assert (await recording(shell, call)).file is not None


async def test_the_same_link_told_again_keeps_its_copy_and_another_is_copied_too():
    async with running(recording_shell()) as shell:
        call = await a_recorded_call(shell)
        await saved(shell)
        await asyncio.sleep(1)
        first = await recording(shell, call)
        await call.feed(ev.RecordingSaved(at=call.now(), url=LINK))
        assert await recording(shell, call) == first
        await saved(shell, recording_url=LINK + "&signed=2")
        await asyncio.sleep(1)
        assert len(copies(shell).kept) == 1
        other = LINK.replace("1.wav", "2.wav")
        await saved(shell, recording_url=other)
        await asyncio.sleep(1)
        assert len(copies(shell).kept) == 2
        assert (await recording(shell, call)).url == other


async def test_a_restart_goes_on_copying_as_long_as_the_links_live():
    async with running(recording_shell(answers_after_s=1000)) as shell:
        call = await a_recorded_call(shell)
        await saved(shell)
        await asyncio.sleep(1)
    copies(shell).answers_after_s = 0
    async with running(shell):
        await shell.registry.recordings.resume()
        await asyncio.sleep(1)
        assert (await recording(shell, call)).file is not None
        tries = len(copies(shell).tried_s)
        await shell.registry.recordings.resume()
        await asyncio.sleep(1)
        assert len(copies(shell).tried_s) == tries


async def test_a_restart_leaves_alone_what_has_expired():
    async with running(recording_shell(answers_after_s=1000)) as shell:
        await a_recorded_call(shell)
        await saved(shell)
        await asyncio.sleep(1)
    tries = len(copies(shell).tried_s)
    shell.clock.advance(700)
    async with running(shell):
        await shell.registry.recordings.resume()
        await asyncio.sleep(1)
        assert len(copies(shell).tried_s) == tries


def test_recordings_want_signed_webhooks():
    with pytest.raises(SettingsInvalid, match="SIDECAR_TELNYX_PUBLIC_KEY"):
        read_settings(record=True)
    assert read_settings(record=True, telnyx_public_key="k").record
