"""What the stores do now: asked all at once, and one that hangs holds up nobody."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from agent_sidecar.errors import SidecarError
from agent_sidecar.live.admission import REFUSED_AT
from agent_sidecar.parts import Parts
from agent_sidecar.ports import Projection

# what a store may take to answer, its counts included
ANSWER_S = 2.0

Row = dict[str, object]


class StoreStatus:
    """Answers what the stores do now."""

    def __init__(self, parts: Parts, orphans: asyncio.TaskGroup) -> None:
        """`orphans` is the process's group: a question to a store that hangs dies there."""
        self._parts = parts
        self._orphans = orphans

    def ready(self) -> tuple[bool, Mapping[str, object]]:
        """Say whether new calls can be served: the journal decides, stores only degrade."""
        lag_ms = self._parts.lag.p99_ms
        limit_ms = REFUSED_AT * self._parts.settings.admission_lag_ms
        watch = self._parts.watch
        return lag_ms <= limit_ms and watch.is_ready, {
            "lag_p99_ms": round(lag_ms, 1),
            "lag_limit_ms": limit_ms,
            "journal": watch.view(),
            "degraded": watch.alarms,
        }

    async def stores(self) -> Mapping[str, object]:
        """Ask every store now, and the live state: what each counts, takes, and has yet to take."""
        parts = self._parts
        asked: dict[str, Callable[[], Awaitable[Row]]] = {
            "redis": lambda: _measured(parts.stores.live.ping)
        }
        for projection in parts.stores.projections:
            asked[projection.store] = _asking(projection)
        answers = await ask_all(asked, within_s=ANSWER_S, orphans=self._orphans)
        backlog = await parts.journal.backlog()
        since = await parts.journal.waiting_since()
        now = parts.clock.now()
        rows = []
        for projection in parts.stores.projections:
            store = projection.store
            oldest_s = (now - since[store]).total_seconds() if store in since else None
            deliveries: Row = {"oldest_pending_s": oldest_s}
            for state, number in backlog[store].items():
                deliveries[state] = number
            rows.append(
                {
                    "store": store,
                    "engine": projection.engine,
                    **answers[store],
                    "responses": parts.stores.times[store].summary(),
                    "deliveries": deliveries,
                }
            )
        live = {**answers["redis"], "responses": parts.stores.times["redis"].summary()}
        return {"stores": rows, "live_state": {"store": "redis", "engine": "Redis", **live}}


async def ask_all(
    asked: Mapping[str, Callable[[], Awaitable[Row]]],
    *,
    within_s: float,
    orphans: asyncio.TaskGroup,
) -> Mapping[str, Row]:
    """Ask all at once; who fails or is late is not answering, and nobody waits for him."""
    tasks = {
        store: orphans.create_task(_answer(ask), name=f"status:{store}")
        for store, ask in asked.items()
    }
    try:
        await asyncio.wait(tasks.values(), timeout=within_s)
    finally:
        for task in tasks.values():
            task.cancel("status deadline")
    late = {"answering": False, "error": f"no answer within {within_s:g} s"}
    return {
        store: task.result() if task.done() and not task.cancelled() else late
        for store, task in tasks.items()
    }


def _asking(projection: Projection) -> Callable[[], Awaitable[Row]]:
    async def ask() -> Row:
        return {**await _measured(projection.ping), "counts": await projection.counts()}

    return ask


async def _measured(ping: Callable[[], Awaitable[None]]) -> Row:
    began = time.perf_counter()
    await ping()
    return {"response_ms": round((time.perf_counter() - began) * 1000, 2)}


async def _answer(ask: Callable[[], Awaitable[Row]]) -> Row:
    """Turn a failure into an answer, so that it cannot cancel the group."""
    try:
        return {"answering": True, **await ask()}
    except (SidecarError, TimeoutError) as exc:
        return {"answering": False, "error": str(exc) or "no answer in time"}
    except Exception as exc:  # noqa: BLE001 - a defect of one store's question is told as its error
        return {"answering": False, "error": repr(exc)}
