"""A journal whose file was damaged starts all the same, with all that can be read; loudly."""

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from structlog.testing import capture_logs

from agent_sidecar.adapters.sqlite_file import open_reader, suspicion
from agent_sidecar.adapters.sqlite_journal import SqliteJournal
from agent_sidecar.domain.types import STORES, CallId
from agent_sidecar.errors import JournalFailed
from tests.builders import rich_record, stranger_record
from tests.contract.test_journal import CALL, a_line, a_webhook, opening

CALLS, LINES = 60, 40


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a journal as kill -9 leaves it: file and log, both with rows of note."""
    return asyncio.run(_crash(tmp_path_factory.mktemp("crashed")))


async def _crash(folder: Path) -> Path:
    path = folder / "live" / "journal.sqlite"
    path.parent.mkdir()
    journal = await SqliteJournal.open(path)
    for n in range(CALLS):
        made = rich_record if n % 3 == 0 else stranger_record
        await journal.commit(made(f"call-{n:03}"))
        await journal.receive(a_webhook(f"event-{n}"))
        if n == CALLS // 2:
            await journal.ack(await journal.claim("neo4j", limit=1000))
            await journal.drop(CallId("call-003"), "chroma", by="Ann", reason=None)
            sqlite3.connect(path).execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    await journal.append(CALL, opening())
    for n in range(LINES):
        await journal.append(CALL, a_line(n, "x" * 500))
    (folder / "left").mkdir()
    for name in ("journal.sqlite", "journal.sqlite-wal"):
        shutil.copy(path.with_name(name), folder / "left" / name)
    await journal.aclose()
    assert (folder / "left" / "journal.sqlite-wal").stat().st_size > 100_000
    return folder / "left"


@pytest.fixture
def path(crashed: Path, tmp_path: Path) -> Path:
    for file in crashed.iterdir():
        shutil.copy(file, tmp_path / file.name)
    return tmp_path / "journal.sqlite"


def change(path: Path, act: Callable[[bytearray], bytearray | None]) -> None:
    raw = bytearray(path.read_bytes())
    changed = act(raw)
    path.write_bytes(raw if changed is None else changed)


async def start(path: Path) -> tuple[dict[str, object], list[str]]:
    """Open the journal as a service does, again if it must; return what it holds and what it said.

    What a check at the start cannot see, the first reading may: then the next start mends it.
    """
    with capture_logs() as logs:
        for _ in range(2):
            journal = await SqliteJournal.open(path)
            try:
                held: dict[str, object] = {}
                for call in await journal.open_calls():
                    held[call.call_id] = len(call.events)
                async for batch in journal.records(batch=1000):
                    for committed in batch:
                        held[committed.record.call_id] = committed
                        assert set(committed.deliveries) == set(STORES)
            except JournalFailed as exc:
                assert "damaged" in str(exc) or "cannot be read" in str(exc)  # noqa: PT017
                if "cannot be read" in str(exc):
                    # the page is whole, a value in it is not: named, and parked when it is claimed
                    await journal.aclose()
                    return {}, [str(exc)]
                assert suspicion(path).exists()
            else:
                await journal.append(CallId("new"), opening("new"))
                return held, [entry["event"] for entry in logs]
            finally:
                await journal.aclose()
    raise AssertionError("it does not start")


def readable(path: Path, folder: Path) -> set[str]:
    """Return the ids of the records that plain SQLite still reads, one by one."""
    folder.mkdir()
    for file in path.parent.glob(path.name + "*"):
        shutil.copy(file, folder / file.name)
    found = set[str]()
    try:
        connection = open_reader(folder / path.name)
    except (sqlite3.Error, JournalFailed):
        return found
    for seq in range(1, CALLS + 1):
        try:
            row = connection.execute(
                "SELECT call_id, record FROM record WHERE seq = ?", (seq,)
            ).fetchone()
        except sqlite3.Error:
            continue
        if row is not None:
            found.add(row[0])
    connection.close()
    return found


async def test_one_that_was_only_killed_has_everything_and_says_nothing(path):
    held, said = await start(path)
    assert len(held) == CALLS + 1
    assert held[CALL] == LINES + 1
    assert said == []
    assert not list(path.parent.glob("*damaged*"))


@pytest.mark.parametrize("seed", range(15))
async def test_a_log_cut_anywhere_loses_its_tail_only(path, seed):
    wal = path.with_name(path.name + "-wal")
    cut = Random(seed).randrange(wal.stat().st_size)  # noqa: S311 - the same in every run
    change(wal, lambda raw: raw[:cut])
    held, said = await start(path)
    kept = [call_id for call_id in held if call_id.startswith("call-0")]
    # a prefix: what was acknowledged first is there first
    assert kept == [f"call-{n:03}" for n in range(len(kept))]
    assert len(kept) > CALLS // 2
    assert said == []


async def test_garbage_behind_the_log_and_the_file_changes_nothing(path):
    garbage = Random(1).randbytes(10_000)  # noqa: S311 - the same in every run
    for name in (path, path.with_name(path.name + "-wal")):
        change(name, lambda raw: raw + garbage)
    held, _ = await start(path)
    assert len(held) == CALLS + 1


async def test_a_log_that_is_damaged_in_the_middle_is_kept_and_told_of(path):
    wal = path.with_name(path.name + "-wal")
    before = wal.read_bytes()
    change(wal, lambda raw: raw.__setitem__(len(raw) // 2, raw[len(raw) // 2] ^ 0x10))
    damaged = wal.read_bytes()
    held, said = await start(path)
    assert len(held) <= CALLS + 1
    assert "journal_tail_damaged" in said
    (kept,) = path.parent.glob("journal.sqlite.damaged-*-wal")
    assert kept.read_bytes() == damaged != before


# the last ones hit names in the schema
@pytest.mark.parametrize("seed", [*range(40), 106, 629, 1070, 1262])
async def test_flipped_and_torn_pages_never_stop_it_and_lose_nothing_readable(path, seed, tmp_path):
    chance = Random(seed)  # noqa: S311 - the same in every run
    if chance.random() < 0.5:
        # everything in the file, nothing in the log
        closing = sqlite3.connect(path)
        closing.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        closing.close()

    def damage(raw: bytearray) -> bytearray:
        match chance.randrange(3):
            case 0:
                for _ in range(chance.randrange(1, 30)):
                    raw[chance.randrange(100, len(raw))] ^= 1 << chance.randrange(8)
            case 1:
                at = chance.randrange(len(raw))
                length = chance.randrange(1, 20_000)
                raw[at : at + length] = bytes(len(raw[at : at + length]))
            case 2:
                return raw[: chance.randrange(len(raw))]
        return raw

    change(path, damage)
    before = readable(path, tmp_path / "copy")
    held, said = await start(path)
    if said and "cannot be read" in said[0]:
        return
    assert before <= set(held)
    if len(held) < CALLS + 1:
        assert {"journal_rescued", "journal_was_empty"} & set(said)
    if "journal_rescued" in said:
        assert list(path.parent.glob("journal.sqlite.damaged-*"))
    # and it is sound from then on
    again, said = await start(path)
    assert set(held) | {"new"} == set(again) | {"new"}
    assert "journal_rescued" not in said


async def test_an_empty_file_is_made_of_its_log(path):
    closing = sqlite3.connect(path)
    closing.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    closing.close()
    fresh = path.with_name("fresh.sqlite")
    journal = await SqliteJournal.open(fresh)
    await journal.commit(rich_record("call-000"))
    wal = path.with_name(path.name + "-wal")
    shutil.copy(fresh.with_name(fresh.name + "-wal"), wal)
    await journal.aclose()
    path.write_bytes(b"")
    held, said = await start(path)
    assert set(held) == {"call-000"}
    assert "journal_was_empty" in said
    assert list(path.parent.glob("journal.sqlite.damaged-*-wal"))


async def test_an_empty_file_without_a_log_is_told_of(tmp_path):
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"")
    held, said = await start(path)
    assert held == {}
    assert said == ["journal_was_empty"]


async def test_what_was_rescued_is_delivered_again_where_nobody_knows(path):
    """The delivery rows are gone, the records are not."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    (root,) = connection.execute(
        "SELECT rootpage FROM sqlite_schema WHERE type = 'table' AND name = 'delivery'"
    ).fetchone()
    (page,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    start_at = (root - 1) * page
    change(path, lambda raw: raw.__setitem__(slice(start_at, start_at + page), bytes(page)))
    held, said = await start(path)
    assert len(held) == CALLS + 1
    assert said == ["journal_rescued"]
    journal = await SqliteJournal.open(path)
    assert len(await journal.claim("neo4j", limit=1000)) == CALLS
    await journal.aclose()


async def test_what_must_be_forgotten_stays_marked(path):
    """Who was erased must not come back, and a rebuild that has begun goes on."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("INSERT INTO forgetting VALUES ('gone-1', 'erased', 1)")
    connection.execute("INSERT INTO forgetting_store VALUES ('neo4j', 'gone-1')")
    connection.execute("INSERT INTO erasure VALUES ('e', 1, '{}', '{}', '{}')")
    connection.execute("INSERT INTO pruned VALUES ('old', 3, 'import', 'row-1', 1)")
    connection.execute("INSERT INTO meta VALUES ('rebuild:neo4j', 'filling')")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    (root,) = connection.execute(
        "SELECT rootpage FROM sqlite_schema WHERE name = 'inbox_received_at'"
    ).fetchone()
    (page,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    first = (root - 1) * page
    change(path, lambda raw: raw.__setitem__(slice(first, first + page), bytes(page)))
    _, said = await start(path)
    assert said == ["journal_rescued"]
    connection = sqlite3.connect(path)
    kept = [
        connection.execute(question).fetchall()
        for question in (
            "SELECT reason FROM forgetting",
            "SELECT store FROM forgetting_store",
            "SELECT id FROM erasure",
            "SELECT call_id, version, external_id FROM pruned",
            "SELECT value FROM meta WHERE key = 'rebuild:neo4j'",
        )
    ]
    connection.close()
    assert kept == [[("erased",)], [("neo4j",)], [("e",)], [("old", 3, "row-1")], [("filling",)]]


@pytest.mark.parametrize("step", ["before", "after"])
async def test_a_rescue_that_was_interrupted_is_gone_on_with(path, step):
    rescued = path.with_name("other.sqlite")
    journal = await SqliteJournal.open(rescued)
    await journal.commit(stranger_record("saved"))
    await journal.aclose()
    if step == "after":
        rescued.rename(path.with_name(path.name + ".rescued"))
        held, _ = await start(path)
        assert set(held) == {"saved"}
        assert len(list(path.parent.glob("journal.sqlite.damaged-*"))) == 2
    else:
        rescued.rename(path.with_name(path.name + ".rescuing"))
        held, _ = await start(path)
        assert len(held) == CALLS + 1
