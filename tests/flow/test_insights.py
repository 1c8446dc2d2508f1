"""What all stores know together, in time whatever one of them does; on virtual time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from agent_sidecar.domain.hints import Evidence
from agent_sidecar.domain.insights import (
    CallGroup,
    ExampleCall,
    GraphAnswer,
    InsightRequest,
    Insights,
    Moment,
    Profile,
    Rates,
)
from agent_sidecar.domain.language import texts_to_embed
from agent_sidecar.domain.types import CallId, Lead, ObjectionType, Vector
from agent_sidecar.errors import EmbeddingFailed, SidecarError, StoreUnavailable
from agent_sidecar.learning.insights import (
    AT_ONCE,
    DEADLINE_S,
    GIVE_UP_S,
    InsightDesk,
    InsightParts,
)
from tests.domain.playbooks import MONEY, STARTED_AT, STORY, TRUST, a_playbook, like
from tests.fakes import Adversity, FakeEmbedder, FakeLeads

ANN = Lead(lead_id="l1", phone="+13125550142", experience_level="beginner")
STORES = ("chroma", "conversations", "neo4j", "postgres")


class FakeReads(Adversity):
    """One store, as insights ask it; remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[Any, ...]] = []
        self.once_answered: Callable[[], None] = lambda: None

    async def _told(self, *asked: Any) -> None:
        self.asked.append(asked)
        await self.strike()
        self.once_answered()

    async def success(self, profile: Profile) -> Sequence[CallGroup]:
        await self._told(profile)
        matches = (True,) * len(profile.kind)
        return [
            CallGroup(matches=matches, closer_free=free, rates=Rates(calls=30, qualified=won))
            for free, won in ((True, 20), (False, 10))
        ]

    async def relationships(
        self, profile: Profile, objections: Sequence[ObjectionType]
    ) -> GraphAnswer:
        await self._told(profile, tuple(objections))
        told = Evidence(strategy=STORY, scope="", tried=61, lifted=40, sunk=21, won=12)
        return GraphAnswer(strategies=(told,))

    async def similar(
        self, text: Vector | None, objections: Mapping[ObjectionType, Vector]
    ) -> Sequence[Moment]:
        await self._told(text, tuple(objections))
        close = Moment(
            call_id=CallId("c1"), text="so?", outcome="video_sent", closeness=0.8, strategy=STORY
        )
        return [close]

    async def examples(self, kinds: Sequence[str], *, most: int) -> Sequence[ExampleCall]:
        await self._told(tuple(kinds))
        return [
            ExampleCall(
                call_id=CallId("c1"), started_at=STARTED_AT, outcome="video_sent", score=70, kind=""
            )
        ]


@dataclass
class Desk:
    """A desk, and all that it asks."""

    desk: InsightDesk
    reads: Mapping[str, FakeReads]
    leads: FakeLeads = field(default_factory=FakeLeads)
    embedder: FakeEmbedder = field(default_factory=FakeEmbedder)

    async def ask(self, **asked: Any) -> tuple[Insights, float]:
        """Ask once; return the answer and how long it took."""
        began = asyncio.get_running_loop().time()
        answer = await self.desk.ask(InsightRequest(**asked))
        return answer, asyncio.get_running_loop().time() - began


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    reads = {store: FakeReads() for store in STORES}
    leads, embedder, playbook = FakeLeads([ANN]), FakeEmbedder(), a_playbook()
    async with asyncio.TaskGroup() as orphans:
        made = InsightDesk(
            InsightParts(
                leads=leads,
                embedder=embedder,
                success=reads["postgres"],
                graph=reads["neo4j"],
                moments=reads["chroma"],
                examples=reads["conversations"],
                playbook=playbook,
                vectors={text: like(text) for text in texts_to_embed(playbook)},
                orphans=orphans,
            )
        )
        yield Desk(made, reads, leads, embedder)


async def test_all_stores_are_asked_at_once_and_told_together(desk: Desk):
    for reads in desk.reads.values():
        reads.answers_after_s = 0.2
    found, took_s = await desk.ask(fields={"experience_level": "beginner"})
    assert took_s == pytest.approx(0.2)
    assert found.degraded == ()
    assert found.latency_ms == pytest.approx(200)
    assert found.success is not None
    assert found.success.kinds[0].rates.calls == 60
    assert found.availability is not None
    assert (found.availability.free.qualified, found.availability.not_free.qualified) == (20, 10)
    assert found.relationships is not None
    assert found.relationships.strategies[0].lifted == 40
    assert found.moments is not None
    assert found.examples is not None
    assert found.synthesis[0].startswith("story lifted 40 of 61")
    assert any("20 of 30 qualified when a closer was free" in said for said in found.synthesis)
    [(kinds,)] = desk.reads["conversations"].asked
    assert kinds == ("", "experience_level=beginner")


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("dies_after_s", [0.0, 3.0])
async def test_one_that_hangs_costs_no_more_than_the_deadline_however_slowly_it_dies(
    desk: Desk, store: str, dies_after_s: float
):
    desk.reads[store].answers_after_s, desk.reads[store].dies_after_s = 60.0, dies_after_s
    found, took_s = await desk.ask()
    assert took_s == pytest.approx(DEADLINE_S)
    assert took_s < 0.5
    assert found.degraded == (store,)
    missing = {
        "postgres": (found.success, found.availability),
        "neo4j": (found.relationships,),
        "chroma": (found.moments,),
        "conversations": (found.examples,),
    }
    for name, parts in missing.items():
        assert all((part is None) is (name == store) for part in parts), name
    assert found.synthesis


@pytest.mark.parametrize(
    "error", [StoreUnavailable("gone"), SidecarError("odd"), ZeroDivisionError()]
)
async def test_one_that_fails_is_named_and_the_others_answer(desk: Desk, error: Exception):
    desk.reads["neo4j"].fails_with = error
    found, took_s = await desk.ask()
    assert (found.degraded, took_s) == (("neo4j",), 0.0)
    assert found.examples is not None


async def test_with_every_store_out_there_is_an_answer_all_the_same(desk: Desk):
    for fake in (*desk.reads.values(), desk.leads):
        fake.fails_with = StoreUnavailable("gone")
    desk.embedder.fails_with = EmbeddingFailed("no model")
    found, _ = await desk.ask(phone=ANN.phone, text="how much is it?")
    assert found.degraded == ("chroma", "conversations", "embedding", "neo4j", "postgres")
    assert found.synthesis == ("Nothing was counted yet that says anything of such a lead.",)


@pytest.mark.parametrize("asked", [{"lead_id": "l1"}, {"phone": ANN.phone}])
async def test_a_stored_lead_s_fields_make_the_profile(desk: Desk, asked: dict[str, str]):
    found, _ = await desk.ask(**asked, fields={"motivation": "high"})
    assert found.profile.lead_id == "l1"
    assert found.profile.kind == (("experience_level", "beginner"), ("motivation", "high"))


@pytest.mark.parametrize("asked", [{"lead_id": "nobody"}, {"phone": "+13125550100"}])
async def test_an_unknown_lead_is_a_stranger_and_no_failure(desk: Desk, asked: dict[str, str]):
    found, _ = await desk.ask(**asked)
    assert (found.profile.lead_id, found.profile.kind, found.degraded) == (None, (), ())


async def test_a_lead_who_is_looked_for_too_long_is_done_without_in_the_same_time(desk: Desk):
    desk.leads.answers_after_s, desk.leads.dies_after_s = 60.0, 60.0
    desk.reads["chroma"].answers_after_s = 60.0
    found, took_s = await desk.ask(lead_id="l1")
    assert took_s == pytest.approx(DEADLINE_S)
    assert found.degraded == ("chroma", "postgres")
    # the tables answered, though not for this lead
    assert found.success is not None
    assert found.profile.kind == ()


async def test_words_are_compared_as_a_vector_and_without_words_what_objections_sound_like(
    desk: Desk,
):
    await desk.ask(text="how much is it?")
    await desk.ask()
    await desk.ask(objection=TRUST, phase=4)
    [by_text, by_all, by_one] = desk.reads["chroma"].asked
    assert by_text[0] is not None
    assert by_all[0] is None
    assert set(by_all[1]) >= {MONEY, TRUST}
    assert by_one == (None, (TRUST,))
    assert desk.reads["neo4j"].asked[-1][1] == (TRUST,)
    assert desk.reads["neo4j"].asked[-1][0].phase == 4


async def test_words_without_a_vector_cost_only_what_needs_it(desk: Desk):
    desk.embedder.answers_after_s = 60.0
    found, took_s = await desk.ask(text="how much is it?")
    assert took_s < 0.5
    assert found.degraded == ("embedding",)
    assert found.moments is not None


async def test_questions_do_not_pile_up_in_a_store_that_swallows_them(desk: Desk):
    swallowing = desk.reads["neo4j"]
    swallowing.answers_after_s, swallowing.dies_after_s = 3600.0, 3600.0
    for _ in range(3 * AT_ONCE):
        found, _ = await desk.ask()
        assert found.degraded == ("neo4j",)
    assert len(swallowing.asked) == AT_ONCE


async def test_a_late_store_may_finish_so_that_the_next_question_finds_it_ready(desk: Desk):
    # it reads its indexes once, for two seconds, unless it is interrupted
    cold = desk.reads["chroma"]
    cold.answers_after_s = 2.0
    cold.once_answered = lambda: setattr(cold, "answers_after_s", 0.01)
    found, _ = await desk.ask()
    assert found.degraded == ("chroma",)
    await asyncio.sleep(2.0)
    found, took_s = await desk.ask()
    assert found.degraded == ()
    assert took_s == pytest.approx(0.01)


async def test_a_store_that_never_answers_is_given_up_for_good(desk: Desk):
    desk.reads["neo4j"].answers_after_s = 3600.0
    await desk.ask()
    await asyncio.sleep(GIVE_UP_S)
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert "insights:neo4j" not in names


async def test_whoever_asked_may_leave_and_nobody_is_asked_on(desk: Desk):
    for reads in desk.reads.values():
        reads.answers_after_s = 3600.0
    asking = asyncio.create_task(desk.ask())
    await asyncio.sleep(0.1)
    asking.cancel()
    await asyncio.wait({asking})
    await asyncio.sleep(0)
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert not {name for name in names if name.startswith("insights:")}
