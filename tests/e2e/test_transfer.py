"""A hot transfer through kill -9 and trouble with Telnyx: finished, and no phone rings twice."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agent_sidecar.domain.recorded import RecordedCall, SpokenSegment
from agent_sidecar.domain.types import Lead
from agent_sidecar.simulator.closer import CloserScript
from agent_sidecar.simulator.control import ControlStub, Trouble
from agent_sidecar.simulator.front_door import FrontDoor
from agent_sidecar.simulator.player import CallPlayer, PlayRules
from agent_sidecar.simulator.signing import WebhookSigner
from tests.e2e.conftest import LATE_LINES_S, control_settings, free_port
from tests.e2e.front_door import Api, eventually
from tests.e2e.sidecar import Sidecar

pytestmark = pytest.mark.e2e

KEVIN = "+12025550123"
# the service is away for some seconds of it
LENGTH_S = 25.0
CALL = RecordedCall(
    call_id="interrupted",
    segments=(
        SpokenSegment(speaker="agent", text="Let me get Kevin on the line.", start_s=0.5, end_s=3),
        SpokenSegment(speaker="prospect", text="Great, I would like that.", start_s=3.5, end_s=5),
        SpokenSegment(
            speaker="prospect", text="Good bye then.", start_s=LENGTH_S - 2.0, end_s=LENGTH_S
        ),
    ),
    lead=Lead(phone="+12025550178"),
)
CLOSER = CloserScript(ring_s=1.0, detect_s=0.5, press_s=1.0, talk_s=2.0, patience_s=40.0)


async def test_a_transfer_goes_on_where_the_service_was_killed(folder: Path, models: Path):
    signer, control_port, port = WebhookSigner.generate(), free_port(), str(free_port())
    settings = {**control_settings(control_port, signer), "CLOSER_NUMBER": KEVIN, "PORT": port}
    rules = PlayRules(speed=1, mode="telnyx", source="live", closer=CLOSER)
    with Sidecar(folder, models, LATE_LINES_S=LATE_LINES_S, **settings) as sidecar:
        url = sidecar.start()
        async with ControlStub(port=control_port) as stub, FrontDoor(url) as door, Api(url) as api:
            player = CallPlayer(CALL, door, signer, rules, control=stub)
            playing = asyncio.create_task(player.play())

            async def is_talking() -> Any:
                call_id = player.played.call_id
                return call_id and len(await api.texts(call_id)) >= 2

            async def is_commanded() -> bool:
                return any(command.action == "dial" for command in stub.commands)

            await eventually(is_talking)
            await api.post(f"/v1/calls/{player.played.call_id}/transfer", {"by": "e2e"})
            await eventually(is_commanded)
            sidecar.kill()
            await asyncio.to_thread(sidecar.start)
            played = await playing
            assert played.call_id is not None
            view = await api.delivered(played.call_id)
            (transfer,) = view["transfers"]
            assert transfer["outcome"] == "bridged"
            assert transfer["duration_s"] > 0
            assert not view["interrupted"]
            assert [c.action for c in stub.commands].count("dial") == 1
            [closer] = (await api.get("/v1/availability"))["closers"]
            # he has talked: nobody has him, or he wraps up
            assert closer["state"] in ("free", "wrapping_up")
            assert await api.is_clean()
        assert sidecar.stop() == 0


async def test_a_transfer_comes_about_through_answers_that_are_late_wrong_or_missing(
    folder: Path, models: Path
):
    signer, control_port = WebhookSigner.generate(), free_port()
    settings = {**control_settings(control_port, signer), "CLOSER_NUMBER": KEVIN}
    rules = PlayRules(speed=1, mode="telnyx", source="live", closer=CLOSER)
    trouble: dict[str, tuple[Trouble, ...]] = {
        "dial": ("silent",),
        "gather_using_speak": ("throttled",),
        "bridge": ("race", "done"),
    }
    with Sidecar(folder, models, LATE_LINES_S=LATE_LINES_S, **settings) as sidecar:
        url = sidecar.start()
        async with (
            ControlStub(port=control_port, trouble=trouble) as stub,
            FrontDoor(url) as door,
            Api(url) as api,
        ):
            player = CallPlayer(CALL, door, signer, rules, control=stub)
            playing = asyncio.create_task(player.play())

            async def is_known() -> Any:
                return player.played.call_id

            call_id = await eventually(is_known)
            await api.post(f"/v1/calls/{call_id}/transfer", {"by": "e2e"})
            await playing
            view = await api.delivered(call_id)
            (transfer,) = view["transfers"]
            assert transfer["outcome"] == "bridged"
            actions = [command.action for command in stub.commands]
            assert (actions.count("dial"), actions.count("bridge")) == (1, 1)
        assert sidecar.stop() == 0
