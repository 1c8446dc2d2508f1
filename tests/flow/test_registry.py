import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.types import Lead, LegId
from agent_sidecar.errors import CallUnknown, CommandUncertain, JournalFailed, TokenInvalid
from agent_sidecar.live.live_call import LATE_S
from agent_sidecar.live.requests import AttachRequest
from tests.fakes import FakeCallControl
from tests.flow.shell import (
    CLOSER,
    OURS,
    PROSPECT,
    THEIRS,
    Shell,
    client_state,
    running,
    start,
)

OUTGOING: dict[str, Any] = {"direction": "outgoing", "from_": OURS, "to": THEIRS}
INCOMING: dict[str, Any] = {"direction": "incoming", "from_": THEIRS, "to": OURS}
NOBODY = AttachRequest(lead=Lead(), agent=None)


def sizes(shell: Shell) -> Mapping[str, int]:
    """Return how much the process remembers of calls."""
    registry = shell.registry
    directory = registry._directory
    return {
        "live": len(directory._live),
        "recorded": len(directory._recorded),
        "owners": len(directory._owners),
        "legs": len(directory._legs),
        "grants": len(registry._tokens._grants),
        "tokens": len(registry._tokens._of_call),
        "strangers": len(registry._strangers._seen),
    }


# --- who is on the line ---------------------------------------------------------------------------


@pytest.mark.parametrize("numbers", [OUTGOING, INCOMING])
@pytest.mark.parametrize("order", [("initiated", "answered"), ("answered", "initiated")])
async def test_what_a_leg_said_before_it_was_attached_is_known(
    numbers: Mapping[str, Any], order: tuple[Any, Any]
):
    async with running(Shell(caller_number=None)) as shell:
        for kind in order:
            # only one of them says the direction
            said = numbers if kind == "initiated" else {**numbers, "direction": None}
            await shell.tell(kind, call_leg_id="leg-1", call_session_id="session-1", **said)
        await shell.registry.attach(PROSPECT, NOBODY)
        opened, log = shell.call().call.log.opened, shell.call().call.log
        assert (opened.lead.phone, opened.our_number) == (THEIRS, OURS)
        (leg,) = log.legs.values()
        assert (leg.call_leg_id, leg.call_session_id) == ("leg-1", "session-1")
        assert log.answered_at is not None


@pytest.mark.parametrize("numbers", [OUTGOING, INCOMING])
@pytest.mark.parametrize("lead", [Lead(), Lead(first_name="Ada")])
async def test_what_a_leg_says_after_it_was_attached_completes_the_call(
    numbers: Mapping[str, Any], lead: Lead
):
    async with running(Shell(caller_number=None)) as shell:
        await shell.attach(lead=lead)
        await asyncio.sleep(1)
        assert shell.leads.stored == {}
        await shell.tell("initiated", **numbers)
        await shell.tell("answered", **{**numbers, "direction": None})
        await asyncio.sleep(1)
        call = shell.call()
        assert (call.call.log.lead.phone, call.our_number) == (THEIRS, OURS)
        assert [lead.phone for lead in shell.leads.stored.values()] == [THEIRS]
        assert call.call.log.lead.lead_id == "lead-1"


async def test_who_was_announced_stays_who_he_is():
    async with running() as shell:
        await shell.attach(lead=Lead(lead_id="ours", first_name="Ada"))
        await shell.tell("answered", **OUTGOING)
        await asyncio.sleep(1)
        assert shell.call().call.log.lead == Lead(lead_id="ours", first_name="Ada")


async def test_a_leg_that_hung_up_before_anybody_attached_is_forgotten():
    async with running() as shell:
        await shell.tell("initiated", **OUTGOING)
        await shell.tell("hangup")
        assert sizes(shell)["strangers"] == 0
        await shell.tell("hangup", LegId("v3:never-seen"))
        await shell.registry.attach(PROSPECT, NOBODY)
        assert shell.call().call.log.lead == Lead()


async def test_strangers_are_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("agent_sidecar.live.strangers.MOST", 10)
    async with running() as shell:
        for number in range(30):
            await shell.tell("initiated", LegId(f"v3:{number}"), **OUTGOING)
        assert sizes(shell)["strangers"] == 10
        await shell.tell("other", None)


async def test_a_call_begins_when_its_leg_did_or_as_announced():
    async with running() as shell:
        answered_at = shell.clock.now()
        await shell.tell("answered", **OUTGOING)
        await asyncio.sleep(20)
        assert (await shell.attach()).call.log.opened.at == answered_at
        began_at = shell.clock.now()
        await asyncio.sleep(5)
        call = await shell.attach(CLOSER, started_at=began_at, source="replay", external_id="x")
        assert call.call.log.opened.at == began_at
        (_, opened) = shell.publisher.of_type("call")
        assert (opened["source"], opened["external_id"]) == ("replay", "x")


# --- attaching ------------------------------------------------------------------------------------


async def test_to_attach_twice_is_to_attach_once():
    async with running() as shell:
        first, second = await asyncio.gather(
            shell.registry.attach(PROSPECT, NOBODY), shell.registry.attach(PROSPECT, NOBODY)
        )
        assert first.call_id == second.call_id
        assert len(shell.registry.live_calls()) == 1
        for attached in (second, first):
            assert shell.registry.admit(attached.token, start()) is shell.call().streams.of(
                PROSPECT
            )


async def test_a_leg_that_nobody_announced_is_attached_when_that_is_set():
    async with running(Shell(auto_attach=True)) as shell:
        await shell.tell("initiated", **OUTGOING)
        assert shell.registry.live_calls() == []
        await shell.tell("answered", **OUTGOING)
        await shell.tell("line", text="hello?")
        await asyncio.sleep(1)
        call = shell.call()
        assert call.call.log.lead.phone == THEIRS
        assert shell.control is not None
        assert [c.name for c in shell.control.commands] == ["start_stream", "start_transcription"]
        # told again, it is still one call
        await shell.tell("answered", **OUTGOING)
        await asyncio.sleep(1)
        assert shell.registry.live_calls() == [call]


async def test_a_leg_that_nobody_announced_is_left_alone_otherwise():
    async with running() as shell:
        await shell.tell("answered", **OUTGOING)
        await asyncio.sleep(1)
        assert shell.registry.live_calls() == []


@pytest.mark.parametrize("error", [CommandUncertain("no answer"), ZeroDivisionError()])
async def test_an_attach_of_our_own_that_fails_ends_nothing(error: Exception):
    shell = Shell(auto_attach=True, control=FakeCallControl(fails_with=error))
    async with running(shell):
        await shell.tell("answered", **OUTGOING)
        await asyncio.sleep(2)
        await shell.call().feed(shell.line("hello"))


async def test_a_call_without_any_record_is_unknown():
    async with running() as shell:
        with pytest.raises(CallUnknown, match="v3:nobody"):
            await shell.registry.detach("v3:nobody")
        with pytest.raises(CallUnknown, match="nobody"):
            await shell.registry.post_outcome("nobody", "unknown", None)
        assert shell.registry.find("nobody") is None
        assert await shell.registry.finished("nobody") is None
        assert shell.registry.call_of_hint("nobody:h1") is None


async def test_a_call_is_found_by_its_id_its_legs_and_its_hints():
    async with running() as shell:
        call = await shell.attach()
        transfer = await shell.want_transfer(call)
        await asyncio.sleep(1)
        await shell.tell("initiated", CLOSER, client_state=client_state(transfer))
        for name in (call.call_id, PROSPECT, CLOSER):
            assert shell.registry.find(name) is call
        assert shell.registry.call_of_hint(f"{call.call_id}:h3") is call


async def test_client_states_that_are_not_ours_say_nothing():
    async with running() as shell:
        call = await shell.attach()
        for state in ("", "transfer:", "transfer:x:t1", f"transfer:{call.call_id}:t9", "mine"):
            await shell.tell("answered", CLOSER, client_state=state)
            await shell.tell("hangup", CLOSER, client_state=state)
        assert shell.registry.find(CLOSER) is None


# --- webhooks -------------------------------------------------------------------------------------


async def test_a_webhook_is_acknowledged_when_it_and_its_events_are_on_disk():
    async with running() as shell:
        call = await shell.attach()
        await asyncio.sleep(1)
        shell.journal.commits_after_s = 0.3
        acknowledged = shell.tell("line", text="hello")
        await asyncio.sleep(0.2)
        assert not acknowledged.done()
        await acknowledged
        assert [w.event_type for w in shell.journal.webhooks] == ["call.line"]
        assert any(isinstance(e, ev.LineHeard) for e in shell.journal.events(call.call_id))


async def test_a_webhook_that_cannot_be_kept_is_not_acknowledged():
    async with running() as shell:
        await shell.attach()
        shell.journal.fails_with = JournalFailed("disk full")
        for leg_id in (PROSPECT, LegId("v3:stranger"), None):
            with pytest.raises(JournalFailed):
                await shell.tell("other", leg_id)


async def test_a_machine_that_takes_the_call_is_noted():
    async with running() as shell:
        call = await shell.attach()
        await shell.tell("machine_detected", status="machine")
        await shell.tell("stream_failed", cause="connection_refused")
        await shell.tell("hangup")
        await call.recorded.wait()
        assert (await shell.record(call.call_id)).outcome.final_status == "no_answer"


async def test_a_call_that_was_attached_before_it_rang_and_rang_out_was_not_answered():
    async with running() as shell:
        call = await shell.attach()
        # the network is slower than whoever dialled
        await shell.tell("initiated")
        await shell.tell("hangup", cause="timeout")
        await call.recorded.wait()
        record = await shell.record(call.call_id)
        assert (record.outcome.final_status, record.answered_at) == ("no_answer", None)


# --- outcomes -------------------------------------------------------------------------------------


async def test_an_outcome_may_be_said_while_the_call_is_up():
    async with running() as shell:
        call = await shell.attach()
        shown = await shell.registry.post_outcome(PROSPECT, "follow_up", qualified=True)
        assert shown["state"] == "live"
        await shell.tell("hangup")
        await call.recorded.wait()
        outcome = (await shell.record(call.call_id)).outcome
        assert (outcome.final_status, outcome.qualified, outcome.posted) == (
            "follow_up",
            True,
            True,
        )


async def test_an_outcome_that_is_said_later_is_a_new_version():
    async with running() as shell:
        call = await shell.attach()
        await shell.tell("hangup")
        await call.recorded.wait()
        await asyncio.sleep(LATE_S + 1)
        assert shell.recorded == 1
        shown = await shell.registry.post_outcome(call.call_id, "disqualified", None)
        assert shown["outcome"] == {
            "final_status": "disqualified",
            "outcome": "not_qualified",
            "qualified": False,
        }
        assert await shell.version(call.call_id) == 2
        # the relay is told
        assert shell.recorded == 2
        assert [c["call_id"] for c in await shell.registry.finished_calls(9)] == [call.call_id]


# --- nothing grows --------------------------------------------------------------------------------


async def test_a_thousand_calls_that_came_and_went_leave_nothing():
    async with running() as shell:
        for number in range(1000):
            leg_id, closer = LegId(f"v3:{number}"), LegId(f"v3:{number}:closer")
            await shell.tell("initiated", leg_id, **OUTGOING)
            attached = await shell.registry.attach(leg_id, NOBODY)
            shell.registry.admit(attached.token, start(leg_id))
            shell.registry._teller.bind_closer(closer, shell.call(leg_id))
            shell.tell("hangup", leg_id)
            if number % 100 == 0:
                await asyncio.sleep(0.1)
        assert sizes(shell)["live"] > 0
        await asyncio.sleep(4)
        assert sizes(shell)["live"] == sizes(shell)["grants"] == 0
        assert sizes(shell)["recorded"] == 1000
        await asyncio.sleep(LATE_S)
        assert set(sizes(shell).values()) == {0}
        assert len(await shell.registry.finished_calls(2000)) == 1000
        assert "sidecar_open_calls 0.0" in shell.metrics.render().decode()
        assert not [t for t in asyncio.all_tasks() if t.get_name().startswith("call:")]


async def test_a_stream_of_a_call_that_is_over_is_refused():
    async with running() as shell:
        attached = await shell.registry.attach(PROSPECT, NOBODY)
        call = shell.call()
        await shell.tell("hangup")
        await call.recorded.wait()
        with pytest.raises(TokenInvalid):
            shell.registry.admit(attached.token, start())
