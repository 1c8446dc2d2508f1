"""Finished calls from elsewhere become records as if we had heard them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np
import pytest

from agent_sidecar.adapters.recorded_calls import read_recorded_calls
from agent_sidecar.domain.engagement import STARTING_WEIGHTS
from agent_sidecar.domain.record import CallRecord, Configuration
from agent_sidecar.domain.recorded import RecordedCall, RecordedOutcome, SpokenSegment
from agent_sidecar.domain.types import STORES, CallId, Lead, Vector
from agent_sidecar.errors import RecordedCallInvalid, StoreUnavailable
from agent_sidecar.learning.imported import Ears, Finished, make_imported
from agent_sidecar.learning.ingest import IngestParts, ingest, ingest_all
from agent_sidecar.simulator.sample import HISTORY
from tests.domain.playbooks import reader
from tests.fakes import FakeClock, FakeEmbedder, FakeJournal, FakeLeads

CONFIGURATION = Configuration(system_version="1", playbook="p", weights="w", model="m")
EARS = Ears(reader=reader(), weights=STARTING_WEIGHTS, configuration=CONFIGURATION)


async def records(
    calls: Sequence[Finished], strategies: frozenset[str], now: datetime
) -> Sequence[CallRecord]:
    return [make_imported(call, EARS, strategies, now) for call in calls]


def parts(**changes: object) -> IngestParts:
    clock = FakeClock()
    made = IngestParts(
        journal=FakeJournal(clock),
        embedder=FakeEmbedder(),
        leads=FakeLeads(),
        clock=clock,
        records=records,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def recorded() -> RecordedCall:
    return next(iter(read_recorded_calls(HISTORY)))


async def record_of(call: RecordedCall, made: IngestParts) -> CallRecord:
    assert await ingest(call, made)
    committed = await made.journal.record(CallId(call.call_id))
    assert committed is not None
    return committed.record


async def test_a_call_keeps_its_id_its_words_and_its_labelled_strategies():
    call, made = recorded(), parts()
    record = await record_of(call, made)
    assert (record.call_id, record.source, record.is_evidence) == (call.call_id, "import", True)
    assert [s.text for s in record.segments] == [s.text for s in call.segments]
    labelled = [s.strategy for s in call.segments if s.strategy]
    heard = [s.strategy for s in record.segments if s.speaker == "agent" and s.strategy]
    assert set(labelled) <= set(heard)
    assert all(s.vector for s in record.segments)
    assert record.credits
    assert record.lead.lead_id


async def test_twice_is_once():
    call, made = recorded(), parts()
    assert await ingest(call, made)
    assert not await ingest(call, made)
    # nor after its record was pruned
    journal = made.journal
    for store in STORES:
        await journal.ack(await journal.claim(store, limit=1))
    committed = await journal.record(CallId(call.call_id))
    assert committed is not None
    assert await cast(FakeJournal, journal).prune([committed]) == 1
    assert not await ingest(call, made)


async def test_success_means_qualified_and_an_unknown_end_stays_unknown():
    call = recorded()
    won = replace(call, call_id="a", outcome=RecordedOutcome(success=True))
    lost = replace(call, call_id="b", outcome=RecordedOutcome(success=False))
    unknown = replace(call, call_id="c", outcome=RecordedOutcome())
    made = parts()
    assert (await record_of(won, made)).outcome.qualified is True
    assert (await record_of(lost, made)).outcome.qualified is False
    assert not (await record_of(unknown, made)).outcome.posted


async def test_a_label_stands_in_for_a_strategy_where_it_is_named_as_one():
    call = recorded()
    plain = tuple(replace(s, strategy=None, label="our-way") for s in call.segments)
    made = parts(strategies=frozenset({"our-way"}))
    record = await record_of(replace(call, segments=plain), made)
    assert {s.strategy for s in record.segments if s.speaker == "agent"} == {"our-way"}


async def test_an_unknown_final_status_is_refused_by_name():
    call = replace(recorded(), outcome=RecordedOutcome(final_status="sold"))
    with pytest.raises(RecordedCallInvalid, match="final_status: 'sold' is none of"):
        await ingest(call, parts())


async def test_a_lead_store_that_is_down_holds_up_no_import():
    class Down(FakeLeads):
        async def find_or_create(self, lead: Lead) -> Lead:
            raise StoreUnavailable("down")

    record = await record_of(recorded(), parts(leads=Down()))
    assert record.lead.phone == recorded().lead.phone


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"started_at": datetime(9999, 12, 31, 23, 59, tzinfo=UTC)}, "started_at"),
        ({"started_at": datetime(1, 1, 1, tzinfo=UTC)}, "started_at"),
        ({"started_at": datetime(2026, 3, 1)}, "with its zone"),  # noqa: DTZ001
        ({"segments": (SpokenSegment(speaker="agent", text="hi", start_s=2, end_s=1),)}, "end_s"),
        ({"segments": (SpokenSegment(speaker="agent", text="hi", start_s=0, end_s=1e300),)}, "0]"),
    ],
)
async def test_times_that_are_not_the_time_of_a_call_are_named(changes: dict[str, Any], named: str):
    made = parts()
    with pytest.raises(RecordedCallInvalid, match=named):
        await ingest(replace(recorded(), **changes), made)
    assert await made.journal.recent(limit=1) == []


class CountingEmbedder(FakeEmbedder):
    """Remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[str]] = []

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        self.asked.append(list(texts))
        return await super().embed(texts)


def with_vectors(call: RecordedCall, embedder: FakeEmbedder, model: str | None) -> RecordedCall:
    segments = tuple(
        replace(s, vector=(-embedder.vector(s.text)).astype("<f4").tobytes()) for s in call.segments
    )
    return replace(call, segments=segments, model=model)


async def test_vectors_that_come_with_the_file_are_taken_and_nothing_is_embedded():
    embedder = CountingEmbedder()
    made = parts(embedder=embedder)
    call = with_vectors(recorded(), embedder, embedder.name)
    record = await record_of(call, made)
    assert embedder.asked == []
    assert [s.vector for s in record.segments] == [s.vector for s in call.segments]


@pytest.mark.parametrize("model", [None, "another"])
async def test_vectors_of_another_model_are_refused_with_what_to_do(model: str | None):
    made = parts()
    call = with_vectors(recorded(), FakeEmbedder(), model)
    with pytest.raises(RecordedCallInvalid, match="leave `vector` out of the file"):
        await ingest(call, made)
    short = replace(call, model=made.embedder.name)
    cut = replace(short.segments[0], vector=np.ones(3, "<f4").tobytes())
    with pytest.raises(RecordedCallInvalid, match="3, "):
        await ingest(replace(short, segments=(cut, *short.segments[1:])), made)


async def test_many_calls_are_embedded_together_each_once_and_known_ones_not_at_all():
    embedder = CountingEmbedder()
    made = parts(embedder=embedder)
    calls = [replace(recorded(), call_id=f"c{n}") for n in range(3)]
    assert await ingest_all([calls[0], calls[0], calls[1]], made) == 2
    assert [len(texts) for texts in embedder.asked] == [2 * len(recorded().segments)]
    assert await ingest_all(calls, made) == 1
    assert [len(texts) for texts in embedder.asked[1:]] == [len(recorded().segments)]


async def test_a_call_that_cannot_be_right_ends_it_and_those_before_it_are_kept():
    made = parts()
    wrong = replace(recorded(), call_id="wrong", outcome=RecordedOutcome(final_status="sold"))
    after = replace(recorded(), call_id="after")
    with pytest.raises(RecordedCallInvalid, match="wrong: outcome"):
        await ingest_all([recorded(), wrong, after], made)
    kept = [committed.record.call_id for committed in await made.journal.recent(limit=9)]
    assert kept == [recorded().call_id]
