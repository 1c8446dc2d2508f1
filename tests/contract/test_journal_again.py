"""What the journal lets stores be told again; on the file and on the fake."""

from collections.abc import Mapping

from agent_sidecar.domain.types import STORES, CallId
from agent_sidecar.ports import Journal
from tests.builders import stranger_record

# fixtures: a journal of each kind, and its clock
from tests.contract.test_journal import clock, journal

__all__ = ["clock", "journal"]


async def delivered(journal: Journal, *call_ids: str) -> None:
    for call_id in call_ids:
        await journal.commit(stranger_record(call_id))
    for store in STORES:
        await journal.ack(await journal.claim(store, limit=100))


async def states(journal: Journal, call_id: str) -> Mapping[str, str]:
    committed = await journal.record(CallId(call_id))
    assert committed is not None
    return {store: status.state for store, status in committed.deliveries.items()}


async def test_a_store_is_told_again_and_only_that_one(journal: Journal):
    await delivered(journal, "a", "b")
    await journal.redeliver([stranger_record("a", hangup_cause="older")], ["neo4j"])
    (due,) = await journal.claim("neo4j", limit=10)
    # what the journal holds stands
    assert (due.record, due.version) == (stranger_record("a"), 1)
    assert await states(journal, "a") == {**dict.fromkeys(STORES, "delivered"), "neo4j": "pending"}
    assert await states(journal, "b") == dict.fromkeys(STORES, "delivered")
    await journal.ack([due])
    assert await states(journal, "a") == dict.fromkeys(STORES, "delivered")


async def test_what_was_parked_is_told_again_too(journal: Journal):
    await delivered(journal, "a")
    await journal.commit(stranger_record("a", hangup_cause="new"))
    (due,) = await journal.claim("postgres", limit=1)
    await journal.park(due, error="no")
    await journal.redeliver([due.record], ["postgres"])
    (again,) = await journal.claim("postgres", limit=1)
    assert (again.version, again.attempts) == (2, 0)


async def test_a_forgotten_call_comes_back_as_delivered_elsewhere(journal: Journal):
    record = stranger_record("forgotten")
    await journal.redeliver([record], ["chroma", "postgres"])
    assert await states(journal, "forgotten") == {
        "conversations": "delivered",
        "postgres": "pending",
        "neo4j": "delivered",
        "chroma": "pending",
    }
    assert [d.record for d in await journal.claim("chroma", limit=9)] == [record]
    assert list(await journal.claim("neo4j", limit=9)) == []
    # a correction is a new version of it
    assert await journal.commit(record) == 2


async def test_a_rebuild_is_known_until_it_ends(journal: Journal):
    assert await journal.rebuilds() == {}
    await journal.put_rebuild("neo4j", "clearing")
    await journal.put_rebuild("chroma", "filling")
    await journal.put_rebuild("neo4j", "filling")
    assert await journal.rebuilds() == {"neo4j": "filling", "chroma": "filling"}
    await journal.put_rebuild("neo4j", None)
    await journal.put_rebuild("neo4j", None)
    assert await journal.rebuilds() == {"chroma": "filling"}
