"""A backup on disk: whole or refused; a data folder that is half restored is nobody else's."""

import argparse
import gzip
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from pydantic import SecretStr

from agent_sidecar.adapters import backup_folder
from agent_sidecar.adapters.backup_folder import Manifest
from agent_sidecar.app import open_stack
from agent_sidecar.commands import restore
from agent_sidecar.commands.backup import shown_settings
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.errors import BackupFailed
from agent_sidecar.settings import Settings
from tests.builders import rich_record, stranger_record

NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)


def manifest(folder: Path, **changes: object) -> Manifest:
    whole = Manifest(
        format=backup_folder.FORMAT,
        version="0.1.0",
        began_at=NOW,
        ended_at=NOW,
        model="model",
        dimension=384,
        counts={"journal": 1},
        sums=backup_folder.sums_of(folder),
    )
    return msgspec.structs.replace(whole, **changes)


def make_backup(folder: Path, **changes: object) -> Path:
    unfinished = backup_folder.begin(folder)
    (unfinished / "settings.env").write_text("SIDECAR_PORT=1\n")
    backup_folder.finish(unfinished, folder, manifest(unfinished, **changes))
    return folder


def test_a_folder_has_its_name_only_when_it_is_whole(tmp_path: Path):
    left_behind = backup_folder.begin(tmp_path / "copy")
    (left_behind / "half").write_text("…")
    folder = make_backup(tmp_path / "copy")
    assert not (folder / "half").exists()
    assert backup_folder.read_manifest(folder).counts == {"journal": 1}
    assert [place.name for place in tmp_path.iterdir()] == ["copy"]
    with pytest.raises(BackupFailed, match="not empty"):
        backup_folder.begin(folder)


def test_what_is_not_as_it_was_written_is_refused(tmp_path: Path):
    with pytest.raises(BackupFailed, match="is no backup"):
        backup_folder.read_manifest(tmp_path)
    folder = make_backup(tmp_path / "changed")
    (folder / "settings.env").write_text("SIDECAR_PORT=2\n")
    with pytest.raises(BackupFailed, match=r"settings\.env is not as it was written"):
        backup_folder.read_manifest(folder)
    (folder / "settings.env").unlink()
    with pytest.raises(BackupFailed, match=r"settings\.env is missing"):
        backup_folder.read_manifest(folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(BackupFailed, match="cannot be read"):
        backup_folder.read_manifest(folder)
    newer = make_backup(tmp_path / "newer", format=backup_folder.FORMAT + 1)
    with pytest.raises(BackupFailed, match="upgrade"):
        backup_folder.read_manifest(newer)


async def test_records_come_back_as_they_were(tmp_path: Path):
    records = [rich_record(), stranger_record()]

    async def batches() -> AsyncIterator[Sequence[CallRecord]]:
        for record in records:
            yield [record]

    place = tmp_path / "conversations.jsonl.gz"
    assert await backup_folder.write_records(place, batches()) == 2
    assert [r for batch in backup_folder.read_records(place, batch=1) for r in batch] == records
    with gzip.open(place, "ab") as file:
        file.write(b"{}\n")
    with pytest.raises(BackupFailed, match="line 3 is no record"):
        list(backup_folder.read_records(place))


async def test_a_folder_that_is_half_restored_is_for_that_restore_alone(tmp_path: Path):
    folder = make_backup(tmp_path / "copy")
    data = tmp_path / "data"
    data.mkdir()
    backup_folder.begin_restore(data, folder)
    urls = {
        "postgres_url": SecretStr("postgresql://nowhere"),
        "neo4j_url": "bolt://nowhere",
        "chroma_url": "http://nowhere",
        "redis_url": SecretStr("redis://nowhere"),
    }
    settings = Settings(data_dir=data, **urls)  # type: ignore[arg-type]
    with pytest.raises(BackupFailed, match="half restored"):
        async with open_stack(settings):
            pass
    async with open_stack(settings, restores=True):
        pass
    other = make_backup(tmp_path / "other")
    with pytest.raises(BackupFailed, match="go on with that backup"):
        restore.run(settings, argparse.Namespace(folder=other, json=False))
    backup_folder.end_restore(data)
    async with open_stack(settings):
        pass


def test_a_data_folder_in_use_is_not_restored_into(tmp_path: Path):
    folder = make_backup(tmp_path / "copy")
    data = tmp_path / "data"
    data.mkdir()
    (data / "journal.sqlite3").touch()
    with pytest.raises(BackupFailed, match=r"is in use \(journal\.sqlite3\)"):
        restore.run(Settings(data_dir=data), argparse.Namespace(folder=folder, json=False))


def test_settings_are_shown_without_secrets(tmp_path: Path):
    settings = Settings(
        data_dir=tmp_path,
        api_token=SecretStr("a-secret"),
        chroma_url="https://user:a-secret@chroma.example.com",
        port=9000,
    )
    shown = shown_settings(settings)
    assert shown["SIDECAR_PORT"] == "9000"
    assert shown["SIDECAR_CHROMA_URL"] == "https://chroma.example.com"
    assert "# SIDECAR_API_TOKEN" in shown
    assert "a-secret" not in str(shown)
