"""`demo`: everything started locally, one sample call from Telnyx frames to four stores."""

import argparse
import asyncio
from collections.abc import Mapping

from agent_sidecar.adapters.recorded_calls import read_recorded_calls
from agent_sidecar.commands.demo_view import DemoView
from agent_sidecar.commands.running import RunningService, started_service
from agent_sidecar.settings import Settings
from agent_sidecar.simulator.closer import CloserScript
from agent_sidecar.simulator.control import ControlStub
from agent_sidecar.simulator.front_door import FrontDoor
from agent_sidecar.simulator.legs import CONNECTION_ID
from agent_sidecar.simulator.player import PlayRules
from agent_sidecar.simulator.replay import ReplayRules, replay
from agent_sidecar.simulator.sample import CALL, HISTORY
from agent_sidecar.simulator.signing import WebhookSigner

# the demo is the same everywhere: the embedded stack, whatever servers the user has set
_OUR_OWN = (
    "POSTGRES_URL MONGODB_URL NEO4J_URL NEO4J_PASSWORD CHROMA_URL REDIS_URL PUBLIC_URL"
    " FORWARD_URL API_TOKEN PLAYBOOK HOST AUTO_ATTACH AGENT"
).split()
# reserved for fiction
_KEVIN, _OURS = "+15555550199", "+15555550100"

# he takes his time, so that the agent has finished speaking when he is connected
KEVIN = CloserScript(ring_s=6.0, press_s=4.0, talk_s=5.0)


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Play the sample call; 0 when it arrived in every store."""
    demo = settings.model_copy(
        update={"data_dir": settings.data_dir / "demo", "models_dir": settings.models}
    )
    return asyncio.run(_demo(demo, speed=arguments.speed, keep=arguments.keep))


async def _demo(settings: Settings, *, speed: float, keep: bool) -> int:
    view = DemoView(speed)
    signer = WebhookSigner.generate()
    log_file = settings.data_dir / "logs" / "service.log"
    async with ControlStub() as stub:
        view.starting()
        environment = _environment(settings, stub.url, signer.public_key)
        async with (
            started_service(settings, environment, log_file=log_file) as service,
            FrontDoor(service.url) as door,
        ):
            view.started(service.url, await door.stores())
            await _learn_history(door, view)
            done = await _play(door, stub, signer, view, speed)
            view.where_to_look(service.url, settings.data_dir, keep=keep)
            if keep:
                await _wait_for_end(view, service)
        view.stopped()
    return 0 if done else 1


def _environment(settings: Settings, stub_url: str, public_key: str) -> Mapping[str, str | None]:
    return {
        **{f"SIDECAR_{name}": None for name in _OUR_OWN},
        "SIDECAR_DATA_DIR": str(settings.data_dir),
        "SIDECAR_MODELS_DIR": str(settings.models),
        "SIDECAR_PORT": "0",
        "SIDECAR_TELNYX_API_KEY": "demo",
        "SIDECAR_TELNYX_API_BASE": stub_url,
        "SIDECAR_TELNYX_CONNECTION_ID": CONNECTION_ID,
        "SIDECAR_TELNYX_PUBLIC_KEY": public_key,
        "SIDECAR_CLOSER_NUMBER": _KEVIN,
        "SIDECAR_CALLER_NUMBER": _OURS,
    }


async def _learn_history(door: FrontDoor, view: DemoView) -> None:
    """Import the earlier calls, so that hints have evidence to stand on."""
    calls = list(read_recorded_calls(HISTORY))
    new = sum([await door.take_in(call) for call in calls])
    view.learnt(len(calls), new)


async def _play(
    door: FrontDoor, stub: ControlStub, signer: WebhookSigner, view: DemoView, speed: float
) -> bool:
    rules = ReplayRules(
        play=PlayRules(speed=speed, mode="telnyx", source="demo", closer=KEVIN),
        signer=signer,
        control=stub,
    )
    report = await replay(read_recorded_calls(CALL), door, rules, on_progress=view.tell)
    view.report(report)
    return report.clean and all(call.complete for call in report.calls)


async def _wait_for_end(view: DemoView, service: RunningService) -> None:
    view.kept(service.url)
    await asyncio.Event().wait()
