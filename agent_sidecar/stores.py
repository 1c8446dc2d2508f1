"""Opens the stores that the settings name, or those of the embedded stack."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog
from pydantic import SecretStr

from agent_sidecar.adapters.bolt import Bolt, BoltAddress
from agent_sidecar.adapters.chroma_candidates import ChromaCandidates
from agent_sidecar.adapters.chroma_client import ChromaServer
from agent_sidecar.adapters.chroma_index import ChromaIndex
from agent_sidecar.adapters.chroma_insights import ChromaInsights
from agent_sidecar.adapters.chroma_reads import ChromaReads
from agent_sidecar.adapters.mongo_conversations import MongoConversations
from agent_sidecar.adapters.neo4j_audit import Neo4jAudit
from agent_sidecar.adapters.neo4j_evidence import Neo4jEvidence
from agent_sidecar.adapters.neo4j_graph import Neo4jGraph
from agent_sidecar.adapters.neo4j_insights import Neo4jInsights
from agent_sidecar.adapters.neo4j_leads import Neo4jLeads
from agent_sidecar.adapters.pg.pool import PgPool
from agent_sidecar.adapters.postgres_conversations import PostgresConversations
from agent_sidecar.adapters.postgres_copies import PostgresCopies
from agent_sidecar.adapters.postgres_crm import PostgresCrm
from agent_sidecar.adapters.postgres_insights import PostgresInsights
from agent_sidecar.adapters.postgres_lead_changes import PostgresLeadChanges
from agent_sidecar.adapters.postgres_lead_rows import PostgresLeadRows
from agent_sidecar.adapters.postgres_leads import PostgresLeads
from agent_sidecar.adapters.postgres_metrics import PostgresMetrics
from agent_sidecar.adapters.postgres_schedule import PostgresSchedule
from agent_sidecar.adapters.redis_live import RedisLive
from agent_sidecar.embedded import StackUrls
from agent_sidecar.errors import SettingsInvalid, StoreUnavailable
from agent_sidecar.ports import Conversations, Journal, Projection
from agent_sidecar.settings import Settings
from agent_sidecar.telemetry import ResponseTimes
from agent_sidecar.wrapup.verify import Audited

log = structlog.get_logger()

# how long a store may take for its schema at the start, before the service goes on without
MIGRATE_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class InsightReads:
    """Each store as insights ask it."""

    success: PostgresInsights
    graph: Neo4jInsights
    moments: ChromaInsights
    examples: PostgresConversations | MongoConversations


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Every store of the service, opened."""

    # in the order in which people read them
    projections: tuple[Projection, ...]
    conversations: Conversations
    leads: PostgresLeads
    lead_rows: PostgresLeadRows
    copies: PostgresCopies
    metrics: PostgresMetrics
    lead_changes: PostgresLeadChanges
    lead_nodes: Neo4jLeads
    schedule: PostgresSchedule
    live: RedisLive
    evidence: Neo4jEvidence
    # of the graph
    counts: Neo4jAudit
    candidates: ChromaCandidates
    index: ChromaIndex
    insights: InsightReads
    # by store, `redis` included
    times: Mapping[str, ResponseTimes]


def audited(stores: Stores, journal: Journal) -> Audited:
    """Return what `verify` looks at."""
    return Audited(
        journal=journal,
        projections=stores.projections,
        conversations=stores.conversations,
        counts=stores.counts,
    )


def servers_needed(settings: Settings) -> frozenset[str]:
    """Return the embedded servers that stand in for those without a URL."""
    urls = {
        "postgres": settings.postgres_url,
        "graph": settings.neo4j_url,
        "valkey": settings.redis_url,
        "chroma": settings.chroma_url,
    }
    return frozenset(name for name, url in urls.items() if url is None)


@asynccontextmanager
async def open_stores(
    settings: Settings, urls: StackUrls | None, *, model: str, dimension: int
) -> AsyncIterator[Stores]:
    """Open all stores; nothing is asked of them yet, so one that is down is no error."""
    times: dict[str, ResponseTimes] = defaultdict(ResponseTimes)
    async with AsyncExitStack() as exits:
        postgres = _given(settings.postgres_url, urls.postgres if urls else None, "POSTGRES_URL")
        pool = await exits.enter_async_context(PgPool(postgres, times=times["postgres"]))
        bolt = await exits.enter_async_context(
            Bolt(
                _bolt_address(settings, urls),
                serialize_writes=settings.neo4j_url is None,
                times=times["neo4j"],
            )
        )
        chroma_url = settings.chroma_url or (urls.chroma if urls else None)
        if not chroma_url:
            raise _nowhere("CHROMA_URL")
        chroma = await exits.enter_async_context(
            ChromaServer(chroma_url, model=model, dimension=dimension, times=times["chroma"])
        )
        reads = await exits.enter_async_context(ChromaReads(chroma))
        redis_url = _given(settings.redis_url, urls.redis if urls else None, "REDIS_URL")
        live = await RedisLive.open(redis_url, times=times["redis"])
        exits.push_async_callback(live.aclose)
        conversations = await _open_conversations(settings, postgres, times["conversations"], exits)
        index = ChromaIndex(chroma)
        yield Stores(
            projections=(conversations, PostgresCrm(pool), Neo4jGraph(bolt), index),
            conversations=conversations,
            leads=PostgresLeads(pool),
            lead_rows=PostgresLeadRows(pool),
            copies=PostgresCopies(pool),
            metrics=PostgresMetrics(pool),
            lead_changes=PostgresLeadChanges(pool),
            lead_nodes=Neo4jLeads(bolt),
            schedule=PostgresSchedule(pool),
            live=live,
            evidence=Neo4jEvidence(bolt),
            counts=Neo4jAudit(bolt),
            candidates=ChromaCandidates(reads),
            index=index,
            insights=InsightReads(
                success=PostgresInsights(pool),
                graph=Neo4jInsights(bolt),
                moments=ChromaInsights(reads),
                examples=conversations,
            ),
            times=times,
        )


async def _open_conversations(
    settings: Settings, postgres: str, times: ResponseTimes, exits: AsyncExitStack
) -> PostgresConversations | MongoConversations:
    """Open MongoDB, or the documents in PostgreSQL over connections of their own.

    So whole conversations that are written hold up no lead that is looked up.
    """
    if settings.mongodb_url is not None:
        url = settings.mongodb_url.get_secret_value()
        return await exits.enter_async_context(MongoConversations(url, times=times))
    pool = await exits.enter_async_context(PgPool(postgres, connections=4, times=times))
    return PostgresConversations(pool)


async def migrate(projections: Sequence[Projection]) -> dict[str, Sequence[str]]:
    """Bring every schema to its newest version; return what was applied, by store."""
    return {p.store: await p.migrate() for p in projections}


def _bolt_address(settings: Settings, urls: StackUrls | None) -> BoltAddress:
    if settings.neo4j_url is not None:
        password = settings.neo4j_password
        return BoltAddress(
            url=settings.neo4j_url,
            user=settings.neo4j_user,
            password=password.get_secret_value() if password else "",
            database=settings.neo4j_database,
        )
    if urls is None or urls.neo4j is None:
        raise _nowhere("NEO4J_URL")
    return BoltAddress(
        url=urls.neo4j, user=urls.neo4j_user or "", password=urls.neo4j_password or ""
    )


def _given(setting: SecretStr | None, embedded: str | None, name: str) -> str:
    if setting is not None:
        return setting.get_secret_value()
    if embedded is None:
        raise _nowhere(name)
    return embedded


def _nowhere(name: str) -> SettingsInvalid:
    return SettingsInvalid(
        f"SIDECAR_{name} is not set and no embedded server runs in its place: start"
        " `agent-sidecar serve` on this data folder, or set it"
    )


async def migrate_at_start(stores: Stores) -> None:
    """Bring schemas up to date; a store that is down now is migrated by `migrate` or a restart."""
    async with asyncio.TaskGroup() as tasks:
        for projection in stores.projections:
            tasks.create_task(_migrate_one(projection), name=f"migrate:{projection.store}")


async def _migrate_one(projection: Projection) -> None:
    try:
        async with asyncio.timeout(MIGRATE_S):
            applied = await projection.migrate()
    except (StoreUnavailable, TimeoutError) as exc:
        what_to_do = "start it, then run `agent-sidecar migrate`"
        log.warning(
            "store_not_migrated",
            store=projection.store,
            error=str(exc) or "no answer in time",
            what_to_do=what_to_do,
        )
    else:
        if applied:
            log.info("schema_migrated", store=projection.store, applied=list(applied))
