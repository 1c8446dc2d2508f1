"""Takes up the calls that a crash or a stop left open: goes on with those that still live."""

import asyncio

import structlog

from agent_sidecar.errors import CallEnded, CallUnknown
from agent_sidecar.live.attaching import Attacher
from agent_sidecar.live.live_call import LiveCall
from agent_sidecar.live.registry import Registry
from agent_sidecar.live.requests import AttachRequest
from agent_sidecar.live.telling import alone
from agent_sidecar.ports import Journal, OpenCall
from agent_sidecar.wrapup.recovery import judge

log = structlog.get_logger()


async def resume_calls(
    journal: Journal,
    registry: Registry,
    attacher: Attacher,
    resume_s: float,
    tasks: asyncio.TaskGroup,
) -> None:
    """Rebuild every open call now; what becomes of it is found out in the background."""
    for open_call in await journal.open_calls():
        try:
            call = registry.restore(open_call)
        except Exception:  # one call must not keep the service from starting
            log.exception(
                "call_not_taken_up",
                call_id=open_call.call_id,
                what_to_do="report this; its events stay in the journal",
            )
            continue
        if call is None:
            # its events stay in the journal: nothing that was acknowledged is thrown away
            continue
        log.info("call_taken_up", call_id=call.call_id, events=len(open_call.events))
        work = alone(_resume(call, open_call, registry, attacher, resume_s))
        tasks.create_task(work, name=f"resume:{call.call_id}")


async def _resume(
    call: LiveCall,
    open_call: OpenCall,
    registry: Registry,
    attacher: Attacher,
    resume_s: float,
) -> None:
    match await judge(open_call, attacher.control):
        case "resume":
            call.take_up_transfers()
            await _attach_again(call, registry)
        case "finish":
            call.take_up_transfers("it had ended before the restart")
            call.wrap_up("it had ended before the restart")
        case "close" | "discard":
            call.lose_prospect("it ended while the sidecar was down")
            call.take_up_transfers("it ended while the sidecar was down")
        case "wait":
            call.take_up_transfers("nobody could say after the restart who is still there")
            await _wait_for_life(call, resume_s)


async def _attach_again(call: LiveCall, registry: Registry) -> None:
    opened, leg_id = call.call.log.opened, call.leg_id
    if leg_id is not None:
        again = AttachRequest(lead=call.call.log.lead, agent=opened.agent, source=opened.source)
        try:
            attached = await registry.attach(leg_id, again)
        except (CallEnded, CallUnknown) as exc:
            # attaching has closed it
            log.info("call_gone_before_attach", call_id=call.call_id, error=str(exc))
            return
        log.info("call_attached_again", call_id=call.call_id, problems=attached.problems)


async def _wait_for_life(call: LiveCall, resume_s: float) -> None:
    """Wait for webhooks or audio: nobody can be asked whether the call goes on."""
    restored_at = call.touched_at
    await asyncio.sleep(resume_s)
    if call.touched_at == restored_at and not call.is_ending:
        call.wrap_up(f"no sign of it for {resume_s:.0f} s after the restart", interrupted=True)
