"""Where the servers of a running stack answer: written when all do, removed when they stop."""

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from agent_sidecar.embedded.folder import DataFolder
from agent_sidecar.embedded.pidfile import started


@dataclass(frozen=True, slots=True, kw_only=True)
class StackUrls:
    """How to reach each server; None for one that this stack does not run."""

    # a DSN for asyncpg, on a unix socket
    postgres: str | None = field(repr=False)
    neo4j: str | None
    neo4j_user: str | None
    neo4j_password: str | None = field(repr=False)
    chroma: str | None
    redis: str | None = field(repr=False)
    # the supervising process
    pid: int


def running_stack(data_dir: Path) -> StackUrls | None:
    """Return the stack that a live process runs on this folder, or None when there is none."""
    folder = DataFolder(data_dir)
    if not folder.is_locked():
        return None
    try:
        urls = msgspec.json.decode(folder.urls_file.read_bytes(), type=StackUrls)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    # a stack that was killed leaves its file behind, and another process may hold the lock now
    alive = started(urls.pid) is not None and folder.lock_pid() == urls.pid
    return urls if alive else None
