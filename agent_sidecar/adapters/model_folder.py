"""The folders that prepared models live in: found by name, and published whole or not at all."""

import contextlib
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from agent_sidecar.adapters.on_disk import sync
from agent_sidecar.errors import ModelRejected

# what a killed preparation may have left behind, and nobody can still be writing to
ABANDONED_S = 3600.0
PART_SUFFIX = ".part"
# each try meets at most one other process that published between two of our steps
PUBLISH_TRIES = 10


def folder_of(models_dir: Path, model: str) -> Path:
    """Where the model is kept: a hub name with `--` for its slash, a folder by its last name."""
    given = Path(model).expanduser()
    name = given.resolve().name if given.is_dir() else model.replace("/", "--")
    if not name:
        raise ModelRejected(f"{model!r} names no model: give a hub name or the model's folder")
    return models_dir / name


@contextlib.contextmanager
def draft(target: Path) -> Iterator[Path]:
    """Give an empty folder beside `target` to write in; gone at the end unless published."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(target)
    # not mkdtemp: its folder only its owner could read, also after it got its final name
    folder = _part_of(target)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, target: Path, *, good_enough: Callable[[Path], bool]) -> None:
    """Make the draft the model; keep what another process published first if it is good enough."""
    for file in folder.iterdir():
        sync(file)
    sync(folder)
    for _ in range(PUBLISH_TRIES):
        try:
            folder.rename(target)
        except OSError:
            # a folder cannot be renamed onto one with files in it
            if not target.is_dir():
                raise
            if good_enough(target):
                return
            discard(target)
        else:
            sync(target.parent)
            return
    raise OSError(f"{target} could not be replaced: other processes keep writing it")


def discard(target: Path) -> None:
    """Remove a model; a process that has loaded it goes on with what it loaded."""
    trash = _part_of(target)
    # another process may have been faster
    with contextlib.suppress(FileNotFoundError):
        target.rename(trash)
    shutil.rmtree(trash, ignore_errors=True)


def _part_of(target: Path) -> Path:
    return target.parent / f".{target.name}.{uuid.uuid4().hex}{PART_SUFFIX}"


def _remove_abandoned(target: Path) -> None:
    for part in target.parent.glob(f".{target.name}.*{PART_SUFFIX}"):
        # it may go away while we look at it
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(part, ignore_errors=True)
