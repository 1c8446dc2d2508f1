"""A PostgreSQL URL, read for what the driver does not know of."""

from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from agent_sidecar.errors import SettingsInvalid

# said of a pooled address by other clients; the driver would pass them on as server settings,
# which the server refuses
_OTHER_CLIENTS = frozenset(
    {"channel_binding", "connection_limit", "pgbouncer", "pool_timeout", "statement_cache_size"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PgAddress:
    """Where a server is, how to reach it, and whether PgBouncer stands before it."""

    # with the password
    dsn: str = field(repr=False)
    # for people, without it
    place: str
    # in transaction mode: statements must not be prepared for later
    pooled: bool

    @classmethod
    def parse(cls, url: str, *, setting: str) -> Self:
        """Read a URL; Neon's and Supabase's pooled hosts are known, others say `pgbouncer=true`.

        Raises `SettingsInvalid`.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as exc:
            raise SettingsInvalid(f"{setting}: the URL cannot be read ({exc})") from None
        if parts.scheme not in {"postgres", "postgresql"}:
            raise SettingsInvalid(f"{setting}: must begin with postgresql://")
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        host = parts.hostname or query.get("host", "localhost")
        kept = {name: value for name, value in query.items() if name not in _OTHER_CLIENTS}
        return cls(
            dsn=parts._replace(query=urlencode(kept)).geturl(),
            place=f"{host}{f':{port}' if port else ''}/{parts.path.lstrip('/')}",
            pooled=_is_pooled(host, query),
        )


def _is_pooled(host: str, query: dict[str, str]) -> bool:
    if query.get("pgbouncer", "").lower() == "true" or query.get("statement_cache_size") == "0":
        return True
    first, _, domain = host.partition(".")
    return first.endswith("-pooler") or domain.startswith("pooler.")
