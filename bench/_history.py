"""A past to learn from: finished calls with their vectors, imported once and kept.

A prospect objects, a strategy answers, he takes it well or badly, another one follows; by default
a call has five lines. Strategies differ in how well they go down, so there is something to find.
The vectors are those of real lines, each moved a little: no two calls say quite the same.
"""

import asyncio
import os
import random
import shutil
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from agent_sidecar.adapters.model_prepare import ensure_model
from agent_sidecar.adapters.onnx_embedder import OnnxEmbedder
from agent_sidecar.adapters.yaml_playbook import read_playbook
from agent_sidecar.domain.types import Vector
from agent_sidecar.settings import Settings, read_settings
from bench._report import screen
from bench._talk import WORTH_A_HINT

LINES = 5
# lines of a call that nobody embedded
_TALK = 20
# how far a vector is moved from its line's, before it is made of length 1 again
_MOVED = 0.5
_TAKEN_WELL = (
    "okay, that makes sense, tell me more.",
    "yes, that sounds good to me, what do I do next?",
    "that is great, I would like to try it.",
)
_TAKEN_BADLY = (
    "no, that is not what I asked.",
    "I do not think so, this is a waste of time.",
    "no thank you, please stop.",
)
# the newest call is so old, and they lie so far apart: as many a day as a team has
_NEWEST, _APART = datetime(2026, 1, 5, tzinfo=UTC), timedelta(seconds=100)


def kept_history(kept: Path, calls: int, *, lines: int = LINES) -> Path:
    """Return a data folder that knows so many calls; the first time it is filled by `import`."""
    folder = kept / f"history-{calls}x{lines}"
    mark = folder / "loaded"
    if mark.exists():
        return folder / "data"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    screen.print(f"[dim]importing {calls} calls with {lines * calls} vectors, once[/]")
    file = folder / "calls.jsonl"
    write_calls(file, calls, read_settings(), lines=lines)
    subprocess.run(  # noqa: S603  # our own command
        [sys.executable, "-m", "agent_sidecar", "import", str(file), "--json"],
        env=filling(folder),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    file.unlink()
    mark.touch()
    return folder / "data"


def copy_history(data: Path, to: Path) -> None:
    """Copy a data folder with the owners of its files: PostgreSQL runs as nobody under root.

    What is kept is never written to: every run has a copy of its own.
    """
    shutil.copytree(data, to, ignore=_not_ours)
    for copied in [to, *to.rglob("*")]:
        owner = (data / copied.relative_to(to)).lstat()
        os.chown(copied, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _not_ours(folder: str, names: list[str]) -> list[str]:
    """Leave out what only a running stack has, and what a copy is not read for."""
    return [name for name in names if name in ("run", "logs", "models")]


def write_calls(
    file: Path, calls: int, settings: Settings, *, lines: int = LINES, vectors: bool = True
) -> None:
    """Write a file of recorded calls; the same number gives the same calls."""
    texts = [*WORTH_A_HINT, *_TAKEN_WELL, *_TAKEN_BADLY]
    moves = _moves()
    known, model = asyncio.run(_embedded(settings, [*texts, *(say for _, say, _ in moves)]))
    with file.open("wb") as opened:
        for call in _calls(calls, lines, moves, known if vectors else {}, model):
            opened.write(msgspec.json.encode(call) + b"\n")


def filling(folder: Path) -> Mapping[str, str]:
    """Return what a command that fills the folder is started with: of the user only his models."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("SIDECAR_")}
    models = {"SIDECAR_MODELS_DIR": str(read_settings().models)}
    if model := os.environ.get("SIDECAR_MODEL"):
        models["SIDECAR_MODEL"] = model
    return ours | models | {"SIDECAR_DATA_DIR": str(folder / "data"), "SIDECAR_PORT": "0"}


def talks(lines: int) -> list[dict[str, Any]]:
    """Return recorded calls of so many lines in all, none of which was said twice."""
    chance = random.Random(lines)  # noqa: S311  # no secret
    says = [say for _, say, _ in _moves()]
    calls = []
    for first in range(0, lines, _TALK):
        segments = []
        for number in range(first, min(lines, first + _TALK)):
            is_agent = number % 2 == 0
            text = chance.choice(says if is_agent else WORTH_A_HINT)
            segments.append(
                {
                    "speaker": "agent" if is_agent else "prospect",
                    "text": f"{text} {number}",
                    "start_s": 6.0 * (number - first),
                    "end_s": 6.0 * (number - first) + 5.0,
                }
            )
        calls.append({"call_id": f"talk-{first}", "segments": segments})
    return calls


def _moves() -> Sequence[tuple[str, str, float]]:
    """Return strategies of the playbook that ships: name, what is said, how often it goes well."""
    strategies = read_playbook(None).strategies
    chances = np.linspace(0.15, 0.75, len(strategies))
    return [
        (s.name, say, float(chance))
        for s, chance in zip(strategies, chances, strict=True)
        for say in s.say
    ]


def _calls(
    calls: int,
    lines: int,
    moves: Sequence[tuple[str, str, float]],
    known: Mapping[str, Vector],
    model: str,
) -> Iterator[dict[str, Any]]:
    chance, noise = random.Random(calls), np.random.default_rng(calls)  # noqa: S311  # no secret
    for number in range(calls):
        went_well = False
        spoken: list[tuple[str, str, str | None]] = []
        for _ in range(lines // 2):
            if not spoken:
                spoken.append(("prospect", chance.choice(WORTH_A_HINT), None))
            name, say, goes_well = chance.choice(moves)
            went_well = chance.random() < goes_well
            reaction = chance.choice(_TAKEN_WELL if went_well else _TAKEN_BADLY)
            spoken += [("agent", say, name), ("prospect", reaction, None)]
        segments = []
        for index, (speaker, text, strategy) in enumerate(spoken):
            segment = {
                "speaker": speaker,
                "text": text,
                "start_s": 6.0 * index,
                "end_s": 6.0 * index + 5.0,
            }
            if strategy is not None:
                segment["strategy"] = strategy
            if known:
                segment["vector"] = _moved(known[text], noise)
            segments.append(segment)
        yield {
            "call_id": f"history-{number}",
            "started_at": (_NEWEST - number * _APART).isoformat(),
            "segments": segments,
            "outcome": {"success": went_well and chance.random() < 0.4},
            **({"model": model} if known else {}),
        }


def _moved(vector: Vector, noise: np.random.Generator) -> str:
    moved = vector + _MOVED * noise.standard_normal(vector.size) / np.sqrt(vector.size)
    moved /= np.linalg.norm(moved)
    return b64encode(moved.astype("<f4").tobytes()).decode()


async def _embedded(settings: Settings, texts: Sequence[str]) -> tuple[Mapping[str, Vector], str]:
    folder = ensure_model(settings.models, settings.model, screen.print)
    embedder = await asyncio.to_thread(OnnxEmbedder.open, folder)
    try:
        return dict(zip(texts, await embedder.embed(texts), strict=True)), embedder.name
    finally:
        await embedder.aclose()
