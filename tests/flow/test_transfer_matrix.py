"""Every branch of a hot transfer, in any order of webhooks, with a crash at any of its steps.

Whatever happens, in the end nobody's leg is up, the closer is free, he was with one prospect at a
time, his phone rang once, nobody hung up on the prospect, and the record says what was.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from random import Random
from typing import Any, Literal

import pytest

from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.types import CallId, CommandId, LegId
from agent_sidecar.live.guard import GuardParts, TransferGuard
from agent_sidecar.live.vigil import Vigil
from agent_sidecar.ports import Dial, DialedLeg, TelephonyEvent
from agent_sidecar.resume import resume_calls
from tests.fakes import FakeCallControl, FakeClock, FakeClosers, FakePublisher
from tests.flow.network import Network, Order, Script, now_s
from tests.flow.shell import KEVIN, Shell, running

BRANCHES: Mapping[str, tuple[Script, str]] = {
    "accepts": (Script(), "bridged"),
    "accepts and stays": (Script(talks_s=None), "bridged"),
    "not sure who answered": (Script(detected="not_sure"), "bridged"),
    "nobody says who answered": (Script(detected=None), "bridged"),
    "declines": (Script(digits="2"), "declined"),
    "presses nothing": (Script(digits=None), "declined"),
    "voicemail": (Script(detected="machine"), "voicemail"),
    "fax": (Script(detected="fax_detected"), "voicemail"),
    "no answer": (Script(answers=False, ring_s=99.0, cause="timeout"), "no_answer"),
    "busy": (Script(answers=False, ring_s=0.5, cause="user_busy"), "busy"),
    "rejects": (Script(answers=False, cause="call_rejected"), "declined"),
    "invalid number": (Script(answers=False, ring_s=0.1, cause="not_found"), "invalid_number"),
    "hangs up when asked": (Script(hangs_up_briefed_s=3.0), "closer_hung_up"),
    "prospect leaves while it rings": (Script(prospect_leaves="ringing"), "prospect_hung_up"),
    "prospect leaves when he answers": (Script(prospect_leaves="answered"), "prospect_hung_up"),
    "prospect leaves meanwhile": (Script(prospect_leaves="asked"), "prospect_hung_up"),
    "prospect leaves after the bridge": (Script(prospect_leaves="bridged"), "bridged"),
    "bridge lost a race": (Script(trouble={"bridge": ("refused",)}), "bridged"),
    "bridge refused": (Script(trouble={"bridge": ("refused",) * 3}), "failed"),
    "dial refused": (Script(trouble={"dial": ("refused",)}), "failed"),
    "dial's answer lost": (Script(trouble={"dial": ("lost",)}), "bridged"),
    "dial not carried out": (Script(trouble={"dial": ("undone",)}), "failed"),
    "briefing's answer lost": (Script(trouble={"ask_for_digit": ("lost",)}), "bridged"),
    "briefing not carried out": (Script(trouble={"ask_for_digit": ("undone",)}), "declined"),
    "bridge's answer lost": (Script(trouble={"bridge": ("lost",)}), "bridged"),
    "bridge not carried out": (Script(trouble={"bridge": ("undone",)}), "failed"),
    "hangup's answer lost": (Script(digits="2", trouble={"hang_up": ("lost",)}), "declined"),
    "hangup not carried out": (Script(digits="2", trouble={"hang_up": ("undone",)}), "declined"),
}  # fmt: skip
ORDERS: tuple[Order, ...] = ("in order", "shuffled", "twice", "lossy")
COMMANDS = ("dial", "ask_for_digit", "bridge", "hang_up")
STEPS = ("leased", "dialing", "ringing", "answered", "detected", "briefing", "accepted", "bridging",
         "bridged", "ended")  # fmt: skip
# beyond it webhooks of the meantime are lost
A_MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Crash:
    """When the process dies: before or after a command, or as a step is told."""

    when: Literal["before", "after", "told"]
    what: str


CRASHES = (
    None,
    *(Crash("before", name) for name in COMMANDS),
    *(Crash("after", name) for name in COMMANDS),
    *(Crash("told", step) for step in STEPS),
)


@dataclass
class Life:
    """One process, as long as it lives."""

    crash: Crash | None
    shell: Shell = field(init=False)
    died: asyncio.Event = field(default_factory=asyncio.Event)

    async def reach(self, when: str, what: str) -> None:
        """Die here, if it is here; who has died does nothing any more."""
        if self.crash is not None and (self.crash.when, self.crash.what) == (when, what):
            self.die()
        if self.died.is_set():
            await asyncio.Future()

    def die(self) -> None:
        if not self.died.is_set():
            self.died.set()
            self.shell.journal.crash()


class Wire(FakeCallControl):
    """Commands of one process on their way to the network."""

    def __init__(self, network: Network, life: Life) -> None:
        super().__init__()
        self._network = network
        self._life = life

    async def dial(self, dial: Dial, *, command_id: CommandId) -> DialedLeg:
        leg: DialedLeg = await self._send("dial", lambda: self._network.dial(dial, command_id))
        return leg

    async def ask_for_digit(
        self, leg_id: LegId, *, text: str, digits: str, command_id: CommandId
    ) -> None:
        await self._send("ask_for_digit", lambda: self._network.gather(leg_id, command_id))

    async def bridge(self, leg_id: LegId, *, to: LegId, command_id: CommandId) -> None:
        await self._send("bridge", lambda: self._network.bridge(leg_id, to, command_id))

    async def hang_up(self, leg_id: LegId, *, command_id: CommandId) -> None:
        await self._send("hang_up", lambda: self._network.hang_up(leg_id, command_id))

    async def is_alive(self, leg_id: LegId) -> bool:
        return bool(await self._send("is_alive", lambda: self._network.is_alive(leg_id)))

    async def live_legs(self) -> Mapping[str, LegId]:
        found: Mapping[str, LegId] = await self._send("live_legs", self._network.live_legs)
        return found

    async def start_stream(
        self, leg_id: LegId, *, url: str, token: str, command_id: CommandId
    ) -> None:
        await self._life.reach("before", "start_stream")

    async def start_transcription(self, leg_id: LegId, *, command_id: CommandId) -> None:
        await self._life.reach("before", "start_transcription")

    async def _send(self, name: str, do: Callable[[], Any]) -> Any:  # type: ignore[override]
        await self._life.reach("before", name)
        await asyncio.sleep(0.05)
        try:
            return do()
        finally:
            await asyncio.sleep(0.05)
            await self._life.reach("after", name)


class SharedClosers(FakeClosers):
    """The leases as one process asks for them; they outlive it."""

    def __init__(self, life: Life, leases: dict[str, Any]) -> None:
        super().__init__([KEVIN])
        self.leases = leases
        self._life = life

    async def strike(self) -> None:
        await self._life.reach("before", "lease")
        await asyncio.sleep(0.01)


class Listener(FakePublisher):
    """Hears what is told, and ends the process at a step."""

    def __init__(self, life: Life) -> None:
        super().__init__()
        self._life = life

    def publish(self, call_id: CallId, message: Mapping[str, object]) -> None:
        super().publish(call_id, message)
        if self._life.crash == Crash("told", str(message.get("step"))):
            self._life.die()


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What came of it."""

    network: Network
    leases: Mapping[str, object]
    record: CallRecord
    # how long no process was there in all
    away_s: float


async def play(script: Script, order: Order, crash: Crash | None, seed: int) -> Told:
    """Play one attempt to its end, through a crash or two and a restart after each."""
    clock, chance = FakeClock(), Random(seed)  # noqa: S311  # no secret
    network = Network(script, order, clock, seed)
    leases: dict[str, Any] = {}
    crashes = [crash, chance.choice(CRASHES) if crash and chance.random() < 0.3 else None, None]
    shell, call_id, away_s = Shell(clock=clock), None, 0.0
    for crash_now in crashes:
        life = _life(crash_now, network, leases, shell)
        async with running(shell):
            network.deliver = _takes(shell)
            guard = TransferGuard(_guard_parts(shell))
            vigil = Vigil(shell.registry.live_calls, shell.control, clock, quiet_s=60.0)
            shell.tasks.create_task(vigil.run())
            if call_id is None:
                call = await shell.attach()
                call_id = call.call_id
                await shell.want_transfer(call)
            else:
                await resume_calls(shell.journal, shell.registry, shell.attacher, 60.0, shell.tasks)
            shell.tasks.create_task(guard.run())
            died = await _live(life, network)
            network.deliver = None
            if not died:
                record = await shell.record(call_id)
                return Told(network=network, leases=leases, record=record, away_s=away_s)
        pause_s = chance.choice((0.5, 3.0, 20.0, 55.0, 150.0))
        away_s += pause_s
        await asyncio.sleep(pause_s)
        after = Shell(clock=clock)
        after.journal = shell.journal.crash()
        shell = after
    raise AssertionError("the last life does not crash")


def _guard_parts(shell: Shell) -> GuardParts:
    assert shell.control is not None
    return GuardParts(
        control=shell.control,
        closers=shell.closers,
        roster=(KEVIN.name,),
        journal=shell.journal,
        is_known=shell.registry.knows,
    )


def _life(crash: Crash | None, network: Network, leases: dict[str, Any], shell: Shell) -> Life:
    life = Life(crash)
    life.shell = shell
    shell.control = Wire(network, life)
    shell.closers = SharedClosers(life, leases)
    shell.publisher = Listener(life)
    shell.journal.commits_after_s = 0.01
    return life


def _takes(shell: Shell) -> Callable[[TelephonyEvent], Awaitable[None]]:
    """Return how a process takes a webhook, as its front door does."""

    async def take(event: TelephonyEvent) -> None:
        kept = shell.registry.already(event.event_id)
        await (kept if kept is not None else shell.pass_on(event))

    return take


async def _live(life: Life, network: Network) -> bool:
    """Return whether the process died; it lives until the prospect is gone for long."""
    over = asyncio.create_task(_to_the_end(network))
    died = asyncio.create_task(life.died.wait())
    await asyncio.wait({over, died}, return_when=asyncio.FIRST_COMPLETED)
    for task in (over, died):
        task.cancel()
    await asyncio.gather(over, died, return_exceptions=True)
    return life.died.is_set()


async def _to_the_end(network: Network) -> None:
    # every attempt has its end by then; the prospect hangs up at the latest now
    await asyncio.sleep(max(0.0, network.began_s + 300.0 - now_s()))
    network.prospect_leaves()
    # a silent call is asked after every ten minutes in the end: that he left may be news until then
    await asyncio.sleep(1500.0)


def check(told: Told, expected: str | None) -> None:
    """Raise where something is left, or the record is not true.

    `expected` is the outcome where nothing is lost; None: nobody can know all that happened.
    """
    network, record = told.network, told.record
    assert not [line for line in network.closers if line.is_up], "a leg is left up"
    assert told.leases == {}, "he is not free"
    assert network.most_at_once <= 1
    assert len(network.closers) <= 1, "his phone rang twice"
    [attempt] = record.transfers
    assert attempt.reason
    talked = bool(network.talks)
    if expected is None:
        # what was claimed has been proven
        assert talked or attempt.outcome != "bridged"
        return
    if not told.away_s:
        assert attempt.outcome == expected
        assert talked == (expected == "bridged")
    else:
        # what was told while nobody listened is lost after a minute
        lost = talked and told.away_s > A_MINUTE_S and attempt.outcome == "unknown"
        assert lost or (attempt.outcome == "bridged") == talked, (attempt.outcome, attempt.reason)
    assert record.transfer_successful == (attempt.outcome == "bridged")
    if attempt.outcome == "bridged":
        [[began_s, ended_s]] = network.talks
        # seconds with the closer; a hangup that nobody told is found out within a minute
        slack_s = 5.0 if not told.away_s else told.away_s + 70.0
        assert attempt.duration_s == pytest.approx(ended_s - began_s, abs=slack_s)


@pytest.mark.parametrize("branch", BRANCHES)
async def test_every_branch_in_every_order_through_every_crash(branch: str):
    script, expected = BRANCHES[branch]
    for seed, (order, crash) in enumerate(product(ORDERS, CRASHES)):
        told = await play(script, order, crash, seed)
        try:
            check(told, None if order == "lossy" else expected)
        except AssertionError as exc:
            raise AssertionError(f"{branch}, {order}, {crash}, seed {seed}: {exc}") from exc
