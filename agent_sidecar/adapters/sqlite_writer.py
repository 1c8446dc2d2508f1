"""The one thread that writes the journal, with group commit.

Everything queued while the last transaction was committed goes into the next one, so that a
hundred writers share one `fsync` instead of waiting for a hundred. Work that fails, fails alone:
its group is rolled back and run again piece by piece. No failure ends the thread.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeAlias

from agent_sidecar.adapters.sqlite_file import journal_failed, note_damage
from agent_sidecar.errors import JournalFailed

# what to do inside the transaction
Work: TypeAlias = Callable[[sqlite3.Connection], object]

# Bounds how long the first of a flood waits.
_GROUP = 512


@dataclass(slots=True, eq=False)
class _Write:
    work: Work
    done: asyncio.Future[object]
    # outside of any transaction
    alone: bool = False
    result: object = None
    failure: JournalFailed | None = None


class GroupWriter:
    """Runs work on its connection, in the order of `submit`; made and used inside one loop."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[_Write | None] = SimpleQueue()
        self._closed = False
        self._thread = Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def submit(self, work: Work, *, alone: bool = False) -> asyncio.Future[object]:
        """Queue work; the future is done when its transaction is on disk.

        `alone`: outside of any transaction, for what SQLite does in none.
        """
        if self._closed:
            return failed(JournalFailed(f"journal {self._path}: it is closed"))
        done = quiet(self._loop.create_future())
        self._queue.put(_Write(work, done, alone))
        return done

    async def aclose(self) -> None:
        """Write what is queued, then close the connection."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while True:
            group, is_last = self._take()
            if group:
                for alone, writes in groupby(group, key=lambda write: write.alone):
                    if alone:
                        self._write_alone(list(writes))
                    else:
                        self._write(list(writes))
                with suppress(RuntimeError):  # the loop is gone, and with it everybody who waits
                    self._loop.call_soon_threadsafe(_settle, group)
            if is_last:
                break
        with suppress(sqlite3.Error):
            self._connection.close()

    def _take(self) -> tuple[Sequence[_Write], bool]:
        """Wait for work, then take all there is."""
        group: list[_Write] = []
        write = self._queue.get()
        while write is not None:
            group.append(write)
            if len(group) == _GROUP:
                return group, False
            try:
                write = self._queue.get_nowait()
            except Empty:
                return group, False
        return group, True

    def _write(self, group: Sequence[_Write]) -> None:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for write in group:
                write.result = write.work(connection)
            connection.execute("COMMIT")
        except Exception as exc:  # noqa: BLE001 - the thread outlives every write; each is told
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            locked = getattr(exc, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
            if len(group) == 1 or locked:
                for write in group:
                    write.failure = self._translate(exc)
            else:
                for write in group:
                    self._write([write])

    def _write_alone(self, writes: Sequence[_Write]) -> None:
        for write in writes:
            try:
                write.result = write.work(self._connection)
            except Exception as exc:  # noqa: BLE001 - as above
                write.failure = self._translate(exc)

    def _translate(self, exc: Exception) -> JournalFailed:
        if isinstance(exc, sqlite3.Error):
            note_damage(exc, self._path)
            failure = journal_failed(exc, self._path)
        else:
            failure = JournalFailed(f"journal {self._path}: a write is wrong: {exc!r}")
        failure.__cause__ = exc
        return failure


def quiet(done: asyncio.Future[object]) -> asyncio.Future[object]:
    """Let nobody await it: its failure is not logged as never retrieved."""
    done.add_done_callback(_look_at)
    return done


def failed(failure: JournalFailed) -> asyncio.Future[object]:
    """Return a future that has failed."""
    done = quiet(asyncio.get_running_loop().create_future())
    done.set_exception(failure)
    return done


def _look_at(done: asyncio.Future[object]) -> None:
    if not done.cancelled():
        done.exception()


def _settle(group: Sequence[_Write]) -> None:
    for write in group:
        if write.done.done():
            continue
        if write.failure is None:
            write.done.set_result(write.result)
        else:
            write.done.set_exception(write.failure)
