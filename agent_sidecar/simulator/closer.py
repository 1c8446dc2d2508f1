"""What the human at the other end of a dialled leg does; all times in conversation seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from agent_sidecar.simulator import webhooks
from agent_sidecar.simulator.legs import SimulatedLeg
from agent_sidecar.simulator.telephone import SimulatedCall
from agent_sidecar.simulator.transcript import HeardLine

Behaviour = Literal[
    "accepts",
    "declines",
    # to the briefing
    "presses_nothing",
    "hangs_up",
    "voicemail",
    "no_answer",
    "busy",
    "rejects",
    "invalid_number",
]

# behaviours of a phone that is never taken: how it ends, and when
_NEVER_TAKEN: Mapping[Behaviour, tuple[str, float]] = {
    "busy": ("user_busy", 0.5),
    "rejects": ("call_rejected", 1.5),
    "invalid_number": ("not_found", 0.2),
}
_VOICEMAIL_RINGS = 4
_DEFAULT_RING_LIMIT_S = 30
_DIGITS: Mapping[Behaviour, str] = {"accepts": "1", "declines": "2"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CloserScript:
    behaviour: Behaviour = "accepts"
    ring_s: float = 3.0
    # how long machine detection takes
    detect_s: float = 1.5
    # from the question to the digit
    press_s: float = 2.5
    # how long he talks after the recording's end or the bridge, whichever is later
    talk_s: float = 8.0
    # what he says to the prospect, a line a second from the bridge on
    lines: tuple[str, ...] = ()
    # None: he stays until the recording is over; else the prospect is the agent's again after it
    leaves_after_s: float | None = None
    # how long he waits for anything before he hangs up
    patience_s: float = 30.0


async def play_closer(
    call: SimulatedCall, leg: SimulatedLeg, dialled: Mapping[str, Any], script: CloserScript
) -> None:
    """Play his side of one dialled leg to its hangup, whoever hangs up."""
    call.ring(leg)
    match script.behaviour:
        case "busy" | "rejects" | "invalid_number":
            cause, after_s = _NEVER_TAKEN[script.behaviour]
            await _leave_after(call, leg, after_s, cause=cause)
        case "no_answer":
            # Telnyx's own words for the two ways of giving up
            cause = "timeout" if dialled.get("retry_on_timeout", True) else "no_answer"
            limit_s = dialled.get("timeout_secs", _DEFAULT_RING_LIMIT_S)
            await _leave_after(call, leg, limit_s, cause=cause)
        case "voicemail":
            if await _answers(call, leg, script.ring_s * _VOICEMAIL_RINGS, dialled):
                await _let_record(call, leg, dialled, script)
        case _:
            if await _answers(call, leg, script.ring_s, dialled):
                await _listen(call, leg, dialled, script)


async def _answers(
    call: SimulatedCall, leg: SimulatedLeg, ring_s: float, dialled: Mapping[str, Any]
) -> bool:
    if await _gone(call, leg, ring_s):
        return False
    call.answer(leg)
    if dialled.get("bridge_on_answer") and call.prospect.alive:
        call.bridge(call.prospect, {"call_control_id": leg.leg_id})
    return True


async def _let_record(
    call: SimulatedCall, leg: SimulatedLeg, dialled: Mapping[str, Any], script: CloserScript
) -> None:
    if not await _detect(call, leg, dialled, script, is_machine=True):
        return
    call.tell(webhooks.call_machine_greeting_ended(leg, call.clock.now()))
    await _leave_after(call, leg, script.patience_s, cause="normal_clearing")


async def _listen(
    call: SimulatedCall, leg: SimulatedLeg, dialled: Mapping[str, Any], script: CloserScript
) -> None:
    if not await _detect(call, leg, dialled, script, is_machine=False):
        return
    asked = await call.until(
        lambda: leg.leg_id in call.gathers or leg.bridged_to is not None or not leg.alive,
        within_s=script.patience_s,
    )
    if asked and leg.leg_id in call.gathers and not await _gone(call, leg, script.press_s):
        if script.behaviour == "hangs_up":
            call.hang_up(leg, cause="normal_clearing", source="callee")
            return
        pressed = call.gathers.get(leg.leg_id)
        if script.behaviour in _DIGITS and pressed is not None and not pressed.done():
            pressed.set_result(_DIGITS[script.behaviour])
    await _talk(call, leg, script)


async def _talk(call: SimulatedCall, leg: SimulatedLeg, script: CloserScript) -> None:
    bridged = await call.until(
        lambda: leg.bridged_to is not None or not leg.alive, within_s=script.patience_s
    )
    if bridged:
        for text in script.lines:
            if await _gone(call, leg, 1.0):
                return
            call.say(
                HeardLine(
                    at_s=call.clock.now_s(),
                    segment=-1,
                    track="outbound",
                    text=text,
                    is_final=True,
                    confidence=0.95,
                )
            )
    if bridged and script.leaves_after_s is not None:
        await _leave_after(call, leg, script.leaves_after_s, cause="normal_clearing")
        return
    left_s = max(call.recording_s - call.clock.now_s(), 0.0) if bridged else 0.0
    await _leave_after(call, leg, left_s + script.talk_s * bridged, cause="normal_clearing")


async def _detect(
    call: SimulatedCall,
    leg: SimulatedLeg,
    dialled: Mapping[str, Any],
    script: CloserScript,
    *,
    is_machine: bool,
) -> bool:
    """Tell who answered where the dial asked for it; False: the leg is gone."""
    mode = dialled.get("answering_machine_detection", "disabled")
    if mode == "disabled":
        return leg.alive
    if await _gone(call, leg, script.detect_s):
        return False
    premium = mode.startswith("premium")
    call.tell(
        webhooks.call_machine_detected(
            leg, call.clock.now(), is_machine=is_machine, premium=premium
        )
    )
    return True


async def _leave_after(
    call: SimulatedCall, leg: SimulatedLeg, length_s: float, *, cause: str
) -> None:
    if not await _gone(call, leg, length_s):
        call.hang_up(leg, cause=cause, source="callee")


async def _gone(call: SimulatedCall, leg: SimulatedLeg, within_s: float) -> bool:
    return await call.until(lambda: not leg.alive, within_s=within_s)
