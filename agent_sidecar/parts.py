"""What lives as long as the process: its journal, stores, model, playbook and metrics."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import structlog

from agent_sidecar.adapters.model_prepare import ensure_model
from agent_sidecar.adapters.onnx_embedder import OnnxEmbedder
from agent_sidecar.adapters.playbook_vectors import PlaybookVectors
from agent_sidecar.adapters.sqlite_journal import SqliteJournal
from agent_sidecar.adapters.weights_file import weights_in_use
from agent_sidecar.clock import SystemClock
from agent_sidecar.codecs import Codecs
from agent_sidecar.domain.engagement import Weights
from agent_sidecar.domain.language import Reader
from agent_sidecar.domain.listener import warm_up
from agent_sidecar.domain.playbook import Playbook
from agent_sidecar.domain.strategies import why_not_live
from agent_sidecar.domain.types import Vector
from agent_sidecar.embedded import StackUrls
from agent_sidecar.learning.metrics import LearningMetrics
from agent_sidecar.live.closers import ScheduledClosers
from agent_sidecar.live.hub import Hub
from agent_sidecar.settings import Settings
from agent_sidecar.stores import Stores, migrate_at_start, open_stores
from agent_sidecar.telemetry import LagMeter, Metrics
from agent_sidecar.upkeep import (
    playbook_vectors,
)
from agent_sidecar.wrapup.journal_watch import JournalWatch, WatchLimits

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the service is made of, opened."""

    settings: Settings
    stores: Stores
    journal: SqliteJournal
    playbook: Playbook
    # of the playbook's texts
    vectors: Mapping[str, Vector]
    reader: Reader
    weights: Weights
    embedder: OnnxEmbedder
    codecs: Codecs
    metrics: Metrics
    lag: LagMeter
    watch: JournalWatch
    hub: Hub
    closers: ScheduledClosers
    learning: LearningMetrics
    clock: SystemClock


async def open_parts(
    settings: Settings, urls: StackUrls | None, playbook: Playbook, exits: AsyncExitStack
) -> Parts:
    clock = SystemClock()
    journal = await SqliteJournal.open(settings.data_dir / "journal.sqlite3", clock=clock)
    exits.push_async_callback(journal.aclose)
    folder = await asyncio.to_thread(
        ensure_model,
        settings.models,
        settings.model,
        lambda text: log.info("model_prepared", step=text),
    )
    embedder = await asyncio.to_thread(OnnxEmbedder.open, folder)
    exits.push_async_callback(embedder.aclose)
    weights = await asyncio.to_thread(_open_weights, settings, embedder, playbook)
    await asyncio.to_thread(warm_up)
    stores = await exits.enter_async_context(
        open_stores(settings, urls, model=embedder.name, dimension=embedder.dimension)
    )
    await migrate_at_start(stores)
    kept = PlaybookVectors(settings.data_dir, embedder.card)
    vectors = await playbook_vectors(embedder, playbook, kept)
    closers = ScheduledClosers(stores.schedule, stores.live, wrap_up_s=settings.closer_wrap_up_s)
    metrics = Metrics()
    return Parts(
        settings=settings,
        stores=stores,
        journal=journal,
        playbook=playbook,
        vectors=vectors,
        reader=Reader(playbook, vectors),
        weights=weights,
        embedder=embedder,
        codecs=await Codecs.load(settings.l16_byte_order),
        metrics=metrics,
        lag=LagMeter(metrics),
        watch=JournalWatch(
            journal,
            WatchLimits(alarm_mb=settings.journal_alarm_mb, disk_low_mb=settings.disk_low_mb),
            metrics,
        ),
        hub=Hub(onward=stores.live.publish_message),
        closers=closers,
        learning=LearningMetrics(stores.metrics, clock, settings.learning_zone),
        clock=clock,
    )


def _open_weights(settings: Settings, embedder: OnnxEmbedder, playbook: Playbook) -> Weights:
    weights = weights_in_use(settings.weights, model=embedder.name, dimension=embedder.dimension)
    if weights.score is None:
        what_to_do = "run `agent-sidecar learn fit` on calls of your own"
        log.warning("score_not_fitted", model=embedder.name, what_to_do=what_to_do)
    if (why := why_not_live(weights.strategies, playbook)) is not None:
        log.warning("fitted_strategies_not_used", weights=weights.version, why=why)
        return replace(weights, strategies=None)
    return weights
