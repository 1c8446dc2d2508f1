"""What `make chaos` looks with must see: what is missing, what is there twice, what is late."""

import asyncio
from collections import Counter

import pytest

from tests.builders import stranger_record
from tests.chaos.audit import Audit, _check_ledger, _compare
from tests.chaos.doors import ChaosDoor
from tests.chaos.ledger import Ledger, Told
from tests.chaos.world import Options


@pytest.mark.parametrize(
    ("said", "status", "seen"),
    [
        (["a", "b", "perhaps"], "video_sent", 0),
        (["a", "b"], "video_sent", 0),
        (["a"], "video_sent", 1),
        (["a", "b", "b"], "video_sent", 1),
        (["a", "b", "perhaps", "perhaps"], "video_sent", 1),
        (["a", "b"], "follow_up", 1),
        ([], "unknown", 3),
    ],
)
def test_a_record_is_held_against_what_was_acknowledged(said, status, seen):
    told = Told(kind="api", leg_id="v3:1", lines=["a", "b"], doubtful=["perhaps"])
    told.outcomes = ["follow_up", "video_sent"]
    assert len(list(told.faults(said, status))) == seen


def test_a_call_that_is_missing_is_lost_and_one_that_is_twice_is_doubled():
    records = {call_id: stranger_record(call_id) for call_id in ("one", "two", "three")}
    found = Audit()
    _compare(Counter({"one": 1, "two": 2, "four": 1}), records, "postgres", found)
    assert (found.lost, found.doubled) == ({"three"}, {"two"})
    assert any("four" in fault for fault in found.faults)
    assert not found.clean


def test_an_acknowledged_call_without_a_record_is_lost():
    ledger, found = Ledger(), Audit()
    ledger.open("webhooks", "v3:never taken")
    ledger.open("webhooks", "v3:taken").call_id = "gone"
    _check_ledger(ledger, {}, found)
    assert found.lost == {"gone"}


def test_parts_are_chosen_by_their_beginning(tmp_path):
    def wants(*parts: str) -> Options:
        return Options(
            seed=1,
            models=tmp_path,
            kills=1,
            fault_s=1.0,
            at_once=1,
            nursery=None,  # type: ignore[arg-type]  # nothing is started
            parts=frozenset(parts),
        )

    assert wants("stores:neo4j").wants("stores:neo4j:hang")
    assert not wants("stores:neo4j:slow").wants("stores:neo4j:hang")
    assert wants("stores:neo4j:slow").wants("disks:data")


@pytest.mark.real_time
async def test_what_a_door_delays_arrives_although_its_sender_has_gone():
    arrived = asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(100) == b"COMMIT":
            arrived.set()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    door = ChaosDoor(server.sockets[0].getsockname()[:2])
    await door.open()
    async with server:
        door.late_s = 0.2
        _, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(b"COMMIT")
        await writer.drain()
        writer.close()
        async with asyncio.timeout(10):
            await arrived.wait()
    await door.shut()
