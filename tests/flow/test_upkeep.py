"""What is kept fresh beside the calls, on virtual time."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from agent_sidecar.domain.hints import Evidence, ProvenLine
from agent_sidecar.domain.tally import contexts, scope
from agent_sidecar.errors import StoreUnavailable
from agent_sidecar.learning.metrics import LearningMetrics
from agent_sidecar.live.warm import WarmCopy
from agent_sidecar.upkeep import (
    IDLE_S,
    METRICS_REST,
    METRICS_S,
    PROVEN_REFRESH_S,
    REFRESH_S,
    REHEARSALS,
    RETRY_S,
    keep_metrics,
    keep_proven,
    keep_ready,
    keep_warm,
)
from tests.builders import rich_record
from tests.domain.playbooks import MONEY, STORY, like, reader
from tests.fake_metrics import FakeDailyMetrics
from tests.fakes import FakeClock, FakeProjection
from tests.flow.test_hint_desk import a_question

ROW = Evidence(scope=scope(contexts(9, MONEY)[1], ""), strategy=STORY, tried=4, lifted=3, won=2)
LINE = ProvenLine(strategy=STORY, say="a friend of mine", vector=like("costs much"))


class Store:
    """Is asked for all it has, and may be down."""

    def __init__(self) -> None:
        self.asked_at: list[float] = []
        self.is_down = False

    async def everything(self, at: datetime) -> Sequence[Evidence]:
        self._be_asked()
        return [ROW]

    async def proven(self, *, most: int) -> Sequence[ProvenLine]:
        self._be_asked()
        return [LINE][:most]

    def _be_asked(self) -> None:
        self.asked_at.append(asyncio.get_running_loop().time())
        if self.is_down:
            raise StoreUnavailable("down")


class Desk:
    def __init__(self) -> None:
        self.texts: list[str] = []

    async def rehearse(self, text: str, *, unless_asked_for_s: float = 0.0) -> None:
        self.texts.append(text)


def parts(store: Store) -> Any:
    stores = SimpleNamespace(evidence=store, candidates=store)
    return SimpleNamespace(stores=stores, clock=FakeClock())


@pytest.mark.parametrize(
    ("keep", "every_s"), [(keep_warm, REFRESH_S), (keep_proven, PROVEN_REFRESH_S)]
)
async def test_a_copy_is_read_anew_now_and_then_and_soon_after_it_could_not_be(
    keep: Any, every_s: float
):
    store, warm = Store(), WarmCopy(reader())
    store.is_down = True
    began = asyncio.get_running_loop().time()
    keeping = asyncio.create_task(keep(parts(store), warm))
    await asyncio.sleep(RETRY_S / 2)
    store.is_down = False
    await asyncio.sleep(RETRY_S + every_s)
    keeping.cancel()
    assert [at - began for at in store.asked_at] == pytest.approx([0, RETRY_S, RETRY_S + every_s])


async def test_both_copies_answer_once_they_were_read():
    warm = WarmCopy(reader())
    keeping = [asyncio.create_task(keep(parts(Store()), warm)) for keep in (keep_warm, keep_proven)]
    await asyncio.sleep(1)
    for task in keeping:
        task.cancel()
    question = a_question()
    assert warm.evidence(question) == (ROW,)
    assert warm.proven(question) == ()


async def test_metrics_are_kept_now_and_then_and_soon_after_the_store_is_back():
    calls = FakeProjection()
    table = FakeDailyMetrics(calls, fails_with=StoreUnavailable("down"))
    learning = LearningMetrics(table, FakeClock(), ZoneInfo("UTC"))
    keeping = asyncio.create_task(keep_metrics(learning))
    await asyncio.sleep(RETRY_S / 2)
    await calls.apply(rich_record())
    table.fails_with = None
    await asyncio.sleep(RETRY_S)
    (row,) = await table.days()
    assert row.total_calls == 1
    await asyncio.sleep(METRICS_S)
    keeping.cancel()
    assert table.made == 2


async def test_metrics_stand_while_the_calls_are_made_anew():
    calls = FakeProjection()
    table = FakeDailyMetrics(calls)
    is_rebuilt = True
    learning = LearningMetrics(table, FakeClock(), ZoneInfo("UTC"))
    keeping = asyncio.create_task(keep_metrics(learning, lambda: is_rebuilt))
    await asyncio.sleep(2.5 * METRICS_S)
    assert table.made == 0
    is_rebuilt = False
    await asyncio.sleep(METRICS_S)
    keeping.cancel()
    assert table.made == 1


async def test_metrics_that_take_long_are_kept_less_often():
    table = FakeDailyMetrics(FakeProjection(), answers_after_s=2.0)
    keeping = asyncio.create_task(
        keep_metrics(LearningMetrics(table, FakeClock(), ZoneInfo("UTC")))
    )
    await asyncio.sleep(2.0 + METRICS_REST * 2.0 + METRICS_S + 1.0)
    assert table.made == 1
    await asyncio.sleep(2.0)
    keeping.cancel()
    assert table.made == 2


async def test_many_questions_are_rehearsed_at_the_start_and_one_whenever_it_is_quiet():
    desk = Desk()
    keeping = asyncio.create_task(keep_ready(desk))  # type: ignore[arg-type]  # of it only this
    await asyncio.sleep(IDLE_S / 2)
    assert len(desk.texts) == REHEARSALS
    await asyncio.sleep(3 * IDLE_S)
    keeping.cancel()
    assert len(desk.texts) == REHEARSALS + 3
    # none is in the embedder's memory
    assert len(set(desk.texts)) == len(desk.texts)
