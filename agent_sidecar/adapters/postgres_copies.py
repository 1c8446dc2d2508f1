"""Copies of the CRM's tables as CSV files: one consistent look at all of them, and the way back.

CSV with a header, so that a DBA can read a copy, and so that tables may have more columns by the
time it is restored: those get their defaults.
"""

import csv
import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from agent_sidecar.adapters.pg import Connection, PgPool
from agent_sidecar.errors import BackupFailed

# in the order in which they can be filled: a table after those that it refers to
TABLES = (
    "closers",
    "kevin_availability",
    "leads",
    "calls",
    "transfers",
    "users",
    "learning_metrics",
)
_ONE_LOOK = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
# nothing is deleted that somebody else may need: a table that is not empty is refused before
_EMPTY = "TRUNCATE closers, kevin_availability, leads, calls, transfers, users, learning_metrics"
_COPY_S = 3600.0


class PostgresCopies:
    """Reads and fills the tables of leads, calls, transfers, closers, users and metrics."""

    def __init__(self, pool: PgPool) -> None:
        self._pool = pool

    async def write(self, folder: Path) -> Mapping[str, int]:
        """Write `<table>.csv.gz` for each; return the rows of each. Raises `StoreUnavailable`."""

        async def work(connection: Connection) -> Mapping[str, int]:
            await connection.execute(_ONE_LOOK)
            rows: dict[str, int] = {}
            for name in TABLES:
                with gzip.open(folder / f"{name}.csv.gz", "wb", compresslevel=6) as file:
                    said = await connection.copy_from_table(
                        name,
                        output=cast(BinaryIO, file),
                        format="csv",
                        header=True,
                        timeout=_COPY_S,
                    )
                rows[name] = _counted(said)
            return rows

        return await self._pool.transact(work, readonly=True)

    async def read(self, folder: Path) -> Mapping[str, int]:
        """Make the tables what the copies say, in one transaction; return the rows of each.

        Raises `BackupFailed` for a copy that is no CSV, `StoreUnavailable`, `RecordRejected`.
        """

        async def work(connection: Connection) -> Mapping[str, int]:
            await connection.execute(_EMPTY)
            rows: dict[str, int] = {}
            for name in TABLES:
                place = folder / f"{name}.csv.gz"
                with gzip.open(place, "rb") as file:
                    said = await connection.copy_to_table(
                        name,
                        source=cast(BinaryIO, file),
                        columns=_columns(place),
                        format="csv",
                        header=True,
                        timeout=_COPY_S,
                    )
                rows[name] = _counted(said)
            return rows

        return await self._pool.transact(work)


def _columns(place: Path) -> Sequence[str]:
    with gzip.open(place, "rt", encoding="utf-8", newline="") as file:
        header = next(csv.reader(file), None)
    if not header:
        raise BackupFailed(f"{place}: has no header: the copy is damaged, take another backup")
    return header


def _counted(said: object) -> int:
    """Return the number of "COPY 12"."""
    return int(cast(str, said).rpartition(" ")[2])
