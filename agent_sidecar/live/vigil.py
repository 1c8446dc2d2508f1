"""Finds calls whose end was never told: a lost hangup must not leave a call open for ever.

A call that nothing was heard of for a while is asked after, less and less often while the answer is
that it lives. One that is gone is closed, marked interrupted. Where nobody can be asked it is given
up when it has been silent for longer than any call may last.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog

from agent_sidecar.domain.types import CallId, LegId
from agent_sidecar.errors import CommandRefused, CommandUncertain
from agent_sidecar.live.live_call import LiveCall
from agent_sidecar.live.telling import alone
from agent_sidecar.ports import CallControl, Clock

log = structlog.get_logger()

LOOK_S = 15.0
# the longest pause between two questions about one call
LONGEST_PAUSE = timedelta(minutes=10)
# questions at one look, so that many silent calls do not become a flood
MOST_AT_ONCE = 20
# Telnyx ends a call after four hours
LONGEST_CALL = timedelta(hours=4, minutes=10)


class Vigil:
    """Watches over the calls of this process; `run` it."""

    def __init__(
        self,
        calls: Callable[[], Sequence[LiveCall]],
        control: CallControl | None,
        clock: Clock,
        quiet_s: float,
    ) -> None:
        """`quiet_s`: how long nothing must have been heard of a call before it is asked after."""
        self._calls = calls
        self._control = control
        self._clock = clock
        self._quiet = timedelta(seconds=quiet_s)
        # the newest sign of life that a call was asked after for, the next time, and the pause
        self._asked: dict[CallId, tuple[datetime, datetime, timedelta]] = {}

    async def run(self) -> None:
        """Look now and then."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Ask after the calls that have been silent for too long."""
        calls = [call for call in self._calls() if not call.is_ending]
        live = {call.call_id for call in calls}
        self._asked = {call_id: asked for call_id, asked in self._asked.items() if call_id in live}
        for call in [call for call in calls if self._is_due(call)][:MOST_AT_ONCE]:
            await alone(self._ask_after(call))

    def _is_due(self, call: LiveCall) -> bool:
        # a call that is only played is as long as its file
        if call.call.log.opened.source != "live":
            return False
        now, touched_at = self._clock.now(), call.touched_at
        known_at, next_at, _ = self._asked.get(call.call_id, (None, now, self._quiet))
        return now - touched_at >= self._quiet and (known_at != touched_at or now >= next_at)

    async def _ask_after(self, call: LiveCall) -> None:
        touched_at = call.touched_at
        known_at, _, pause = self._asked.get(call.call_id, (None, touched_at, self._quiet))
        pause = min(2 * pause, LONGEST_PAUSE) if known_at == touched_at else self._quiet
        self._asked[call.call_id] = (touched_at, self._clock.now() + pause, pause)
        alive = await self._is_alive(call, call.leg_id)
        if call.touched_at != touched_at or call.is_ending:
            return
        if alive is False:
            log.warning("hangup_was_lost", call_id=call.call_id)
            call.lose_prospect("its hangup was never told")
        elif alive is None and self._clock.now() - touched_at >= LONGEST_CALL:
            log.warning("call_given_up", call_id=call.call_id)
            call.wrap_up("nothing was heard of it for hours", interrupted=True)

    async def _is_alive(self, call: LiveCall, leg_id: LegId | None) -> bool | None:
        """Return None when nobody knows."""
        if self._control is None or leg_id is None or call.call.log.opened.passive:
            return None
        try:
            return await self._control.is_alive(leg_id)
        except (CommandRefused, CommandUncertain) as exc:
            log.info("silent_call_uncertain", call_id=call.call_id, error=str(exc))
            return None
