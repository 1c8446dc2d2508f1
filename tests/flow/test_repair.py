"""What a comparison has found is mended by the relay, in order, and only where a source says so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from agent_sidecar.domain.types import STORES, CallId
from agent_sidecar.errors import StoreUnavailable
from agent_sidecar.wrapup.mend import Mended, Mender
from agent_sidecar.wrapup.relay import Relay
from agent_sidecar.wrapup.verify import Audited, verify
from tests.builders import stranger_record
from tests.fakes import FakeClock, FakeConversations, FakeCounts, FakeJournal, FakeProjection

CALLS = [CallId(f"call-{n}") for n in range(4)]


class Place:
    """A journal, four stores, and who delivers and mends."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.journal = FakeJournal(self.clock)
        self.conversations = FakeConversations()
        self.postgres = FakeProjection("postgres")
        self.neo4j = FakeProjection("neo4j")
        self.chroma = FakeProjection("chroma")
        self.stores = [self.conversations, self.postgres, self.neo4j, self.chroma]
        self.counts = FakeCounts()
        self.audited = Audited(
            journal=self.journal,
            projections=self.stores,
            conversations=self.conversations,
            counts=self.counts,
        )
        self.relay = Relay(self.journal, self.stores, self.clock)
        self.mender = Mender(self.audited, self.counts, self.relay)

    async def settle(self) -> None:
        assert await self.relay.drain(asyncio.get_running_loop().time() + 60)

    async def mend(self) -> Mended:
        report = await verify(self.audited)
        done = await self.mender.mend(report.differences)
        await self.settle()
        return done


@asynccontextmanager
async def a_place() -> AsyncIterator[Place]:
    place = Place()
    for call_id in CALLS:
        await place.journal.commit(stranger_record(call_id))
    running = asyncio.create_task(place.relay.run())
    await place.settle()
    try:
        yield place
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with a_place() as place:
        yield place


async def test_what_is_missing_or_other_is_delivered_again(place: Place):
    del place.chroma.held[CALLS[0]]
    place.postgres.held[CALLS[1]] = stranger_record(CALLS[1], hangup_cause="other")
    del place.conversations.held[CALLS[2]]
    done = await place.mend()
    assert done.redelivered == {"conversations": 1, "postgres": 1, "chroma": 1}
    assert (await verify(place.audited)).clean
    # nobody else was told anything
    assert len(place.neo4j.applied) == len(CALLS)
    assert "postgres: 1 calls told again" in done.summary()


async def test_what_the_journal_has_forgotten_is_mended_from_the_conversations(place: Place):
    place.journal.lose(CALLS[0])
    del place.neo4j.held[CALLS[0]]
    done = await place.mend()
    assert done.redelivered == {"neo4j": 1}
    assert place.neo4j.held[CALLS[0]] == stranger_record(CALLS[0])
    assert (await verify(place.audited)).clean


async def test_ghosts_are_forgotten_and_counts_set_right(place: Place):
    place.chroma.held[CallId("ghost")] = stranger_record("ghost")
    place.counts.wrong = ("one", "two")
    done = await place.mend()
    assert (done.forgotten, done.recounted, done.left) == ({"chroma": 1}, 2, ())
    assert (await verify(place.audited)).clean
    assert not done.is_nothing
    assert (await place.mend()).is_nothing


async def test_a_ghost_that_has_become_a_call_is_not_forgotten(place: Place):
    ghost = CallId("ghost")
    place.chroma.held[ghost] = stranger_record("ghost")
    found = (await verify(place.audited)).differences
    await place.journal.commit(stranger_record("ghost"))
    place.relay.wake()
    done = await place.mender.mend(found)
    await place.settle()
    assert done.forgotten == {}
    assert all(ghost in store.held for store in place.stores)


async def test_what_no_source_can_say_is_left_alone_and_named(place: Place):
    place.journal.lose(CALLS[0])
    place.journal.lose(CALLS[1])
    del place.conversations.held[CALLS[0]]
    place.conversations.broken.add(CALLS[1])
    before = [dict(store.held) for store in place.stores]
    done = await place.mend()
    assert done.is_nothing
    assert [dict(store.held) for store in place.stores] == before
    assert len([line for line in done.left if "call call-0: no source knows" in line]) == 3
    assert any("conversations: call call-1: the document cannot be read" in e for e in done.left)
    assert done.to_json()["left"] == list(done.left)


async def test_a_call_that_is_erased_between_is_left_alone(place: Place):
    del place.chroma.held[CALLS[0]]
    found = (await verify(place.audited)).differences
    place.journal.lose(CALLS[0])
    del place.conversations.held[CALLS[0]]
    done = await place.mender.mend(found)
    assert done.left == ("chroma: call call-0: no source can say what it was",)


async def test_counts_that_move_are_left_and_a_store_that_is_out_says_so(place: Place):
    place.counts.wrong = ("one",)
    found = (await verify(place.audited)).differences
    place.counts.moves = True
    assert (await place.mender.mend(found)).left == (
        "neo4j: the counts: calls came all the time; try again later",
    )
    place.chroma.held[CallId("ghost")] = stranger_record("ghost")
    found = (await verify(place.audited)).differences
    place.chroma.fails_with = StoreUnavailable("gone")
    with pytest.raises(StoreUnavailable):
        await place.mender.mend(found)


async def test_a_correction_that_comes_while_it_is_mended_wins(place: Place):
    del place.neo4j.held[CALLS[0]]
    found = (await verify(place.audited)).differences
    place.neo4j.answers_after_s = 3.0
    await place.mender.mend(found)
    corrected = stranger_record(CALLS[0], hangup_cause="corrected")
    await place.journal.commit(corrected)
    place.relay.wake()
    await place.settle()
    assert [store.held[CALLS[0]] for store in place.stores] == [corrected] * len(STORES)
    assert (await verify(place.audited)).clean


async def test_nothing_is_delivered_to_a_store_that_is_paused(place: Place):
    async with place.relay.paused("neo4j"):
        await place.journal.commit(stranger_record("new"))
        place.relay.wake()
        # a stop does not wait for it
        assert not await place.relay.drain(asyncio.get_running_loop().time() + 60)
        assert CallId("new") not in place.neo4j.held
        assert CallId("new") in place.chroma.held
    await place.settle()
    assert CallId("new") in place.neo4j.held
