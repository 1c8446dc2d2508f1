"""Hints for the agent's own ears: one command at a time, the newest hint, and never in the way."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.hints import Hint
from agent_sidecar.domain.types import CallId, CommandId, HintId, LegId, StrategyName
from agent_sidecar.errors import CommandRefused, CommandUncertain, JournalFailed, LegGone
from agent_sidecar.live.briefing import advice, whisper
from agent_sidecar.live.live_call import LiveCall
from tests.fakes import Command, FakeCallControl
from tests.flow.shell import CLOSER, PRICE, PROSPECT, Shell, running

AGENT = LegId("v3:agent")
MESSAGE, SPEAK = "add_assistant_message", "speak"


def to_assistant() -> Shell:
    return Shell(hints_assistant=True)


def aloud() -> Shell:
    return Shell(speaks_hints=True)


def commands(shell: Shell, name: str) -> Sequence[Command]:
    assert shell.control is not None
    return shell.control.sent(name)


def said(shell: Shell, name: str) -> list[str]:
    return [str(command.said["text"]) for command in commands(shell, name)]


def hint(call: LiveCall, number: int = 1, *, lasts_s: float = 30.0, say: str = "") -> Hint:
    return Hint(
        hint_id=HintId(f"{call.call_id}:h{number}"),
        question_id="q",
        strategy=StrategyName("name-the-fear"),
        say=say or f"words {number}",
        why=(),
        confidence=0.7,
        tried=9,
        lifted=7,
        won=5,
        phase=6,
        objection=None,
        engagement=49.0,
        degraded=(),
        given_at=call.now(),
        expires_at=call.now() + timedelta(seconds=lasts_s),
    )


async def human_call(shell: Shell) -> LiveCall:
    return await shell.attach(agent="human", legs={"agent": AGENT})


# --- the assistant --------------------------------------------------------------------------------


async def test_an_assistant_is_told_what_the_hint_says_after_everybody_else():
    async with running(to_assistant()) as shell:
        assert shell.control is not None
        shell.control.answers_after_s = 3
        call = await shell.attach()
        await call.feed(shell.line(PRICE))
        await asyncio.sleep(1)
        (told,) = shell.publisher.of_type("hint")
        (command,) = commands(shell, MESSAGE)
        assert command.leg_id == PROSPECT
        text = str(command.said["text"])
        assert f"Strategy: {told['strategy']}." in text
        assert "The prospect objects: money." in text
        assert str(told["say"]) in text
        await asyncio.sleep(3)
        assert shell.counted("prompts", "ai_assistant_add_messages") == 1


async def test_the_command_s_id_is_on_disk_before_it_is_sent():
    class Watched(FakeCallControl):
        kept: Sequence[ev.CallEvent] = ()

        async def add_assistant_message(
            self, leg_id: LegId, *, text: str, command_id: CommandId
        ) -> None:
            self.kept = shell.journal.events(shell.call().call_id)
            await super().add_assistant_message(leg_id, text=text, command_id=command_id)

    control = Watched()
    async with running(Shell(hints_assistant=True, control=control)) as shell:
        call = await shell.attach()
        call.prompter.take(hint(call))
        await asyncio.sleep(1)
        (decided,) = [e for e in control.kept if isinstance(e, ev.CommandDecided)]
        (command,) = control.sent(MESSAGE)
        assert decided.command_id == command.command_id
        assert (decided.command, decided.reason) == (
            "ai_assistant_add_messages",
            f"{call.call_id}:h1",
        )


async def test_one_command_at_a_time_and_the_newest_hint_waits():
    async with running(to_assistant()) as shell:
        assert shell.control is not None
        call = await shell.attach()
        shell.control.answers_after_s = 2
        for number in range(1, 5):
            call.prompter.take(hint(call, number))
            await asyncio.sleep(0.1)
        assert len(commands(shell, MESSAGE)) == 1
        await asyncio.sleep(10)
        first, last = said(shell, MESSAGE)
        assert (first.endswith("words 1"), last.endswith("words 4")) == (True, True)
        first_id, last_id = (command.command_id for command in commands(shell, MESSAGE))
        assert first_id != last_id


async def test_a_hint_that_expired_meanwhile_is_not_told():
    async with running(to_assistant()) as shell:
        assert shell.control is not None
        call = await shell.attach()
        shell.control.answers_after_s = 5
        call.prompter.take(hint(call, 1))
        await asyncio.sleep(0.1)
        call.prompter.take(hint(call, 2, lasts_s=3))
        await asyncio.sleep(20)
        assert len(commands(shell, MESSAGE)) == 1


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (CommandRefused("no assistant runs"), "refused"),
        (LegGone("it has ended", has_ended=True), "refused"),
        (CommandUncertain("no answer"), "uncertain"),
    ],
)
async def test_what_fails_is_told_once_counted_and_never_repeated(error: Exception, why: str):
    async with running(to_assistant()) as shell:
        assert shell.control is not None
        shell.control.refuses[MESSAGE] = error
        call = await shell.attach()
        with capture_logs() as logs:
            for number in (1, 2):
                call.prompter.take(hint(call, number))
                await asyncio.sleep(1)
        assert len(commands(shell, MESSAGE)) == 2
        assert shell.counted("prompts_failed", why) == 2
        assert [entry["event"] for entry in logs].count("agent_not_prompted") == 1
        (message,) = [m for m in shell.publisher.of_type("call") if m["state"] == "not_prompted"]
        assert message["reason"] == str(error)
        del shell.control.refuses[MESSAGE]
        call.prompter.take(hint(call, 3))
        await asyncio.sleep(1)
        assert shell.counted("prompts", "ai_assistant_add_messages") == 1


async def test_what_cannot_be_journalled_is_not_sent():
    async with running(to_assistant()) as shell:
        call = await shell.attach()
        shell.journal.fails_with = JournalFailed("disk full")
        call.prompter.take(hint(call))
        await asyncio.sleep(1)
        assert commands(shell, MESSAGE) == []
        assert shell.counted("prompts_failed", "not_kept") == 1


@pytest.mark.parametrize(
    ("shell", "announced"),
    [
        (Shell(), {}),
        (Shell(hints_assistant=True, control=None), {}),
        (Shell(hints_assistant=True), {"passive": True}),
        (Shell(hints_assistant=True, speaks_hints=True), {"agent": "external"}),
        (Shell(hints_assistant=True, speaks_hints=True), {"agent": "human"}),
        (Shell(hints_assistant=True), {"agent": "human", "legs": {"agent": AGENT}}),
        (Shell(speaks_hints=True), {}),
    ],
)
async def test_who_is_not_to_be_told_is_not_commanded(shell: Shell, announced: dict[str, Any]):
    async with running(shell):
        call = await shell.attach(**announced)
        call.prompter.take(hint(call))
        await asyncio.sleep(1)
        if shell.control is not None:
            assert shell.control.sent(MESSAGE) == shell.control.sent(SPEAK) == []


async def test_nobody_is_told_any_more_when_the_prospect_has_hung_up_or_the_closer_has_come():
    async with running(to_assistant()) as shell:
        call = await shell.attach()
        shell.journal.commits_after_s = 0.2
        call.prompter.take(hint(call))
        await asyncio.sleep(0.1)
        await shell.tell("hangup")
        call.prompter.take(hint(call, 2))
        await asyncio.sleep(1)
        assert commands(shell, MESSAGE) == []
    async with running(to_assistant()) as shell:
        call = await shell.attach(legs={"closer": CLOSER})
        await shell.tell("bridged", CLOSER, peer_leg_id=PROSPECT)
        call.prompter.take(hint(call))
        await asyncio.sleep(1)
        assert commands(shell, MESSAGE) == []


async def test_a_hint_that_is_being_told_ends_with_its_call():
    async with running(to_assistant()) as shell:
        assert shell.control is not None
        call = await shell.attach()
        shell.control.answers_after_s = 1000
        call.prompter.take(hint(call))
        await asyncio.sleep(1)
        await shell.tell("hangup")
        await asyncio.sleep(100)
        assert [t for t in asyncio.all_tasks() if "prompt" in t.get_name()] == []
        assert call.recorded.is_set()


# --- the agent's ear ------------------------------------------------------------------------------


async def test_a_human_agent_hears_the_hint_on_his_own_leg():
    async with running(aloud()) as shell:
        call = await human_call(shell)
        await call.feed(shell.line(PRICE))
        await asyncio.sleep(1)
        (command,) = commands(shell, SPEAK)
        assert command.leg_id == AGENT
        assert str(command.said["text"]).startswith("reframe: ")


async def test_nothing_is_spoken_into_what_is_being_spoken():
    async with running(aloud()) as shell:
        call = await human_call(shell)
        for number in (1, 2, 3):
            call.prompter.take(hint(call, number))
            await asyncio.sleep(1)
        assert said(shell, SPEAK) == ["name the fear: words 1"]
        await shell.tell("speak_ended", PROSPECT)
        await asyncio.sleep(0.5)
        assert len(commands(shell, SPEAK)) == 1
        await shell.tell("speak_ended", AGENT)
        await asyncio.sleep(0.5)
        assert said(shell, SPEAK) == ["name the fear: words 1", "name the fear: words 3"]


@pytest.mark.parametrize("uncertain", [False, True])
async def test_an_end_that_is_never_told_holds_up_nothing_for_long(uncertain: bool):
    async with running(aloud()) as shell:
        assert shell.control is not None
        call = await human_call(shell)
        if uncertain:
            shell.control.refuses[SPEAK] = CommandUncertain("no answer")
        call.prompter.take(hint(call, 1))
        await asyncio.sleep(1)
        call.prompter.take(hint(call, 2))
        await asyncio.sleep(1)
        assert len(commands(shell, SPEAK)) == 1
        await asyncio.sleep(8)
        assert len(commands(shell, SPEAK)) == 2


async def test_a_leg_that_still_rings_hears_nothing():
    async with running(aloud()) as shell:
        call = await shell.attach(agent="human")
        await shell.tell("initiated", AGENT, client_state="sidecar:agent", peer_leg_id=PROSPECT)
        call.prompter.take(hint(call))
        await asyncio.sleep(1)
        assert commands(shell, SPEAK) == []
        await shell.tell("answered", AGENT)
        call.prompter.take(hint(call))
        await asyncio.sleep(1)
        assert [command.leg_id for command in commands(shell, SPEAK)] == [AGENT]


# --- in words -------------------------------------------------------------------------------------


async def test_words_are_cut_where_they_are_too_many():
    async with running() as shell:
        call = await shell.attach()
        long = hint(call, say="word " * 1000)
        assert len(whisper(long)) <= 200
        assert len(advice(long)) <= 3000
        assert whisper(long).endswith("word …")
        assert CallId(call.call_id) not in advice(long)
