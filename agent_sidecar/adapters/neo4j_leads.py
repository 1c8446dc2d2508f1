"""Leads in the graph as the CRM has them: what a person changed after a call is found there too."""

from collections.abc import Sequence

from agent_sidecar.adapters import neo4j_statements as cypher
from agent_sidecar.adapters.bolt import Bolt, Run
from agent_sidecar.domain.facts import lead_facts
from agent_sidecar.errors import StoreUnavailable
from agent_sidecar.ports import ChangedLead


class Neo4jLeads:
    """`wrapup.lead_feed.LeadNodes`."""

    def __init__(self, bolt: Bolt) -> None:
        self._bolt = bolt

    async def were_all_told(self) -> bool:
        """Say whether this graph was ever told of every lead; one made anew was not."""
        return bool(await self._bolt.read(cypher.WERE_ALL_TOLD))

    async def note_all_told(self) -> None:
        """Remember in the graph itself that every lead is on its way to it."""

        async def work(run: Run) -> None:
            await run(cypher.NOTE_ALL_TOLD)

        await self._bolt.write(work)

    async def write(self, leads: Sequence[ChangedLead]) -> None:
        """Make the nodes of these leads what the CRM says; delete those of deleted leads."""
        gone = [changed.lead_id for changed in leads if changed.lead is None]
        kept = [(changed.lead_id, changed.lead) for changed in leads if changed.lead is not None]
        rows = [
            {
                "id": lead_id,
                "alias": lead.external_id,
                # from now on no record of a call writes them
                "properties": {**lead_facts(lead), "from_crm": True},
            }
            for lead_id, lead in kept
        ]

        async def work(run: Run) -> None:
            if not await run(cypher.LOCK):
                raise StoreUnavailable("the graph has no schema yet: run `agent-sidecar migrate`")
            if rows:
                await run(cypher.LEADS, rows=rows)
            if aliased := [row for row in rows if row["alias"]]:
                await run(cypher.LEADS_BY_ALIAS, rows=aliased)
            if gone:
                await run(cypher.DELETE_LEADS, ids=gone)

        await self._bolt.write(work)
