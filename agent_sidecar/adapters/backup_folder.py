"""What a backup is on disk, and whether it is whole.

    manifest.json             what, when, by which version, and the sum of each other file
    journal.sqlite3           what no store may have yet
    conversations.jsonl.gz    the record of every stored call, one JSON object a line
    postgres/*.csv.gz         the CRM's tables
    files/                    playbook, weights, recordings, archives: what else the folder holds
    settings.env              the settings, without secrets

The graph and the vectors are not in it: both follow from the records.
"""

import gzip
import hashlib
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path

import msgspec

from agent_sidecar.adapters.on_disk import sync
from agent_sidecar.adapters.sqlite_codec import decode_record, encode_record
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.errors import BackupFailed

FORMAT = 1
JOURNAL, CONVERSATIONS, TABLES, FILES = (
    "journal.sqlite3",
    "conversations.jsonl.gz",
    "postgres",
    "files",
)
SETTINGS, PLAYBOOK = "settings.env", "playbook.yaml"
# of the data folder, each taken whole where it is there
KEPT_FOLDERS = ("weights", "recordings", "archives", "erasures")
_MANIFEST = "manifest.json"
# in a data folder while it is being filled: the backup that it is filled from
_RESTORING = "restoring"


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds."""

    format: int
    version: str
    # everything that was acknowledged before it began is in it
    began_at: datetime
    ended_at: datetime
    model: str
    dimension: int
    # records in the journal, conversations, rows of each table
    counts: Mapping[str, int]
    # SHA-256 of each file, by its place in the folder
    sums: Mapping[str, str]


def begin(folder: Path) -> Path:
    """Return a new folder beside the wanted one, to be filled. Raises `BackupFailed`."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BackupFailed(f"{folder} is there already and not empty: name a new folder")
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    (unfinished / TABLES).mkdir(parents=True)
    (unfinished / FILES).mkdir()
    unfinished.chmod(0o700)
    return unfinished


def finish(unfinished: Path, folder: Path, manifest: Manifest) -> None:
    """Give the folder its name, once all of it is on disk."""
    (unfinished / _MANIFEST).write_bytes(
        msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    )
    for place in unfinished.rglob("*"):
        sync(place)
    sync(unfinished)
    if folder.exists():
        folder.rmdir()
    unfinished.rename(folder)
    sync(folder.parent)


def sums_of(folder: Path) -> Mapping[str, str]:
    """Return the SHA-256 of every file but the manifest."""
    return {
        place.relative_to(folder).as_posix(): _sum(place)
        for place in sorted(folder.rglob("*"))
        if place.is_file() and place.name != _MANIFEST
    }


def read_manifest(folder: Path) -> Manifest:
    """Return what the folder holds, when it is whole. Raises `BackupFailed`."""
    try:
        raw = (folder / _MANIFEST).read_bytes()
        manifest = msgspec.json.decode(raw, type=Manifest)
    except FileNotFoundError:
        raise BackupFailed(f"{folder} is no backup: it has no {_MANIFEST}") from None
    except (OSError, msgspec.DecodeError) as exc:
        raise BackupFailed(f"{folder}: its {_MANIFEST} cannot be read ({exc})") from exc
    if manifest.format > FORMAT:
        raise BackupFailed(
            f"{folder} was made by a newer agent_sidecar ({manifest.version}): upgrade this one"
        )
    found = sums_of(folder)
    for name, wanted in manifest.sums.items():
        if name not in found:
            raise BackupFailed(f"{folder}: {name} is missing: use another backup")
        if found[name] != wanted:
            raise BackupFailed(f"{folder}: {name} is not as it was written: use another backup")
    return manifest


def half_restored(data_dir: Path) -> Path | None:
    """Return the backup that a data folder was being filled from; None: it is not."""
    try:
        return Path((data_dir / _RESTORING).read_text("utf-8"))
    except FileNotFoundError:
        return None


def begin_restore(data_dir: Path, folder: Path) -> None:
    """Say so in the data folder, durably."""
    place = data_dir / _RESTORING
    place.write_text(str(folder), "utf-8")
    sync(place)
    sync(data_dir)


def end_restore(data_dir: Path) -> None:
    """Say that the data folder is whole."""
    (data_dir / _RESTORING).unlink()
    sync(data_dir)


async def write_records(place: Path, batches: AsyncIterator[Sequence[CallRecord]]) -> int:
    """Write records, one a line; return how many."""
    count = 0
    with gzip.open(place, "wb", compresslevel=6) as file:
        async for batch in batches:
            for record in batch:
                file.write(encode_record(record) + b"\n")
            count += len(batch)
    return count


def read_records(place: Path, *, batch: int = 50) -> Iterator[Sequence[CallRecord]]:
    """Yield the records of a copy. Raises `BackupFailed` naming the line."""
    with gzip.open(place, "rb") as file:
        lines = enumerate(file, start=1)
        while some := list(islice(lines, batch)):
            yield [_record(place, number, line) for number, line in some]


def _record(place: Path, number: int, line: bytes) -> CallRecord:
    try:
        return decode_record(line)
    except ValueError as exc:
        raise BackupFailed(f"{place}: line {number} is no record ({exc})") from exc


def _sum(place: Path) -> str:
    with place.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
