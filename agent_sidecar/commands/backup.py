"""`backup DIR`: a consistent copy of everything, while calls go on.

Each store is read as it is at one moment, the journal last: what moved in between is in the
journal, and is told again to the stores that a restore fills (`commands/restore.py`).
"""

import argparse
import asyncio
import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from pydantic import SecretStr

from agent_sidecar import __version__
from agent_sidecar.adapters import backup_folder
from agent_sidecar.adapters.backup_folder import Manifest
from agent_sidecar.adapters.journal_copies import check_journal, copy_journal
from agent_sidecar.adapters.model_prepare import ensure_model
from agent_sidecar.adapters.onnx_embedder import read_card
from agent_sidecar.adapters.yaml_playbook import default_playbook_text
from agent_sidecar.clock import SystemClock
from agent_sidecar.commands.borrowed import borrowed_stores
from agent_sidecar.commands.terminal import out_json, paper, screen
from agent_sidecar.errors import BackupFailed
from agent_sidecar.settings import Settings

# in the data folder: where backups were written, so that a person who must be forgotten is not
# forgotten to be looked for there
REGISTER = "backups.json"


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """One backup that was made of this data folder."""

    path: str
    at: datetime


class Register(msgspec.Struct, frozen=True, kw_only=True):
    """All of them."""

    backups: tuple[Backup, ...] = ()


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Take a backup; 0 when it is whole and on disk."""
    folder = arguments.folder.expanduser().absolute()
    try:
        manifest = asyncio.run(_backup(settings, folder))
    except OSError as exc:
        raise BackupFailed(f"{folder}: it cannot be written: {exc}") from exc
    if arguments.json:
        out_json({"backup": str(folder), "counts": manifest.counts, "files": len(manifest.sums)})
        return 0
    for name, count in manifest.counts.items():
        paper.print(f"  {count:>9,}  {name}")
    size = sum(place.stat().st_size for place in folder.rglob("*") if place.is_file())
    paper.print(f"[green]{folder}[/] is whole: {size / 1e6:,.1f} MB")
    paper.print(f"back with: agent-sidecar restore {folder} --data-dir AN_EMPTY_FOLDER")
    return 0


async def _backup(settings: Settings, folder: Path) -> Manifest:
    unfinished = backup_folder.begin(folder)
    clock = SystemClock()
    began_at = clock.now()
    card = read_card(ensure_model(settings.models, settings.model, screen.print))
    async with borrowed_stores(settings) as borrowed:
        stores = borrowed.stores
        with screen.status("copying PostgreSQL's tables"):
            counts = dict(await stores.copies.write(unfinished / backup_folder.TABLES))
        with screen.status("copying the conversations"):
            counts["conversations"] = await backup_folder.write_records(
                unfinished / backup_folder.CONVERSATIONS,
                stores.conversations.records(since=None, without=()),
            )
        with screen.status("copying files and journal"):
            await asyncio.to_thread(_copy_files, settings, unfinished)
            journal = unfinished / backup_folder.JOURNAL
            counts["journal"] = await asyncio.to_thread(
                copy_journal, settings.data_dir / backup_folder.JOURNAL, journal
            )
            if (wrong := await asyncio.to_thread(check_journal, journal)) is not None:
                raise BackupFailed(f"{journal}: the copy is not whole ({wrong}): try again")
        sums = await asyncio.to_thread(backup_folder.sums_of, unfinished)
    manifest = Manifest(
        format=backup_folder.FORMAT,
        version=__version__,
        began_at=began_at,
        ended_at=clock.now(),
        model=card.name,
        dimension=card.dimension,
        counts=counts,
        sums=sums,
    )
    backup_folder.finish(unfinished, folder, manifest)
    _register(settings.data_dir, Backup(path=str(folder), at=began_at))
    return manifest


def _copy_files(settings: Settings, unfinished: Path) -> None:
    files = unfinished / backup_folder.FILES
    for name in backup_folder.KEPT_FOLDERS:
        if (settings.data_dir / name).is_dir():
            shutil.copytree(settings.data_dir / name, files / name)
    playbook = settings.playbook
    text = default_playbook_text() if playbook is None else playbook.read_text("utf-8")
    (files / backup_folder.PLAYBOOK).write_text(text, "utf-8")
    lines = (f"{name}={value}\n" for name, value in shown_settings(settings).items())
    (unfinished / backup_folder.SETTINGS).write_text("".join(lines), "utf-8")


def shown_settings(settings: Settings) -> Mapping[str, str]:
    """Return the settings that were given, by their names in the environment, without secrets."""
    shown: dict[str, str] = {}
    for name in sorted(settings.model_fields_set):
        value = getattr(settings, name)
        if value is None:
            continue
        key = f"SIDECAR_{name.upper()}"
        if isinstance(value, SecretStr):
            # said, so that nobody wonders what else there was
            key, value = f"# {key}", "(a secret: not kept here)"
        said = ",".join(sorted(value)) if isinstance(value, frozenset) else str(value)
        shown[key] = _without_login(said)
    return shown


def _without_login(value: str) -> str:
    if "://" not in value:
        return value
    parts = urlsplit(value)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _register(data_dir: Path, backup: Backup) -> None:
    place = data_dir / REGISTER
    try:
        known = msgspec.json.decode(place.read_bytes(), type=Register).backups
    except (FileNotFoundError, msgspec.DecodeError):
        known = ()
    register = Register(backups=(*(b for b in known if b.path != backup.path), backup))
    new = place.with_suffix(".new")
    new.write_bytes(msgspec.json.encode(register))
    new.replace(place)
