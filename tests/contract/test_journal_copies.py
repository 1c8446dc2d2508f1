"""Copies of a journal: of one in use, and made ready to be gone on with elsewhere."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent_sidecar.adapters.journal_copies import check_journal, copy_journal, deliver_again
from agent_sidecar.adapters.sqlite_journal import SqliteJournal
from agent_sidecar.domain.types import STORES, CallId
from tests.builders import rich_record, stranger_record

pytestmark = pytest.mark.contract

NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)


class OwnClock:
    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at


async def test_a_journal_is_copied_while_it_is_written(tmp_path: Path):
    clock = OwnClock()
    journal = await SqliteJournal.open(tmp_path / "journal.sqlite3", clock=clock)
    copy = tmp_path / "copy.sqlite3"
    try:
        await journal.commit(rich_record())
        assert copy_journal(tmp_path / "journal.sqlite3", copy) == 1
        await journal.commit(stranger_record())
    finally:
        await journal.aclose()
    assert check_journal(copy) is None
    with closing(sqlite3.connect(copy)) as there:
        assert there.execute("SELECT count(*) FROM record").fetchone() == (1,)
    copy.write_bytes(copy.read_bytes()[:5000])
    assert check_journal(copy) is not None


async def test_what_was_delivered_since_a_backup_began_is_delivered_again(tmp_path: Path):
    clock = OwnClock()
    place = tmp_path / "journal.sqlite3"
    journal = await SqliteJournal.open(place, clock=clock)
    early, late = rich_record(), stranger_record()
    try:
        for record, minutes in ((early, 0), (late, 10)):
            clock.at = NOW + timedelta(minutes=minutes)
            await journal.commit(record)
            for store in STORES:
                await journal.ack(await journal.claim(store, limit=10))
    finally:
        await journal.aclose()
    assert deliver_again(place, since=NOW + timedelta(minutes=5)) == len(STORES)
    journal = await SqliteJournal.open(place)
    try:
        for store in STORES:
            claimed = await journal.claim(store, limit=10)
            assert [d.record.call_id for d in claimed] == [late.call_id]
        kept = await journal.record(CallId(early.call_id))
        assert kept is not None
        assert {s.state for s in kept.deliveries.values()} == {"delivered"}
    finally:
        await journal.aclose()
