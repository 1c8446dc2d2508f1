"""A data folder's stores and journal for one command: beside the running service, or alone."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from agent_sidecar.adapters.model_prepare import ensure_model
from agent_sidecar.adapters.onnx_embedder import read_card
from agent_sidecar.adapters.sqlite_journal import SqliteJournal
from agent_sidecar.app import open_stack
from agent_sidecar.commands.running import find_running
from agent_sidecar.commands.terminal import screen
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.embedded import StackUrls, running_stack
from agent_sidecar.ports import Projection
from agent_sidecar.settings import Settings
from agent_sidecar.stores import Stores, open_stores


@dataclass(frozen=True, slots=True, kw_only=True)
class Borrowed:
    """What a command works with."""

    stores: Stores
    journal: SqliteJournal
    # the service of the data folder runs: the journal is read-only here, and it delivers
    service_runs: bool

    @property
    def projections(self) -> Sequence[Projection]:
        return self.stores.projections


@asynccontextmanager
async def borrowed_stores(settings: Settings) -> AsyncIterator[Borrowed]:
    """Open everything of the data folder; starts the embedded servers when nobody else does."""
    async with AsyncExitStack() as exits:
        urls: StackUrls | None = running_stack(settings.data_dir)
        # a service that starts or stops answers nobody, and owns the folder all the same
        service_runs = find_running(settings) is not None or urls is not None
        if not service_runs and urls is None:
            with screen.status("starting the data folder's servers"):
                urls = await exits.enter_async_context(open_stack(settings))
        card = read_card(ensure_model(settings.models, settings.model, screen.print))
        journal = await SqliteJournal.open(
            settings.data_dir / "journal.sqlite3", read_only=service_runs
        )
        exits.push_async_callback(journal.aclose)
        stores = await exits.enter_async_context(
            open_stores(settings, urls, model=card.name, dimension=card.dimension)
        )
        yield Borrowed(stores=stores, journal=journal, service_runs=service_runs)


async def finished_records(
    borrowed: Borrowed, *, since: datetime | None = None, only_evidence: bool = True
) -> AsyncIterator[Sequence[CallRecord]]:
    """Yield finished calls, each once: those of the journal, then what only the store has."""

    def wanted(record: CallRecord) -> bool:
        young = since is None or record.started_at >= since
        return young and (record.is_evidence or not only_evidence)

    journalled = set()
    async for committed in borrowed.journal.records():
        journalled |= {one.record.call_id for one in committed}
        yield [one.record for one in committed if wanted(one.record)]
    stored = borrowed.stores.conversations.records(since=since, without=journalled)
    async for some in stored:
        yield [record for record in some if wanted(record)]
