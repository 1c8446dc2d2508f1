"""Which backups still hold a lead; what cannot be read is said."""

import csv
import gzip
from pathlib import Path

import msgspec
import pytest

from agent_sidecar.adapters.sqlite_journal import SqliteJournal
from agent_sidecar.backup_search import search_backups
from agent_sidecar.domain.erasure import person
from agent_sidecar.domain.types import Lead
from tests.builders import rich_record
from tests.fakes import FakeClock

pytestmark = pytest.mark.real_time  # the journal's threads

PHONE = "+12025550143"
HIM = Lead(phone=PHONE)


async def backup(folder: Path, where: str = "") -> Path:
    """Write a backup as `backup` does, with him in one of its places."""
    nobody = rich_record("another", lead=Lead(phone="+12025550199"))
    his = rich_record("his", lead=HIM)

    def of(place: str) -> bytes:
        return msgspec.json.encode(his if place == where else nobody) + b"\n"

    (folder / "postgres").mkdir(parents=True)
    (folder / "files" / "archives").mkdir(parents=True)
    with gzip.open(folder / "postgres" / "leads.csv.gz", "wt", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(["id", "phone", "email"])
        writer.writerow(["l1", PHONE if where == "leads" else "", "x@y.co"])
    (folder / "conversations.jsonl.gz").write_bytes(gzip.compress(of("conversations")))
    archive = folder / "files" / "archives" / "2026-03.jsonl.gz"
    archive.write_bytes(gzip.compress(of("archives")))
    journal = await SqliteJournal.open(folder / "journal.sqlite3", clock=FakeClock())
    await journal.commit(his if where == "journal" else nobody)
    await journal.aclose()
    return folder


def register(data_dir: Path, *folders: Path) -> None:
    known = [{"path": str(folder), "at": "2026-03-02T15:00:00Z"} for folder in folders]
    (data_dir / "backups.json").write_bytes(msgspec.json.encode({"backups": known}))


@pytest.mark.parametrize("where", ["leads", "conversations", "archives", "journal", ""])
async def test_he_is_found_wherever_a_backup_has_him(tmp_path: Path, where: str):
    register(tmp_path, await backup(tmp_path / "b", where))
    [found] = search_backups(tmp_path, person(phone=PHONE))
    assert found.holds_him is bool(where)
    assert found.path == str(tmp_path / "b")
    assert ("delete it" in found.what_to_do) is bool(where)


async def test_what_cannot_be_read_must_be_looked_at(tmp_path: Path):
    damaged = await backup(tmp_path / "damaged")
    (damaged / "conversations.jsonl.gz").write_bytes(b"no gzip")
    register(tmp_path, damaged, tmp_path / "gone")
    for found in search_backups(tmp_path, person(phone=PHONE)):
        assert found.holds_him is None
        assert "look for him there" in found.what_to_do


def test_without_a_register_there_are_none_and_a_damaged_one_is_said(tmp_path: Path):
    assert search_backups(tmp_path, person(phone=PHONE)) == ()
    (tmp_path / "backups.json").write_text("{")
    [found] = search_backups(tmp_path, person(phone=PHONE))
    assert found.holds_him is None


def test_a_damaged_journal_that_was_set_aside_is_named(tmp_path: Path):
    (tmp_path / "journal.sqlite3.damaged-20260302T150000").write_bytes(b"?")
    [found] = search_backups(tmp_path, person(phone=PHONE))
    assert found.path == "journal.sqlite3.damaged-20260302T150000"
    assert found.holds_him is None
    assert "set aside" in found.what_to_do
