"""A store is made anew beside everything else, whatever dies in between."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from agent_sidecar.domain.hints import Question, Retrieved
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.types import CallId
from agent_sidecar.errors import SettingsInvalid, StoreUnavailable
from agent_sidecar.learning.renewal import renewed
from agent_sidecar.live.incomplete import UnlessIncomplete
from agent_sidecar.wrapup.rebuild import Anew, Rebuilder
from agent_sidecar.wrapup.relay import Relay
from agent_sidecar.wrapup.sources import Sources
from agent_sidecar.wrapup.verify import verify
from tests.builders import rich_record, stranger_record
from tests.fakes import FakeEmbedder, FakeProjection
from tests.flow.test_repair import CALLS, Place, a_place


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with a_place() as place:
        yield place


def rebuilder(place: Place, **anew: Anew) -> Rebuilder:
    sources = Sources(place.journal, place.conversations)
    return Rebuilder(sources, place.stores, place.relay, anew=anew)  # type: ignore[arg-type]


async def test_a_store_is_emptied_and_takes_every_call_again(place: Place):
    place.journal.lose(CALLS[0])
    place.neo4j.held[CallId("ghost")] = stranger_record("ghost")
    place.neo4j.held[CALLS[1]] = stranger_record(CALLS[1], hangup_cause="other")
    rebuilds = rebuilder(place)
    assert not rebuilds.is_under_way("neo4j")
    assert await rebuilds.begin("neo4j")
    assert rebuilds.is_under_way("neo4j")
    # twice is as once
    assert not await rebuilds.begin("neo4j")
    await rebuilds.run("neo4j")
    done = rebuilds.progress("neo4j")
    assert (done.state, done.marked, done.pending, done.unreadable) == ("done", 4, 0, 0)
    assert await place.journal.rebuilds() == {}
    assert (await verify(place.audited)).clean
    assert len(place.postgres.applied) == len(CALLS)
    # and again
    assert await rebuilds.begin("neo4j")


async def test_calls_that_end_and_are_corrected_meanwhile_are_there_in_the_end(place: Place):
    place.neo4j.answers_after_s = 1.0
    rebuilds = rebuilder(place)
    await rebuilds.begin("neo4j")
    running = asyncio.create_task(rebuilds.run("neo4j"))
    for n in range(20):
        await asyncio.sleep(0.3)
        await place.journal.commit(stranger_record(f"new-{n}"))
        await place.journal.commit(stranger_record(CALLS[n % 4], hangup_cause=f"corrected {n}"))
        place.relay.wake()
    await running
    await place.settle()
    report = await verify(place.audited)
    assert report.clean, report.summary()
    assert report.records == 24


@pytest.mark.parametrize("step", ["begun", "clearing", "half filled"])
async def test_what_a_crash_cut_short_is_finished_by_the_next_start(step: str):
    async with a_place() as first:
        rebuilds = rebuilder(first)
        await rebuilds.begin("neo4j")
        if step == "clearing":
            # emptied, and nothing is marked
            await first.neo4j.clear()
        elif step == "half filled":
            first.neo4j.answers_after_s = 100.0
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(150):
                    await rebuilds.finish("neo4j")
            await first.journal.put_rebuild("neo4j", "filling")
    second = Place()
    second.journal = first.journal.crash()
    second.conversations, second.neo4j = first.conversations, first.neo4j
    second.stores = first.stores
    second.relay = Relay(second.journal, second.stores, second.clock)
    second.audited = replace(first.audited, journal=second.journal)
    first.neo4j.answers_after_s = 0.0
    running = asyncio.create_task(second.relay.run())
    again = rebuilder(second)
    assert await again.unfinished() == ["neo4j"]
    assert again.is_under_way("neo4j")
    await again.run("neo4j")
    assert (await verify(second.audited)).clean
    assert await again.unfinished() == []
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_store_that_is_out_is_waited_for(place: Place):
    place.chroma.fails_with = StoreUnavailable("it restarts")
    rebuilds = rebuilder(place)
    await rebuilds.begin("chroma")
    with capture_logs():
        running = asyncio.create_task(rebuilds.run("chroma"))
        await asyncio.sleep(5)
        assert rebuilds.progress("chroma").error == "it restarts"
        place.chroma.fails_with = None
        await running
    assert (await verify(place.audited)).clean


async def test_forgotten_calls_come_back_a_bounded_number_at_once(place: Place):
    for n in range(200):
        await place.journal.commit(stranger_record(f"old-{n}"))
    place.relay.wake()
    await place.settle()
    for n in range(200):
        place.journal.lose(CallId(f"old-{n}"))
    place.neo4j.answers_after_s = 1.0
    sources = Sources(place.journal, place.conversations)
    rebuilds = Rebuilder(sources, place.stores, place.relay, back_at_once=50)
    await rebuilds.begin("neo4j")
    running = asyncio.create_task(rebuilds.run("neo4j"))
    most = 0
    while not running.done():
        most = max(most, (await place.journal.backlog())["neo4j"]["pending"])
        await asyncio.sleep(0.1)
    assert most <= 50 + 50 + len(CALLS)
    assert len(place.neo4j.held) == 204


async def test_calls_that_cannot_be_read_or_are_refused_are_counted(place: Place):
    place.journal.lose(CALLS[0])
    place.conversations.broken.add(CALLS[0])
    rebuilds = rebuilder(place)
    await rebuilds.begin("postgres")
    await rebuilds.run("postgres")
    assert rebuilds.progress("postgres").to_json() == {
        "store": "postgres",
        "state": "done",
        "marked": 3,
        "pending": 0,
        "parked": 0,
        "unreadable": 1,
        "error": None,
    }


async def test_vectors_of_another_model_are_made_anew_and_every_store_gets_them(place: Place):
    embedder = FakeEmbedder()
    former = rich_record("rich")
    await place.journal.commit(former)
    place.relay.wake()
    await place.settle()
    filled: list[str] = []

    async def refill() -> None:
        filled.append("playbook")

    async def renew(records: Sequence[CallRecord]) -> Sequence[CallRecord]:
        return await renewed(records, embedder)

    rebuilds = rebuilder(place, chroma=Anew(renew=renew, refill=refill))
    await rebuilds.begin("chroma")
    await rebuilds.run("chroma")
    await place.settle()
    for store in place.stores:
        record = store.held[former.call_id]
        assert record.configuration.model == "fake"
        assert record.segments[0].vector == embedder.vector(former.segments[0].text).tobytes()
        assert replace(record, segments=(), configuration=former.configuration) == replace(
            former, segments=()
        )
    assert filled == ["playbook"]
    assert (await verify(place.audited)).clean
    embedded = len(embedder.embedded)
    await rebuilds.begin("chroma")
    await rebuilds.run("chroma")
    assert len(embedder.embedded) == embedded


async def test_a_store_of_another_model_is_cleared_before_it_is_asked_again(place: Place):
    class Other(FakeProjection):
        cleared = False

        async def migrate(self) -> Sequence[str]:
            if not self.cleared:
                raise SettingsInvalid("another model")
            return ()

        async def clear(self) -> None:
            self.cleared = True
            await super().clear()

    other = Other("chroma")
    sources = Sources(place.journal, place.conversations)
    rebuilds = Rebuilder(sources, [*place.stores[:3], other], place.relay)
    await rebuilds.begin("chroma")
    await rebuilds.run("chroma")
    assert other.cleared


class Knows:
    name = "neo4j"

    async def retrieve(self, question: Question) -> Retrieved:
        return Retrieved()


async def test_a_store_that_is_made_anew_counts_as_out_for_hints():
    incomplete = True
    retriever = UnlessIncomplete(Knows(), lambda: incomplete)
    asked = Question(question_id="q", call_id=None, text="", vector=None, phase=1, objection=None)
    assert retriever.name == "neo4j"
    with pytest.raises(StoreUnavailable):
        await retriever.retrieve(asked)
    incomplete = False
    assert await retriever.retrieve(asked) == Retrieved()
