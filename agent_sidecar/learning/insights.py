"""What all four stores know together about a kind of lead, under one deadline.

The stored lead and the vector of the words come first, at once; then every store is asked at once.
A store that is out or late is named in `degraded`, and nobody waits for it. What was asked of it
goes on in the process's own task group for `GIVE_UP_S`: a store that was idle reads its indexes
from the disk for the first question, and would never have them if that one were taken back in the
middle. As long as a question lives it counts, so that they do not pile up in a store that swallows
them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from agent_sidecar.domain.insights import (
    EXAMPLES,
    CallGroup,
    ExampleCall,
    GraphAnswer,
    InsightRequest,
    Insights,
    Moment,
    Profile,
    availability_effect,
    closest_moments,
    profile_of,
    relationships,
    success_patterns,
)
from agent_sidecar.domain.playbook import Playbook
from agent_sidecar.domain.synthesis import synthesize
from agent_sidecar.domain.tally import kinds
from agent_sidecar.domain.types import Lead, ObjectionType, Vector
from agent_sidecar.errors import EmbeddingFailed, StoreUnavailable
from agent_sidecar.ports import Embedder, Leads

log = structlog.get_logger()

# all of it; half a second on the wire is promised
DEADLINE_S = 0.4
# of it the lead and the words may take so much before the stores are asked without them
FIRST_S = 0.15
# what one store may take, though nobody waits for it any more
GIVE_UP_S = 3.0
# questions to one store that have not ended; more are not asked
AT_ONCE = 8


class SuccessReads(Protocol):
    """The tables, as far as insights need them."""

    async def success(self, profile: Profile) -> Sequence[CallGroup]: ...


class GraphReads(Protocol):
    """The graph, as far as insights need it."""

    async def relationships(
        self, profile: Profile, objections: Sequence[ObjectionType]
    ) -> GraphAnswer: ...


class MomentReads(Protocol):
    """The vectors, as far as insights need them."""

    async def similar(
        self, text: Vector | None, objections: Mapping[ObjectionType, Vector]
    ) -> Sequence[Moment]: ...


class ExampleReads(Protocol):
    """The conversations, as far as insights need them."""

    async def examples(self, kinds: Sequence[str], *, most: int) -> Sequence[ExampleCall]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class InsightParts:
    """What insights are made of."""

    leads: Leads
    embedder: Embedder
    success: SuccessReads
    graph: GraphReads
    moments: MomentReads
    examples: ExampleReads
    playbook: Playbook
    # of the playbook's texts
    vectors: Mapping[str, Vector]
    # the process's group: what lost the race dies there
    orphans: asyncio.TaskGroup


class InsightDesk:
    """Answers who asks about a kind of lead."""

    def __init__(self, parts: InsightParts, *, deadline_s: float = DEADLINE_S) -> None:
        self._parts = parts
        self._deadline_s = deadline_s
        self._alive: dict[str, set[asyncio.Task[Any]]] = {}
        # how each objection usually sounds
        self._usual = {
            objection.type: parts.vectors[objection.wordings[0]]
            for objection in parts.playbook.objections
            if objection.wordings and objection.wordings[0] in parts.vectors
        }

    async def ask(self, request: InsightRequest) -> Insights:
        """Return what is known in time; never raises for a store that is out, never is late."""
        began = _now_s()
        first, lacked = await self._ask_all(
            self._about(request), until=began + min(FIRST_S, self._deadline_s / 2)
        )
        profile = profile_of(request, first.get("postgres"), self._parts.playbook)
        vector: Vector | None = first.get("embedding")
        answers, late = await self._ask_all(
            self._stores(profile, vector), until=began + self._deadline_s
        )
        return self._together(
            profile, answers, degraded=lacked | late, latency_ms=(_now_s() - began) * 1000
        )

    def _about(self, request: InsightRequest) -> Mapping[str, Callable[[], Awaitable[object]]]:
        """Return what has to be known before the stores can be asked."""
        asked: dict[str, Callable[[], Awaitable[object]]] = {}
        if request.lead_id or request.phone:
            asked["postgres"] = lambda: self._lead(request)
        if request.text:
            asked["embedding"] = lambda: self._vector(request.text or "")
        return asked

    def _stores(
        self, profile: Profile, vector: Vector | None
    ) -> Mapping[str, Callable[[], Awaitable[object]]]:
        parts = self._parts
        objections = [
            objection.type
            for objection in parts.playbook.objections
            if profile.objection in (None, objection.type)
        ]
        usual = {o: self._usual[o] for o in objections if o in self._usual}
        return {
            "postgres": lambda: parts.success.success(profile),
            "neo4j": lambda: parts.graph.relationships(profile, objections),
            "chroma": lambda: parts.moments.similar(vector, usual),
            "conversations": lambda: parts.examples.examples(kinds(profile.kind), most=EXAMPLES),
        }

    def _together(
        self,
        profile: Profile,
        answers: Mapping[str, Any],
        *,
        degraded: set[str],
        latency_ms: float,
    ) -> Insights:
        groups, graph, moments = (answers.get(name) for name in ("postgres", "neo4j", "chroma"))
        success = None if groups is None else success_patterns(profile, groups)
        availability = None if groups is None else availability_effect(profile, groups)
        related = None if graph is None else relationships(profile, graph)
        met = None if related is None else [objection.type for objection in related.objections]
        closest = None if moments is None else closest_moments(moments, met)
        examples = answers.get("conversations")
        return Insights(
            profile=profile,
            success=success,
            availability=availability,
            relationships=related,
            moments=closest,
            examples=None if examples is None else tuple(examples),
            synthesis=synthesize(
                success=success,
                availability=availability,
                relationships=related,
                moments=closest,
                examples=examples,
            ),
            degraded=tuple(sorted(degraded)),
            latency_ms=round(latency_ms, 2),
        )

    async def _ask_all(
        self, asked: Mapping[str, Callable[[], Awaitable[object]]], *, until: float
    ) -> tuple[Mapping[str, Any], set[str]]:
        """Return the answers that came by then (loop time), and the names of the others."""
        running = {name: task for name, ask in asked.items() if (task := self._begin(name, ask))}
        try:
            if running:
                await asyncio.wait(running.values(), timeout=max(0.0, until - _now_s()))
        except asyncio.CancelledError:
            for task in running.values():
                task.cancel("who asked has left")
            raise
        answers = {}
        for name, task in running.items():
            if task.done() and not task.cancelled() and (answer := task.result()) is not None:
                answers[name] = answer[0]
        return answers, asked.keys() - answers.keys()

    def _begin(
        self, name: str, ask: Callable[[], Awaitable[object]]
    ) -> asyncio.Task[tuple[object] | None] | None:
        """Begin to ask; None: too much that was asked of it has not ended yet."""
        alive = self._alive.setdefault(name, set())
        if len(alive) >= AT_ONCE:
            return None
        task = self._parts.orphans.create_task(_answer(name, ask), name=f"insights:{name}")
        alive.add(task)
        task.add_done_callback(alive.discard)
        return task

    async def _lead(self, request: InsightRequest) -> Lead | None:
        if request.lead_id:
            return await self._parts.leads.get(request.lead_id)
        found = await self._parts.leads.find(phone=request.phone, limit=1)
        return found[0] if found else None

    async def _vector(self, text: str) -> Vector:
        [vector] = await self._parts.embedder.embed([text])
        return vector


async def _answer(name: str, ask: Callable[[], Awaitable[object]]) -> tuple[object] | None:
    """Return the answer in a tuple; None: it failed, which must not cancel the group."""
    try:
        async with asyncio.timeout(GIVE_UP_S):
            return (await ask(),)
    except (StoreUnavailable, EmbeddingFailed, TimeoutError) as exc:
        log.warning("insights_lacked", source=name, error=str(exc) or "no answer in time")
    except Exception:  # one source's bug must not cost the others' answers
        log.exception("insights_broke", source=name, what_to_do="report this")
    return None


def _now_s() -> float:
    return asyncio.get_running_loop().time()
