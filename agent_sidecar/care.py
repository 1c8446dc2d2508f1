"""What keeps the stores right: comparing and mending them, making one anew."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from agent_sidecar.domain.types import StoreName
from agent_sidecar.learning.renewal import renewed
from agent_sidecar.live.telling import alone
from agent_sidecar.parts import Parts
from agent_sidecar.ports import Embedder, Journal
from agent_sidecar.stores import Stores, audited
from agent_sidecar.web.parts import Finding
from agent_sidecar.wrapup.mend import Deliveries, Mender
from agent_sidecar.wrapup.rebuild import Anew, Rebuilder
from agent_sidecar.wrapup.report import Difference
from agent_sidecar.wrapup.sources import Sources
from agent_sidecar.wrapup.verify import verify


def mender(stores: Stores, journal: Journal, deliveries: Deliveries) -> Mender:
    """Return who mends these stores."""
    return Mender(audited(stores, journal), stores.counts, deliveries)


def rebuilder(
    stores: Stores,
    journal: Journal,
    deliveries: Deliveries,
    embedder: Embedder,
    *,
    fill_playbook: Callable[[], Awaitable[None]] | None = None,
) -> Rebuilder:
    """Return who makes these stores anew; vectors of another model are made with this one."""
    return Rebuilder(
        Sources(journal, stores.conversations),
        stores.projections,
        deliveries,
        anew={"chroma": Anew(renew=partial(renewed, embedder=embedder), refill=fill_playbook)},
    )


def open_care(parts: Parts, relay: Deliveries, tasks: asyncio.TaskGroup) -> "Care":
    """Return what looks after the stores of the running service."""
    return Care(
        parts.stores,
        parts.journal,
        mender=mender(parts.stores, parts.journal, relay),
        rebuilder=rebuilder(
            parts.stores,
            parts.journal,
            relay,
            parts.embedder,
            fill_playbook=partial(parts.stores.index.load, parts.playbook, parts.vectors),
        ),
        tasks=tasks,
    )


class Care:
    """What the front door does to the stores of the running service."""

    def __init__(
        self,
        stores: Stores,
        journal: Journal,
        *,
        mender: Mender,
        rebuilder: Rebuilder,
        tasks: asyncio.TaskGroup,
    ) -> None:
        """`tasks` is the process's group: a rebuild outlives the request that asked for it."""
        self._stores = stores
        self._journal = journal
        self._mender = mender
        self._rebuilder = rebuilder
        self._tasks = tasks

    async def resume(self) -> None:
        """Go on with the rebuilds that the last process left."""
        for store in await self._rebuilder.unfinished():
            self._run(store)

    async def verify(self) -> Mapping[str, object]:
        """Compare every record with every store."""
        report = await verify(audited(self._stores, self._journal))
        return {"clean": report.clean, "summary": report.summary(), **report.to_json()}

    async def mend(self, found: Sequence[Finding]) -> Mapping[str, object]:
        """Mend what a comparison has found."""
        done = await self._mender.mend(
            Difference(store=f.store, call_id=f.call_id, text=f.text, kind=f.kind) for f in found
        )
        return {"summary": done.summary(), **done.to_json()}

    async def rebuild(self, store: StoreName) -> Mapping[str, object]:
        """Begin to make it anew, unless that is under way; return how far it is."""
        if await self._rebuilder.begin(store):
            self._run(store)
        return self.rebuild_progress(store)

    def is_rebuilt(self, store: StoreName) -> bool:
        """Return whether it lacks calls because it is made anew."""
        return self._rebuilder.is_under_way(store)

    def rebuild_progress(self, store: StoreName) -> Mapping[str, object]:
        """Return how far it is."""
        return self._rebuilder.progress(store).to_json()

    def _run(self, store: StoreName) -> None:
        self._tasks.create_task(alone(self._rebuilder.run(store)), name=f"rebuild:{store}")
