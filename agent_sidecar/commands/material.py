"""What learning works on: the lines of recorded calls with their vectors."""

import asyncio
from collections.abc import Iterable, Mapping

from rich.progress import Progress

from agent_sidecar.adapters.model_prepare import ensure_model
from agent_sidecar.adapters.onnx_embedder import OnnxEmbedder
from agent_sidecar.commands.terminal import screen
from agent_sidecar.domain.recorded import RecordedCall
from agent_sidecar.domain.types import Vector
from agent_sidecar.learning.labelled import LabelledCall, LabelledLine
from agent_sidecar.settings import Settings

# so many texts are embedded between two steps of the progress bar
STEP = 256


def open_embedder(settings: Settings) -> OnnxEmbedder:
    """Open the model that the settings name, preparing the default one if it is missing."""
    with screen.status("opening the embedding model"):
        return OnnxEmbedder.open(ensure_model(settings.models, settings.model, screen.print))


def embed_texts(embedder: OnnxEmbedder, texts: Iterable[str]) -> dict[str, Vector]:
    """Embed every text once."""
    different = list(dict.fromkeys(texts))

    async def embed_all() -> dict[str, Vector]:
        found: dict[str, Vector] = {}
        with Progress(console=screen, transient=True) as progress:
            task = progress.add_task("embedding lines", total=len(different))
            for start in range(0, len(different), STEP):
                some = different[start : start + STEP]
                found |= zip(some, await embedder.embed(some), strict=True)
                progress.advance(task, len(some))
        await embedder.aclose()
        return found

    return asyncio.run(embed_all())


def labelled_call(source: str, call: RecordedCall, vectors: Mapping[str, Vector]) -> LabelledCall:
    """Return a recorded call as fitting reads it; `source` names its file."""
    return LabelledCall(
        call_id=call.call_id,
        source=source,
        success=call.outcome.success,
        lines=tuple(
            LabelledLine(
                speaker=segment.speaker,
                text=segment.text,
                vector=vectors[segment.text],
                label=segment.label,
                start_s=segment.start_s,
                end_s=segment.end_s,
            )
            for segment in call.segments
        ),
    )
