"""The driver layer of PostgreSQL: what its adapters share, and the only thing they may.

`PgPool` runs work in a transaction and translates the driver's errors; `apply_schema` brings
tables to the newest version; `lead_rows` finds and writes leads inside somebody's transaction.
"""

from agent_sidecar.adapters.pg.pool import Connection, PgPool
from agent_sidecar.adapters.pg.schema import apply_schema

__all__ = ["Connection", "PgPool", "apply_schema"]
