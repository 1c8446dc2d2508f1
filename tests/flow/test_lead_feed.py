import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import pytest
from structlog.testing import capture_logs

from agent_sidecar.domain.types import Lead
from agent_sidecar.errors import StoreUnavailable
from agent_sidecar.ports import ChangedLead
from agent_sidecar.wrapup.lead_feed import BATCH, LOOK_S, LeadFeed
from agent_sidecar.wrapup.relay import RelayLimits

LIMITS = RelayLimits(random=Random(7))  # noqa: S311 - the same pauses in every run


@dataclass
class Crm:
    """Leads and which of them changed; may be down."""

    leads: dict[str, Lead] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    is_down: bool = False

    def change(self, lead_id: str, status: str) -> None:
        self.leads[lead_id] = Lead(lead_id=lead_id, status=status)
        self.waiting.append(lead_id)

    async def tell(
        self, take: Callable[[Sequence[ChangedLead]], Awaitable[None]], *, most: int
    ) -> int:
        if self.is_down:
            raise StoreUnavailable("the CRM is down")
        told = self.waiting[:most]
        if told:
            await take([ChangedLead(lead_id=i, lead=self.leads.get(i)) for i in told])
        del self.waiting[: len(told)]
        return len(told)

    async def change_all(self) -> None:
        self.waiting += [i for i in self.leads if i not in self.waiting]


@dataclass
class Graph:
    """What was told, and in how many goes; may be down."""

    statuses: dict[str, str] = field(default_factory=dict)
    writes: int = 0
    is_down: bool = False
    knows_all: bool = True

    async def were_all_told(self) -> bool:
        return self.knows_all

    async def note_all_told(self) -> None:
        self.knows_all = True

    async def write(self, leads: Sequence[ChangedLead]) -> None:
        if self.is_down:
            raise StoreUnavailable("the graph is down")
        self.writes += 1
        for changed in leads:
            if changed.lead is None:
                self.statuses.pop(changed.lead_id, None)
            else:
                self.statuses[changed.lead_id] = changed.lead.status


@pytest.fixture
def crm() -> Crm:
    return Crm()


@pytest.fixture
def graph() -> Graph:
    return Graph()


@asynccontextmanager
async def running(crm: Crm, graph: Graph) -> AsyncIterator[LeadFeed]:
    feed = LeadFeed(crm, graph, limits=LIMITS)
    task = asyncio.create_task(feed.run())
    yield feed
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_change_that_nobody_announced_is_told_soon(crm: Crm, graph: Graph):
    async with running(crm, graph):
        await asyncio.sleep(1)
        crm.change("ada", "qualified")
        await asyncio.sleep(LOOK_S)
        assert graph.statuses == {"ada": "qualified"}


async def test_one_that_was_announced_is_told_at_once(crm: Crm, graph: Graph):
    async with running(crm, graph) as feed:
        await asyncio.sleep(1)
        crm.change("ada", "closed")
        feed.wake()
        await asyncio.sleep(0.01)
        assert graph.statuses == {"ada": "closed"}


async def test_many_are_told_in_batches_without_a_pause(crm: Crm, graph: Graph):
    for number in range(2 * BATCH + 1):
        crm.change(f"lead-{number}", "contacted")
    async with running(crm, graph):
        await asyncio.sleep(0.01)
        assert (len(graph.statuses), graph.writes) == (2 * BATCH + 1, 3)


async def test_what_a_graph_that_is_down_misses_is_told_when_it_is_back(crm: Crm, graph: Graph):
    crm.change("ada", "qualified")
    graph.is_down = True
    with capture_logs() as logs:
        async with running(crm, graph):
            await asyncio.sleep(3600)
            crm.change("bob", "closed")
            graph.is_down = False
            await asyncio.sleep(LIMITS.longest_pause_s)
            assert graph.statuses == {"ada": "qualified", "bob": "closed"}
    assert [line["event"] for line in logs] == ["leads_not_told", "leads_told_again"]


async def test_a_crm_that_is_down_is_asked_again(crm: Crm, graph: Graph):
    crm.is_down = True
    async with running(crm, graph):
        await asyncio.sleep(60)
        crm.is_down = False
        crm.change("ada", "contacted")
        await asyncio.sleep(LIMITS.longest_pause_s)
        assert graph.statuses == {"ada": "contacted"}


async def test_a_graph_that_was_made_anew_is_told_of_everybody(crm: Crm, graph: Graph):
    for name in ("ada", "bob"):
        crm.change(name, "contacted")
    async with running(crm, graph):
        await asyncio.sleep(1)
        graph.statuses.clear()
        graph.knows_all = False
        await asyncio.sleep(LOOK_S)
        assert graph.statuses == {"ada": "contacted", "bob": "contacted"}
        assert graph.knows_all


async def test_a_deleted_lead_goes(crm: Crm, graph: Graph):
    crm.change("ada", "contacted")
    async with running(crm, graph) as feed:
        await asyncio.sleep(1)
        del crm.leads["ada"]
        crm.waiting.append("ada")
        feed.wake()
        await asyncio.sleep(0.01)
        assert graph.statuses == {}
