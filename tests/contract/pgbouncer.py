"""PgBouncer in transaction mode before a PostgreSQL, as Neon's pooled address is.

Debian's package is found by its name; without it nothing is started. Between two transactions a
session forgets everything, also where one client happens to get the same session again.
"""

import asyncio
import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from agent_sidecar.embedded.folder import free_port

NOT_INSTALLED = "PgBouncer is not installed (Debian: apt install pgbouncer)"
READY_S = 10.0
_SETTINGS = """
[databases]
* = host={host} port={port} user={user} password={password}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
# everybody is that one user: it listens on this machine, for as long as the tests run
auth_type = any
pool_mode = transaction
default_pool_size = 6
max_client_conn = 200
server_reset_query = DISCARD ALL
server_reset_query_always = 1
"""


@contextlib.asynccontextmanager
async def pgbouncer_before(url: str) -> AsyncIterator[int | None]:
    """Run PgBouncer before this server for as long as the block lasts; None: not installed."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        yield None
        return
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as folder:
        child = _start(program, Path(folder), url, port)
        try:
            await _ready(child, port)
            yield port
        finally:
            child.kill()
            child.wait()


def _start(program: str, folder: Path, url: str, port: int) -> "subprocess.Popen[bytes]":
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    owner = Path(query["host"][0]).stat()
    file = folder / "pgbouncer.ini"
    file.touch(mode=0o600)
    text = _SETTINGS.format(
        host=query["host"][0],
        port=query["port"][0],
        user=parts.username,
        password=unquote(parts.password or ""),
        listen_port=port,
    )
    file.write_text(text)
    is_root = os.geteuid() == 0
    if is_root:
        # it refuses to be root, and only the server's own user may enter its folder of sockets
        for path in (folder, file):
            os.chown(path, owner.st_uid, owner.st_gid)
        # nor may he pass through the data folder, which is root's alone
        Path(query["host"][0]).parents[1].chmod(0o711)
    return subprocess.Popen(  # noqa: S603  # Debian's own program
        (program, "-q", str(file)),
        user=owner.st_uid if is_root else None,
        group=owner.st_gid if is_root else None,
        extra_groups=[] if is_root else None,
        stdin=subprocess.DEVNULL,
    )


async def _ready(child: "subprocess.Popen[bytes]", port: int) -> None:
    async with asyncio.timeout(READY_S):
        while child.poll() is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
    raise RuntimeError(f"PgBouncer ended with {child.returncode}: what it said is above")
