"""`learn suggest`: what would have been suggested in recorded calls, by what is known now."""

import argparse
import asyncio
from collections.abc import Sequence

from rich.progress import track

from agent_sidecar.adapters.recorded_calls import read_recorded_calls
from agent_sidecar.adapters.yaml_playbook import read_playbook
from agent_sidecar.clock import SystemClock
from agent_sidecar.commands.borrowed import borrowed_stores
from agent_sidecar.commands.learn import weights_for
from agent_sidecar.commands.material import embed_texts, open_embedder
from agent_sidecar.commands.terminal import leave_pipe, out_json, screen
from agent_sidecar.commands.verify import deliver
from agent_sidecar.domain.hints import Evidence
from agent_sidecar.domain.language import Reader, texts_to_embed
from agent_sidecar.domain.recall import Recall
from agent_sidecar.domain.types import StrategyName
from agent_sidecar.errors import RecordedCallInvalid
from agent_sidecar.learning.suggest import suggest_call, with_strategies
from agent_sidecar.settings import Settings


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print one JSON line for every segment of an agent."""
    calls = list(read_recorded_calls(arguments.file, limit=arguments.limit))
    if not calls:
        raise RecordedCallInvalid(f"{arguments.file}: holds no call; one JSON object a line")
    playbook = read_playbook(settings.playbook)
    embedder = open_embedder(settings)
    weights = weights_for(settings, arguments.weights, embedder)
    lines = (segment.text for call in calls for segment in call.segments)
    vectors = embed_texts(embedder, [*lines, *texts_to_embed(playbook)])
    reader = Reader(playbook, vectors)
    recall = Recall(reader, asyncio.run(_evidence(settings)))
    fitted = weights.outlook.names if weights.outlook else ()
    known = recall.strategies() | {StrategyName(name) for name in fitted}
    everything = with_strategies(playbook, known)
    try:
        for call in track(calls, "suggesting", console=screen, transient=True):
            for suggestion in suggest_call(
                call,
                vectors,
                reader,
                weights,
                recall=recall.answer,
                playbook=everything,
                top_k=arguments.top_k,
            ):
                out_json(suggestion)
    except BrokenPipeError:
        leave_pipe()
    return 0


async def _evidence(settings: Settings) -> Sequence[Evidence]:
    """Return all evidence of the data folder, once what waits for the graph has arrived there."""
    async with borrowed_stores(settings) as borrowed:
        if not borrowed.service_runs:
            await deliver(borrowed)
        return await borrowed.stores.evidence.everything(SystemClock().now())
