"""Every branch of the hot transfer, on a telephone that says what a test wants."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import time
from typing import Any

import pytest

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.playbook import Closer, Window
from agent_sidecar.domain.record import CallRecord, TransferAttempt
from agent_sidecar.domain.types import CommandId, LegId, TransferId
from agent_sidecar.errors import (
    CommandRefused,
    CommandUncertain,
    JournalFailed,
    StoreUnavailable,
)
from agent_sidecar.live.live_call import LATE_S, LiveCall
from agent_sidecar.ports import Dial
from tests.domain.playbooks import VIDEO
from tests.fakes import FakeCallControl, FakeClosers
from tests.flow.shell import CLOSER, KEVIN, OURS, PROSPECT, Shell, client_state, running

AN_HOUR_S = 3600.0


def now_s() -> float:
    return asyncio.get_running_loop().time()


async def eventually(happened: Callable[[], object], within_s: float = 60.0) -> None:
    async with asyncio.timeout(within_s):
        while not happened():  # noqa: ASYNC110  # virtual time costs nothing
            await asyncio.sleep(0.01)


@dataclass
class Scene:
    """A call whose transfer has just been asked for."""

    shell: Shell
    call: LiveCall
    transfer_id: str

    @property
    def control(self) -> FakeCallControl:
        assert self.shell.control is not None
        return self.shell.control

    @property
    def attempt(self) -> TransferAttempt:
        return self.call.call.log.transfers[TransferId(self.transfer_id)]

    @property
    def is_leased(self) -> bool:
        return self.shell.closers.leases.get("Kevin") == self.transfer_id

    async def sent(self, name: str, times: int = 1) -> None:
        """Wait until a command was sent so often."""
        await eventually(lambda: len(self.control.sent(name)) >= times)

    async def kevin(self, kind: Any, **said: Any) -> None:
        """Let something happen on Kevin's leg."""
        state = client_state(self.transfer_id)
        await self.shell.tell(kind, CLOSER, client_state=state, **said)

    async def answer(self, result: str | None = "human_residence") -> None:
        """Let Kevin take the phone."""
        await self.sent("dial")
        await asyncio.sleep(3)
        await self.kevin("answered")
        if result is not None:
            await asyncio.sleep(1)
            await self.kevin("machine_detected", status=result)

    async def press(self, digits: str, status: str = "valid") -> None:
        """Let Kevin hear the briefing and press something."""
        await self.sent("ask_for_digit")
        await asyncio.sleep(5)
        await self.kevin("gather_ended", digits=digits, status=status)

    async def bridge(self) -> None:
        """Bring the transfer to its proven bridge."""
        await self.answer()
        await self.press("1")
        await self.sent("bridge")
        await asyncio.sleep(0.2)
        await self.shell.tell("bridged", PROSPECT)
        await self.kevin("bridged")

    async def prospect_hangs_up(self) -> None:
        await self.shell.tell("hangup", cause="normal_clearing", source="callee")

    async def ended(self) -> None:
        await eventually(lambda: self.steps and self.steps[-1] in OUTCOMES, within_s=120)

    async def record(self) -> CallRecord:
        await self.call.recorded.wait()
        return await self.shell.record(self.call.call_id)

    @property
    def steps(self) -> list[object]:
        return list(self.shell.told_steps())


OUTCOMES = {
    "bridged",
    "declined",
    "voicemail",
    "no_answer",
    "busy",
    "invalid_number",
    "closer_hung_up",
    "prospect_hung_up",
    "cancelled",
    "failed",
    "unavailable",
    "unknown",
}


@asynccontextmanager
async def a_scene(shell: Shell | None = None) -> AsyncIterator[Scene]:
    async with running(shell) as shell:
        call = await shell.attach()
        yield Scene(shell, call, await shell.want_transfer(call))


# --- it works -----------------------------------------------------------------------------------


async def test_a_closer_who_accepts_is_bridged_and_released_when_he_leaves():
    async with a_scene() as scene:
        await scene.bridge()
        assert scene.steps == [
            "leased", "dialing", "ringing", "answered", "detected", "briefing", "accepted",
            "bridging", "bridged",
        ]  # fmt: skip
        assert scene.is_leased
        await asyncio.sleep(60)
        assert scene.is_leased
        await scene.kevin("hangup", cause="normal_clearing", source="callee")
        await scene.ended()
        assert not scene.is_leased
        assert scene.control.sent("hang_up") == []
        attempt = scene.attempt
        assert (attempt.outcome, attempt.accepted) == ("bridged", True)
        assert attempt.duration_s == pytest.approx(60.0, abs=0.1)
        # the prospect is back with the agent
        assert scene.call.other == "agent"
        await scene.prospect_hangs_up()
        record = await scene.record()
        assert record.transfers == (attempt,)
        assert record.outcome.final_status == "hot_transfer"
        assert record.closer_available


async def test_everybody_is_told_what_the_closer_does():
    shell = Shell()
    shell.closers = FakeClosers([KEVIN], wrap_up_s=30.0)
    async with a_scene(shell) as scene:

        async def state() -> str:
            standing = await shell.closers.standing("Kevin", shell.clock.now())
            assert standing is not None
            return standing.state

        assert await state() in ("free", "leased")
        await scene.answer()
        assert await state() == "ringing"
        await scene.press("1")
        assert await state() == "ringing"
        await scene.sent("bridge")
        await scene.shell.tell("bridged", PROSPECT)
        assert await state() == "on_call"
        await asyncio.sleep(60)
        await scene.kevin("hangup", cause="normal_clearing", source="callee")
        await scene.ended()
        await asyncio.sleep(28)
        assert await state() == "wrapping_up"
        assert not await shell.closers.lease("Kevin", TransferId("another:t1"))
        await asyncio.sleep(2)
        assert await state() == "free"


async def test_what_is_dialled_briefed_and_bridged_is_right():
    async with a_scene() as scene:
        await scene.bridge()
        (dialled,) = scene.control.sent("dial")
        dial = dialled.said["dial"]
        assert dial == replace(
            dial,  # type: ignore[type-var]
            to=KEVIN.number,
            from_=OURS,
            link_to=PROSPECT,
            client_state=client_state(scene.transfer_id),
            timeout_s=25,
        )
        (asked,) = scene.control.sent("ask_for_digit")
        assert asked.leg_id == CLOSER
        assert asked.said["digits"] == "12"
        assert "Ada" in str(asked.said["text"])
        assert "Press 1" in str(asked.said["text"])
        (bridged,) = scene.control.sent("bridge")
        assert (bridged.leg_id, bridged.said) == (PROSPECT, {"to": CLOSER})


async def test_each_command_s_id_is_on_disk_before_it_is_sent():
    shell = Shell()
    kept: dict[str, bool] = {}

    class Watching(FakeCallControl):
        async def _send(
            self, name: str, leg_id: LegId, command_id: CommandId, **said: object
        ) -> None:
            call_id = shell.call().call_id
            steps = [
                e for e in shell.journal.events(call_id) if isinstance(e, ev.TransferProgressed)
            ]
            kept[name] = command_id in [step.command_id for step in steps]
            await super()._send(name, leg_id, command_id, **said)

    shell.control = Watching()
    shell.journal.commits_after_s = 0.05
    async with a_scene(shell) as scene:
        await scene.bridge()
        await scene.prospect_hangs_up()
        await scene.sent("hang_up")
    sent = ("dial", "ask_for_digit", "bridge", "hang_up")
    assert [kept[name] for name in sent] == [True] * 4
    assert len({command.command_id for command in shell.control.commands}) == 6


async def test_webhooks_may_come_before_the_dial_s_own_answer():
    async with running() as shell:
        call = await shell.attach()
        assert shell.control is not None
        shell.control.answers_after_s = 5.0
        scene = Scene(shell, call, await shell.want_transfer(call))
        await scene.sent("dial")
        await scene.kevin("initiated")
        await scene.kevin("answered")
        await scene.kevin("machine_detected", status="human_business")
        shell.control.answers_after_s = 0.0
        await scene.sent("ask_for_digit")
        await scene.press("1")
        await scene.sent("bridge")
        await scene.kevin("bridged")
        await eventually(lambda: "bridged" in scene.steps)
        closers = [leg for leg in call.call.log.legs.values() if leg.party == "closer"]
        assert [leg.leg_id for leg in closers] == [CLOSER]


async def test_reversed_webhooks_tell_the_same():
    async with a_scene() as scene:
        await scene.sent("dial")
        await scene.kevin("machine_detected", status="machine")
        await scene.kevin("answered")
        await scene.ended()
        assert scene.attempt.outcome == "voicemail"


async def test_no_word_from_machine_detection_means_human():
    async with a_scene() as scene:
        await scene.answer(None)
        began_s = now_s()
        await scene.sent("ask_for_digit")
        assert now_s() - began_s == pytest.approx(8.0, abs=0.1)


# --- it does not come to the bridge ---------------------------------------------------------------


@pytest.mark.parametrize(("digits", "said"), [("2", "“2”"), ("", "no digit")])
async def test_a_closer_who_declines_is_hung_up_and_the_agent_goes_on(digits: str, said: str):
    async with a_scene() as scene:
        await scene.answer()
        await scene.press(digits, "valid" if digits else "timeout")
        await scene.ended()
        assert (scene.attempt.outcome, scene.attempt.accepted) == ("declined", False)
        assert said in scene.attempt.reason
        await scene.sent("hang_up")
        assert scene.is_leased
        await scene.kevin("hangup", cause="normal_clearing", source="caller")
        await eventually(lambda: not scene.is_leased)
        assert scene.call.other == "agent"


async def test_a_closer_who_never_presses_anything_has_declined():
    async with a_scene() as scene:
        await scene.answer()
        await scene.sent("ask_for_digit")
        began_s = now_s()
        await scene.ended()
        assert scene.attempt.outcome == "declined"
        assert now_s() - began_s == pytest.approx(35.0, abs=0.1)


@pytest.mark.parametrize("result", ["machine", "fax_detected", "silence"])
async def test_a_machine_is_never_briefed(result: str):
    async with a_scene() as scene:
        await scene.answer(result)
        await scene.ended()
        assert scene.attempt.outcome == "voicemail"
        assert result in scene.attempt.reason
        assert scene.control.sent("ask_for_digit") == []
        await scene.sent("hang_up")


@pytest.mark.parametrize(
    ("cause", "outcome"),
    [
        ("user_busy", "busy"),
        ("call_rejected", "declined"),
        ("timeout", "no_answer"),
        ("no_answer", "no_answer"),
        ("not_found", "invalid_number"),
        ("unspecified", "closer_hung_up"),
        (None, "closer_hung_up"),
    ],
)
async def test_a_leg_that_ends_before_it_is_answered_says_why(cause: str | None, outcome: str):
    async with a_scene() as scene:
        await scene.sent("dial")
        await scene.kevin("initiated")
        await asyncio.sleep(5)
        await scene.kevin("hangup", cause=cause, source="callee")
        await scene.ended()
        assert scene.attempt.outcome == outcome
        assert not scene.is_leased
        assert scene.control.sent("hang_up") == []


async def test_a_leg_of_which_nothing_is_heard_is_given_up_and_proven_gone():
    async with a_scene() as scene:
        await scene.sent("dial")
        began_s = now_s()
        await scene.ended()
        assert scene.attempt.outcome == "no_answer"
        assert now_s() - began_s == pytest.approx(30.0, abs=0.1)
        # no hangup is heard of either: Telnyx is asked
        await eventually(lambda: not scene.is_leased)
        assert now_s() - began_s == pytest.approx(40.0, abs=0.1)


@pytest.mark.parametrize("during", ["ringing", "detection", "briefing", "bridging"])
async def test_a_closer_who_hangs_up_meanwhile_ends_the_attempt(during: str):
    async with a_scene() as scene:
        await scene.sent("dial")
        if during != "ringing":
            await scene.answer(None if during == "detection" else "human_residence")
        if during == "briefing":
            await scene.sent("ask_for_digit")
            # in this order, as Telnyx tells it
            await scene.kevin("gather_ended", status="call_hangup")
        elif during == "bridging":
            await scene.press("1")
            await scene.sent("bridge")
        await scene.kevin("hangup", cause="normal_clearing", source="callee")
        await scene.ended()
        assert scene.attempt.outcome == "closer_hung_up"
        await eventually(lambda: not scene.is_leased)


async def test_a_closer_who_hung_up_as_the_briefing_was_sent_is_no_failure():
    async with a_scene() as scene:
        scene.control.refuses["ask_for_digit"] = CommandRefused("ended", code="90018")
        await scene.answer()
        await scene.sent("ask_for_digit")
        await scene.kevin("hangup", cause="normal_clearing", source="callee")
        await scene.ended()
        assert scene.attempt.outcome == "closer_hung_up"


# --- the prospect leaves ------------------------------------------------------------------------


@pytest.mark.parametrize("during", ["dialling", "ringing", "detection", "briefing", "bridging"])
async def test_a_prospect_who_leaves_ends_the_closer_s_leg_at_once(during: str):
    async with running() as shell:
        call = await shell.attach()
        scene_control = shell.control
        assert scene_control is not None
        if during == "dialling":
            scene_control.answers_after_s = 1.0
        scene = Scene(shell, call, await shell.want_transfer(call))
        await scene.sent("dial")
        if during not in ("dialling", "ringing"):
            await scene.answer(None if during == "detection" else "human_residence")
        if during == "briefing":
            await scene.sent("ask_for_digit")
        elif during == "bridging":
            await scene.press("1")
            await scene.sent("bridge")
        left_s = now_s()
        await scene.prospect_hangs_up()
        await scene.sent("hang_up")
        assert now_s() - left_s <= (1.1 if during == "dialling" else 0.1)
        assert scene.attempt.outcome == "prospect_hung_up"
        assert scene.control.sent("hang_up")[0].leg_id == CLOSER
        # the record does not wait for his leg, and says what happened all the same
        record = await scene.record()
        assert [t.outcome for t in record.transfers] == ["prospect_hung_up"]
        assert scene.is_leased
        await asyncio.sleep(5)
        assert scene.is_leased
        await scene.kevin("hangup", cause="normal_clearing", source="caller")
        await eventually(lambda: not scene.is_leased)


async def test_a_prospect_who_leaves_before_the_dial_rings_nobody():
    async with running() as shell:
        call = await shell.attach()
        shell.journal.commits_after_s = 0.5
        shell.closers.answers_after_s = 0.2
        call.feed(ev.TransferWanted(at=call.now(), by="Ann"))
        (transfer_id,) = call.call.log.transfers
        scene = Scene(shell, call, transfer_id)
        await eventually(lambda: "dialing" in scene.steps)
        shell.tell("hangup")
        await scene.ended()
        assert scene.control.sent("dial") == []
        await eventually(lambda: not scene.is_leased)


async def test_a_prospect_who_leaves_after_the_bridge_ends_the_closer_s_leg():
    async with a_scene() as scene:
        await scene.bridge()
        await asyncio.sleep(30)
        left_s = now_s()
        await scene.prospect_hangs_up()
        await scene.sent("hang_up")
        assert now_s() - left_s <= 0.1
        record = await scene.record()
        (attempt,) = record.transfers
        assert (attempt.outcome, attempt.accepted) == ("bridged", True)
        assert attempt.duration_s == pytest.approx(30.0, abs=0.2)
        assert scene.is_leased
        # his hangup comes after the record: bridged stays bridged
        await scene.kevin("hangup", cause="normal_clearing", source="caller")
        await eventually(lambda: not scene.is_leased)
        await asyncio.sleep(LATE_S + 1)
        assert (await scene.record()).transfers == (attempt,)
        assert await scene.shell.version(scene.call.call_id) == 1


async def test_a_bridge_that_is_proven_late_is_the_truth():
    async with a_scene() as scene:
        await scene.answer()
        await scene.press("1")
        await scene.sent("bridge")
        # reversed on their way
        await scene.prospect_hangs_up()
        await scene.sent("hang_up")
        await scene.kevin("bridged")
        await scene.kevin("hangup", cause="normal_clearing")
        record = await scene.record()
        assert [t.outcome for t in record.transfers] == ["bridged"]
        assert record.outcome.final_status == "hot_transfer"


async def test_a_bridge_that_is_proven_after_the_record_makes_a_new_version():
    async with a_scene() as scene:
        await scene.answer()
        await scene.press("1")
        await scene.sent("bridge")
        await scene.prospect_hangs_up()
        record = await scene.record()
        assert [t.outcome for t in record.transfers] == ["prospect_hung_up"]
        await scene.kevin("bridged")
        await asyncio.sleep(1)
        record = await scene.record()
        assert [t.outcome for t in record.transfers] == ["bridged"]
        assert await scene.shell.version(scene.call.call_id) == 2


# --- commands -----------------------------------------------------------------------------------


class RacingControl(FakeCallControl):
    """Refuses the first bridges."""

    def __init__(self, refusals: int) -> None:
        super().__init__()
        self.left = refusals

    async def bridge(self, leg_id: LegId, *, to: LegId, command_id: CommandId) -> None:
        await super().bridge(leg_id, to=to, command_id=command_id)
        if self.left:
            self.left -= 1
            raise CommandRefused("the call is not in a valid state", code="90034")


class LivelyControl(RacingControl):
    """The prospect's leg is up."""

    def _check_alive(self, leg_id: LegId) -> None:
        if leg_id != PROSPECT:
            super()._check_alive(leg_id)


async def test_a_bridge_that_is_refused_by_race_is_tried_again():
    async with a_scene(Shell(control=LivelyControl(2))) as scene:
        await scene.answer()
        await scene.press("1")
        await scene.sent("bridge")
        began_s = now_s()
        await scene.sent("bridge", 3)
        assert now_s() - began_s == pytest.approx(1.0, abs=0.1)
        ids = {command.command_id for command in scene.control.sent("bridge")}
        assert len(ids) == 3
        await scene.kevin("bridged")
        await eventually(lambda: "bridged" in scene.steps)


async def test_a_bridge_that_is_refused_for_good_fails_with_its_reason():
    async with a_scene(Shell(control=LivelyControl(9))) as scene:
        await scene.answer()
        await scene.press("1")
        await scene.ended()
        assert scene.attempt.outcome == "failed"
        assert "not in a valid state" in scene.attempt.reason
        assert len(scene.control.sent("bridge")) == 3
        await scene.sent("hang_up")


async def test_a_refusal_does_not_outweigh_the_proof():
    async with a_scene(Shell(control=LivelyControl(1))) as scene:
        await scene.answer()
        await scene.press("1")
        await scene.sent("bridge")
        await scene.kevin("bridged")
        await eventually(lambda: "bridged" in scene.steps)
        await asyncio.sleep(5)
        assert len(scene.control.sent("bridge")) == 1


async def test_a_bridge_without_proof_has_failed():
    async with a_scene(Shell(control=LivelyControl(0))) as scene:
        await scene.answer()
        await scene.press("1")
        await scene.sent("bridge")
        # the prospect is bridged, but to somebody else
        await scene.shell.tell("bridged", PROSPECT, peer_leg_id=LegId("v3:another"))
        await scene.ended()
        assert (scene.attempt.outcome, scene.attempt.bridged_at) == ("failed", None)
        await scene.sent("hang_up")


@pytest.mark.parametrize("peer", [None, CLOSER])
async def test_the_prospect_s_own_bridged_event_is_proof_after_the_command(peer: LegId | None):
    async with a_scene(Shell(control=LivelyControl(0))) as scene:
        await scene.shell.tell("bridged", PROSPECT)
        await scene.answer()
        await scene.press("1")
        assert "bridged" not in scene.steps
        await scene.sent("bridge")
        await scene.shell.tell("bridged", PROSPECT, peer_leg_id=peer)
        await eventually(lambda: "bridged" in scene.steps)


async def test_a_refused_dial_releases_the_closer():
    async with running() as shell:
        assert shell.control is not None
        shell.control.refuses["dial"] = CommandRefused("no outbound profile", code="D38")
        call = await shell.attach()
        scene = Scene(shell, call, await shell.want_transfer(call))
        await scene.ended()
        assert (scene.attempt.outcome, scene.attempt.reason) == ("failed", "no outbound profile")
        assert not scene.is_leased
        assert scene.control.sent("hang_up") == []


async def an_uncertain_dial(shell: Shell) -> Scene:
    assert shell.control is not None
    shell.control.refuses["dial"] = CommandUncertain("timed out")
    call = await shell.attach()
    scene = Scene(shell, call, await shell.want_transfer(call))
    await scene.sent("dial")
    return scene


async def test_a_dial_of_which_nobody_knows_holds_the_closer():
    async with running() as shell:
        scene = await an_uncertain_dial(shell)
        scene.control.refuses["live_legs"] = CommandUncertain("timed out")
        await asyncio.sleep(600)
        assert scene.is_leased
        assert len(scene.control.sent("dial")) == 1
        await scene.prospect_hangs_up()
        assert [t.outcome for t in (await scene.record()).transfers] == ["prospect_hung_up"]
        await asyncio.sleep(AN_HOUR_S)
        assert scene.is_leased
        # his leg did ring, and ends: whoever forgot the call, this is evidence
        await scene.kevin("hangup", cause="timeout")
        await asyncio.sleep(1)
        assert not scene.is_leased


async def test_a_dial_that_was_not_carried_out_frees_the_closer_once_telnyx_says_so():
    async with running() as shell:
        scene = await an_uncertain_dial(shell)
        await scene.ended()
        assert scene.attempt.outcome == "failed"
        assert scene.attempt.reason == "his phone was not dialled: timed out"
        await eventually(lambda: not scene.is_leased)
        assert [c.name for c in scene.control.commands if c.name != "start_stream"][-1] == "dial"


async def test_a_dial_whose_answer_was_lost_goes_on_on_the_leg_that_telnyx_names():
    async with running() as shell:
        scene = await an_uncertain_dial(shell)
        scene.control.alive.add(CLOSER)
        scene.control.states[client_state(scene.transfer_id)] = CLOSER
        await eventually(lambda: "ringing" in scene.steps)
        assert scene.attempt.leg_id == CLOSER
        await scene.bridge()
        assert scene.steps[-1] == "bridged"


async def test_a_dial_whose_answer_was_lost_goes_on_when_the_leg_shows_itself():
    async with running() as shell:
        scene = await an_uncertain_dial(shell)
        scene.control.alive.add(CLOSER)
        await scene.bridge()
        assert scene.steps[-1] == "bridged"
        await scene.kevin("hangup", cause="normal_clearing")
        await eventually(lambda: not scene.is_leased)


async def test_a_leg_that_shows_itself_after_all_is_hung_up():
    async with running() as shell:
        scene = await an_uncertain_dial(shell)
        await scene.prospect_hangs_up()
        await scene.ended()
        assert scene.attempt.outcome == "prospect_hung_up"
        await scene.kevin("initiated")
        await scene.sent("hang_up")
        assert scene.is_leased
        await scene.kevin("hangup", cause="originator_cancel")
        await eventually(lambda: not scene.is_leased)


@pytest.mark.parametrize("name", ["ask_for_digit", "bridge"])
async def test_a_command_whose_answer_was_lost_is_judged_by_what_follows(name: str):
    async with a_scene() as scene:
        scene.control.refuses[name] = CommandUncertain("timed out")
        await scene.bridge()
        assert scene.attempt.outcome == "bridged"
        assert len(scene.control.sent(name)) == 1


async def test_a_leg_that_cannot_be_ended_keeps_him_reserved_until_its_end_is_seen():
    async with a_scene() as scene:
        scene.control.refuses["hang_up"] = CommandUncertain("timed out")
        scene.control.refuses["is_alive"] = CommandUncertain("timed out")
        await scene.answer("machine")
        await scene.sent("hang_up")
        await asyncio.sleep(300)
        assert scene.is_leased
        await scene.kevin("hangup", cause="normal_clearing")
        await eventually(lambda: not scene.is_leased)


@pytest.mark.parametrize("step", ["dialing", "briefing", "bridging"])
async def test_what_cannot_be_kept_is_not_sent(step: str):
    async with running() as shell:
        call = await shell.attach()
        assert shell.control is not None
        append = shell.journal.append

        async def fail() -> None:
            raise JournalFailed("disk full")

        def refuse(call_id, event):
            if isinstance(event, ev.TransferProgressed) and event.step == step:
                return fail()
            return append(call_id, event)

        shell.journal.append = refuse  # type: ignore[method-assign]
        scene = Scene(shell, call, await shell.want_transfer(call))
        if step != "dialing":
            await scene.answer()
        if step == "bridging":
            await scene.press("1")
        await scene.ended()
        assert scene.attempt.outcome == "failed"
        assert "nothing was sent" in scene.attempt.reason
        names = {"dialing": "dial", "briefing": "ask_for_digit", "bridging": "bridge"}
        assert scene.control.sent(names[step]) == []
        # to hang up is safe in any case: nobody's phone rings on
        await scene.sent("hang_up", 0 if step == "dialing" else 1)


async def test_a_bug_leaves_no_phone_ringing():
    class Broken(FakeCallControl):
        async def ask_for_digit(self, *args: object, **kwargs: object) -> None:
            raise ZeroDivisionError

    async with a_scene(Shell(control=Broken())) as scene:
        await scene.answer()
        await scene.ended()
        assert scene.attempt.outcome == "failed"
        await scene.sent("hang_up")
        await scene.kevin("hangup")
        await eventually(lambda: not scene.is_leased)


# --- the closer is not to be had ------------------------------------------------------------------


async def unavailable(shell: Shell) -> str:
    """Return why a transfer was not even begun; the second best is hinted at once."""
    async with running(shell):
        call = await shell.attach()
        began_s = now_s()
        scene = Scene(shell, call, await shell.want_transfer(call))
        await scene.ended()
        assert now_s() - began_s < 0.1
        assert scene.attempt.outcome == "unavailable"
        (hint,) = shell.publisher.of_type("hint")
        assert hint["strategy"] == VIDEO
        if shell.control is not None:
            assert shell.control.sent("dial") == []
        await asyncio.sleep(1)
        assert not scene.is_leased
        return scene.attempt.reason


async def test_a_closer_with_another_prospect_is_left_alone():
    shell = Shell()
    shell.closers.leases["Kevin"] = TransferId("another:t1")
    assert "with another prospect" in await unavailable(shell)
    assert shell.closers.leases["Kevin"] == "another:t1"


async def test_a_closer_whom_another_call_takes_meanwhile_is_left_alone():
    shell = Shell()

    async def is_available(name: str, at: object) -> bool:
        shell.closers.leases["Kevin"] = TransferId("another:t1")
        return True

    shell.closers.is_available = is_available  # type: ignore[method-assign]
    assert "taken by another call" in await unavailable(shell)
    assert shell.closers.leases["Kevin"] == "another:t1"


async def test_a_closer_outside_his_hours_is_left_alone():
    shell = Shell()
    window = Window(day_of_week=3, start=time(9), end=time(10))
    shell.closers.schedules["Kevin"] = replace(KEVIN, timezone="UTC", hours=(window,))
    assert "is off" in await unavailable(shell)


ANA = Closer(name="Ana", number="+12125550102")


def with_ana() -> Shell:
    return Shell(roster=(KEVIN, ANA), closers=FakeClosers([KEVIN, ANA]))


async def test_who_is_next_is_asked_when_the_first_is_with_another_prospect():
    shell = with_ana()
    shell.closers.leases["Kevin"] = TransferId("another:t1")
    async with a_scene(shell) as scene:
        await scene.bridge()
        [dialed] = scene.control.sent("dial")
        assert isinstance(dialed.said["dial"], Dial)
        assert dialed.said["dial"].to == ANA.number
        assert shell.closers.leases == {"Kevin": "another:t1", "Ana": scene.transfer_id}
        assert scene.attempt.closer == "Ana"
        await scene.kevin("hangup", cause="normal_clearing")
        await eventually(lambda: "Ana" not in shell.closers.leases)
        await scene.prospect_hangs_up()
        assert (await scene.record()).closer_available


async def test_when_all_are_taken_each_is_named():
    shell = with_ana()
    shell.closers.leases |= {"Kevin": TransferId("another:t1"), "Ana": TransferId("another:t2")}
    reason = await unavailable(shell)
    assert "Kevin is off" in reason
    assert "Ana is off" in reason


async def test_without_the_closers_store_there_is_no_transfer():
    shell = Shell()
    shell.closers.fails_with = StoreUnavailable("redis is down")
    assert "redis is down" in await unavailable(shell)


async def test_without_an_account_there_is_no_transfer():
    assert "SIDECAR_TELNYX_API_KEY" in await unavailable(Shell(control=None))


async def test_without_the_closer_s_number_there_is_no_transfer():
    assert "SIDECAR_CLOSER_NUMBER" in await unavailable(
        Shell(roster=(replace(KEVIN, number=None),))
    )


async def test_without_our_own_number_the_attempt_fails_and_frees_him():
    async with a_scene(Shell(caller_number=None)) as scene:
        await scene.ended()
        assert scene.attempt.outcome == "failed"
        assert "SIDECAR_CALLER_NUMBER" in scene.attempt.reason
        assert not scene.is_leased


async def test_a_lease_whose_answer_was_lost_is_given_back():
    async with running() as shell:
        call = await shell.attach()
        lease = shell.closers.lease

        async def lose(name: str, transfer_id: TransferId) -> bool:
            await lease(name, transfer_id)
            raise StoreUnavailable("no answer")

        shell.closers.lease = lose  # type: ignore[method-assign]
        scene = Scene(shell, call, await shell.want_transfer(call))
        await scene.ended()
        assert scene.attempt.outcome == "unavailable"
        await asyncio.sleep(1)
        assert not scene.is_leased


async def test_a_lease_that_cannot_be_given_back_is_tried_again():
    async with a_scene() as scene:
        await scene.sent("dial")
        scene.shell.closers.fails_with = StoreUnavailable("redis is down")
        await scene.kevin("hangup", cause="user_busy")
        await asyncio.sleep(60)
        assert scene.is_leased
        scene.shell.closers.fails_with = None
        await eventually(lambda: not scene.is_leased)


# --- more than one, vetoed, detached --------------------------------------------------------------


async def test_a_veto_stops_the_attempt():
    async with a_scene() as scene:
        await scene.answer()
        await scene.sent("ask_for_digit")
        await scene.call.feed(ev.TransferWanted(at=scene.call.now(), by="Ann", veto=True))
        await scene.ended()
        assert (scene.attempt.outcome, scene.attempt.reason) == ("cancelled", "vetoed by Ann")
        await scene.sent("hang_up")


async def test_a_late_hangup_of_the_first_attempt_does_not_end_the_second():
    async with a_scene() as scene:
        await scene.answer()
        await scene.press("2")
        await scene.sent("hang_up")
        await asyncio.sleep(15)
        assert not scene.is_leased
        second = Scene(scene.shell, scene.call, await scene.shell.want_transfer(scene.call))
        await second.sent("dial", 2)
        # only now is it told that the first leg has ended
        await scene.kevin("hangup", cause="normal_clearing")
        await asyncio.sleep(1)
        assert second.is_leased
        other = LegId("v3:closer-2")
        state = client_state(second.transfer_id)
        await scene.shell.tell("hangup", other, client_state=state, cause="user_busy")
        await eventually(lambda: second.attempt.outcome == "busy")


async def test_to_detach_while_they_talk_does_not_part_them():
    async with a_scene() as scene:
        await scene.bridge()
        await scene.shell.registry.detach(PROSPECT)
        record = await scene.record()
        assert [t.outcome for t in record.transfers] == ["bridged"]
        await asyncio.sleep(300)
        assert scene.control.sent("hang_up") == []
        assert scene.is_leased
        await scene.kevin("hangup", cause="normal_clearing")
        await asyncio.sleep(1)
        assert not scene.is_leased


async def test_to_detach_while_it_rings_ends_the_attempt():
    async with a_scene() as scene:
        await scene.sent("dial")
        await scene.shell.registry.detach(PROSPECT)
        await scene.sent("hang_up")
        record = await scene.record()
        assert [(t.outcome, t.reason) for t in record.transfers] == [("cancelled", "detached")]


async def test_a_stop_of_the_service_leaves_nothing_hanging():
    async with a_scene() as scene:
        await scene.answer()


# --- when the closer has left ---------------------------------------------------------------------

AGENT = LegId("v3:agent")


async def a_human_agent_s(shell: Shell) -> Scene:
    """Let a human agent's call be with the closer."""
    call = await shell.attach(agent="human", legs={"agent": AGENT})
    scene = Scene(shell, call, await shell.want_transfer(call))
    scene.control.alive |= {AGENT, PROSPECT}
    await scene.bridge()
    return scene


async def test_a_human_agent_gets_the_prospect_back_when_the_closer_leaves():
    async with running() as shell:
        scene = await a_human_agent_s(shell)
        assert len(scene.control.sent("bridge")) == 1
        await scene.kevin("hangup", cause="normal_clearing")
        await scene.sent("bridge", times=2)
        back = scene.control.sent("bridge")[-1]
        assert (back.leg_id, back.said["to"]) == (PROSPECT, AGENT)
        decided = [
            event.command_id
            for event in shell.journal.events(scene.call.call_id)
            if isinstance(event, ev.CommandDecided) and event.command == "bridge"
        ]
        assert decided == [back.command_id]
        await eventually(lambda: shell.states()[-1] == "with_agent")


async def test_a_prospect_whom_nobody_waits_for_is_told_of():
    async with running() as shell:
        scene = await a_human_agent_s(shell)
        await shell.tell("hangup", AGENT, cause="normal_clearing")
        await scene.kevin("hangup", cause="normal_clearing")
        await eventually(lambda: shell.states()[-1] == "alone")
        assert len(scene.control.sent("bridge")) == 1


async def test_an_agent_on_the_prospect_s_own_leg_is_told_that_it_is_his_turn():
    async with a_scene() as scene:
        await scene.bridge()
        await scene.kevin("hangup", cause="normal_clearing")
        await eventually(lambda: scene.shell.states()[-1] == "with_agent")
        assert len(scene.control.sent("bridge")) == 1


async def test_nobody_gets_a_prospect_back_who_has_left():
    async with a_scene() as scene:
        await scene.bridge()
        await scene.prospect_hangs_up()
        await scene.record()
        assert not {"with_agent", "alone"} & set(scene.shell.states())


async def test_who_was_to_get_the_prospect_back_and_may_not_have_is_told_of():
    async with running() as shell:
        scene = await a_human_agent_s(shell)
        scene.control.refuses["bridge"] = CommandUncertain("no answer within 5 s")
        await scene.kevin("hangup", cause="normal_clearing")
        await eventually(lambda: shell.states()[-1] == "alone")
        # not repeated: it may have been carried out
        assert len(scene.control.sent("bridge")) == 2


async def test_who_is_next_is_not_asked_while_nobody_knows_of_the_first():
    shell = with_ana()
    shell.closers.fails_with = StoreUnavailable("down")
    reason = await unavailable(shell)
    assert "nobody knows whether Kevin is free" in reason
    assert "Ana" not in reason
