"""`restore DIR`: a service out of a backup, on an empty data folder and empty servers.

    whole? ─▶ empty? ─▶ files ─▶ servers, schemas ─▶ PostgreSQL's tables ─▶ journal
      ─▶ conversations, graph and vectors from the records ─▶ what was under way ─▶ verify

Interrupted at any point it is run again; until it has ended nothing else starts on the folder.
"""

import argparse
import asyncio
import shutil
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from agent_sidecar.adapters import backup_folder
from agent_sidecar.adapters.backup_folder import Manifest, read_manifest
from agent_sidecar.adapters.journal_copies import deliver_again
from agent_sidecar.adapters.model_prepare import ensure_model
from agent_sidecar.adapters.onnx_embedder import read_card
from agent_sidecar.adapters.sqlite_journal import SqliteJournal
from agent_sidecar.app import open_stack
from agent_sidecar.commands.borrowed import Borrowed
from agent_sidecar.commands.terminal import out_json, paper, screen
from agent_sidecar.commands.verify import deliver
from agent_sidecar.errors import BackupFailed
from agent_sidecar.settings import Settings
from agent_sidecar.stores import Stores, audited, migrate, open_stores
from agent_sidecar.wrapup.report import Report
from agent_sidecar.wrapup.verify import verify

# of a data folder that nobody has used yet
_HARMLESS = frozenset({"models", "logs", "run", "secrets.json", "restoring"})
# what a store counts that nobody may mix with a backup's, or lose by it
_CALLS = ("conversations", "leads", "calls", "conversation_embeddings")
# how far the clocks of the journal and of whoever began the backup may be apart
_CLOCKS = timedelta(minutes=5)


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Restore; 0 when every store then holds every record."""
    folder = arguments.folder.expanduser().absolute()
    manifest = read_manifest(folder)
    _check_place(settings, folder)
    try:
        report = asyncio.run(_restore(settings, folder, manifest))
    except OSError as exc:
        raise BackupFailed(f"{settings.data_dir}: it cannot be written: {exc}") from exc
    if arguments.json:
        out_json({"restored": manifest.counts, **report.to_json()})
    else:
        for line in report.summary():
            paper.print(line)
        paper.print(f"restored into {settings.data_dir}; the settings it was made with:")
        paper.print(f"  {folder / backup_folder.SETTINGS}")
    return 0 if report.clean else 1


def _check_place(settings: Settings, folder: Path) -> None:
    """Raise `BackupFailed` unless the data folder is empty, or this restore was interrupted."""
    begun = backup_folder.half_restored(settings.data_dir)
    if begun is not None and begun != folder:
        raise BackupFailed(
            f"{settings.data_dir} is half restored from {begun}: go on with that backup, or empty"
            " the folder"
        )
    if begun is None and settings.data_dir.is_dir():
        there = sorted({place.name for place in settings.data_dir.iterdir()} - _HARMLESS)
        if there:
            raise BackupFailed(
                f"{settings.data_dir} is in use ({', '.join(there[:5])}): name an empty one with"
                " --data-dir"
            )


async def _restore(settings: Settings, folder: Path, manifest: Manifest) -> Report:
    card = read_card(ensure_model(settings.models, settings.model, screen.print))
    if (card.name, card.dimension) != (manifest.model, manifest.dimension):
        raise BackupFailed(
            f"the vectors of {folder} are of the model {manifest.model}, but SIDECAR_MODEL is"
            f" {card.name}: set SIDECAR_MODEL={manifest.model}"
        )
    is_anew = backup_folder.half_restored(settings.data_dir) is None
    async with AsyncExitStack() as exits:
        with screen.status("starting the data folder's servers"):
            urls = await exits.enter_async_context(open_stack(settings, restores=True))
        stores = await exits.enter_async_context(
            open_stores(settings, urls, model=card.name, dimension=card.dimension)
        )
        await migrate(stores.projections)
        if is_anew:
            await _check_empty(stores)
            backup_folder.begin_restore(settings.data_dir, folder)
        await asyncio.to_thread(_copy_files, settings, folder)
        with screen.status("filling PostgreSQL's tables"):
            await stores.copies.read(folder / backup_folder.TABLES)
        journal_file = settings.data_dir / backup_folder.JOURNAL
        await asyncio.to_thread(_copy_journal, folder, journal_file, manifest)
        await _fill(stores, folder, manifest.counts["conversations"])
        journal = await SqliteJournal.open(journal_file)
        exits.push_async_callback(journal.aclose)
        borrowed = Borrowed(stores=stores, journal=journal, service_runs=False)
        with screen.status("delivering what was under way"):
            await deliver(borrowed)
        with screen.status("comparing all stores"):
            report = await verify(audited(stores, journal))
        backup_folder.end_restore(settings.data_dir)
        return report


async def _check_empty(stores: Stores) -> None:
    """Raise `BackupFailed` when a server holds calls: they would be mixed, or lost."""
    for projection in stores.projections:
        counts: Mapping[str, int] = await projection.counts()
        held = [f"{counts[kind]} {kind}" for kind in _CALLS if counts.get(kind)]
        if held:
            raise BackupFailed(
                f"{projection.engine} holds {', '.join(held)} already: name empty servers and"
                " databases in the settings"
            )


def _copy_files(settings: Settings, folder: Path) -> None:
    files = folder / backup_folder.FILES
    for name in backup_folder.KEPT_FOLDERS:
        if (files / name).is_dir():
            shutil.copytree(files / name, settings.data_dir / name, dirs_exist_ok=True)
    shutil.copy2(files / backup_folder.PLAYBOOK, settings.data_dir / backup_folder.PLAYBOOK)


def _copy_journal(folder: Path, target: Path, manifest: Manifest) -> None:
    for suffix in ("", "-wal", "-shm"):
        target.with_name(target.name + suffix).unlink(missing_ok=True)
    shutil.copy2(folder / backup_folder.JOURNAL, target)
    deliver_again(target, since=manifest.began_at - _CLOCKS)


async def _fill(stores: Stores, folder: Path, count: int) -> None:
    """Make every store but the tables of what the records say; twice is as once."""
    filled = [p for p in stores.projections if p.store != "postgres"]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=screen, transient=True) as progress:
        task = progress.add_task("conversations, graph and vectors", total=count)
        for records in backup_folder.read_records(folder / backup_folder.CONVERSATIONS):
            async with asyncio.TaskGroup() as tasks:
                for projection in filled:
                    tasks.create_task(projection.apply_all(records), name=projection.store)
            progress.advance(task, len(records))
