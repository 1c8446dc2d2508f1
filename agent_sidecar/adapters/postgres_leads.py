"""Leads in PostgreSQL: who is called, each once.

A number that is none (a typing error, a word) does not refuse its lead: `phone` stays empty and
what was written is kept in `extra["phone"]`. A withheld number counts as not given.
"""

from collections.abc import Sequence
from uuid import UUID, uuid4

from agent_sidecar.adapters.pg import Connection, PgPool, lead_rows
from agent_sidecar.adapters.phones import DEFAULT_REGION, e164
from agent_sidecar.domain.types import Lead
from agent_sidecar.errors import RecordRejected

_GET = "SELECT * FROM leads WHERE id = $1"
_BY_PHONE = "SELECT * FROM leads WHERE phone = $1"
_LATEST = "SELECT * FROM leads ORDER BY updated_at DESC, id LIMIT $1"


class PostgresLeads:
    """`ports.Leads`; `region` (two letters) is where numbers without a country code are dialled."""

    def __init__(self, pool: PgPool, *, region: str = DEFAULT_REGION) -> None:
        self._pool = pool
        self._region = region

    async def find_or_create(self, lead: Lead) -> Lead:
        """Return the stored lead with that id, external id, phone or e-mail; else create one.

        What is given completes what is stored. Safe to run twice at once.
        """
        # decided here, so that a second try after a lost answer finds what the first made
        spare_id = uuid4()

        async def work(connection: Connection) -> Lead:
            return await lead_rows.find_or_create(
                connection, lead, spare_id=spare_id, region=self._region
            )

        return await self._pool.transact(work)

    async def get(self, lead_id: str) -> Lead | None:
        """Return the lead of that id (ours)."""
        try:
            wanted = UUID(lead_id)
        except ValueError:
            return None

        async def work(connection: Connection) -> Lead | None:
            row = await connection.fetchrow(_GET, wanted)
            return None if row is None else lead_rows.lead_of(row)

        return await self._pool.transact(work, readonly=True)

    async def put(self, lead: Lead) -> Lead:
        """Change the stored lead, made if missing; fields that are None stay, `new` says nothing.

        A status that is given here outranks every call so far. Raises `RecordRejected` when a key
        (phone, e-mail, external id) is another lead's.
        """

        async def work(connection: Connection) -> Lead:
            return await lead_rows.put(connection, lead, region=self._region)

        return await self._pool.transact(work)

    async def take_in(self, leads: Sequence[Lead]) -> Sequence[str]:
        """Change or make the leads of a list; return `created`, `changed`, `unchanged` or why not.

        A list may be old: a status counts only where the stored one is still `new`. Twice is as
        once.
        """
        try:
            return await self._pool.transact(lambda connection: self._each(connection, leads))
        except RecordRejected as exc:
            # PostgreSQL itself refused one, and with it the whole transaction
            if len(leads) == 1:
                return [str(exc)]
        return [said for lead in leads for said in await self.take_in([lead])]

    async def _each(self, connection: Connection, leads: Sequence[Lead]) -> Sequence[str]:
        said: list[str] = []
        for lead in leads:
            try:
                said.append(await lead_rows.take_in(connection, lead, region=self._region))
            except RecordRejected as exc:
                said.append(str(exc))
        return said

    async def find(self, *, phone: str | None = None, limit: int = 50) -> Sequence[Lead]:
        """Return the lead of that phone, or without one the leads changed last."""
        wanted = None if phone is None else e164(phone, region=self._region)
        if phone is not None and wanted is None:
            return ()

        async def work(connection: Connection) -> Sequence[Lead]:
            if wanted is None:
                rows = await connection.fetch(_LATEST, limit)
            else:
                rows = await connection.fetch(_BY_PHONE, wanted)
            return [lead_rows.lead_of(row) for row in rows]

        return await self._pool.transact(work, readonly=True)
