"""Looks into a write-ahead log for commits that SQLite did not take.

SQLite takes a log up to the first frame whose checksum is wrong. After a plain crash nothing whole
follows that frame, since a commit's last frame is written last. Where a later frame ends a commit,
the log was damaged in the middle, and what follows is lost; SQLite says nothing of that.

A log is a header of 32 bytes (page size at 8, two salts at 16) and frames: a header of 24 bytes
(size of the database after a commit, else 0, at 4; the salts at 8) and a page.
"""

import sqlite3
from struct import Struct

_HEADER, _FRAME = 32, 24
_PAGE_SIZE = Struct(">I")
_SALTS = Struct(">8s")
_PAGE_NUMBER = Struct(">II")
CHECKPOINT = "PRAGMA wal_checkpoint(PASSIVE)"


def lost_commits(wal: bytes, connection: sqlite3.Connection) -> int:
    """Count the commits of this log, as it was before, that the opened database does not have."""
    if len(wal) < _HEADER:
        return 0
    (page,) = _PAGE_SIZE.unpack_from(wal, 8)
    if page < 512:
        return 0
    (salts,) = _SALTS.unpack_from(wal, 16)
    _, taken, _ = connection.execute(CHECKPOINT).fetchone()
    frames = range(_HEADER, len(wal) - _FRAME - page + 1, _FRAME + page)
    # the log was begun anew, if it was, with other salts: what follows is of before
    ends = [
        number
        for number, at in enumerate(frames, start=1)
        if wal[at + 8 : at + 16] == salts and wal[at + 4 : at + 8] != b"\0\0\0\0"
    ]
    return sum(number > max(taken, 0) for number in ends)


def database_of(wal: bytes) -> bytes:
    """Return the database that a log alone makes, up to its last commit; gaps are zeros.

    No checksum is looked at: what comes of it must be checked.
    """
    if len(wal) < _HEADER:
        return b""
    (page,) = _PAGE_SIZE.unpack_from(wal, 8)
    salts = wal[16:24]
    if not 512 <= page <= 65536:
        return b""
    made, waiting = bytearray(), dict[int, bytes]()
    for at in range(_HEADER, len(wal) - _FRAME - page + 1, _FRAME + page):
        if wal[at + 8 : at + 16] != salts:
            break
        number, pages = _PAGE_NUMBER.unpack_from(wal, at)
        waiting[number] = wal[at + _FRAME : at + _FRAME + page]
        if pages:
            made = made.ljust(pages * page, b"\0")[: pages * page]
            for place, content in waiting.items():
                if place <= pages:
                    made[(place - 1) * page : place * page] = content
            waiting.clear()
    return bytes(made)
