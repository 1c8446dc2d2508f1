"""How fast `import` learns from finished calls: with vectors, and when lines must be embedded.

    python bench/importing.py [--quick] [--json] [--save]

Each load has a service of its own on the embedded stack, and the command itself imports a file into
it; its clock stops when every store has taken everything. `embedder alone` embeds the same lines in
this process, before and after the import: nothing else runs then.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from agent_sidecar.adapters.model_prepare import ensure_model
from agent_sidecar.adapters.onnx_embedder import OnnxEmbedder
from agent_sidecar.commands.running import started_service
from agent_sidecar.settings import read_settings
from bench._history import filling, talks, write_calls
from bench._report import Document, document, medians, parser, positive, screen, tell

LABELS = {
    "calls": "calls with vectors",
    "calls_per_s": "  imported and delivered, calls/s",
    "taken_per_s": "  taken into the journal, calls/s",
    "lines": "lines without vectors",
    "lines_per_s": "  imported and delivered, lines/s",
    "lines_taken_per_s": "  taken into the journal, lines/s",
    "alone_per_s": "  embedder alone, lines/s",
    "ratio_alone": "  imported / embedder alone",
}


def main() -> None:
    given = arguments()
    if given.quick:
        given.calls, given.lines, given.runs = min(given.calls, 300), min(given.lines, 600), 1
    load = {"quick": given.quick, "calls": given.calls, "lines": given.lines, "runs": given.runs}
    packages = ("onnxruntime", "aiohttp", "chromadb", "neo4j", "arcadedb-embedded")
    said = document("importing", load, *packages)
    runs = []
    for number in range(given.runs):
        screen.print(f"[dim]run {number + 1} of {given.runs}[/]")
        runs.append(uvloop.run(_measure(given)))
    tell(said | medians(runs), LABELS, given)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    made = parser(__doc__, quick="300 calls, 600 lines, one run")
    made.add_argument("--calls", type=positive, default=2000, help="with their vectors")
    made.add_argument("--lines", type=positive, default=9000, help="to be embedded")
    made.add_argument("--runs", type=positive, default=3)
    return made.parse_args(given)


async def _measure(given: argparse.Namespace) -> Document:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        file = Path(folder) / "calls.jsonl"
        await asyncio.to_thread(write_calls, file, given.calls, read_settings())
        taken_s, whole_s = await _import(Path(folder) / "vectors", file)
        said: Document = {
            "calls_per_s": round(given.calls / whole_s, 1),
            "taken_per_s": round(given.calls / taken_s, 1),
        }
        calls = talks(given.lines)
        texts = [segment["text"] for call in calls for segment in call["segments"]]
        file.write_bytes(b"".join(msgspec.json.encode(call) + b"\n" for call in calls))
        before_s = await _alone(texts)
        taken_s, whole_s = await _import(Path(folder) / "lines", file)
        alone_per_s = len(texts) / ((before_s + await _alone(texts)) / 2)
    return said | {
        "lines_per_s": round(len(texts) / whole_s, 1),
        "lines_taken_per_s": round(len(texts) / taken_s, 1),
        "alone_per_s": round(alone_per_s, 1),
        "ratio_alone": round(len(texts) / whole_s / alone_per_s, 3),
    }


async def _import(folder: Path, file: Path) -> tuple[float, float]:
    """Return seconds until the service had taken the file, and until the stores had."""
    environment = filling(folder)
    settings = read_settings(data_dir=folder / "data")
    running = started_service(settings, environment, log_file=folder / "service.log")
    async with running:
        began = time.monotonic()
        await _command(environment, "import", str(file), "--json", "--no-wait")
        taken_s = time.monotonic() - began
        said = await _command(environment, "import", str(file), "--json")
        if said["imported"] or said.get("waiting"):
            raise SystemExit(f"no result: the second import of the same file says {said}")
        # by which time the second one has looked through the file again
        return taken_s, time.monotonic() - began


async def _command(environment: Mapping[str, str], *arguments: str) -> Mapping[str, Any]:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agent_sidecar", *arguments),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await child.communicate()
    if child.returncode != 0:
        raise SystemExit(f"no result: `{arguments[0]}` ended with {child.returncode}")
    said: Mapping[str, Any] = json.loads(out)
    return said


async def _alone(texts: Sequence[str]) -> float:
    """Return how long the embedder takes for the lines when nothing else runs."""
    settings = read_settings()
    folder = ensure_model(settings.models, settings.model, screen.print)
    embedder = await asyncio.to_thread(OnnxEmbedder.open, folder)
    try:
        began = time.monotonic()
        await embedder.embed(texts)
        return time.monotonic() - began
    finally:
        await embedder.aclose()


if __name__ == "__main__":
    main()
