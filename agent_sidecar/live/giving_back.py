"""Gives the prospect back to the agent when the closer has left and the prospect has not.

His leg is parked then, with nobody on it. A human agent's leg is joined with it again if it still
lives; an agent elsewhere and an assistant are on the prospect's own leg all the time. In each case
whoever listens is told, so that the agent speaks and the prospect does not wait.
"""

import structlog

from agent_sidecar.domain.events import CommandDecided
from agent_sidecar.domain.types import LegId
from agent_sidecar.errors import CommandRefused, CommandUncertain, JournalFailed
from agent_sidecar.live.attaching import new_command
from agent_sidecar.live.live_call import LiveCall
from agent_sidecar.live.messages import call_message
from agent_sidecar.ports import CallControl, Publisher

log = structlog.get_logger()


async def give_back(call: LiveCall, control: CallControl, publisher: Publisher) -> None:
    """Let the agent go on; what fails is told."""
    prospect, agent = call.leg_id, call.call.log.leg_of("agent")
    if call.is_ending or prospect is None:
        return
    why = ""
    if call.call.log.opened.agent == "human":
        if agent is None:
            why = "the agent has no leg any more"
        else:
            why = await _join(call, control, prospect, agent.leg_id)
    if why:
        log.warning(
            "prospect_alone",
            call_id=call.call_id,
            error=why,
            what_to_do="join an agent with the prospect's leg, or end the call",
        )
    message = call_message(
        "alone" if why else "with_agent",
        call.call_id,
        prospect,
        at=call.now(),
        reason=why or "the closer left",
    )
    publisher.publish(call.call_id, message)


async def _join(call: LiveCall, control: CallControl, prospect: LegId, agent: LegId) -> str:
    """Return why it failed; empty: it was accepted."""
    command_id = new_command()
    try:
        await call.feed(
            CommandDecided(
                at=call.now(),
                leg_id=prospect,
                command="bridge",
                command_id=command_id,
                reason="the closer left",
            )
        )
        await control.bridge(prospect, to=agent, command_id=command_id)
    except (CommandRefused, CommandUncertain, JournalFailed) as exc:
        return str(exc)
    return ""
