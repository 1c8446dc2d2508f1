"""kill -9 of the service under load, at seeded random moments and at those that hurt most."""

import asyncio
import signal
import sqlite3
from collections import Counter

import asyncpg
from neo4j import AsyncGraphDatabase

from tests.chaos.talks import Talks
from tests.chaos.world import World

# kind of moment, and how often of a hundred
_MOMENTS = {"load": 40, "commit": 15, "apply": 20, "start": 12, "drain": 13}
# everything is compared after so many, so that a defect is found near its cause
_PER_ROUND = 50
_VERSIONS = "SELECT total(version) FROM record"
_PENDING = "SELECT call_id, store FROM delivery WHERE state = 'pending'"
_IN_DOCUMENTS = "SELECT count(*) FROM conversations WHERE id = ANY($1::text[])"
_IN_CALLS = "SELECT count(*) FROM calls WHERE call_id = ANY($1::text[])"
_IN_GRAPH = "UNWIND $ids AS id MATCH (c:Call {id: id}) RETURN count(c) AS n"
# while a store's answers take so long, a record is in it and not acknowledged yet
_SLOW_S = 0.2


async def kill_the_service(world: World, kills: int) -> None:
    """Kill it so often; compare after every round."""
    moments: Counter[str] = Counter()
    between = 0
    done = 0
    while done < kills:
        world.call()
        talks = Talks(world)
        talks.begin(at_once=2)
        for _ in range(min(_PER_ROUND, kills - done)):
            moment = world.random.choices([*_MOMENTS], [*_MOMENTS.values()])[0]
            moments[moment] += 1
            done += 1
            world.blow(f"kill {done} of {kills}: {moment}")
            await _kill_at(world, moment)
            if moment == "apply":
                between += await _stored_but_pending(world) > 0
            await world.service.start()
        await talks.end()
        await world.settle(f"after {done} kills")
        world.row.faults += talks.faults()
    hit = moments["apply"]
    told = ", ".join(f"{count} {moment}" for moment, count in moments.items())
    world.row.remarks.append(f"killed at: {told}")
    world.row.remarks.append(f"{between} of {hit} left a record in a store and not acknowledged")
    starts = sorted(world.service.starts_s)
    world.row.remarks.append(f"a start took {starts[len(starts) // 2]:.1f} s in the middle")


async def _kill_at(world: World, moment: str) -> None:
    random, service = world.random, world.service
    match moment:
        case "load":
            await asyncio.sleep(random.uniform(0.1, 3.0))
        case "commit":
            await _commit(world)
            await asyncio.sleep(random.uniform(0.0, 0.02))
        case "apply":
            stores = [world.doors[name] for name in ("postgres", "neo4j", "chroma")]
            for door in stores:
                door.slow_s = _SLOW_S
            await _commit(world)
            await asyncio.sleep(random.uniform(0.3, 1.8))
            await service.kill()
            for door in stores:
                door.slow_s = 0.0
            return
        case "start":
            await asyncio.sleep(random.uniform(0.1, 1.0))
            await service.kill()
            await service.launch()
            await asyncio.sleep(random.uniform(0.0, 1.5))
        case "drain":
            await asyncio.sleep(random.uniform(0.1, 1.5))
            service.tell(signal.SIGTERM)
            await asyncio.sleep(random.uniform(0.0, 0.6))
    await service.kill()


async def _commit(world: World) -> None:
    """Wait for the next version of any record, some seconds at most."""
    loop = asyncio.get_running_loop()
    give_up_s = loop.time() + 5.0
    connection = _journal(world)
    try:
        (before,) = connection.execute(_VERSIONS).fetchone()
        while loop.time() < give_up_s:
            if connection.execute(_VERSIONS).fetchone()[0] != before:
                return
            await asyncio.sleep(0.002)
    finally:
        connection.close()


async def _stored_but_pending(world: World) -> int:
    """Count what a store holds although its delivery is pending: killed between apply and ack.

    Those whose earlier version was delivered count as well: they cannot be told apart from here.
    """
    connection = _journal(world)
    try:
        pending = connection.execute(_PENDING).fetchall()
    finally:
        connection.close()
    ids = {
        store: [call_id for call_id, of in pending if of == store]
        for store in ("conversations", "postgres", "neo4j")
    }
    stored = 0
    postgres = await asyncpg.connect(world.urls.postgres)
    try:
        stored += int(await postgres.fetchval(_IN_DOCUMENTS, ids["conversations"]))
        stored += int(await postgres.fetchval(_IN_CALLS, ids["postgres"]))
    finally:
        await postgres.close()
    login = (world.urls.neo4j_user or "", world.urls.neo4j_password or "")
    async with (
        AsyncGraphDatabase.driver(world.urls.neo4j or "", auth=login) as driver,
        driver.session() as session,
    ):
        (row,) = await (await session.run(_IN_GRAPH, ids=ids["neo4j"])).data()
    return stored + int(row["n"])


def _journal(world: World) -> sqlite3.Connection:
    file = world.service.folder / "journal.sqlite3"
    return sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=10)
