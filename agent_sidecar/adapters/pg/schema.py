"""Brings tables to the newest version: numbered files, each once, each in its own transaction."""

from collections.abc import Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable

from agent_sidecar.adapters.pg.pool import Connection, PgPool

# two processes may migrate at once; the number only has to be ours
_LOCK = "SELECT pg_advisory_xact_lock(718150411)"
_CREATE_LOG = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    part text NOT NULL,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (part, name)
)
"""
_IS_APPLIED = "SELECT EXISTS (SELECT FROM schema_migrations WHERE part = $1 AND name = $2)"
_LOG = "INSERT INTO schema_migrations (part, name) VALUES ($1, $2)"


async def apply_schema(pool: PgPool, part: str) -> Sequence[str]:
    """Apply what is new of `schema/postgres/<part>`; return the files that were applied.

    Safe to repeat and to run twice at once. Raises `StoreUnavailable`.
    """
    folder = files("agent_sidecar").joinpath("adapters", "schema", "postgres", part)
    scripts = sorted(
        (file for file in folder.iterdir() if file.name.endswith(".sql")),
        key=lambda file: file.name,
    )
    return [f"{part}/{file.name}" for file in scripts if await _apply(pool, part, file)]


async def _apply(pool: PgPool, part: str, script: Traversable) -> bool:
    async def work(connection: Connection) -> bool:
        await connection.execute(_LOCK)
        await connection.execute(_CREATE_LOG)
        if await connection.fetchval(_IS_APPLIED, part, script.name):
            return False
        await connection.execute(script.read_text(encoding="utf-8"))
        await connection.execute(_LOG, part, script.name)
        return True

    return await pool.transact(work)
