"""A telephone network in virtual time, as strict as Telnyx, under a service that may die.

It carries out a command of one id once within a minute, tells of everything by webhooks that come
late, twice, in any order, are repeated for a minute while nobody acknowledges them, and are then
lost; and it keeps the truth that a record is held against.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal, cast

from agent_sidecar.domain.types import CommandId, LegId
from agent_sidecar.errors import CommandRefused, CommandUncertain, JournalFailed
from agent_sidecar.ports import Dial, DialedLeg, TelephonyEvent, TelephonyKind
from tests.fakes import FakeClock
from tests.flow.shell import PROSPECT

Order = Literal["in order", "shuffled", "twice", "lossy"]
# of a lossy network: so many events are never told at all
LOST = 0.15
# when a delivery is tried, seconds after the event; then it is lost
TRIES_S = (0.0, 1.0, 5.0, 15.0, 30.0, 60.0)
REMEMBERED_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """How one attempt goes; times in seconds."""

    # what he does when it rings, and the cause of its end where he does not answer
    answers: bool = True
    cause: str = "normal_clearing"
    ring_s: float = 4.0
    # None: nobody says who answered
    detected: str | None = "human_residence"
    # None: he presses nothing
    digits: str | None = "1"
    # he hangs up so long after he was asked
    hangs_up_briefed_s: float | None = None
    # how long he talks; None: until the prospect leaves
    talks_s: float | None = 40.0
    # when the prospect hangs up: so long after this
    prospect_leaves: Literal["ringing", "answered", "asked", "bridged", "the end"] = "the end"
    # command -> answers that go wrong, in order; "lost": done, but nobody hears of it
    trouble: Mapping[str, tuple[Literal["refused", "lost", "undone"], ...]] = field(
        default_factory=dict
    )


@dataclass(slots=True, kw_only=True)
class Line:
    """One leg, and what became of it."""

    leg_id: LegId
    state: str = ""
    is_up: bool = True
    is_answered: bool = False
    peer: "Line | None" = None
    gathers: bool = False


class Network:
    """The legs of one prospect's call and of whoever is dialled for it."""

    def __init__(self, script: Script, order: Order, clock: FakeClock, seed: int) -> None:
        self.script = script
        self.prospect = Line(leg_id=PROSPECT, is_answered=True)
        self.closers: list[Line] = []
        # what really happened: (second of the bridge, of its end)
        self.talks: list[list[float]] = []
        self.most_at_once = 0
        # the process that takes webhooks now
        self.deliver: Callable[[TelephonyEvent], Awaitable[None]] | None = None
        self.began_s = now_s()
        self._order = order
        self._clock = clock
        self._chance = random.Random(seed)  # noqa: S311  # no secret
        self._numbers = count(1)
        # (command, leg, id) -> second and result
        self._done: dict[tuple[str, LegId, CommandId], tuple[float, Any]] = {}
        self._trouble = {name: list(what) for name, what in script.trouble.items()}
        self._tasks: set[asyncio.Task[None]] = set()

    # --- what is commanded ----------------------------------------------------------------------

    def dial(self, dial: Dial, command_id: CommandId) -> DialedLeg:
        leg = self._obey("dial", LegId(""), command_id, lambda: self._ring(dial))
        return cast("DialedLeg", leg)

    def gather(self, leg_id: LegId, command_id: CommandId) -> None:
        self._obey("ask_for_digit", leg_id, command_id, lambda: self._ask(self._up(leg_id)))

    def bridge(self, leg_id: LegId, to: LegId, command_id: CommandId) -> None:
        self._obey("bridge", leg_id, command_id, lambda: self._join(self._up(leg_id), self._up(to)))

    def hang_up(self, leg_id: LegId, command_id: CommandId) -> None:
        line = self._line(leg_id)
        self._obey("hang_up", leg_id, command_id, lambda: self.end(line, "originator_cancel"))

    def is_alive(self, leg_id: LegId) -> bool:
        return any(line.is_up for line in self._lines() if line.leg_id == leg_id)

    def live_legs(self) -> Mapping[str, LegId]:
        return {line.state: line.leg_id for line in self.closers if line.is_up}

    def _obey(self, name: str, leg: LegId, command_id: CommandId, do: Callable[[], object]) -> Any:
        wrong = self._trouble.get(name)
        trouble = wrong.pop(0) if wrong else None
        if trouble == "refused":
            raise CommandRefused(f"422 for {name}", code="90034")
        if trouble == "undone":
            raise CommandUncertain(f"503 for {name}")
        key = (name, leg, command_id)
        at_s, result = self._done.get(key, (-REMEMBERED_S, None))
        if now_s() - at_s >= REMEMBERED_S:
            result = do()
            self._done[key] = (now_s(), result)
        if trouble == "lost":
            raise CommandUncertain(f"no answer to {name}")
        return result

    # --- what happens ---------------------------------------------------------------------------

    def _ring(self, dial: Dial) -> DialedLeg:
        if not self.prospect.is_up:
            raise CommandRefused("the linked leg has ended", code="90018")
        line = Line(leg_id=LegId(f"v3:closer-{len(self.closers) + 1}"), state=dial.client_state)
        self.closers.append(line)
        self._tell("initiated", line, to=dial.to)
        self._start(self._play(line, dial.timeout_s))
        if self.script.prospect_leaves == "ringing":
            self._start(self._leave(1.0))
        return DialedLeg(leg_id=line.leg_id, call_leg_id=None, call_session_id=None)

    async def _play(self, line: Line, timeout_s: float) -> None:
        script = self.script
        await asyncio.sleep(script.ring_s if script.answers else min(script.ring_s, timeout_s))
        if not line.is_up:
            return
        if not script.answers:
            self.end(line, script.cause)
            return
        line.is_answered = True
        self._tell("answered", line)
        if script.prospect_leaves == "answered":
            self._start(self._leave(0.5))
        await asyncio.sleep(1.5)
        if line.is_up and script.detected is not None:
            self._tell("machine_detected", line, status=script.detected)

    def _ask(self, line: Line) -> None:
        line.gathers = True
        self._start(self._think(line))
        if self.script.prospect_leaves == "asked":
            self._start(self._leave(2.0))

    async def _think(self, line: Line) -> None:
        script = self.script
        if script.hangs_up_briefed_s is not None:
            await asyncio.sleep(script.hangs_up_briefed_s)
            self.end(line, "normal_clearing")
            return
        await asyncio.sleep(6.0 if script.digits else 25.0)
        if line.is_up and line.gathers:
            line.gathers = False
            status = "valid" if script.digits else "timeout"
            self._tell("gather_ended", line, digits=script.digits or "", status=status)

    def _join(self, prospect: Line, closer: Line) -> None:
        if not closer.is_answered:
            raise CommandRefused("not answered yet", code="90034")
        if prospect.peer is not None:
            raise CommandRefused("bridged already")
        prospect.peer, closer.peer = closer, prospect
        self.talks.append([now_s()])
        self.most_at_once = max(self.most_at_once, sum(x.peer is not None for x in self.closers))
        for line, peer in ((prospect, closer), (closer, prospect)):
            named = peer.leg_id if self._chance.random() < 0.5 else None
            self._tell("bridged", line, peer_leg_id=named)
        if self.script.prospect_leaves == "bridged":
            self._start(self._leave(10.0))
        elif self.script.talks_s is not None:
            self._start(self._walk_off(closer, self.script.talks_s))

    async def _walk_off(self, closer: Line, after_s: float) -> None:
        await asyncio.sleep(after_s)
        self.end(closer, "normal_clearing")

    async def _leave(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        self.prospect_leaves()

    def prospect_leaves(self) -> None:
        """Let him hang up, once."""
        self.end(self.prospect, "normal_clearing")

    def end(self, line: Line, cause: str) -> None:
        """End a leg; who was joined with it is parked."""
        if not line.is_up:
            return
        line.is_up = False
        if line.gathers:
            line.gathers = False
            self._tell("gather_ended", line, digits="", status="call_hangup")
        if line.peer is not None:
            self.talks[-1].append(now_s())
            line.peer.peer = None
            line.peer = None
        self._tell("hangup", line, cause=cause, source="callee")

    # --- what is told ---------------------------------------------------------------------------

    def _tell(self, kind: TelephonyKind, line: Line, **said: Any) -> None:
        event = TelephonyEvent(
            event_id=f"e{next(self._numbers)}",
            event_type=f"call.{kind}",
            kind=kind,
            at=self._clock.now(),
            leg_id=line.leg_id,
            client_state=line.state,
            **said,
        )
        times = 2 if self._order == "twice" else 1
        if self._order == "lossy" and self._chance.random() < LOST:
            times = 0
        for _ in range(times):
            late_s = 3.0 * self._chance.random() if self._order != "in order" else 0.05
            self._start(self._carry(event, late_s))

    async def _carry(self, event: TelephonyEvent, late_s: float) -> None:
        await asyncio.sleep(late_s)
        waited_s = 0.0
        for at_s in TRIES_S:
            await asyncio.sleep(at_s - waited_s)
            waited_s = at_s
            # acknowledged, unless the process dies meanwhile
            with suppress(TimeoutError, asyncio.CancelledError, JournalFailed):
                if self.deliver is not None:
                    async with asyncio.timeout(2.0):
                        await self.deliver(event)
                    return

    # --- within ---------------------------------------------------------------------------------

    def _lines(self) -> list[Line]:
        return [self.prospect, *self.closers]

    def _line(self, leg_id: LegId) -> Line:
        return next(line for line in self._lines() if line.leg_id == leg_id)

    def _up(self, leg_id: LegId) -> Line:
        line = self._line(leg_id)
        if not line.is_up:
            raise CommandRefused(f"the call {leg_id} is no longer active", code="90018")
        return line

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def now_s() -> float:
    """Return the loop's time."""
    return asyncio.get_running_loop().time()
